//! A restart of the projector, and several tabs.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use projector::Scope;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::access::{enter, token};
use super::in_browser;
use super::page::{Page, cell, until};
use super::vendor::Vendor;
use crate::support::system::{Projector, System};

/// Presses the button, which is there between attempts alone.
const TRY_NOW: &str = "document.getElementById('try-now').click();";

/// An address that stays while the projector behind it goes and comes.
pub(super) struct Relay {
    address: SocketAddr,
    target: Arc<watch::Sender<SocketAddr>>,
}

impl Relay {
    pub(super) async fn to(projector: &Projector) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port is free");
        let address = listener.local_addr().expect("a listener has an address");
        let target = Arc::new(watch::Sender::new(address_of(projector)));
        let now = Arc::clone(&target);
        tokio::spawn(async move {
            while let Ok((mut from, _)) = listener.accept().await {
                let there = *now.borrow();
                tokio::spawn(async move {
                    if let Ok(mut to) = TcpStream::connect(there).await {
                        // Whichever side ends: the other one is told by the end of its connection.
                        copy_bidirectional(&mut from, &mut to).await.ok();
                    }
                });
            }
        });
        Self { address, target }
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(super) fn turn_to(&self, projector: &Projector) {
        self.target.send_replace(address_of(projector));
    }
}

fn address_of(projector: &Projector) -> SocketAddr {
    projector.url().trim_start_matches("http://").parse().expect("an address")
}

#[test]
fn a_restart_is_said_and_leaves_no_gap() {
    in_browser("browser::streams::a_restart_is_said_and_leaves_no_gap", async |broker| {
        let System { options, names, ingest, projector, store, .. } = System::start(broker, 1).await;
        let mut vendor = Vendor::of(&ingest);
        vendor.says(1, json!({ "extension": "100" })).await;
        let relay = Relay::to(&projector).await;
        let page = Page::live(&relay.url()).await;
        page.until_text(&cell(1, "extension"), "100").await;
        let watch = "window.seen = [];
            new MutationObserver(() => {
                const cell = document.querySelector(arguments[0]);
                if (cell && window.seen.at(-1) !== cell.textContent) window.seen.push(cell.textContent);
            }).observe(document.getElementById('rows'), { subtree: true, childList: true, characterData: true });";
        let script = format!("const selector = arguments[0]; {}", watch.replace("arguments[0]", "selector"));
        page.browser.run(&script, json!([cell(1, "extension")])).await;

        projector.stop().await.expect("the projector ends well");
        page.until_text("#connection-text", "Reconnecting").await;
        page.until_says("#trouble", "What is shown is as of").await;
        // What is asked for now is not what is shown, until there is an answer.
        page.fill("#q", "Person 2").await;
        page.until_text("#count", "not applied until connected").await;
        page.until("document.querySelector('#scroll[data-stale] tr[data-id=\"1\"]') !== null").await;
        page.browser.run(TRY_NOW, json!([])).await;
        vendor.says(1, json!({ "extension": "101" })).await;
        vendor.says(2, json!({})).await;
        let projector = Projector::start(&options, &names, store.path(), |_| {}).await;
        projector.ready().await;
        relay.turn_to(&projector);
        page.until_text("#connection-text", "Live").await;
        page.until_people(&[2]).await;
        page.until("document.querySelector('[data-stale]') === null").await;
        page.fill("#q", "").await;
        page.until_people(&[1, 2]).await;
        page.until_text(&cell(1, "extension"), "101").await;
        vendor.says(1, json!({ "extension": "102" })).await;
        page.until_text(&cell(1, "extension"), "102").await;
        assert_eq!(page.value("window.seen").await, json!(["101", "102"]), "each once, and never back");
        page.end().await;
        projector.stop().await.expect("the projector ends well");
        ingest.stop().await.expect("ingest ends well");
    });
}

#[test]
fn tabs_of_one_token_share_a_stream_and_others_do_not() {
    in_browser("browser::streams::tabs_of_one_token_share_a_stream_and_others_do_not", async |broker| {
        let folder = TempDir::new().expect("a folder can be made");
        let (one, one_line) = token(1, "one", &[Scope::UsersRead, Scope::ChangesRead]);
        let (other, other_line) = token(2, "other", &[Scope::UsersRead, Scope::UsersContact, Scope::ChangesRead]);
        let file = folder.path().join("tokens");
        std::fs::write(&file, one_line + &other_line).expect("the folder can be written");
        let system = System::start_with(broker, 1, |raw| raw.auth.token_file = file).await;
        let mut vendor = Vendor::of(&system.ingest);
        vendor.says(1, json!({ "extension": "100" })).await;
        let url = format!("{}/", system.projector.url());

        let page = Page::open(&system.projector.url()).await;
        let first = page.browser.tab().await;
        enter(&page, &one).await;
        page.until_text("#connection-text", "Live").await;
        let second = page.browser.new_tab().await;
        page.browser.open(&url).await;
        enter(&page, &one).await;
        page.until_text("#connection-text", "Live").await;
        page.until_text(&cell(1, "extension"), "100").await;
        subscribers(&system, 1).await;
        page.browser.new_tab().await;
        page.browser.open(&url).await;
        enter(&page, &other).await;
        page.until_text("#connection-text", "Live").await;
        subscribers(&system, 2).await;
        page.browser.close_tab().await;
        page.browser.turn_to(&second).await;
        subscribers(&system, 1).await;

        vendor.says(1, json!({ "extension": "101" })).await;
        page.until_text(&cell(1, "extension"), "101").await;
        page.browser.turn_to(&first).await;
        page.until_text(&cell(1, "extension"), "101").await;
        // The one that reads goes; the other goes on where it was.
        page.browser.close_tab().await;
        vendor.says(1, json!({ "extension": "102" })).await;
        page.browser.turn_to(&second).await;
        page.until_text(&cell(1, "extension"), "102").await;
        page.until_text("#connection-text", "Live").await;
        subscribers(&system, 1).await;
        vendor.says(2, json!({})).await;
        page.until_people(&[1, 2]).await;
        page.end().await;
        system.stop().await;
    });
}

