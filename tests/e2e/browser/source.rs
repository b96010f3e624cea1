//! The lines of `README.md` for a page of somebody else's, in a browser.

use serde_json::json;

use super::in_browser;
use super::page::{Page, until};
use super::vendor::Vendor;
use crate::asking::{ADDRESS, snippets};
use crate::support::system::System;

#[test]
fn the_lines_of_readme_show_each_change() {
    in_browser("browser::source::the_lines_of_readme_show_each_change", async |broker| {
        let system = System::start(broker, 1).await;
        let mut vendor = Vendor::of(&system.ingest);
        vendor.says(1, json!({ "extension": "100" })).await;
        let url = system.projector.url();
        let page = Page::live(&url).await;
        let code = snippets("js").into_iter().find(|code| code.contains("EventSource")).expect("README has them");
        assert!(code.contains(ADDRESS), "{code}");
        let show = "window.shown = []; window.show = (user) => shown.push(user.userId);";
        page.browser.run(&format!("{show}\n{}\nfollow();", code.replace(ADDRESS, &url)), json!([])).await;
        let mut extension = 100;
        // What comes before the stream has begun is in its table.
        until("a change is shown", async || {
            extension += 1;
            vendor.says(1, json!({ "extension": extension.to_string() })).await;
            (page.value("shown.includes(1)").await == true).then_some(())
        })
        .await;
        page.end().await;
        system.stop().await;
    });
}
