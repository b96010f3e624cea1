//! A scan sees every record of its ranges once, and no other record.

use std::ops::ControlFlow;
use std::time::Duration;

use kafka::ClientOptions;
use kafka::scan::{Coverage, Error, Range, ranges, scan, share};

use crate::broker::{PATIENCE, TOPIC, broker, outgoing, publish_all, publisher};

/// The silence limit of a scan that is expected to reach it.
const SILENCE: Duration = Duration::from_secs(1);

/// Scans on a thread that may block, and returns `partition:offset=value` for each record.
async fn scan_all(options: &ClientOptions, ranges: Vec<Range>) -> Result<(Coverage, Vec<String>), Error> {
    let options = options.clone();
    tokio::task::spawn_blocking(move || {
        let mut seen = Vec::new();
        let outcome = scan(&options, TOPIC, &ranges, PATIENCE, |record| {
            let value = String::from_utf8_lossy(record.value().unwrap_or(b"-")).into_owned();
            seen.push(format!("{}={value}", record.position()));
            ControlFlow::Continue(())
        })?;
        seen.sort();
        Ok((outcome, seen))
    })
    .await
    .unwrap()
}

async fn whole(options: &ClientOptions) -> Vec<Range> {
    let options = options.clone();
    tokio::task::spawn_blocking(move || ranges(&options, TOPIC, PATIENCE)).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_whole_log_by_shares() {
    let broker = broker(3);
    let positions = publish_all(&publisher(&broker), 0..40).await;
    let options = broker.client_options();
    let mut seen = Vec::new();
    for share in share(whole(&options).await, 2) {
        let (outcome, records) = scan_all(&options, share).await.unwrap();
        assert_eq!(outcome, Coverage::Complete);
        seen.extend(records);
    }
    let mut expected: Vec<String> =
        positions.iter().enumerate().map(|(number, position)| format!("{position}=v{number}")).collect();
    expected.sort();
    seen.sort();
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_ends_where_it_was_fixed() {
    let broker = broker(1);
    let publisher = publisher(&broker);
    publish_all(&publisher, 0..5).await;
    let options = broker.client_options();
    let fixed = whole(&options).await;
    publish_all(&publisher, 5..9).await;
    let (_, seen) = scan_all(&options, fixed).await.unwrap();
    assert_eq!(seen.len(), 5);

    let (_, part) = scan_all(&options, vec![Range { partition: 0, start: 2, end: 4 }]).await.unwrap();
    assert_eq!(part, ["0:2=v2", "0:3=v3"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_that_the_log_does_not_reach_is_an_error() {
    let broker = broker(1);
    publish_all(&publisher(&broker), 0..3).await;
    let options = broker.client_options();
    let scanned = tokio::task::spawn_blocking(move || {
        let beyond = [Range { partition: 0, start: 0, end: 10 }];
        let mut seen = 0;
        let outcome = scan(&options, TOPIC, &beyond, SILENCE, |_| {
            seen += 1;
            ControlFlow::Continue(())
        });
        (outcome, seen)
    });
    let outside = Error::PositionOutsideLog { partition: 0, next_offset: 10, low: 0, high: 3 };
    assert_eq!(scanned.await.unwrap(), (Err(outside), 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_reported_too_early_is_ignored() {
    let broker = broker(1);
    let publisher = publisher(&broker);
    publish_all(&publisher, 0..3).await;
    let options = broker.client_options();
    let (sender, mut passed) = tokio::sync::mpsc::unbounded_channel();
    let scanned = tokio::task::spawn_blocking(move || {
        scan(&options, TOPIC, &[Range { partition: 0, start: 0, end: 5 }], PATIENCE, |record| {
            sender.send(record.position().offset).unwrap();
            ControlFlow::Continue(())
        })
    });
    for offset in 0..3 {
        assert_eq!(passed.recv().await, Some(offset));
    }
    // The records that the replica lacked.
    publish_all(&publisher, 3..5).await;
    assert_eq!((passed.recv().await, passed.recv().await), (Some(3), Some(4)));
    assert_eq!(scanned.await.unwrap(), Ok(Coverage::Complete));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_to_scan_is_complete() {
    let broker = broker(2);
    let options = broker.client_options();
    let empty = whole(&options).await;
    assert_eq!(scan_all(&options, empty).await, Ok((Coverage::Complete, vec![])));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_callback_can_stop_it_and_sees_headers() {
    let broker = broker(1);
    let publisher = publisher(&broker);
    publisher.publish(outgoing("180", "first")).await.unwrap();
    publisher.publish(outgoing("180", "second")).await.unwrap();
    let options = broker.client_options();
    let all = whole(&options).await;
    let (outcome, ids) = tokio::task::spawn_blocking(move || {
        let mut ids = Vec::new();
        let outcome = scan(&options, TOPIC, &all, PATIENCE, |record| {
            assert_eq!(record.key(), Some(&b"180"[..]));
            assert_eq!(record.to_record().headers.len(), 1);
            assert_eq!(record.header("absent"), None);
            ids.push(record.header("ce_id").unwrap().to_vec());
            ControlFlow::Break(())
        });
        (outcome, ids)
    })
    .await
    .unwrap();
    assert_eq!(outcome, Ok(Coverage::Stopped));
    assert_eq!(ids, [b"id of first".to_vec()]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_outside_the_log_is_an_error() {
    let broker = broker(1);
    publish_all(&publisher(&broker), 0..3).await;
    let outside = vec![Range { partition: 0, start: 7, end: 10 }];
    let error = scan_all(&broker.client_options(), outside).await.unwrap_err();
    assert_eq!(error, Error::PositionOutsideLog { partition: 0, next_offset: 7, low: 0, high: 3 });
}
