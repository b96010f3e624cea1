//! The command `rollcall` as a process of its own: its output, its end, and the signals that an operator or a crash
//! sends.

use std::ffi::{OsStr, OsString};
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use domain::topics::Names;
use kafka::ClientOptions;
use rustix::process::{Pid, Signal, kill_process};
use testkit::{Http, eventually};

use super::engine::free_port;
use super::system::SECRET;

/// How long a process may take to say or do what it must.
const PROCESS_MAX: Duration = Duration::from_secs(180);

/// Where a service is told to listen: the same again after a restart, as in production.
#[derive(Clone, Copy)]
pub(crate) struct Ports {
    http: u16,
    admin: u16,
}

/// The settings that are secret.
const SECRET_SETTINGS: [&str; 3] = ["security.secret_keys", "security.body_keys", "kafka.properties.sasl.password"];

impl Ports {
    pub(crate) fn free() -> Self {
        Self { http: free_port(), admin: free_port() }
    }

    /// Returns the URL of the service's own listener.
    pub(crate) fn url(self) -> String {
        format!("http://127.0.0.1:{}", self.http)
    }

    /// Returns the address of the service's own listener.
    pub(crate) fn address(self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.http))
    }

    /// Returns a client of the service's own listener.
    pub(crate) fn http(self) -> Http {
        Http::to(self.address())
    }
}

/// Returns the arguments by which a command finds the topics.
pub(crate) fn cluster_arguments(options: &ClientOptions, names: &Names) -> Vec<String> {
    let topics = [("users", &names.users), ("late", &names.late), ("dead_letter", &names.dead_letter)];
    let topics = topics.map(|(topic, name)| format!("topics.{topic}={name}"));
    let properties = options.properties.iter().map(|(name, value)| format!("kafka.properties.{name}={value}"));
    let group = format!("kafka.group_prefix={}", options.group_prefix);
    let settings =
        topics.into_iter().chain(properties).chain([group]).flat_map(|setting| ["--set".to_owned(), setting]);
    ["--bootstrap".to_owned(), options.bootstrap.clone()].into_iter().chain(settings).collect()
}

/// Returns the arguments of a service on these ports, with more settings.
pub(crate) fn service_arguments(command: &str, cluster: &[String], ports: Ports, more: &[String]) -> Vec<String> {
    let Ports { http, admin } = ports;
    let (listen, admin) = (format!("http.listen=127.0.0.1:{http}"), format!("admin.listen=127.0.0.1:{admin}"));
    let settings = [listen, admin, "http.close_delay_ms=0".to_owned()];
    let settings = settings.iter().chain(more).flat_map(|setting| ["--set".to_owned(), setting.clone()]);
    [command.to_owned()].into_iter().chain(cluster.iter().cloned()).chain(settings).collect()
}

/// Splits `--set security.secret_keys=…`, and other lists of secrets, off the arguments, as variables.
fn without_secrets(arguments: &[impl AsRef<OsStr>]) -> (Vec<OsString>, Vec<(String, OsString)>) {
    let (mut rest, mut secrets) = (Vec::new(), Vec::new());
    for argument in arguments {
        let argument = argument.as_ref().to_owned();
        let secret = argument.to_str().and_then(|text| text.split_once('='));
        match secret.filter(|(key, _)| SECRET_SETTINGS.contains(key)) {
            Some((key, value)) => {
                let flag = rest.pop();
                assert_eq!(flag, Some(OsString::from("--set")), "{key}");
                // The names of the client library's properties have dots, which are single underscores in a variable.
                let path = match key.strip_prefix("kafka.properties.") {
                    Some(property) => format!("kafka__properties__{}", property.replace('.', "_")),
                    None => key.replace('.', "__"),
                };
                let variable = format!("ROLLCALL_{}", path.to_uppercase());
                secrets.push((variable, OsString::from(value)));
            }
            None => rest.push(argument),
        }
    }
    (rest, secrets)
}

