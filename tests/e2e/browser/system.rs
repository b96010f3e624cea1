//! The state of the system, and what to do.

use serde_json::{Value, json};

use super::in_browser;
use super::page::Page;
use super::vendor::Vendor;
use crate::support::system::System;

#[test]
fn the_system_says_how_it_is_and_what_to_do() {
    in_browser("browser::system::the_system_says_how_it_is_and_what_to_do", async |broker| {
        let system = System::start(broker, 3).await;
        let mut vendor = Vendor::of(&system.ingest);
        for id in 1..=4 {
            vendor.says(id, json!({})).await;
        }
        let page = Page::live(&system.projector.url()).await;
        page.until_people(&[1, 2, 3, 4]).await;
        page.browser.click("#to-system").await;
        page.until_says("#system", "All is well").await;
        page.until("document.querySelectorAll('#system .plain tbody tr').length === 3").await;
        page.until_says("#system .figures", "People\n4").await;
        page.until_says("#system .figures", "Subscribers\n1 of").await;
        page.until_says("#system", "Following the log").await;

        // The tab has seen one delivery, of an event long ago.
        vendor.says(4, json!({ "extension": "8" })).await;
        page.until_text("#system .bar-row:last-child .figure", "1").await;
        page.until("document.querySelectorAll('#system svg.chart .line').length > 0").await;
        vendor.keeps_to_itself(1, &json!({ "name": "Between" }));
        vendor.says(1, json!({ "extension": "9" })).await;
        page.until_says("#system", "Missing deliveries").await;
        page.until_says("#system .figures", "Gaps awaited\n1").await;

        page.end().await;
        system.stop().await;
    });
}

/// Returns what is changed of a status in which all is well, what the page then says, and what it advises.
fn faults() -> [(&'static str, Value, &'static str, &'static str); 8] {
    [
        ("phase", json!("starting"), "Nothing can be answered yet", "Kafka can be reached"),
        ("phase", json!("rebuilding"), "made again from the log: reading.", "another replica"),
        ("phase", json!("indexing"), "Indexes are being made", "goes on by itself"),
        ("cluster.answers", json!(false), "Kafka does not answer since", "rollcall config check --online"),
        ("asOf", json!("2024-01-01T00:00:00Z"), "The table is", "no leader"),
        ("partitions.0.heldBack", json!("since then"), "holds back partition 4", "kafka-transactions.sh"),
        ("gaps.lost", json!(2), "2 deliveries are lost", "whole person"),
        ("unreadable.records", json!(1), "1 record could not be read", "rollcall dead-letter list"),
    ]
}

#[test]
fn each_fault_is_said_with_what_to_do() {
    in_browser("browser::system::each_fault_is_said_with_what_to_do", async |broker| {
        let system = System::start(broker, 1).await;
        let page = Page::live(&system.projector.url()).await;
        let judge = "const [path, value, done] = arguments;
            const status = { phase: 'following', phaseDetail: 'reading', asOf: new Date().toISOString(),
                cluster: { answers: true, lastAnswer: new Date().toISOString() }, erasureHeldBack: null,
                partitions: [{ partition: 4, endOffset: 1, heldBack: null }], gaps: { lost: 0 },
                unreadable: { records: 0 }, unknown: { users: 0 } };
            const names = path.split('.');
            const last = names.pop();
            names.reduce((part, name) => part[name], status)[last] = value;
            import(new URL('page/advice.js', location.href)).then(({ judge }) => done(judge(status)));";
        let well = page.browser.run_async(judge, json!(["phase", "following"])).await;
        assert_eq!((&well["level"], &well["advice"]), (&json!("good"), &json!([])));
        for (fault, value, what, todo) in faults() {
            let judged = page.browser.run_async(judge, json!([fault, value])).await;
            assert_eq!(judged["advice"].as_array().map(Vec::len), Some(1), "{fault}: {judged}");
            let said = |place: usize| judged["advice"][0][place].as_str().unwrap_or_default().to_owned();
            assert!(said(0).contains(what) && said(1).contains(todo), "{fault}: {judged}");
            assert_ne!(judged["level"], "good", "{fault}");
        }
        page.end().await;
        system.stop().await;
    });
}
