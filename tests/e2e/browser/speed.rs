//! From a webhook to the lit cell, and 100,000 people. Both are measured, and neither fails by slowness.

use std::time::Duration;

use futures_util::StreamExt as _;
use kafka::publish::{Limits, Outgoing, Publisher};
use serde_json::json;
use testkit::event::{event, user};
use testkit::eventually;
use tokio::task::JoinSet;

use super::in_browser;
use super::page::{Page, cell};
use super::vendor::Vendor;
use crate::support::system::{System, WEBHOOK, now};

const PER_SECOND: u64 = 50;
/// How many changes are measured.
const CHANGES: i64 = 250;
/// Of so many people, all of whom are in sight.
const PEOPLE: i64 = 15;
/// The people of a large call centre, many times over.
const MANY: i64 = 100_000;
/// How long the projector may take to read them.
const TABLE_MAX: Duration = Duration::from_secs(600);
/// How many records are under way at once.
const UNDER_WAY: usize = 2_000;

#[test]
fn a_cell_is_lit_soon_after_the_webhook() {
    in_browser("browser::speed::a_cell_is_lit_soon_after_the_webhook", async |broker| {
        let system = System::start(broker, 3).await;
        let mut vendor = Vendor::of(&system.ingest);
        for id in 0..PEOPLE {
            vendor.says(id, json!({})).await;
        }
        let page = Page::live(&system.projector.url()).await;
        page.until(&format!("document.querySelectorAll('tr[data-id]').length === {PEOPLE}")).await;
        // A task after the frame in which the cell was lit: it has been painted then.
        let watch = "window.lit = {};
            new MutationObserver((list) => {
                const texts = list.map(({ target }) => target.textContent);
                setTimeout(() => texts.forEach((text) => (window.lit[text] ??= Date.now())), 0);
            }).observe(document.getElementById('rows'), { subtree: true, attributeFilter: ['data-lit'] });
            // When the change came to the page.
            window.came = {};
            const read = ReadableStreamDefaultReader.prototype.read;
            ReadableStreamDefaultReader.prototype.read = async function () {
                const piece = await read.call(this);
                if (typeof piece.value === 'string') {
                    const texts = piece.value.matchAll(/\"extension\":\"(e\\d+)\"/g);
                    for (const [, text] of texts) window.came[text] ??= Date.now();
                }
                return piece;
            };";
        page.browser.run(watch, json!([])).await;

        let mut pace = tokio::time::interval(Duration::from_micros(1_000_000 / PER_SECOND));
        let mut answers = JoinSet::new();
        for number in 0..CHANGES {
            pace.tick().await;
            let extension = format!("e{number}");
            let body = vendor.body(number % PEOPLE, &json!({ "extension": extension }));
            let ingest = system.ingest.http.clone();
            answers.spawn(async move {
                let answer = ingest.post(WEBHOOK, body).await;
                assert_eq!(answer.status.as_u16(), 200, "{answer:?}");
                (extension, now().millis())
            });
        }
        let answered: Vec<(String, i64)> = answers.join_all().await;
        let last = cell((CHANGES - 1) % PEOPLE, "extension");
        page.until_text(&last, &format!("e{}", CHANGES - 1)).await;
        page.until(&format!("window.lit['e{}'] !== undefined", CHANGES - 1)).await;
        let (came, lit) = (page.value("window.came").await, page.value("window.lit").await);
        // Of two changes of one person in a frame only the later is painted.
        let whole = sorted(answered.iter().filter_map(|(text, at)| Some((lit[text].as_i64()? - at).max(0))));
        let of_page = sorted(answered.iter().filter_map(|(text, _)| Some(lit[text].as_i64()? - came[text].as_i64()?)));
        let (painted, all) = (whole.len(), answered.len());
        assert!(painted * 2 > all, "most changes are seen: {painted} of {all}");
        println!("webhook's 200 to lit cell at {PER_SECOND}/s: {}", percentiles(&whole));
        println!("from the event in the page to lit cell: {}", percentiles(&of_page));
        println!("{painted} of {all} changes were painted");
        page.end().await;
        system.stop().await;
    });
}

fn sorted(times: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut times: Vec<i64> = times.collect();
    times.sort_unstable();
    times
}

/// Returns the percentiles of sorted times, of which there is at least one.
fn percentiles(times: &[i64]) -> String {
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    format!("p50 {} ms, p90 {} ms, p99 {} ms, at most {} ms", at(50), at(90), at(99), at(100))
}

#[test]
#[ignore = "slow: .ci/full runs it"]
fn a_hundred_thousand_people_scroll_without_a_stutter() {
    in_browser("browser::speed::a_hundred_thousand_people_scroll_without_a_stutter", async |broker| {
        // The broker in memory keeps few megabytes of each partition.
        let system = System::start(broker, 12).await;
        let publisher = Publisher::open(&system.options, Limits::default()).expect("the options are usable");
        let topic = system.names.users.clone();
        let send = |id: i64| {
            let event = event(None, user(id, &format!("Person {id}")), 1_700_000_000);
            publisher.publish(Outgoing::event(&event, &topic, None))
        };
        let mut sent = futures_util::stream::iter(1..=MANY).map(send).buffer_unordered(UNDER_WAY);
        while let Some(stored) = sent.next().await {
            stored.expect("the event is stored");
        }
        eventually("the table has everybody", TABLE_MAX, async || {
            (system.projector.http.get("/status").await.json()["users"] == MANY).then_some(())
        })
        .await;

        let page = Page::live(&system.projector.url()).await;
        page.until("document.querySelectorAll('tr[data-id]').length > 20").await;
        let mut vendor = Vendor::of(&system.ingest);
        let scroll = page.browser.run_async(SCROLL, json!([MANY]));
        let (done, more) = tokio::sync::watch::channel(false);
        let live = async {
            let mut pace = tokio::time::interval(Duration::from_micros(1_000_000 / PER_SECOND));
            let mut number = 0_i64;
            while !*more.borrow() {
                pace.tick().await;
                number += 1;
                vendor.says(MANY + number % PEOPLE, json!({ "extension": number.to_string() })).await;
            }
        };
        let scrolled = async {
            let measured = scroll.await;
            done.send_replace(true);
            measured
        };
        let (measured, ()) = tokio::join!(scrolled, live);
        println!("{MANY} people, scrolled to the last, at {PER_SECOND} events a second: {measured}");
        assert!(measured["people"].as_i64() >= Some(MANY), "{measured}");
        assert!(measured["rows"].as_i64() < Some(150), "rows out of sight are not there: {measured}");

        let asked = now();
        page.fill("#q", "Person 99999").await;
        page.until("document.querySelectorAll('tr[data-id]').length === 1").await;
        println!("a search among them: {} ms, as the test sees it", now().millis() - asked.millis());
        page.end().await;
        system.stop().await;
    });
}

/// Scrolls as fast as the rows come, and measures frames and long tasks.
const SCROLL: &str = "const [many, done] = arguments;
    const box = document.getElementById('scroll');
    const [frames, tasks] = [[], []];
    new PerformanceObserver((list) => tasks.push(...list.getEntries().map(({ duration }) => duration)))
        .observe({ type: 'longtask' });
    let [last, rows] = [performance.now(), 0];
    const began = last;
    const loaded = () => Number(document.getElementById('people').getAttribute('aria-rowcount'));
    const step = (at) => {
        frames.push(at - last);
        last = at;
        rows = Math.max(rows, document.querySelectorAll('tr[data-id]').length);
        const end = box.scrollHeight - box.clientHeight;
        box.scrollTop = Math.min(end, box.scrollTop + 20000);
        if (loaded() < many || box.scrollTop < end - 1) return requestAnimationFrame(step);
        frames.sort((a, b) => a - b);
        const at99 = (list, share) => Math.round(list[Math.floor((list.length - 1) * share)] ?? 0);
        done({ people: loaded() - 1, rows, seconds: Math.round((at - began) / 1000), frames: frames.length,
            frameMs: { p50: at99(frames, 0.5), p99: at99(frames, 0.99), max: at99(frames, 1) },
            longTasks: tasks.length, longestTaskMs: Math.round(Math.max(0, ...tasks)) });
    };
    requestAnimationFrame(step);";