/// A running `rollcall`. It is killed when this is dropped.
pub(crate) struct Process {
    child: Child,
    stdout: Output,
    stderr: Output,
}

impl Process {
    /// Starts the command with these arguments. A secret among them is passed by its variable, because the command line
    /// takes none.
    pub(crate) fn start(arguments: &[impl AsRef<OsStr>]) -> Self {
        let (arguments, secrets) = without_secrets(arguments);
        let mut child = Command::new(env!("CARGO_BIN_EXE_rollcall-under-test"))
            .args(arguments)
            .envs(secrets)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command can be started");
        let stdout = Output::follow(child.stdout.take().expect("it was piped"));
        let stderr = Output::follow(child.stderr.take().expect("it was piped"));
        Self { child, stdout, stderr }
    }

    /// Starts ingest on these ports.
    pub(crate) fn ingest(options: &ClientOptions, names: &Names, ports: Ports) -> Self {
        let secret = format!("security.secret_keys=['{SECRET}']");
        Self::service("ingest", options, names, ports, &[secret])
    }

    /// Starts a projector on these ports, with its store in a folder.
    pub(crate) fn projector(options: &ClientOptions, names: &Names, ports: Ports, dir: &Path) -> Self {
        Self::service("projector", options, names, ports, &[format!("store.dir='{}'", dir.display())])
    }

    /// Starts a service on these ports, with more settings.
    pub(crate) fn service(
        command: &str,
        options: &ClientOptions,
        names: &Names,
        ports: Ports,
        more: &[String],
    ) -> Self {
        Self::start(&service_arguments(command, &cluster_arguments(options, names), ports, more))
    }

    /// Waits until standard output is as it must be, and returns it.
    pub(crate) async fn until_stdout(&self, what: &str, is_it: impl Fn(&str) -> bool) -> String {
        let said = async || {
            let stdout = self.stdout.so_far();
            is_it(&stdout).then_some(stdout)
        };
        eventually(what, PROCESS_MAX, said).await
    }

    /// Asks the process to stop, as an operator does.
    pub(crate) fn terminate(&self) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).expect("the process was not waited for yet");
    }

    /// Ends the process as a crash does, and returns when it is gone and its port free.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("the process was not waited for yet");
        self.child.wait().expect("the process is a child");
    }

    /// Waits for the end of the process and returns its status and everything that it wrote.
    pub(crate) async fn finished(mut self) -> Finished {
        let status = eventually("the process ends", PROCESS_MAX, async || {
            self.child.try_wait().expect("the process is a child")
        })
        .await;
        Finished { status, stdout: self.stdout.whole(), stderr: self.stderr.whole() }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if the process has ended and was waited for, which is what they are for.
        self.child.kill().ok();
        self.child.wait().ok();
        if thread::panicking() {
            eprintln!(
                "what a process of the failed test had written:\n{}{}",
                self.stdout.so_far(),
                self.stderr.so_far()
            );
        }
    }
}

/// How a process ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// What a process has written to one of its streams.
struct Output {
    bytes: Arc<Mutex<Vec<u8>>>,
    follower: Option<JoinHandle<()>>,
}

impl Output {
    /// Reads the stream as it comes: a process blocks when nobody does.
    fn follow(mut stream: impl Read + Send + 'static) -> Self {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&bytes);
        let follower = thread::spawn(move || {
            let mut chunk = [0; 4096];
            while let Ok(length @ 1..) = stream.read(&mut chunk) {
                written.lock().expect("nobody panics with it").extend_from_slice(&chunk[..length]);
            }
        });
        Self { bytes, follower: Some(follower) }
    }

    fn so_far(&self) -> String {
        String::from_utf8_lossy(&self.bytes.lock().expect("nobody panics with it")).into_owned()
    }

    /// Returns everything, once the process has closed the stream.
    fn whole(&mut self) -> String {
        if let Some(follower) = self.follower.take() {
            follower.join().expect("it only reads");
        }
        self.so_far()
    }
}
