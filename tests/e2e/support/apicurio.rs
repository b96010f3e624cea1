//! Apicurio Registry in memory, from Maven Central: a real schema registry with Confluent's API.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Answer, Http, eventually};
use tokio::sync::OnceCell;

use super::engine::free_port;

const ARTIFACT: &str = "io.apicurio:apicurio-registry-app:2.6.13.Final:tar.gz:all";
const ARCHIVE: &str = "apicurio-registry-app-2.6.13.Final-all.tar.gz";
/// Kept between runs: the archive has 142 MB.
const DIR: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/apicurio-2.6.13");
const MAIN_CLASS: &str = "io.quarkus.runner.GeneratedMain";
const API: &str = "/apis/ccompat/v7";
/// How long it may take to start on a machine that compiles and tests at the same time. It takes 12 s on an idle one.
const START_MAX: Duration = Duration::from_secs(180);

/// A registry for the whole run, as several tests use it on topics of their own.
pub(crate) struct Apicurio {
    http: Http,
    address: SocketAddr,
    _process: Child,
}

impl Apicurio {
    /// Returns the registry, or why there is none.
    pub(crate) async fn shared() -> Result<&'static Self, &'static str> {
        static SHARED: OnceCell<Result<Apicurio, String>> = OnceCell::const_new();
        SHARED.get_or_init(Self::start).await.as_ref().map_err(String::as_str)
    }

    async fn start() -> Result<Self, String> {
        let dir = tokio::task::spawn_blocking(fetched).await.expect("fetching does not panic")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
        // A static is never dropped. The shell ends the registry when its input ends, with this process.
        let (port, class_path) = (address.port(), "*:lib/*");
        let java = format!("java -Xmx256m -Dquarkus.http.host=127.0.0.1 -Dquarkus.http.port={port} -cp '{class_path}'");
        let process = Command::new("sh")
            .args(["-c", &format!("{java} {MAIN_CLASS} </dev/null >registry.log 2>&1 & cat >/dev/null; kill $!")])
            .current_dir(dir)
            .stdin(Stdio::piped())
            .spawn()
            .map_err(|error| format!("no shell: {error}"))?;
        let registry = Self { http: Http::to(address), address, _process: process };
        eventually("the schema registry answers", START_MAX, async || {
            let answer = registry.http.send(hyper::Method::GET, &format!("{API}/subjects"), "").await.ok()?;
            answer.status.is_success().then_some(())
        })
        .await;
        Ok(registry)
    }

    /// Returns the address for `registry.url`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{API}", self.address)
    }

    /// Returns the address for clients of Apicurio's own API.
    pub(crate) fn own_url(&self) -> String {
        format!("http://{}/apis/registry/v2", self.address)
    }

    /// Registers a schema for a subject.
    pub(crate) async fn register(&self, subject: &str, schema: &str) -> Answer {
        let body = json!({ "schema": schema, "schemaType": "AVRO" }).to_string();
        self.http.post(&format!("{API}/subjects/{subject}/versions"), body).await
    }

    /// Returns the answer to a GET.
    pub(crate) async fn get(&self, path: &str) -> Value {
        self.http.get(&format!("{API}{path}")).await.json()
    }
}

/// Returns the folder of the registry, fetched by Maven if it is not there yet.
fn fetched() -> Result<PathBuf, String> {
    let dir = PathBuf::from(DIR);
    if dir.join("lib").is_dir() {
        return Ok(dir);
    }
    run("java", &["-version"], Path::new("/"))?;
    // Unpacked beside it and then moved, so that what is there is whole.
    let part = PathBuf::from(format!("{DIR}.part"));
    drop(fs::remove_dir_all(&part));
    fs::create_dir_all(&part).map_err(|error| format!("{}: {error}", part.display()))?;
    let (artifact, output) = (format!("-Dartifact={ARTIFACT}"), "-DoutputDirectory=.");
    run("mvn", &["--quiet", "--batch-mode", "dependency:copy", &artifact, output], &part)?;
    run("tar", &["-xzf", ARCHIVE], &part)?;
    drop(fs::remove_file(part.join(ARCHIVE)));
    fs::rename(&part, &dir).map_err(|error| format!("{DIR}: {error}"))?;
    Ok(dir)
}

fn run(program: &str, arguments: &[&str], dir: &Path) -> Result<(), String> {
    let run = Command::new(program).args(arguments).current_dir(dir).stdin(Stdio::null()).output();
    let output = run.map_err(|error| format!("no {program}: {error}"))?;
    let said = || String::from_utf8_lossy(&output.stdout).lines().next().unwrap_or_default().to_owned();
    if output.status.success() { Ok(()) } else { Err(format!("{program} fails: {}", said())) }
}
