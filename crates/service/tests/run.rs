//! The skeleton of both services: the causes of a stop, and its order.
#![expect(clippy::unwrap_used, reason = "a test stops at its first failure")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use parking_lot::Mutex;
use service::serve::{Drained, ServerLimits};
use service::{Listeners, Metrics, Readiness, Service, Shutdown, Stopped};
use testkit::http::{read_to_end, request};
use testkit::wait::PATIENCE;
use testkit::{Http, eventually};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::{JoinHandle, JoinSet};

/// A service whose route `/slow` notifies `entered`, then answers once `release` is notified.
struct Running {
    http: Http,
    address: SocketAddr,
    admin: Http,
    shutdown: Shutdown,
    entered: Arc<Notify>,
    release: Arc<Notify>,
    /// The steps of the stop, in order.
    steps: Arc<Mutex<Vec<&'static str>>>,
    stopped: JoinHandle<Stopped<String>>,
}

impl Running {
    /// Starts a service with one part, `part`, whose end is recorded.
    async fn start<P: Future<Output = Result<(), String>> + Send + 'static>(part: impl FnOnce(Shutdown) -> P) -> Self {
        Self::start_with(ServerLimits::default(), part).await
    }

    async fn start_with<P: Future<Output = Result<(), String>> + Send + 'static>(
        limits: ServerLimits,
        part: impl FnOnce(Shutdown) -> P,
    ) -> Self {
        let (entered, release, steps) = (Arc::new(Notify::new()), Arc::new(Notify::new()), Arc::default());
        let slow = {
            let (entered, release, steps) = (Arc::clone(&entered), Arc::clone(&release), Arc::clone(&steps));
            move || async move {
                entered.notify_one();
                release.notified().await;
                record(&steps, "request finished");
                "slow\n"
            }
        };
        let (readiness, stop) = (Readiness::new(&["part"]), Shutdown::new());
        readiness.holds("part");
        let mut parts = JoinSet::new();
        let (part, ended) = (part(stop.clone()), Arc::clone(&steps));
        parts.spawn(async move {
            let outcome = part.await;
            record(&ended, "part ended");
            outcome
        });
        let service = Service {
            router: Router::new().route("/slow", get(slow)).route("/fast", get(|| async { "fast\n" })),
            tls: None,
            limits,
            preferred: Vec::new(),
            metrics: Metrics::new(),
            readiness,
            parts,
            stop,
        };
        let bind = || TcpListener::bind("127.0.0.1:0");
        let listeners = Listeners { http: bind().await.unwrap(), admin: bind().await.unwrap() };
        let (address, admin) = (listeners.http.local_addr().unwrap(), listeners.admin.local_addr().unwrap());
        let shutdown = Shutdown::new();
        let stopped = {
            let (shutdown, steps) = (shutdown.clone(), Arc::clone(&steps));
            let last = async move {
                record(&steps, "last step");
                Ok(())
            };
            tokio::spawn(async move { service.run(listeners, &shutdown, last).await })
        };
        let (http, admin) = (Http::to(address), Http::to(admin));
        Self { http, address, admin, shutdown, entered, release, steps, stopped }
    }
}

fn record(steps: &Mutex<Vec<&'static str>>, step: &'static str) {
    steps.lock().push(step);
}

async fn until_stopped(stop: Shutdown) -> Result<(), String> {
    stop.requested().await;
    Ok(())
}

#[tokio::test]
async fn a_stop_is_not_ready_then_accepts_nothing_then_finishes_and_takes_the_last_step() {
    let service = Running::start(until_stopped).await;
    assert_eq!(service.admin.get("/readyz").await.status, 200);
    let mut busy = service.http.open(&request("GET", "/slow", &[], "")).await;
    service.entered.notified().await;

    service.shutdown.trigger();
    eventually("nothing new is accepted", PATIENCE, async || TcpStream::connect(service.address).await.err()).await;
    let ready = service.admin.get("/readyz").await;
    assert_eq!(ready.status, 503, "the admin routes report the stop while it waits");
    assert!(ready.body_text().contains("it is stopping"), "{ready:?}");
    assert!(!service.stopped.is_finished() && !service.steps.lock().contains(&"last step"), "a request is in flight");
    service.release.notify_one();
    assert!(read_to_end(&mut busy).await.ends_with("slow\n"));

    let stopped = tokio::time::timeout(PATIENCE, service.stopped).await.unwrap().unwrap();
    assert_eq!((stopped.connections, stopped.outcome), (Drained { finished: 1, aborted: 0 }, Ok(())));
    assert_eq!(*service.steps.lock(), ["part ended", "request finished", "last step"]);
}

#[tokio::test]
async fn until_the_delay_is_over_a_stopping_service_answers_and_asks_its_peers_to_leave() {
    let delayed = |close_delay| ServerLimits { close_delay, ..ServerLimits::default() };
    // Longer than the test waits.
    let fails = Arc::new(Notify::new());
    let failure = Arc::clone(&fails);
    let part = |_| async move {
        failure.notified().await;
        Err("the disk is full".to_owned())
    };
    let service = Running::start_with(delayed(10 * PATIENCE), part).await;
    let before = service.http.get("/fast").await;
    assert!(!before.headers.contains_key("connection"), "{before:?}");
    service.shutdown.trigger();
    eventually("it is not ready", PATIENCE, async || (service.admin.get("/readyz").await.status == 503).then_some(()))
        .await;
    for _ in 0..10 {
        let answer = Http::to(service.address).get("/fast").await;
        assert_eq!((answer.status.as_u16(), answer.body_text()), (200, "fast\n"));
        assert_eq!(answer.headers["connection"], "close");
    }
    assert!(!service.stopped.is_finished() && service.steps.lock().is_empty(), "the parts still work");
    fails.notify_one();
    let stopped = tokio::time::timeout(PATIENCE, service.stopped).await.unwrap().unwrap();
    assert_eq!(stopped.outcome, Err("the disk is full".to_owned()), "without its parts it is of no use");

    let service = Running::start_with(delayed(Duration::from_millis(50)), until_stopped).await;
    service.shutdown.trigger();
    let stopped = tokio::time::timeout(PATIENCE, service.stopped).await.unwrap().unwrap();
    assert_eq!(stopped.outcome, Ok(()), "the delay ends by itself");
}

#[tokio::test]
async fn a_part_that_fails_ends_the_service_in_order_and_with_its_error() {
    let service = Running::start(|_| async { Err("the topics are wrong".to_owned()) }).await;
    let stopped = tokio::time::timeout(PATIENCE, service.stopped).await.unwrap().unwrap();
    assert_eq!(stopped.outcome, Err("the topics are wrong".to_owned()));
    assert_eq!(*service.steps.lock(), ["part ended", "last step"]);
}

#[tokio::test]
async fn a_part_that_panics_ends_the_service() {
    let service = Running::start(|_| async { panic!("as the test wants") }).await;
    let ended = tokio::time::timeout(PATIENCE, service.stopped).await.unwrap();
    assert!(ended.unwrap_err().is_panic());
}
