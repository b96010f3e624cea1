//! Serves a table beside a bare hyper answer of the same size, in one process, so that one run of `wrk` compares the
//! two.
//!
//! ```text
//! cargo run --release -p rollcall-projector --example bench_http -- \
//!     127.0.0.1:9092 bench.users.10000000.1000000 bench-data
//! wrk -t1 -c32 -d10s http://127.0.0.1:8190/                        # bare hyper
//! wrk -t1 -c32 -d10s http://127.0.0.1:8191/users/180               # one user
//! wrk -t1 -c32 -d10s -s random.lua http://127.0.0.1:8191           # any user; random.lua:
//!     request = function() return wrk.format("GET", "/users/" .. math.random(0, 999999)) end
//! ```
//!
//! The topic is one that `bench_rebuild` has filled. Compare the random users with bare hyper under the same script:
//! one thread of wrk is busy with 100,000 requests a second, and the script makes it slower.

use std::convert::Infallible;
use std::error::Error;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, ETAG, HeaderValue};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use projector::{Config, Listeners, Raw};
use service::Shutdown;
use tokio::net::TcpListener;

const BARE: &str = "127.0.0.1:8190";
const TABLE: &str = "127.0.0.1:8191";
const ADMIN: &str = "127.0.0.1:8092";
/// What a user of the bench topic takes as JSON.
const BODY_BYTES: usize = 660;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [bootstrap, topic, folder] = arguments.as_slice() else {
        return Err("usage: bench_http <bootstrap> <topic> <folder>".into());
    };
    let mut raw = Raw::default();
    raw.kafka.bootstrap.clone_from(bootstrap);
    raw.topics.users.clone_from(topic);
    raw.store.dir = folder.into();
    let listeners = Listeners { http: TcpListener::bind(TABLE).await?, admin: TcpListener::bind(ADMIN).await? };
    let (bare, shutdown) = (TcpListener::bind(BARE).await?, Shutdown::on_signals(|_| ())?);
    tokio::spawn(serve_bare(bare));
    println!("bare hyper on {BARE}, the table on {TABLE}, /readyz on {ADMIN}");
    projector::run(Config::try_from(raw)?, listeners, shutdown).await?;
    Ok(())
}

async fn serve_bare(listener: TcpListener) {
    let body = Bytes::from(vec![b'x'; BODY_BYTES]);
    while let Ok((stream, _)) = listener.accept().await {
        let body = body.clone();
        let answer = service_fn(move |_: Request<Incoming>| {
            let mut response = Response::new(Full::new(body.clone()));
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            response.headers_mut().insert(ETAG, HeaderValue::from_static("\"0-17\""));
            async move { Ok::<_, Infallible>(response) }
        });
        tokio::spawn(async move {
            let connection =
                http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), answer);
            if let Err(error) = connection.await {
                eprintln!("a connection ended with {error}");
            }
        });
    }
}
