//! The live page in a real, headless Chromium, with the embedded broker.
//!
//! Left out, with a line that says why, where Debian's `chromium` and `chromium-driver` are missing; with
//! `ROLLCALL_REQUIRE_ECOSYSTEM=1` that is a failure. `.ci/full` runs the `#[ignore]`d ones too.
//!
//! | module | content |
//! | --- | --- |
//! | [`driver`] | the browser, by WebDriver |
//! | [`page`] | the page in it, and what must hold of it in every test |
//! | [`vendor`] | webhooks about people, a change at a time |
//! | [`roll`] | the table: live, searched, filtered, paused |
//! | [`person`] | one person: all fields, and forgotten while shown |
//! | [`system`] | the state of the system, and what to do |
//! | [`access`] | tokens and scopes |
//! | [`streams`] | a restart, and several tabs |
//! | [`source`] | the lines of `README.md` for a page of somebody else's |
//! | [`manners`] | keys, widths, colours, axe-core |
//! | [`speed`] | from a webhook to the lit cell, and 100,000 people |

mod driver;
mod page;
mod vendor;

mod access;
mod manners;
mod person;
mod roll;
mod source;
mod speed;
mod streams;
mod system;

use tokio::sync::Mutex;

use crate::support::broker::{Broker, on_embedded};
use crate::support::engine::leave_out_of_ecosystem;

/// Runs a test that needs a browser, or leaves it out. One at a time: each is as heavy as all other tests together.
fn in_browser(test: &str, run: impl AsyncFnOnce(&Broker)) {
    static ONE: Mutex<()> = Mutex::const_new(());
    match driver::why_unavailable() {
        Some(reason) => leave_out_of_ecosystem(test, &reason),
        None => on_embedded(async |broker| {
            let _one = ONE.lock().await;
            run(broker).await;
        }),
    }
}
