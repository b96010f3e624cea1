//! The configuration of nginx in `deploy/nginx`, tried in a real nginx (Debian's package): requests around the time at
//! which it lets go of the connections that it keeps.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::Router;
use axum::extract::Extension;
use axum::routing::post;
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use service::Shutdown;
use service::serve::{PeerAddr, Places, ServerLimits, serve};
use testkit::eventually;
use testkit::http::{read_to_end, request};
use testkit::wait::PATIENCE;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

const CONFIGURATION: &str = include_str!("../../../deploy/nginx/rollcall.conf");
/// How long nginx keeps a connection to its upstream: 60 s made short.
const NGINX_IDLE: Duration = Duration::from_millis(500);
/// How long the server does: as much longer as a machine that is busy may be late.
const SERVER_IDLE: Duration = Duration::from_secs(60);
const CLIENTS: u32 = 100;
const REQUESTS_EACH: u32 = 30;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_request_meets_the_closing_of_a_connection() {
    if Command::new("nginx").arg("-v").stderr(Stdio::null()).status().is_err() {
        return leave_out("there is no nginx");
    }
    let peers = Arc::<parking_lot::Mutex<std::collections::HashSet<SocketAddr>>>::default();
    let seen = Arc::clone(&peers);
    let answer = move |Extension(PeerAddr(peer)): Extension<PeerAddr>| async move {
        seen.lock().insert(peer);
        "taken\n"
    };
    let router = Router::new().route("/webhooks/users", post(answer));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (upstream, shutdown) = (listener.local_addr().unwrap(), Shutdown::new());
    let limits = ServerLimits { idle: SERVER_IDLE, ..ServerLimits::default() };
    let server = tokio::spawn({
        let (places, shutdown) = (Places::new(&limits, vec!["127.0.0.1/32".parse().unwrap()]), shutdown.clone());
        async move { serve(listener, None, limits, &places, router, shutdown).await }
    });
    let nginx = Nginx::start(upstream).await;

    let (refused, mut clients) = (Arc::new(AtomicUsize::new(0)), JoinSet::new());
    for client in 0..CLIENTS {
        let (address, refused) = (nginx.address, Arc::clone(&refused));
        clients.spawn(async move {
            for number in 0..REQUESTS_EACH {
                let answer = exchange(address).await.unwrap();
                if !answer.starts_with("HTTP/1.1 200") {
                    refused.fetch_add(1, Ordering::Relaxed);
                }
                // Between nine and eleven tenths of the time.
                let tenths = 90 + (client * 7 + number * 3) % 21;
                tokio::time::sleep(NGINX_IDLE * tenths / 100).await;
            }
        });
    }
    while let Some(ended) = clients.join_next().await {
        ended.unwrap();
    }
    assert_eq!(refused.load(Ordering::Relaxed), 0, "of {} requests", CLIENTS * REQUESTS_EACH);
    let connections = peers.lock().len();
    assert!(connections < (CLIENTS * REQUESTS_EACH) as usize, "nginx keeps connections: {connections}");
    drop(nginx);
    shutdown.trigger();
    tokio::time::timeout(PATIENCE, server).await.unwrap().unwrap();
}

/// An nginx with the configuration of `deploy/nginx` on a free port. It ends with this.
struct Nginx {
    address: SocketAddr,
    child: Child,
    _folder: tempfile::TempDir,
}

impl Nginx {
    async fn start(upstream: SocketAddr) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [certificate, key] = testkit::tls::write(folder.path(), &testkit::tls::self_signed("localhost"));
        // Free now; nobody else takes it at once.
        let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let mut text = CONFIGURATION.to_owned();
        let keep = format!("keepalive_timeout {}ms;\n  keepalive 64;", NGINX_IDLE.as_millis());
        for (from, to) in [
            ("  server ingest-2:8080;\n", String::new()),
            ("  server projector-2:8081;\n", String::new()),
            ("ingest-1:8080", upstream.to_string()),
            ("projector-1:8081", upstream.to_string()),
            ("keepalive 64;", keep),
            ("listen 443 ssl http2", format!("listen {address} ssl http2")),
            ("/etc/nginx/tls/certificate.pem", certificate.display().to_string()),
            ("/etc/nginx/tls/key.pem", key.display().to_string()),
            ("/dev/stdout", "off".to_owned()),
            (" off rollcall;", " off;".to_owned()),
        ] {
            assert!(text.contains(from), "the configuration has no {from:?} any more");
            text = text.replace(from, &to);
        }
        let whole = write_whole(folder.path(), &text);
        let mut command = Command::new("nginx");
        command.arg("-p").arg(folder.path()).arg("-c").arg(whole).args(["-g", "daemon off;"]);
        let child = command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().unwrap();
        let nginx = Self { address, child, _folder: folder };
        eventually("nginx answers", PATIENCE, async || exchange(address).await.ok()).await;
        nginx
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // The master takes its workers along on SIGQUIT, and not when it is killed.
        let _quit = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let _ended = self.child.wait();
    }
}

/// Writes the file that `deploy/nginx/rollcall.conf` is a part of, and returns its path.
fn write_whole(folder: &Path, part: &str) -> std::path::PathBuf {
    let at = folder.display();
    let path = folder.join("nginx.conf");
    let mut file = std::fs::File::create(&path).unwrap();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {at}/{kind};\n"))
        .concat();
    write!(
        file,
        "worker_processes 1;\npid {at}/nginx.pid;\nerror_log stderr crit;\nevents {{ worker_connections 1024; }}\n\
         http {{\n{temporary}{part}}}\n"
    )
    .unwrap();
    path
}

/// Made once: it reads the authorities of the system.
static CONNECTOR: LazyLock<SslConnector> = LazyLock::new(|| {
    let mut connector = SslConnector::builder(SslMethod::tls_client()).unwrap();
    connector.set_verify(SslVerifyMode::NONE);
    connector.build()
});

/// Posts on a new connection with TLS, and returns the answer.
async fn exchange(address: SocketAddr) -> std::io::Result<String> {
    let ssl = CONNECTOR.configure().unwrap().into_ssl("localhost").unwrap();
    let mut stream = tokio_openssl::SslStream::new(ssl, TcpStream::connect(address).await?).unwrap();
    std::pin::Pin::new(&mut stream).connect().await.map_err(std::io::Error::other)?;
    let text = request("POST", "/webhooks/users?secret-key=of-the-tests", &[], "{}");
    stream.write_all(text.as_bytes()).await?;
    Ok(read_to_end(&mut stream).await)
}

/// Says in a line that the test was left out; with `ROLLCALL_REQUIRE_ECOSYSTEM=1` it fails.
fn leave_out(reason: &str) {
    #[expect(clippy::disallowed_methods, reason = "this switch of the test run is in the environment")]
    let switch = std::env::var("ROLLCALL_REQUIRE_ECOSYSTEM");
    assert!(switch.as_deref() != Ok("1"), "nginx cannot run: {reason}");
    writeln!(std::io::stderr(), "left out: nginx: {reason}").expect("standard error can be written");
}