#[test]
fn another_log_starts_over() {
    in_browser("browser::streams::another_log_starts_over", async |broker| {
        let (before, after) = (System::start(broker, 1).await, System::start(broker, 1).await);
        let mut vendor = Vendor::of(&before.ingest);
        for id in 1..=3 {
            vendor.says(id, json!({ "name": "Of the old log" })).await;
        }
        vendor.says(1, json!({ "extension": "77" })).await;
        let mut vendor = Vendor::of(&after.ingest);
        vendor.says(1, json!({ "name": "Of the new log" })).await;
        let relay = Relay::to(&before.projector).await;
        let page = Page::live(&relay.url()).await;
        page.until_text(&cell(1, "extension"), "77").await;
        page.browser.run("location.hash = 'users/3';", json!([])).await;
        page.until_text("#person-name", "Of the old log").await;

        // Its positions are less than those that were shown, and nobody is 2 or 3.
        before.projector.http.get("/status").await;
        relay.turn_to(&after.projector);
        before.stop().await;
        page.until_text("#connection-text", "Live").await;
        page.until_people(&[1]).await;
        page.until_text(&format!("{} a", cell(1, "name")), "Of the new log").await;
        page.until_says("#person", "Nobody with this number").await;
        page.until("!document.body.innerText.includes('Of the old log')").await;
        vendor.says(2, json!({})).await;
        page.until_people(&[1, 2]).await;
        page.end().await;
        after.stop().await;
    });
}

#[test]
fn a_page_without_a_place_waits_for_one() {
    in_browser("browser::streams::a_page_without_a_place_waits_for_one", async |broker| {
        let system = System::start_with(broker, 1, |raw| raw.changes.subscribers_max = 1).await;
        let mut vendor = Vendor::of(&system.ingest);
        // The page asks once who there is, and hears of nobody while it waits.
        let said = vendor.says(1, json!({})).await;
        system.user_after(1, &said).await;
        let mut other = TcpStream::connect(address_of(&system.projector)).await.expect("the projector listens");
        let request = "GET /changes HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n\r\n";
        other.write_all(request.as_bytes()).await.expect("the projector reads");
        subscribers(&system, 1).await;

        let page = Page::open(&system.projector.url()).await;
        page.until_text("#connection-text", "Waiting for a place").await;
        page.until_says("#trouble", "There are as many subscribers as there may be").await;
        page.until_says("#trouble", "Next attempt in").await;
        page.until_people(&[1]).await;
        drop(other);
        // That it has gone is noticed when something is sent. The page may try by itself as soon as the place is free.
        let mut round = 0;
        until("the page has the place", async || {
            round += 1;
            vendor.says(1, json!({ "extension": round.to_string() })).await;
            let is_live = page.value("document.querySelector('#connection-text').textContent").await == "Live";
            if !is_live {
                page.browser.run(TRY_NOW, json!([])).await;
            }
            is_live.then_some(())
        })
        .await;
        page.until_text(&cell(1, "extension"), &round.to_string()).await;
        page.end().await;
        system.stop().await;
    });
}

/// Waits until the projector has so many streams.
async fn subscribers(system: &System, expected: u32) {
    let line = format!("rollcall_projector_subscribers {expected}\n");
    until("the number of streams", async || system.projector.metrics().await.contains(&line).then_some(())).await;
}

/// A projector that is up, and has no table: its stream is open and silent, and no person is answered.
const NO_TABLE: &str = "const ask = window.fetch;
    window.fetch = async (url, options) => {
        const path = new URL(url).pathname;
        if (path.endsWith('/changes')) return new Response(new ReadableStream({}));
        if (path.endsWith('/status')) {
            return new Response(JSON.stringify({ detail: 'the table waits for Kafka' }), { status: 503 });
        }
        return path.includes('/users/') ? new Promise(() => {}) : ask(url, options);
    };
    document.getElementById('leave').click();";

#[test]
fn a_projector_that_is_not_ready_says_why() {
    in_browser("browser::streams::a_projector_that_is_not_ready_says_why", async |broker| {
        let system = System::start(broker, 1).await;
        let mut vendor = Vendor::of(&system.ingest);
        vendor.says(1, json!({})).await;
        let page = Page::live(&system.projector.url()).await;
        page.until_people(&[1]).await;
        page.browser.run(NO_TABLE, json!([])).await;
        page.until_text("#connection-text", "Not ready").await;
        page.until_says("#trouble", "Not ready. The table waits for Kafka. What is shown is as of").await;
        page.until("document.getElementById('try-now').hidden").await;
        page.browser.run("location.hash = 'users/1';", json!([])).await;
        page.until_says("#person", "The table waits for Kafka.").await;
        page.end().await;
        system.stop().await;
    });
}
