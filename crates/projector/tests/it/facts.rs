//! Status, metrics and readiness say one thing of each fact, whatever happens to the cluster.

use std::time::Duration;

use domain::UnixMillis;
use serde_json::{Value, json};
use testkit::broker::Log;
use testkit::event::{event, user};
use testkit::eventually;

use crate::support::{Service, get};

/// How long a condition is waited for: longer than it takes to find the cluster again.
const PATIENCE: Duration = Duration::from_secs(90);
const PARTITIONS: usize = 2;

/// What one source says.
#[derive(Debug, PartialEq)]
struct Said {
    lags: Vec<Option<i64>>,
    next_offsets: Vec<Option<i64>>,
    answers: bool,
    as_of_ms: Option<i64>,
}

fn said_by_status(status: &Value) -> Said {
    let partitions = status["partitions"].as_array().unwrap();
    let of = |name: &str| partitions.iter().map(|partition| partition[name].as_i64()).collect();
    let as_of = status["asOf"].as_str().map(|text| UnixMillis::parse_iso8601(text).unwrap().millis());
    Said {
        lags: of("lag"),
        next_offsets: of("nextOffset"),
        answers: status["cluster"]["answers"] == true,
        as_of_ms: as_of,
    }
}

fn said_by_metrics(metrics: &str) -> Said {
    let value = |name: &str| metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let of = |name: &str| {
        let label =
            |partition| format!("rollcall_projector_{name}{{messaging_destination_partition_id=\"{partition}\"}}");
        (0..PARTITIONS).map(|partition| value(&label(partition)).map(|value| value.parse().unwrap())).collect()
    };
    let as_of = value("rollcall_projector_as_of_timestamp_seconds").map(|value| value.parse::<f64>().unwrap());
    Said {
        lags: of("lag"),
        next_offsets: of("next_offset"),
        answers: value("rollcall_projector_cluster_answers") == Some("1"),
        #[expect(clippy::cast_possible_truncation, reason = "milliseconds of this century")]
        as_of_ms: as_of.map(|seconds| (seconds * 1_000.0).round() as i64),
    }
}

/// Waits until the status is as `is_meant` says, and compares what the metrics say at that moment; asked again where
/// the facts have changed meanwhile. Returns what both say, the whole status, and what readiness says.
async fn agreed(service: &Service, what: &str, is_meant: impl Fn(&Said) -> bool) -> (Said, Value, (u16, String)) {
    eventually(what, PATIENCE, async || {
        let before = service.get("/status").await.json();
        let metrics = get(service.admin, "/metrics", &[]).await;
        let ready = get(service.admin, "/readyz", &[]).await;
        let after = service.get("/status").await.json();
        let said = said_by_status(&before);
        if said_by_status(&after) != said || !is_meant(&said) {
            return None;
        }
        assert_eq!(said_by_metrics(metrics.body_text()), said, "{}", metrics.body_text());
        Some((said, after, (ready.status.as_u16(), ready.body_text().to_owned())))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn all_say_one_thing_through_an_outage() {
    let (kafka, store) = (Log::start(i32::try_from(PARTITIONS).unwrap()), tempfile::tempdir().unwrap());
    let service = Service::start_with(&kafka, &store, |raw| raw.ready.behind_max_seconds = 10).await;
    service.ready().await;
    for id in 0..20 {
        kafka.event(&event(None, user(id, "x"), id)).await;
    }
    let is_read = |said: &Said| said.answers && said.next_offsets.iter().flatten().sum::<i64>() >= 20;
    let is_level = |said: &Said| is_read(said) && said.lags.iter().all(|lag| *lag == Some(0));
    let (before, ..) = agreed(&service, "all is read", is_level).await;

    kafka.broker.go_down().unwrap();
    let (away, status, _) = agreed(&service, "the silence is noticed", |said| !said.answers).await;
    assert_eq!(away.lags, [None; PARTITIONS], "what is not known is not 0");
    assert!(away.as_of_ms >= before.as_of_ms, "{away:?} {before:?}");
    let phase = status["phaseDetail"].as_str().unwrap();
    let since = status["cluster"]["lastAnswer"].as_str().unwrap();
    let trouble = format!("the cluster does not answer since {since}");
    assert_eq!((phase, &status["trouble"]), (&*format!("following the log; {trouble}"), &json!(trouble)));
    let unready = async || {
        let answer = get(service.admin, "/readyz", &[]).await;
        (answer.status == 503).then(|| answer.body_text().to_owned())
    };
    let refused = eventually("the table is too old", PATIENCE, unready).await;
    assert!(refused.contains(&format!("the cluster does not answer since {since}")), "{refused}");
    let (later, ..) = agreed(&service, "the table grows old", |said| !said.answers).await;
    assert_eq!(later.as_of_ms, away.as_of_ms, "nothing is known of the log since");

    kafka.broker.come_back().unwrap();
    kafka.event(&event(None, user(99, "x"), 99)).await;
    let goes_on = |said: &Said| is_level(said) && said.next_offsets.iter().flatten().sum::<i64>() == 21;
    let (back, status, _) = agreed(&service, "the table goes on", goes_on).await;
    let newer = |said: &Said| said.as_of_ms > away.as_of_ms && goes_on(said);
    agreed(&service, "the table is new again", newer).await;
    assert!(back.answers && status["phaseDetail"] == "following the log", "{status}");
    assert!(status["trouble"].is_null(), "{status}");
    service.ready().await;
    service.stop().await;
}

/// What there is in the table, by one source; `None` while it says nothing.
type Counted = Option<[u64; 5]>;

#[tokio::test(flavor = "multi_thread")]
async fn the_metrics_count_what_status_counts_from_the_first_moment() {
    let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
    let service = Service::start(&kafka, &store).await;
    let counted = async || {
        let metrics = get(service.admin, "/metrics", &[]).await;
        let value = |name: &str| {
            let text = metrics.body_text();
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse::<u64>().ok())
        };
        let found = ["users", "forgotten_users", "unreadable_records", "gaps{state=\"lost\"}", "unknown_users"]
            .map(|name| value(&format!("rollcall_projector_{name}")));
        let said: Counted = match found {
            [Some(a), Some(b), Some(c), Some(d), Some(e)] => Some([a, b, c, d, e]),
            none => {
                assert_eq!(none, [None; 5], "all or none");
                None
            }
        };
        said
    };
    let status = async || -> Counted {
        let answer = service.get("/status").await;
        let body = (answer.status == 200).then(|| answer.json())?;
        let of = |pointer: &str| body.pointer(pointer)?.as_u64();
        Some([of("/users")?, of("/forgotten")?, of("/unreadable/records")?, of("/gaps/lost")?, of("/unknown/users")?])
    };
    for id in 0..50 {
        kafka.event(&event(None, user(id, "x"), id)).await;
        // What is there changes meanwhile: the metrics are of the time between the two.
        let (before, between, after) = (status().await, counted().await, status().await);
        assert!(before <= between && between <= after, "{before:?} {between:?} {after:?}");
    }
    service.stop().await;
}
