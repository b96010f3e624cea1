//! The state of the system, and what to do.

use serde_json::json;

use super::in_browser;
use super::page::Page;
use super::vendor::Vendor;
use crate::support::broker::Broker;
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

        let Broker::Embedded(kafka) = broker else { unreachable!("these tests have the embedded broker") };
        kafka.go_down().expect("the broker can go");
        page.until_says("#system .verdict-card", "Kafka does not answer").await;
        page.until_says("#system .verdict-card", "rollcall config check --online").await;
        kafka.come_back().expect("the broker can come back");
        page.until_says("#system", "All is well").await;
        page.end().await;
        system.stop().await;
    });
}
