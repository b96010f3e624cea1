//! Keys, widths, colours, and what axe-core says.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use projector::Scope;
use serde_json::{Value, json};

use super::access::{enter, token};
use super::in_browser;
use super::page::{DOWN, ENTER, Page, cell, until};
use super::vendor::Vendor;
use crate::support::engine::leave_out_of_ecosystem;
use crate::support::system::System;

/// Kept between runs.
const WORK: &str = concat!(env!("CARGO_TARGET_TMPDIR"), "/axe");
const AXE: &str = "axe-core@4.14.1";
/// The sizes and colours in which the page is looked at: a laptop, a telephone, 4K.
const LOOKS: [(u32, u32, &str); 4] =
    [(1440, 900, "light"), (1440, 900, "dark"), (375, 740, "dark"), (3840, 2160, "light")];

#[test]
fn axe_finds_nothing_in_light_and_dark() {
    let test = "browser::manners::axe_finds_nothing_in_light_and_dark";
    let axe = match fetch_axe() {
        Ok(path) => std::fs::read_to_string(path).expect("npm has put it there"),
        Err(reason) => return leave_out_of_ecosystem(test, &reason),
    };
    in_browser(test, async |broker| {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (all, line) = token(1, "all", &Scope::EACH);
        let file = folder.path().join("tokens");
        std::fs::write(&file, line).expect("the folder can be written");
        let system = System::start_with(broker, 2, |raw| raw.auth.token_file = file).await;
        let mut vendor = Vendor::of(&system.ingest);
        for id in 1..=30 {
            let state = if id % 3 == 0 { "inactive" } else { "active" };
            vendor.says(id, json!({ "state": state })).await;
        }
        vendor.keeps_to_itself(2, &json!({ "name": "Between" }));
        vendor.says(2, json!({ "extension": "9" })).await;
        let page = Page::open(&system.projector.url()).await;
        page.until_says("#access", "token").await;
        check(&page, &axe, "the form").await;
        enter(&page, &all).await;
        page.until_text(&cell(2, "extension"), "9").await;
        check(&page, &axe, "the table").await;
        page.browser.click(&cell(2, "username")).await;
        page.until_says("#person", "awaited").await;
        check(&page, &axe, "a person").await;
        page.browser.press(super::page::ESCAPE).await;
        page.until("!document.getElementById('person').open").await;
        page.browser.click("#to-system").await;
        page.until_says("#system", "Missing deliveries").await;
        check(&page, &axe, "the system").await;
        page.browser.click("#to-roll").await;
        page.fill("#q", "nobody is called so").await;
        page.until_says("#notice", "Nobody matches").await;
        check(&page, &axe, "nobody found").await;
        page.fill("#q", "").await;
        system.projector.stop().await.expect("the projector ends well");
        page.until_text("#connection-text", "Reconnecting").await;
        check(&page, &axe, "the table while the projector is away").await;
        page.browser.click("#to-system").await;
        page.until_says("#system .stale", "The last known state").await;
        check(&page, &axe, "the system while the projector is away").await;
        page.end().await;
        system.ingest.stop().await.expect("ingest ends well");
    });
}

/// Looks at the present view in each of [`LOOKS`].
async fn check(page: &Page, axe: &str, view: &str) {
    page.browser.run(axe, json!([])).await;
    for (width, height, colours) in LOOKS {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        page.browser.devtools("Emulation.setDeviceMetricsOverride", size).await;
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": colours },
            // What is still fading in has no contrast yet.
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ]});
        page.browser.devtools("Emulation.setEmulatedMedia", features).await;
        page.until("document.getAnimations().length === 0").await;
        let script = "const done = arguments[arguments.length - 1];
            axe.run(document, { resultTypes: ['violations'] }).then(({ violations }) => done(violations.flatMap(
                ({ id, nodes }) => nodes.map(({ html, failureSummary }) => `${id}: ${html}: ${failureSummary}`))),
                (error) => done([String(error)]));";
        let found = page.browser.run_async(script, json!([])).await;
        assert_eq!(found, json!([]), "{view}, {width} wide, {colours}");
        let is_within = "document.documentElement.scrollWidth <= innerWidth";
        assert_eq!(page.value(is_within).await, true, "{view}, {width} wide: nothing is beside the screen");
        keep(page, &format!("{view}-{width}-{colours}")).await;
    }
    page.browser.devtools("Emulation.clearDeviceMetricsOverride", json!({})).await;
}

