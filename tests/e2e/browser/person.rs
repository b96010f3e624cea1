//! One person: all fields, what is missing, and forgotten while shown.

use serde_json::json;

use super::in_browser;
use super::page::{ENTER, ESCAPE, Page, cell};
use super::vendor::{Vendor, forget};
use crate::support::system::System;

#[test]
fn a_person_is_shown_whole_and_forgotten_before_eyes() {
    in_browser("browser::person::a_person_is_shown_whole_and_forgotten_before_eyes", async |broker| {
        let system = System::start(broker, 1).await;
        let mut vendor = Vendor::of(&system.ingest);
        vendor.says(180, json!({ "name": "Rachel <i>Smith</i>" })).await;
        vendor.keeps_to_itself(180, &json!({ "outboundPhone": "999" }));
        let delivered = vendor.says(180, json!({ "monthly": 2000 })).await;
        let page = Page::live(&system.projector.url()).await;
        page.until_people(&[180]).await;

        page.browser.click(&cell(180, "username")).await;
        page.until_text("#person-name", "Rachel <i>Smith</i>").await;
        assert_eq!(page.value("document.querySelector('#person i')").await, json!(null));
        for (field, label, value) in [
            ("userId", "Unique identifier", "180"),
            ("username", "Login name", "p180"),
            ("isAgent", "Type is agent", "yes"),
            ("redistribution", "Shared callback distribution", "no"),
            ("mobilePhone", "Mobile app phone number", "not set"),
            ("monthly", "Monthly wage", "2000"),
        ] {
            page.until_text(&format!("#person [data-field='{field}'] dt"), label).await;
            page.until_text(&format!("#person [data-field='{field}'] dd"), value).await;
        }
        page.until_says("#person", "awaited").await;
        page.until_says("#person", "Outbound phone number").await;
        page.until_says("#person", &delivered.text("/eventId")).await;
        page.until_says("#person", &delivered.text("/position")).await;
        page.until_says("#person .changes", "created").await;
        page.until_says("#person .changes", "gap awaited").await;
        page.until_says("#person .changes", "Monthly wage\t1000\t2000").await;
        page.browser.click("#copy-position").await;
        page.until_text("#copy-position", "Copied").await;

        // It is kept while it is looked at.
        vendor.says(180, json!({ "monthly": 3000 })).await;
        page.until_says("#person .changes", "Monthly wage\t2000\t3000").await;
        page.until_text("#person [data-field='monthly'] dd", "3000").await;
        page.browser.press(ESCAPE).await;
        page.until("!document.getElementById('person').open").await;
        page.until("document.activeElement?.textContent === 'Rachel <i>Smith</i>'").await;
        page.browser.press(ENTER).await;
        page.until("document.getElementById('person').open").await;
        page.until_text("#person [data-field='monthly'] dd", "3000").await;

        forget(&system.options, &system.names.users, 180).await;
        page.until_says("#person", "This person was forgotten.").await;
        page.until_says("#person", "is not kept in this projector").await;
        // Nothing is left of the name, once the row has gone.
        page.until("!document.body.innerText.includes('Rachel')").await;
        page.browser.press(ESCAPE).await;
        page.until_people(&[]).await;

        // Of an address that somebody has typed.
        page.browser.run("location.hash = 'users/5';", json!([])).await;
        page.until_says("#person", "Nobody with this number is on this roll.").await;
        page.browser.run("location.hash = 'users/100000000000000000000';", json!([])).await;
        page.until_says("#person", "expected a whole number from 0 to").await;
        page.until("!document.getElementById('person').innerText.includes('Trying again')").await;
        page.end().await;
        system.stop().await;
    });
}
