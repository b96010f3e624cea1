//! A headless Chromium, and the WebDriver protocol to it: JSON over HTTP, of which these tests need few commands, half
//! of them Chromium's own.

use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::time::Duration;

use hyper::Method;
use serde_json::{Value, json};
use testkit::{Answer, Http, eventually};

use crate::support::engine::{afterwards, free_port};

/// How long the browser may take to start on a machine that compiles and tests at the same time.
const START_MAX: Duration = Duration::from_secs(120);
/// How long a script may take: one scrolls through 100,000 people.
const SCRIPT_MAX_MS: u32 = 600_000;
/// What every test sees of the page, unless it says otherwise.
const WINDOW: (u32, u32) = (1440, 900);

/// A browser of a test's own, with nothing kept of earlier ones.
pub(super) struct Browser {
    driver: Http,
    session: String,
}

/// The programs that the tests need: commands of Debian's `chromium` and `chromium-driver`.
const PROGRAMS: [&str; 2] = ["chromium", "chromedriver"];

/// Returns which program is missing.
pub(super) fn why_unavailable() -> Option<String> {
    let is_there = |program: &&str| {
        let asked = Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        asked.is_ok_and(|status| status.success())
    };
    PROGRAMS.into_iter().find(|program| !is_there(program)).map(|program| format!("no {program}"))
}

impl Browser {
    /// Starts a browser.
    pub(super) async fn start() -> Self {
        let driver = DRIVER.http();
        let options = json!({
            "args": [
                "--headless=new",
                // Tests may run as root, for whom Chromium has no sandbox; the page is ours.
                "--no-sandbox",
                "--disable-dev-shm-usage",
                "--disable-gpu",
                // The browser's own requests would be told apart from the page's by nobody.
                "--disable-background-networking",
                "--disable-component-update",
                format!("--window-size={},{}", WINDOW.0, WINDOW.1),
            ],
        });
        let capabilities = json!({
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        });
        let begin = json!({ "capabilities": { "alwaysMatch": capabilities } }).to_string();
        let session = eventually("the browser starts", START_MAX, async || {
            let answer = driver.send(Method::POST, "/session", begin.clone()).await.ok()?;
            answer.status.is_success().then(|| answer.text("/value/sessionId"))
        });
        let session = session.await;
        let browser = Self { driver, session };
        browser.command(Method::POST, "/timeouts", &json!({ "script": SCRIPT_MAX_MS })).await;
        browser
    }

    /// Sends a command that must succeed, and returns its value.
    async fn command(&self, method: Method, path: &str, body: &Value) -> Value {
        let answer = self.attempt(method, path, body).await;
        assert!(answer.status.is_success(), "{path} {body}: {}", answer.body_text());
        answer.json()["value"].take()
    }

    async fn attempt(&self, method: Method, path: &str, body: &Value) -> Answer {
        let path = format!("/session/{}{path}", self.session);
        // A GET with a body is none to the driver.
        let body = if method == Method::GET { String::new() } else { body.to_string() };
        self.driver.send(method, &path, body).await.expect("the driver answers")
    }

    pub(super) async fn open(&self, url: &str) {
        self.command(Method::POST, "/url", &json!({ "url": url })).await;
    }

    /// Runs a script in the page and returns its value.
    pub(super) async fn run(&self, script: &str, arguments: Value) -> Value {
        self.command(Method::POST, "/execute/sync", &json!({ "script": script, "args": arguments })).await
    }

    /// Runs a script in the page that calls its last argument with the value.
    pub(super) async fn run_async(&self, script: &str, arguments: Value) -> Value {
        self.command(Method::POST, "/execute/async", &json!({ "script": script, "args": arguments })).await
    }

    /// Sends a command of Chromium's developer tools.
    pub(super) async fn devtools(&self, command: &str, parameters: Value) -> Value {
        self.command(Method::POST, "/goog/cdp/execute", &json!({ "cmd": command, "params": parameters })).await
    }

    /// Presses and releases keys, one after the other, as whoever sits before the page.
    pub(super) async fn press(&self, keys: &str) {
        let press = |key: char| [json!({ "type": "keyDown", "value": key }), json!({ "type": "keyUp", "value": key })];
        let presses: Vec<Value> = keys.chars().flat_map(press).collect();
        let actions = json!({ "actions": [{ "type": "key", "id": "keys", "actions": presses }] });
        self.command(Method::POST, "/actions", &actions).await;
    }

    /// Clicks what a selector finds.
    pub(super) async fn click(&self, selector: &str) {
        let find = json!({ "using": "css selector", "value": selector });
        let found = self.command(Method::POST, "/element", &find).await;
        let id = found.as_object().and_then(|found| found.values().next()).and_then(Value::as_str);
        let path = format!("/element/{}/click", id.expect("an element has an identifier"));
        self.command(Method::POST, &path, &json!({})).await;
    }

    /// Opens a tab, and turns to it.
    pub(super) async fn new_tab(&self) -> Value {
        let tab = self.command(Method::POST, "/window/new", &json!({ "type": "tab" })).await["handle"].take();
        self.turn_to(&tab).await;
        tab
    }

    pub(super) async fn tab(&self) -> Value {
        self.command(Method::GET, "/window", &Value::Null).await
    }

    pub(super) async fn turn_to(&self, tab: &Value) {
        self.command(Method::POST, "/window", &json!({ "handle": tab })).await;
    }

    pub(super) async fn close_tab(&self) {
        self.command(Method::DELETE, "/window", &json!({})).await;
    }

    /// Returns the picture of what is in sight, PNG in base64.
    pub(super) async fn picture(&self) -> String {
        let picture = self.command(Method::GET, "/screenshot", &Value::Null).await;
        picture.as_str().expect("a picture is text").to_owned()
    }

    /// Returns what has been logged since this was asked last: `browser`, the console, or `performance`, the requests.
    pub(super) async fn log(&self, kind: &str) -> Vec<Value> {
        let log = self.command(Method::POST, "/se/log", &json!({ "type": kind })).await;
        log.as_array().cloned().unwrap_or_default()
    }

    pub(super) async fn end(self) {
        self.attempt(Method::DELETE, "", &json!({})).await;
    }
}

/// The driver of all browsers of a run. It ends, with the browsers that failed tests have left, when this process is
/// gone.
struct Driver {
    port: u16,
    _shell: Child,
}

static DRIVER: LazyLock<Driver> = LazyLock::new(|| {
    let port = free_port();
    // Both are in the shell's process group, and so are the browsers.
    let shell = afterwards(&format!("chromedriver --port={port} --silent &"), "kill -KILL 0");
    Driver { port, _shell: shell }
});

impl Driver {
    fn http(&self) -> Http {
        Http::to((std::net::Ipv4Addr::LOCALHOST, self.port).into())
    }
}
