//! The table: live, searched, filtered, paused.

use serde_json::json;

use super::in_browser;
use super::page::{ESCAPE, Page, cell};
use super::vendor::{Vendor, forget};
use crate::support::system::System;

/// A name that would be trouble if it were taken for anything but text.
const MARKUP: &str = "<img src=x onerror=alert(1)><b>Bold</b> & \"co\"";

#[test]
fn the_table_shows_who_comes_changes_and_goes() {
    in_browser("browser::roll::the_table_shows_who_comes_changes_and_goes", async |broker| {
        let system = System::start(broker, 3).await;
        let page = Page::live(&system.projector.url()).await;
        page.until_says("#notice", "Nobody is on the roll yet").await;
        let mut vendor = Vendor::of(&system.ingest);
        for id in [30, 10, 20] {
            vendor.says(id, json!({})).await;
        }
        page.until_people(&[10, 20, 30]).await;
        page.until("document.getElementById('notice').hidden").await;

        vendor.says(20, json!({ "extension": "777" })).await;
        page.until_text(&cell(20, "extension"), "777").await;
        page.until(&format!("document.querySelector(\"{}\").dataset.lit !== undefined", cell(20, "extension"))).await;
        let lit = "document.querySelectorAll(\"tr[data-id='20'] [data-lit]\").length === 1";
        assert_eq!(page.value(lit).await, true, "the changed cell alone lights up");
        vendor.says(15, json!({ "name": MARKUP })).await;
        page.until_people(&[10, 15, 20, 30]).await;
        page.until_text(&format!("{} a", cell(15, "name")), MARKUP).await;
        assert_eq!(page.value("document.querySelector('#people img, #people b, #feed img')").await, json!(null));
        page.until("document.querySelector(\"tr[data-id='15']\").dataset.coming !== undefined").await;
        page.until("Number(document.getElementById('rate').textContent) > 0").await;
        page.until_says("#feed", "extension").await;

        forget(&system.options, &system.names.users, 10).await;
        page.until_people(&[15, 20, 30]).await;
        page.until("document.querySelector(\"tr[data-id='10']\") === null").await;
        let feed = page.value("document.getElementById('feed').innerText").await.to_string();
        assert!(feed.contains("was forgotten") || feed.contains("Person 10"), "{feed}");

        // Who came out of sight is nobody new when scrolled to.
        for id in 100..=200 {
            vendor.says(id, json!({})).await;
        }
        page.until_text("#count", "104 people").await;
        assert_eq!(page.value("document.querySelector(\"tr[data-id='200']\")").await, json!(null));
        page.browser.run("document.getElementById('scroll').scrollTop = 1e6;", json!([])).await;
        page.until("document.querySelector(\"tr[data-id='200']\") !== null").await;
        let coming = page.value("document.querySelectorAll(\"tr[data-id='200'][data-coming]\").length").await;
        assert_eq!(coming, 0);
        // The announcer, and what is wrong with a field, alone speak.
        let spoken = "[...document.querySelectorAll('output, [role=status], [role=alert], [aria-live]')]
            .map((element) => element.id)";
        assert_eq!(page.value(spoken).await, json!(["group-fault", "announcer"]));
        page.end().await;
        system.stop().await;
    });
}

