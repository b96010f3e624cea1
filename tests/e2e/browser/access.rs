//! Tokens and scopes.

use projector::{NewToken, Scope};
use serde_json::{Value, json};

use super::in_browser;
use super::page::{ENTER, Page, cell};
use super::vendor::Vendor;
use crate::support::system::System;

/// Returns a token, and its line in the file of tokens.
pub(super) fn token(seed: u8, name: &str, scopes: &[Scope]) -> (String, String) {
    let token = NewToken::from_random([seed; 32]);
    let line = token.line(&name.parse().expect("a name"), scopes.iter().copied().collect());
    (token.expose().to_owned(), line + "\n")
}

#[test]
fn a_token_opens_what_its_scopes_name() {
    in_browser("browser::access::a_token_opens_what_its_scopes_name", async |broker| {
        let folder = tempfile::tempdir().expect("a folder can be made");
        let (desk, desk_line) = token(1, "desk", &[Scope::UsersRead, Scope::ChangesRead]);
        let (watch, watch_line) = token(2, "watch", &[Scope::StatusRead]);
        let file = folder.path().join("tokens");
        std::fs::write(&file, desk_line + &watch_line).expect("the folder can be written");
        let system = System::start_with(broker, 1, |raw| raw.auth.token_file = file).await;
        let mut vendor = Vendor::of(&system.ingest);
        vendor.says(7, json!({})).await;

        let page = Page::open(&system.projector.url()).await;
        page.until_says("#access", "those who have a token").await;
        // A link to a person leads there, once there is a token.
        page.browser.open("about:blank").await;
        page.browser.open(&format!("{}/#users/7", system.projector.url())).await;
        page.until_says("#access", "those who have a token").await;
        enter(&page, "a text").await;
        page.until_says("#access", "This is no token").await;
        enter(&page, "rollcall_nothing").await;
        page.until_says("#access", "does not accept this token").await;
        enter(&page, &desk).await;
        page.until_text("#person-name", "Person 7").await;
        page.until_text("#person [data-field='name'] dd", "Person 7").await;
        page.browser.press(super::page::ESCAPE).await;
        page.until("!document.getElementById('person').open").await;
        page.until_people(&[7]).await;
        page.until_text("#connection-text", "Live").await;
        vendor.says(7, json!({ "extension": "55", "monthly": 1 })).await;
        page.until_text(&cell(7, "extension"), "55").await;

        page.browser.click(&cell(7, "username")).await;
        for field in ["email", "monthly", "contactPhone", "extra"] {
            page.until_text(&format!("#person [data-field='{field}'] dd"), "hidden from this token").await;
        }
        page.until_text("#person [data-field='name'] dd", "Person 7").await;
        page.browser.press(super::page::ESCAPE).await;
        page.until("!document.getElementById('person').open").await;
        page.browser.click("#to-system").await;
        page.until_says("#system", "status:read").await;

        // In memory only: it is in no storage and no address, and not there any more in a page that is loaded again.
        assert_eq!(
            page.value("[localStorage.length, sessionStorage.length, document.cookie]").await,
            json!([0, 0, ""])
        );
        assert_eq!(page.value("location.href").await.as_str().map(|url| url.contains(&desk)), Some(false));
        page.browser.click("#leave").await;
        page.until_says("#access", "those who have a token").await;
        enter(&page, &watch).await;
        page.until_says("#system .figures", "People\n1").await;
        page.browser.click("#to-roll").await;
        page.until_says("#notice", "users:read").await;
        page.until_text("#connection-text", "Not live").await;
        page.end().await;
        system.stop().await;
    });
}

/// Types a token into the form.
pub(super) async fn enter(page: &Page, token: &str) {
    page.until("document.activeElement?.id === 'token'").await;
    let fill: Value = json!([token]);
    page.browser.run("document.getElementById('token').value = arguments[0];", fill).await;
    page.browser.press(ENTER).await;
}
