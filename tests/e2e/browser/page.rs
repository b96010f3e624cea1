//! The page in a browser: what a test looks at, and what must hold of the page in every test.

use std::time::Duration;

use serde_json::{Value, json};
use testkit::eventually;

use super::driver::Browser;

/// How long the page may take for anything on a machine that compiles and tests at the same time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keys of WebDriver.
pub(super) const ESCAPE: &str = "\u{e00c}";
pub(super) const ENTER: &str = "\u{e007}";
pub(super) const DOWN: &str = "\u{e015}";

/// A tab with the page.
pub(super) struct Page {
    pub(super) browser: Browser,
    origin: String,
}

impl Page {
    /// Opens the page of the projector at a URL.
    pub(super) async fn open(url: &str) -> Self {
        let page = Self { browser: Browser::start().await, origin: url.to_owned() };
        page.browser.open(&format!("{url}/")).await;
        page
    }

    /// Opens it and waits until it follows the changes.
    pub(super) async fn live(url: &str) -> Self {
        let page = Self::open(url).await;
        page.until_text("#connection-text", "Live").await;
        page
    }

    /// Evaluates an expression in the page.
    pub(super) async fn value(&self, expression: &str) -> Value {
        self.browser.run(&format!("return {expression};"), json!([])).await
    }

    /// Waits until an expression is true.
    pub(super) async fn until(&self, expression: &str) {
        let look = async || (self.value(expression).await == true).then_some(());
        // In a failing test the page itself says most.
        let waited = tokio::time::timeout(PATIENCE, async {
            while look().await.is_none() {
                tokio::time::sleep(Duration::from_millis(30)).await;
            }
        });
        if waited.await.is_err() {
            let shown = self.value("document.body.innerText").await;
            panic!("never true: {expression}; the page shows {shown}; its console has {:?}", self.console().await);
        }
    }

    /// Waits until what a selector finds has this text.
    pub(super) async fn until_text(&self, selector: &str, text: &str) {
        self.until(&format!("document.querySelector({})?.textContent === {}", json!(selector), json!(text))).await;
    }

    /// Waits until what a selector finds contains this text.
    pub(super) async fn until_says(&self, selector: &str, text: &str) {
        self.until(&format!(
            "document.querySelector({})?.innerText.includes({}) ?? false",
            json!(selector),
            json!(text)
        ))
        .await;
    }

    /// Returns the identifiers in the table, in their order.
    pub(super) async fn people(&self) -> Vec<i64> {
        let rows =
            self.value("[...document.querySelectorAll('tr[data-id]')].map((row) => Number(row.dataset.id))").await;
        rows.as_array().expect("a list").iter().filter_map(Value::as_i64).collect()
    }

    /// Waits until the table has these people, in this order.
    pub(super) async fn until_people(&self, expected: &[i64]) {
        let text = format!(
            "JSON.stringify([...document.querySelectorAll('tr[data-id]:not([data-leaving])')]\
             .map((row) => Number(row.dataset.id))) === {}",
            json!(json!(expected).to_string())
        );
        self.until(&text).await;
    }

    /// Types into a field, as its new content.
    pub(super) async fn fill(&self, selector: &str, text: &str) {
        let script = "const field = document.querySelector(arguments[0]); field.focus(); field.value = arguments[1];
            field.dispatchEvent(new InputEvent('input', { bubbles: true }));";
        self.browser.run(script, json!([selector, text])).await;
    }

    /// Returns the console's errors. That a request was refused is there too, which is no fault of the page.
    async fn console(&self) -> Vec<Value> {
        let log = self.browser.log("browser").await;
        log.into_iter().filter(|line| line["level"] == "SEVERE" && line["source"] != "network").collect()
    }

    /// Ends the test: no error was in the console, and no request went elsewhere.
    pub(super) async fn end(self) {
        assert_eq!(self.console().await, Vec::<Value>::new(), "the console has no error");
        let log = self.browser.log("performance").await;
        let sent = log.iter().filter_map(|line| serde_json::from_str::<Value>(line["message"].as_str()?).ok());
        let sent = sent.filter(|line| line["message"]["method"] == "Network.requestWillBeSent");
        let urls: Vec<String> = sent
            .filter_map(|line| line["message"]["params"]["request"]["url"].as_str().map(str::to_owned))
            .filter(|url| !url.starts_with("data:") && !url.starts_with("about:"))
            .collect();
        assert!(!urls.is_empty(), "the requests are known");
        let elsewhere: Vec<&String> = urls.iter().filter(|url| !url.starts_with(&self.origin)).collect();
        assert!(elsewhere.is_empty(), "{elsewhere:?}");
        self.browser.end().await;
    }
}

/// Returns the selector of a cell of a person's row.
pub(super) fn cell(id: i64, field: &str) -> String {
    format!("tr[data-id='{id}'] td[data-field='{field}']")
}

/// Waits for something outside the page.
pub(super) async fn until<T>(what: &str, look: impl AsyncFnMut() -> Option<T>) -> T {
    eventually(what, PATIENCE, look).await
}
