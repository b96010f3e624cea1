//! The state of the system, and what to do.

use serde_json::{Value, json};

use super::in_browser;
use super::page::Page;
use super::streams::Relay;
use super::vendor::Vendor;
use crate::support::broker::Broker;
use crate::support::system::{Projector, System};

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

        // What the page shows is older than the tab: of four deliveries at first, then of all.
        vendor.says(4, json!({ "extension": "8" })).await;
        until_charted(&page).await;
        page.browser.open("about:blank").await;
        page.browser.open(&format!("{}/#system", system.projector.url())).await;
        page.until_text("#connection-text", "Live").await;
        page.until_says("#system", "All is well").await;
        until_charted(&page).await;
        vendor.keeps_to_itself(1, &json!({ "name": "Ada <b>Lovelace</b>" }));
        vendor.says(1, json!({ "extension": "9" })).await;
        page.until_says("#system", "Missing deliveries").await;
        page.until_text("#system a[href='#users/1']", "Ada <b>Lovelace</b>").await;
        page.until_says("#system", "Full name").await;
        page.until_says("#system .figures", "Gaps awaited\n1").await;

        page.end().await;
        system.stop().await;
    });
}

/// Waits until the last hour is charted, with five deliveries that were more than a day late.
async fn until_charted(page: &Page) {
    page.until_text("#system .lateness .bar-row:last-child .figure", "5").await;
    for chart in ["Events a minute: last", "Latest delivery of a minute: ", "Lag, records: last", "Subscribers: last"] {
        page.until(&format!("document.querySelector('#system svg.chart[aria-label^=\"{chart}\"] .line') !== null"))
            .await;
    }
    let events = "document.querySelector('#system svg.chart[aria-label^=Events]').ariaLabel";
    page.until(&format!("/at most [1-5]$/.test({events})")).await;
    let latest = "document.querySelector('#system svg.chart[aria-label^=Latest]').ariaLabel";
    page.until(&format!("/at most [0-9]+ d$/.test({latest})")).await;
}

#[test]
fn a_rebuild_is_a_bar_and_the_words_are_those_of_the_projector() {
    let test = "browser::system::a_rebuild_is_a_bar_and_the_words_are_those_of_the_projector";
    in_browser(test, async |broker| {
        let system = System::start(broker, 1).await;
        let page = Page::live(&system.projector.url()).await;
        let pretend = "const [changes] = arguments;
            const ask = window.fetch;
            window.fetch = async (url, options) => {
                const answer = await ask(url, options);
                if (!new URL(url).pathname.endsWith('/status') || !answer.ok) return answer;
                return new Response(JSON.stringify({ ...await answer.json(), ...changes }));
            };";
        let lacks = json!([{ "condition": "table", "reason": "rebuilding", "todo": "wait for `this`" }]);
        let rebuild = json!({ "stage": "reading", "pass": 2, "share": 0.256, "records": 1234, "users": 1,
            "elapsedMs": 5000 });
        let changes = json!({ "ready": { "isReady": false, "lacks": lacks }, "rebuild": rebuild });
        page.browser.run(pretend, json!([changes])).await;
        page.browser.click("#to-system").await;
        page.until_says("#system .verdict", "Not ready").await;
        page.until_says("#system .verdict-card", "Table: rebuilding. Wait for this.").await;
        page.until("document.querySelector('#rebuild progress').value === 0.256").await;
        page.until_says("#rebuild", "reading, pass 2").await;
        page.until_says("#rebuild", "25 %").await;
        page.until_says("#rebuild", "1,234 records read, 1 person loaded, in 5 s.").await;
        page.end().await;
        system.stop().await;
    });
}

#[test]
fn partitions_that_are_amiss_are_marked() {
    in_browser("browser::system::partitions_that_are_amiss_are_marked", async |broker| {
        let system = System::start_with(broker, 2, |raw| raw.topics.partitions = 12).await;
        let page = Page::live(&system.projector.url()).await;
        page.browser.click("#to-system").await;
        page.until_says("#system .verdict", "It does not work as it should").await;
        page.until_says("#system .verdict-card", "has 2 partitions, and topics.partitions says 12").await;
        let script = "const ask = window.fetch;
            window.fetch = async (url, options) => {
                const answer = await ask(url, options);
                if (!new URL(url).pathname.endsWith('/status') || !answer.ok) return answer;
                const status = await answer.json();
                Object.assign(status.partitions[1], { endOffset: null, lag: null });
                return new Response(JSON.stringify(status));
            };";
        page.browser.run(script, json!([])).await;
        page.until_says("#system .verdict-card", "The leader of partition 1 does not answer.").await;
        page.until_text("#system .plain tbody tr:nth-child(2) .tag", "leader gone").await;
        page.until_says("#system .figures", "Lag, records\nunknown").await;
        page.end().await;
        system.stop().await;
    });
}