#[test]
fn whoever_is_looked_for_is_found_and_a_pause_holds_still() {
    in_browser("browser::roll::whoever_is_looked_for_is_found_and_a_pause_holds_still", async |broker| {
        let system = System::start(broker, 3).await;
        let mut vendor = Vendor::of(&system.ingest);
        for (id, name, state) in [(1, "Anna", "active"), (2, "Bela", "inactive"), (3, "Anton", "inactive")] {
            vendor.says(id, json!({ "name": name, "state": state, "privGroup": id })).await;
        }
        let page = Page::live(&system.projector.url()).await;
        page.until_people(&[1, 2, 3]).await;

        page.fill("#q", "An").await;
        page.until_people(&[1, 3]).await;
        page.fill("#state", "inactive").await;
        page.until_people(&[3]).await;
        // Who comes to match, and who does not any more, while the list is looked at.
        vendor.says(2, json!({ "name": "Anett" })).await;
        page.until_people(&[2, 3]).await;
        vendor.says(3, json!({ "state": "active" })).await;
        page.until_people(&[2]).await;
        vendor.says(2, json!({ "name": "Bela" })).await;
        page.until_people(&[]).await;
        page.fill("#q", "Nobody is called so").await;
        page.until_says("#notice", "Nobody matches").await;
        page.browser.click("#notice button").await;
        page.until_people(&[1, 2, 3]).await;
        page.fill("#isAgent", "false").await;
        page.until_says("#notice", "Nobody matches").await;
        page.fill("#isAgent", "").await;
        page.fill("#q", "Bela").await;
        page.until_people(&[2]).await;
        page.browser.press(ESCAPE).await;
        page.until_people(&[1, 2, 3]).await;

        // By name, without case and accents; who comes is put in its place.
        page.fill("#sort", "name").await;
        vendor.says(4, json!({ "name": "ádám" })).await;
        page.until_people(&[4, 1, 3, 2]).await;
        vendor.says(4, json!({ "name": "Ánton" })).await;
        page.until_people(&[1, 3, 4, 2]).await;
        // The heading of the column does the same, and says how it is.
        let sorted = "document.querySelector('#headings [data-field=name]').ariaSort";
        assert_eq!(page.value(sorted).await, "ascending");
        page.browser.click("#headings button").await;
        page.until_people(&[1, 2, 3, 4]).await;
        assert_eq!(page.value(sorted).await, "none");
        page.browser.click("#headings button").await;
        page.until_people(&[1, 3, 4, 2]).await;
        assert_eq!(page.value("document.getElementById('sort').value").await, "name");
        page.fill("#sort", "userId").await;
        page.until_people(&[1, 2, 3, 4]).await;
        page.until_says("#sort", "not by other columns").await;

        page.browser.click("#pause").await;
        vendor.says(1, json!({ "extension": "4711" })).await;
        page.until_text("#connection-text", "Paused: 1 changed").await;
        assert_eq!(page.value(&format!("document.querySelector(\"{}\").textContent", cell(1, "extension"))).await, "1");
        page.browser.click("#pause").await;
        page.until_text(&cell(1, "extension"), "4711").await;
        page.until_text("#connection-text", "Live").await;
        page.end().await;
        system.stop().await;
    });
}

#[test]
fn groups_are_chosen_and_a_fault_is_said_beside_their_field() {
    in_browser("browser::roll::groups_are_chosen_and_a_fault_is_said_beside_their_field", async |broker| {
        let system = System::start(broker, 3).await;
        let mut vendor = Vendor::of(&system.ingest);
        for id in 1..=3 {
            vendor.says(id, json!({ "privGroup": id })).await;
        }
        let page = Page::live(&system.projector.url()).await;
        page.until_people(&[1, 2, 3]).await;
        page.fill("#privGroup", "2").await;
        page.until_people(&[2]).await;
        page.fill("#privGroup", "1, 3").await;
        page.until_people(&[1, 3]).await;
        page.fill("#privGroup", "sales").await;
        page.until_says("#group-fault", "whole numbers, parted by commas").await;
        page.until_text("#count", "not applied").await;
        page.fill("#privGroup", "99999999999999999999").await;
        page.until_says("#group-fault", "Group takes numbers up to").await;
        page.until("document.getElementById('scroll').hasAttribute('data-stale')").await;
        page.fill("#privGroup", "1, 3").await;
        page.until("!document.getElementById('scroll').hasAttribute('data-stale')").await;
        page.fill("#privGroup", "").await;
        page.until_text("#group-fault", "").await;
        page.until_text("#count", "3 people").await;
        page.end().await;
        system.stop().await;
    });
}