/// Keeps a picture, for whoever changes the page to look at.
async fn keep(page: &Page, name: &str) {
    let picture: Value = page.browser.picture().await.into();
    let bytes = openssl::base64::decode_block(picture.as_str().expect("a text")).expect("base64");
    let folder = Path::new(WORK).join("pictures");
    std::fs::create_dir_all(&folder).expect("the folder of the build can be written");
    std::fs::write(folder.join(format!("{}.png", name.replace(' ', "-"))), bytes).expect("a file can be written");
}

/// Fetches axe-core by npm, and returns where it is.
///
/// # Errors
/// Why it cannot be had.
fn fetch_axe() -> Result<PathBuf, String> {
    let file = Path::new(WORK).join("node_modules/axe-core/axe.min.js");
    if file.exists() {
        return Ok(file);
    }
    let fetch = Command::new("npm")
        .args(["install", "--silent", "--no-audit", "--no-fund", "--prefix", WORK, AXE])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("no npm: {error}"))?;
    if fetch.status.success() { Ok(file) } else { Err(format!("{AXE} cannot be fetched by npm")) }
}

#[test]
fn keys_alone_are_enough() {
    in_browser("browser::manners::keys_alone_are_enough", async |broker| {
        let system = System::start(broker, 1).await;
        let mut vendor = Vendor::of(&system.ingest);
        for id in 1..=60 {
            vendor.says(id, json!({})).await;
        }
        let page = Page::live(&system.projector.url()).await;
        page.until("document.querySelectorAll('tr[data-id]').length > 20").await;
        page.browser.press("/").await;
        page.until("document.activeElement.id === 'q'").await;
        page.browser.run("document.querySelector('#rows a[tabindex=\"0\"]').focus();", json!([])).await;
        page.browser.press(DOWN).await;
        page.browser.press(DOWN).await;
        page.until("document.activeElement.textContent === 'Person 3'").await;
        // End, and Home.
        page.browser.press("\u{e010}").await;
        page.until("document.activeElement.textContent === 'Person 60'").await;
        page.browser.press(ENTER).await;
        page.until("document.getElementById('person').open").await;
        page.browser.press(super::page::ESCAPE).await;
        page.until("!document.getElementById('person').open").await;
        page.until("document.activeElement.textContent === 'Person 60'").await;
        page.browser.press("\u{e011}").await;
        page.until("document.activeElement.textContent === 'Person 1'").await;
        // From the list itself too.
        for (key, person) in [("\u{e010}", "Person 60"), ("\u{e011}", "Person 1")] {
            page.browser.run("document.getElementById('scroll').focus();", json!([])).await;
            page.browser.press(key).await;
            page.until(&format!("document.activeElement.textContent === '{person}'")).await;
        }
        assert_eq!(page.people().await.first(), Some(&1));
        page.end().await;
        system.stop().await;
    });
}

#[test]
fn what_has_the_focus_keeps_it() {
    in_browser("browser::manners::what_has_the_focus_keeps_it", async |broker| {
        let system = System::start(broker, 1).await;
        let mut vendor = Vendor::of(&system.ingest);
        let page = Page::live(&system.projector.url()).await;
        for id in 1..=2 {
            vendor.says(id, json!({})).await;
        }
        page.until("document.querySelectorAll('#feed li').length === 2").await;
        let focus = "document.querySelector('#feed a[href=\"#users/2\"]').focus();";
        page.browser.run(focus, json!([])).await;
        // More than the list has; the one with the focus stays.
        let mut number = 0;
        until("there are more changes than are listed", async || {
            number += 1;
            vendor.says(1, json!({ "extension": number.to_string() })).await;
            let listed = page.value("document.querySelectorAll('#feed a[href=\"#users/1\"]').length").await;
            (listed == 40).then_some(())
        })
        .await;
        assert_eq!(page.value("document.activeElement.textContent").await, "Person 2");
        page.browser.press(ENTER).await;
        page.until_text("#person-name", "Person 2").await;
        page.browser.press(super::page::ESCAPE).await;
        page.until("!document.getElementById('person').open").await;

        vendor.keeps_to_itself(2, &json!({ "name": "Between" }));
        vendor.says(2, json!({ "extension": "9" })).await;
        page.browser.click("#to-system").await;
        page.until_text("#system a[href='#users/2']", "Between").await;
        page.browser.run("document.querySelector('#system a').focus();", json!([])).await;
        page.browser.run("document.querySelector('#system .figures').id = 'painted';", json!([])).await;
        page.until("document.getElementById('painted') === null").await;
        assert_eq!(page.value("document.activeElement.textContent").await, "Between");
        page.end().await;
        system.stop().await;
    });
}