#[test]
fn the_last_known_state_stays_while_the_projector_is_away() {
    in_browser("browser::system::the_last_known_state_stays_while_the_projector_is_away", async |broker| {
        let System { options, names, ingest, projector, store, .. } = System::start(broker, 12).await;
        let mut vendor = Vendor::of(&ingest);
        vendor.says(1, json!({})).await;
        let relay = Relay::to(&projector).await;
        let page = Page::live(&relay.url()).await;
        page.until_people(&[1]).await;
        page.browser.click("#to-system").await;
        page.until_says("#system .figures", "People\n1").await;
        page.until_says("#system", "All is well").await;

        projector.stop().await.expect("the projector ends well");
        page.until_says("#system .verdict-card", "The projector does not answer.").await;
        page.until_says("#system .stale", "The last known state, as of").await;
        page.until_says("#system .stale .figures", "People\n1").await;
        // Also of one who looks only now.
        page.browser.click("#to-roll").await;
        page.browser.click("#to-system").await;
        page.until_says("#system .stale .figures", "People\n1").await;

        vendor.says(2, json!({})).await;
        let projector = Projector::start(&options, &names, store.path(), |_| {}).await;
        projector.ready().await;
        relay.turn_to(&projector);
        page.until_says("#system .figures", "People\n2").await;
        page.until("document.querySelector('#system .stale') === null").await;
        page.until_says("#system", "All is well").await;
        page.end().await;
        projector.stop().await.expect("the projector ends well");
        ingest.stop().await.expect("ingest ends well");
    });
}

/// A poller of its own, of a projector that answers when the test lets it. Returns how many questions there were after
/// each step.
const POLL: &str = "const [done] = arguments;
    import(new URL('page/status.js', location.href)).then(async ({ StatusPoll }) => {
        const [asked, counts] = [[], []];
        const api = { json: () => new Promise((answer) => asked.push(answer)) };
        let isHidden = true;
        Object.defineProperty(document, 'hidden', { get: () => isHidden, configurable: true });
        const turn = (hidden) => {
            isHidden = hidden;
            document.dispatchEvent(new Event('visibilitychange'));
        };
        const poll = new StatusPoll(api, () => {});
        const steps = [() => poll.begin(), () => poll.watch(true), () => turn(false), () => turn(false),
            () => poll.watch(false), () => poll.watch(true)];
        for (const step of steps) {
            step();
            counts.push(asked.length);
        }
        poll.end();
        delete document.hidden;
        done(counts);
    });";

#[test]
fn a_tab_asks_for_the_state_by_one_hand_and_not_out_of_sight() {
    in_browser("browser::system::a_tab_asks_for_the_state_by_one_hand_and_not_out_of_sight", async |broker| {
        let system = System::start(broker, 1).await;
        let page = Page::live(&system.projector.url()).await;
        let counts = page.browser.run_async(POLL, json!([])).await;
        assert_eq!(counts, json!([0, 0, 1, 1, 1, 1]), "none while hidden, and one at a time");
        page.end().await;
        system.stop().await;
    });
}

#[test]
fn a_table_that_kafka_does_not_keep_up_is_not_called_live() {
    in_browser("browser::system::a_table_that_kafka_does_not_keep_up_is_not_called_live", async |broker| {
        let Broker::Embedded(embedded) = broker else { panic!("the browser looks at the embedded broker") };
        let system = System::start(broker, 1).await;
        let page = Page::live(&system.projector.url()).await;
        embedded.go_down().expect("the embedded broker goes down");
        page.until("document.getElementById('connection').dataset.kind === 'behind'").await;
        page.until_says("#trouble", "Kafka does not answer.").await;
        page.until_says("#connection-text", "As of ").await;
        page.browser.click("#to-system").await;
        page.until_says("#trouble", "Kafka does not answer.").await;
        embedded.come_back().expect("the embedded broker comes back");
        page.until_text("#connection-text", "Live").await;
        page.until("document.getElementById('trouble').hidden").await;
        page.end().await;
        system.stop().await;
    });
}

/// Returns what is changed of a status in which all is well, what the page then says, and what it advises.
fn faults() -> [(&'static str, Value, &'static str, &'static str); 7] {
    let number = json!("the topic vcc.users has 3 partitions, and topics.partitions says 12");
    let reader = json!({ "isReady": false, "lacks": [{ "condition": "reader", "reason": "behind", "todo": "wait" }] });
    [
        ("ready", reader, "Reader: behind.", "Wait."),
        ("cluster.answers", json!(false), "Kafka does not answer since", "rollcall config check --online"),
        ("partitions.0.heldBack", json!("since then"), "holds back partition 4", "kafka-transactions.sh"),
        (
            "partitions.0.endOffset",
            Value::Null,
            "The leader of partition 4 does not answer",
            "kafka-topics.sh --describe",
        ),
        ("partitionsFault", number, "The topic vcc.users has 3 partitions", "rollcall topics copy"),
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
            const status = { ready: { isReady: true, lacks: [] },
                cluster: { answers: true, lastAnswer: new Date().toISOString() }, erasureHeldBack: null,
                partitionsFault: null, partitions: [{ partition: 4, endOffset: 1, heldBack: null }], gaps: { lost: 0 },
                unreadable: { records: 0 }, unknown: { users: 0 } };
            const names = path.split('.');
            const last = names.pop();
            names.reduce((part, name) => part[name], status)[last] = value;
            import(new URL('page/advice.js', location.href)).then(({ judge }) => done(judge(status)));";
        let well = page.browser.run_async(judge, json!(["gaps.lost", 0])).await;
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
