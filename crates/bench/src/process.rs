//! Rollcall as a process of its own: its start, its readiness, its end.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use domain::topics::Names;
use tempfile::TempDir;
use tokio::time::Instant;

use crate::Outcome;
use crate::arguments::Candidate;
use crate::broker::{Broker, free_port};
use crate::connection::{Connection, get};

/// The name by which this executable runs as the command.
pub(crate) const ROLLCALL: &str = "rollcall";
/// The secret that ingest asks for.
pub(crate) const SECRET: &str = "0123456789abcdef0123456789abcdef";
/// The pause between two looks whether a service is ready.
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// How long a service may take to be ready: a rebuild of many millions of records.
const READY_WAIT_MAX: Duration = Duration::from_secs(1800);

/// A running service. It is killed when its handle is dropped.
#[derive(Debug)]
pub(crate) struct Service {
    child: Child,
    pub(crate) http: SocketAddr,
    pub(crate) admin: SocketAddr,
    /// When it was started.
    pub(crate) began: Instant,
    _dir: TempDir,
}

impl Service {
    /// Starts ingest on these topics.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub(crate) fn ingest(candidate: &Candidate, broker: &Broker, names: &Names) -> Outcome<Self> {
        Self::start("ingest", candidate, broker, names)
    }

    /// Starts a projector on these topics, with an empty store.
    ///
    /// # Errors
    /// If the process cannot be started.
    pub(crate) fn projector(candidate: &Candidate, broker: &Broker, names: &Names) -> Outcome<Self> {
        Self::start("projector", candidate, broker, names)
    }

    fn start(service: &str, candidate: &Candidate, broker: &Broker, names: &Names) -> Outcome<Self> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let (http, admin) = (loopback(free_port()?), loopback(free_port()?));
        let dir = tempfile::Builder::new().prefix("rollcall-bench-").tempdir_in(".")?;
        // A group of its own: the members of one that was killed are still expected.
        let group = format!("bench-{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let mut command = Command::new(&candidate.program);
        command.arg0(ROLLCALL).arg(service).args(["--bootstrap", &broker.options.bootstrap]);
        let mut settings = vec![
            format!("http.listen={http}"),
            // One machine sends all the load.
            "http.preferred_sources=[\"127.0.0.0/8\"]".to_owned(),
            format!("admin.listen={admin}"),
            format!("kafka.group_prefix={group}"),
            "log.filter=error".to_owned(),
            format!("topics.users={}", names.users),
            format!("topics.late={}", names.late),
            format!("topics.dead_letter={}", names.dead_letter),
        ];
        settings
            .extend(broker.options.properties.iter().map(|(name, value)| format!("kafka.properties.{name}={value}")));
        settings.extend(candidate.settings.iter().cloned());
        for setting in &settings {
            command.args(["--set", setting]);
        }
        let child = command
            .env_clear()
            .env("ROLLCALL_SECURITY__SECRET_KEYS", SECRET)
            .current_dir(dir.path())
            .stdin(Stdio::null())
            .stdout(Stdio::from(std::io::stderr()))
            .spawn()
            .map_err(|error| format!("{} does not start: {error}", candidate.program.display()))?;
        Ok(Self { child, http, admin, began: Instant::now(), _dir: dir })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the service is ready, and returns when that was seen.
    ///
    /// # Errors
    /// If it ends instead, or is not ready in time.
    pub(crate) async fn ready(&mut self) -> Outcome<Instant> {
        self.until_answered(self.admin, "/readyz", &[200]).await
    }

    /// Returns the sum of a metric over all its labels.
    ///
    /// # Errors
    /// If the service does not answer.
    pub(crate) async fn metric(&self, name: &str) -> Outcome<f64> {
        let mut connection = Connection::open(self.admin).await?;
        connection.exchange(&get("/metrics")).await?;
        Ok(sum_of(name, &String::from_utf8_lossy(connection.body())))
    }

    /// Waits until a metric has a value that is wanted, and returns when that was.
    ///
    /// # Errors
    /// If the service does not answer, or not so in time.
    pub(crate) async fn until_metric(&self, name: &str, wanted: impl Fn(f64) -> bool) -> Outcome<Instant> {
        let began = Instant::now();
        while began.elapsed() < READY_WAIT_MAX {
            if wanted(self.metric(name).await?) {
                return Ok(Instant::now());
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Err(format!("{name} did not come to its value in {} s", READY_WAIT_MAX.as_secs()).into())
    }

    /// Waits until a GET is answered with one of these statuses, and returns when that was.
    ///
    /// # Errors
    /// If the service ends instead, or does not answer so in time.
    pub(crate) async fn until_answered(&mut self, at: SocketAddr, path: &str, wanted: &[u16]) -> Outcome<Instant> {
        let (began, request) = (Instant::now(), get(path));
        let mut connection = None;
        while began.elapsed() < READY_WAIT_MAX {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the service ended instead of answering {path}: {status}").into());
            }
            if connection.is_none() {
                connection = Connection::open(at).await.ok();
            }
            if let Some(open) = &mut connection {
                match open.exchange(&request).await {
                    Ok(status) if wanted.contains(&status) => return Ok(Instant::now()),
                    Ok(_) => {}
                    Err(_) => connection = None,
                }
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Err(format!("the service did not answer {path} in {} s", READY_WAIT_MAX.as_secs()).into())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {
            eprintln!("the process {} may still run", self.child.id());
        }
    }
}

/// Returns the sum of a metric in an exposition. The name of another one can begin with its name.
fn sum_of(name: &str, exposition: &str) -> f64 {
    let value = |line: &str| {
        let rest = line.strip_prefix(name)?;
        let is_its_own = rest.starts_with([' ', '{']);
        if is_its_own { rest.rsplit_once(' ')?.1.parse::<f64>().ok() } else { None }
    };
    exposition.lines().filter_map(value).sum()
}

fn loopback(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_is_not_one_whose_name_begins_with_its_name() {
        let exposition = "# TYPE lag gauge\nlag{partition=\"0\"} 2\nlag{partition=\"1\"} 3\nlag_max 70\nlag 1\n";
        assert_eq!(sum_of("lag", exposition), 6.0);
    }
}
