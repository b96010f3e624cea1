//! The limits that Rollcall is compared with: an HTTP answer and a producer with nothing around them.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use hdrhistogram::Histogram;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use kafka::publish::Outgoing;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::Outcome;
use crate::broker::{Broker, free_port};
use crate::connection::{Connection, get};
use crate::load::{Pace, histogram, record};

/// How long the answering process may take to start.
const START_MAX: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(5);
/// The longest wait for an acknowledgement, as ingest has it.
const ACKNOWLEDGED_MAX: Duration = Duration::from_secs(10);
/// As ingest's producer has them.
const PRODUCER: [(&str, &str); 4] =
    [("acks", "all"), ("enable.idempotence", "true"), ("partitioner", "murmur2_random"), ("linger.ms", "0")];

/// Answers every request with the same bytes
#[derive(Debug, clap::Args)]
pub(crate) struct HttpArgs {
    #[arg(long)]
    port: u16,
    /// The length of the body of each answer
    #[arg(long)]
    bytes: usize,
}

/// Serves until the process is killed.
///
/// # Errors
/// If the port is taken.
pub(crate) async fn serve(args: &HttpArgs) -> Outcome<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, args.port)).await?;
    let body = Bytes::from(vec![b'x'; args.bytes]);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let body = body.clone();
        let answer = service_fn(move |request: Request<Incoming>| {
            let body = body.clone();
            async move {
                drop(request.into_body().collect().await);
                let mut response = Response::new(Full::new(body));
                response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
                Ok::<_, Infallible>(response)
            }
        });
        tokio::spawn(async move {
            // A connection that the load has left.
            drop(http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answer).await);
        });
    }
}

/// A process of its own that answers every request with the same bytes. It is killed when its handle is dropped.
#[derive(Debug)]
pub(crate) struct BareHttp {
    child: Child,
    pub(crate) address: SocketAddr,
}

impl BareHttp {
    /// Starts the process, whose answers have a body of `bytes`.
    ///
    /// # Errors
    /// If it does not start.
    pub(crate) async fn start(bytes: usize) -> Outcome<Self> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let child = Command::new(std::env::current_exe()?)
            .args(["bare-http", "--port", &address.port().to_string(), "--bytes", &bytes.to_string()])
            .stdin(Stdio::null())
            .spawn()?;
        let (server, began) = (Self { child, address }, Instant::now());
        while began.elapsed() < START_MAX {
            if let Ok(mut connection) = Connection::open(address).await
                && connection.exchange(&get("/")).await.is_ok()
            {
                return Ok(server);
            }
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        Err("the bare HTTP server does not answer".into())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for BareHttp {
    fn drop(&mut self) {
        if self.child.kill().and_then(|()| self.child.wait()).is_err() {
            eprintln!("the process {} may still run", self.child.id());
        }
    }
}

/// A producer of the client library itself, with ingest's settings, that sends one record under different keys.
#[derive(Clone)]
pub(crate) struct BareProducer {
    producer: FutureProducer,
    record: Arc<Outgoing>,
}

impl BareProducer {
    /// Returns a producer of records that have the value and the headers of `record`.
    ///
    /// # Errors
    /// If the client library refuses its settings.
    pub(crate) fn new(broker: &Broker, record: Outgoing) -> Outcome<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &broker.options.bootstrap);
        for (name, value) in PRODUCER {
            config.set(name, value);
        }
        Ok(Self { producer: config.create()?, record: Arc::new(record) })
    }

    /// Publishes as fast as acknowledgements come, with so many in flight, and returns the latencies in microseconds.
    ///
    /// # Errors
    /// If a record is not acknowledged.
    pub(crate) async fn closed(&self, in_flight: usize, duration: Duration) -> Outcome<Histogram<u64>> {
        let (until, numbers) = (Instant::now() + duration, Arc::new(AtomicU64::new(0)));
        let mut workers = JoinSet::new();
        for _ in 0..in_flight {
            let (producer, numbers) = (self.clone(), Arc::clone(&numbers));
            workers.spawn(async move {
                let mut latencies = histogram()?;
                loop {
                    let sent = Instant::now();
                    if sent >= until {
                        return Ok(latencies);
                    }
                    producer.publish(numbers.fetch_add(1, Ordering::Relaxed)).await?;
                    record(&mut latencies, sent.elapsed());
                }
            });
        }
        all(workers).await
    }

    /// Publishes at a pace and returns the latencies from the time due, in microseconds.
    ///
    /// # Errors
    /// If a record is not acknowledged.
    pub(crate) async fn open(&self, workers_max: usize, pace: Pace) -> Outcome<Histogram<u64>> {
        let (due, numbers) = (Arc::new(Mutex::new(pace.start())), Arc::new(AtomicU64::new(0)));
        let mut workers = JoinSet::new();
        for _ in 0..workers_max {
            let (producer, due, numbers) = (self.clone(), Arc::clone(&due), Arc::clone(&numbers));
            workers.spawn(async move {
                let mut latencies = histogram()?;
                loop {
                    let next = due.lock().await.recv().await;
                    let Some(due_at) = next else { return Ok(latencies) };
                    producer.publish(numbers.fetch_add(1, Ordering::Relaxed)).await?;
                    record(&mut latencies, due_at.elapsed());
                }
            });
        }
        all(workers).await
    }

    async fn publish(&self, number: u64) -> Outcome<()> {
        let (key, record) = (number.to_string(), &*self.record);
        let headers = record
            .headers
            .iter()
            .fold(OwnedHeaders::new(), |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        let timestamp = record.timestamp.millis();
        let outgoing = FutureRecord::to(&record.topic).key(&key).timestamp(timestamp).headers(headers);
        let outgoing = match &record.value {
            Some(value) => outgoing.payload(value),
            None => outgoing,
        };
        self.producer.send(outgoing, ACKNOWLEDGED_MAX).await.map_err(|(error, _)| error)?;
        Ok(())
    }
}

async fn all(mut workers: JoinSet<Outcome<Histogram<u64>>>) -> Outcome<Histogram<u64>> {
    let mut sum = histogram()?;
    while let Some(latencies) = workers.join_next().await {
        sum.add(latencies??)?;
    }
    Ok(sum)
}
