//! Runs the built binary, and queries it over HTTP.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::{BufRead, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use serde_json::Value;
use testkit::wait::PATIENCE;
use testkit::{Http, eventually};

/// Returns the command with these arguments, in an isolated environment.
pub(crate) fn rollcall(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_rollcall"));
    command.args(args).env_clear().stdin(Stdio::null());
    command
}

/// Runs the command to its end.
pub(crate) fn run(args: &[&str]) -> Output {
    rollcall(args).output().unwrap()
}

pub(crate) fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub(crate) fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// A running `rollcall dev`, killed with the test if it is still there.
pub(crate) struct Dev {
    child: Child,
    /// Its output up to the second curl line.
    pub(crate) welcome: String,
    rest: BufReader<std::process::ChildStdout>,
}

impl Dev {
    /// Returns the arguments with which it takes free ports.
    pub(crate) fn arguments<'a>(more: &[&'a str]) -> Vec<&'a str> {
        let ports =
            ["dev", "--port-webhooks=0", "--port-queries=0", "--port-ingest-admin=0", "--port-projector-admin=0"];
        [&ports[..], more].concat()
    }

    /// Starts it on free ports and reads its output.
    pub(crate) fn start(args: &[&str]) -> Self {
        Self::of(rollcall(&Self::arguments(args)))
    }

    /// Starts this command and reads its output.
    pub(crate) fn of(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut rest = BufReader::new(child.stdout.take().unwrap());
        let mut welcome = String::new();
        while welcome.lines().filter(|line| line.starts_with("curl ")).count() < 2 {
            assert_ne!(rest.read_line(&mut welcome).unwrap(), 0, "ended after saying:\n{welcome}");
        }
        Self { child, welcome, rest }
    }

    /// The value of a line such as `webhooks   http://…`.
    pub(crate) fn address(&self, name: &str) -> &str {
        let line = self.welcome.lines().map(str::trim).find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap()
    }

    /// Returns the next line of its output.
    pub(crate) fn next_line(&mut self) -> String {
        let mut line = String::new();
        assert_ne!(self.rest.read_line(&mut line).unwrap(), 0, "it has ended");
        line
    }

    /// Runs the curl lines one by one, and returns the status codes and bodies of the answers.
    pub(crate) fn follow_curls(&self) -> Vec<(u16, String)> {
        self.welcome.lines().filter(|line| line.starts_with("curl ")).map(follow_curl).collect()
    }

    pub(crate) fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Returns its standard error, which was asked for.
    pub(crate) fn take_stderr(&mut self) -> std::process::ChildStderr {
        self.child.stderr.take().unwrap()
    }

    /// Sends the signal and waits for the end.
    pub(crate) fn signal(mut self, name: &str) -> ExitStatus {
        signal(&self.child, name);
        self.child.wait().unwrap()
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        // Fails when the process has ended already, which is fine.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A running service that logs JSON, killed with the test if it is still there.
pub(crate) struct Service {
    child: Child,
    log: Box<dyn BufRead>,
    /// Its log line about the addresses.
    pub(crate) listens: Value,
}

impl Service {
    /// Starts `rollcall ingest` or `rollcall projector` on free ports and waits until it listens.
    pub(crate) fn start(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let settings =
            ["http.listen=127.0.0.1:0", "admin.listen=127.0.0.1:0", "log.format=json", "http.close_delay_ms=0"];
        let settings = settings.map(|setting| ["--set", setting]);
        let mut command = rollcall(&[args, settings.as_flattened()].concat());
        let mut child = command.envs(variables.iter().copied()).stderr(Stdio::piped()).spawn().unwrap();
        let mut log = Box::new(BufReader::new(child.stderr.take().unwrap()));
        let mut line = String::new();
        while !line.contains(" listens\"") {
            line.clear();
            assert_ne!(log.read_line(&mut line).unwrap(), 0, "it has ended");
        }
        let listens = serde_json::from_str(&line).unwrap();
        Self { child, log, listens }
    }

    /// Waits until it is ready.
    pub(crate) fn until_ready(&self) {
        let admin = self.listens["admin"].as_str().unwrap();
        let ready = async |http: Http| {
            let look = async || (http.get("/readyz").await.status == 200).then_some(());
            testkit::eventually("it becomes ready", PATIENCE, look).await;
        };
        on_runtime(ready(Http::to(admin.parse().unwrap())));
    }

    /// Waits until it says why it is not ready.
    pub(crate) fn until_unready_because(&self, reason: &str) {
        let admin = self.listens["admin"].as_str().unwrap();
        let because = async |http: Http| {
            let look = async || http.get("/readyz").await.body_text().contains(reason).then_some(());
            testkit::eventually("it gives the reason", PATIENCE, look).await;
        };
        on_runtime(because(Http::to(admin.parse().unwrap())));
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal.
    pub(crate) fn signal(&self, name: &str) {
        signal(&self.child, name);
    }

    /// Reads its log no further: what it writes from now on fails.
    pub(crate) fn close_log(&mut self) {
        self.log = Box::new(std::io::empty());
    }

    /// Waits until it has logged a line with this text.
    pub(crate) fn until_logged(&mut self, text: &str) {
        let mut line = String::new();
        while !line.contains(text) {
            line.clear();
            assert_ne!(self.log.read_line(&mut line).unwrap(), 0, "it has ended");
        }
    }

    /// Waits for the end, and returns the status.
    pub(crate) fn ended(mut self) -> ExitStatus {
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        self.child.wait().unwrap()
    }

    /// Sends SIGTERM, waits for the end, and returns the status and the rest of the log.
    pub(crate) fn stop(mut self) -> (ExitStatus, String) {
        signal(&self.child, "TERM");
        let mut log = String::new();
        self.log.read_to_string(&mut log).unwrap();
        (self.child.wait().unwrap(), log)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

pub(crate) fn signal(child: &Child, name: &str) {
    let sent = Command::new("sh").arg("-c").arg(format!("kill -{name} {}", child.id())).status().unwrap();
    assert!(sent.success());
}

/// Starts a server that answers each request with the next of these JSON texts, and the last one again and again.
/// Returns its address.
pub(crate) fn answering(texts: Vec<String>) -> String {
    answering_with("200 OK", texts)
}

/// The same, with this status.
pub(crate) fn answering_with(status: &'static str, texts: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (request, stream) in listener.incoming().enumerate() {
            let mut stream = BufReader::new(stream.unwrap());
            let mut line = String::new();
            while stream.read_line(&mut line).unwrap() > "\r\n".len() {
                line.clear();
            }
            let text = &texts[request.min(texts.len() - 1)];
            let head = format!("HTTP/1.1 {status}\r\nconnection: close\r\ncontent-length: {}\r\n\r\n", text.len());
            // A reader that has seen enough is gone.
            drop(stream.get_mut().write_all((head + text).as_bytes()));
        }
    });
    format!("http://{address}")
}

/// Runs a curl line with single-quoted arguments: one address, and optionally a body, which is the last. On a busy
/// machine the first query may come before there is a table, and is asked again.
fn follow_curl(line: &str) -> (u16, String) {
    let quoted: Vec<&str> = line.split('\'').skip(1).step_by(2).collect();
    let url = quoted.iter().find(|text| text.starts_with("http://")).unwrap();
    let body = quoted.last().filter(|_| line.contains(" -d '"));
    match body {
        Some(body) => request("POST", url, body),
        None => on_runtime(eventually("the query is answered", PATIENCE, async || {
            Some(exchange("GET", url, "").await).filter(|(status, _)| *status != 503)
        })),
    }
}

pub(crate) fn post(url: &str, body: &str) -> (u16, String) {
    request("POST", url, body)
}

pub(crate) fn get(url: &str) -> (u16, String) {
    request("GET", url, "")
}

fn request(method: &str, url: &str, body: &str) -> (u16, String) {
    on_runtime(exchange(method, url, body))
}

async fn exchange(method: &str, url: &str, body: &str) -> (u16, String) {
    let (authority, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let request = testkit::http::request(method, &format!("/{path}"), &[], body);
    let answer = Http::to(authority.parse().unwrap()).exchange(&request).await;
    (answer.status.as_u16(), answer.body_text().to_owned())
}

pub(crate) fn on_runtime<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Returns a path as an argument.
pub(crate) fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}
