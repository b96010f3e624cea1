//! Who may read: attacks and their answers, tokens and keys that change, limits of a principal.

use std::error::Error as _;
use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use domain::UnixMillis;
use projector::{NewToken, Raw, Scope, Scopes};
use serde_json::{Value, json};
use tempfile::TempDir;
use testkit::broker::Log;
use testkit::event::{event, user};
use testkit::issuer::{Issuer, SigningKey, token_by_secret, unsigned};
use testkit::{Answer, eventually};

use crate::events::Events;
use crate::support::{Service, get, request, send};

/// Longer than the pause between two fetches of an issuer's keys.
const PATIENCE: Duration = Duration::from_secs(60);
/// When every service starts, by its clock.
const START_S: i64 = 1_800_000_000;
/// The life of a token.
const LIFE_S: i64 = 3_600;
const INVALID: &str = r#"Bearer realm="rollcall", error="invalid_token""#;

struct World {
    _kafka: Log,
    folder: TempDir,
    service: Service,
}

impl World {
    /// Starts a service with this user in its table, who may be read by those that `auth` says.
    async fn start(auth: impl FnOnce(&mut Raw, &Path)) -> Self {
        Self::start_at(|| UnixMillis::from_millis(START_S * 1000), auth).await
    }

    async fn start_at(clock: fn() -> UnixMillis, auth: impl FnOnce(&mut Raw, &Path)) -> Self {
        let (kafka, folder) = (Log::start(1), tempfile::tempdir().unwrap());
        kafka.event(&event(None, user(180, "Rachel"), 10)).await;
        let service = Service::start_at_with(&kafka, &folder, clock, |raw| {
            raw.store.dir = folder.path().join("table");
            auth(raw, folder.path());
        });
        let service = service.await;
        service.ready().await;
        Self { _kafka: kafka, folder, service }
    }

    async fn get(&self, path: &str, token: &str) -> Answer {
        let header = format!("Bearer {token}");
        get(self.service.http, path, &[("authorization", &header)]).await
    }

    async fn denied(&self, reason: &str) -> i64 {
        let name = format!("rollcall_projector_denied_total{{reason=\"{reason}\"}}");
        self.service.metric(&name).await.unwrap()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.folder.path().join(name), text).unwrap();
    }
}

/// Waits until a request is answered so.
async fn until_answered(world: &World, path: &str, token: &str, status: u16) {
    let asked = async || (world.get(path, token).await.status == status).then_some(());
    eventually("the answer changes", PATIENCE, asked).await;
}

fn line(token: &NewToken, name: &str, scopes: &[Scope]) -> String {
    token.line(&name.parse().unwrap(), scopes.iter().copied().collect()) + "\n"
}

fn in_file(text: &str) -> impl FnOnce(&mut Raw, &Path) {
    move |raw, folder| {
        raw.auth.token_file = folder.join("tokens");
        std::fs::write(&raw.auth.token_file, text).unwrap();
    }
}

/// Returns the claims of a token that expires so many seconds after the start.
fn claims(life_s: i64) -> Value {
    let exp = START_S + life_s;
    json!({ "iss": "https://idp", "aud": "rollcall", "sub": "desk", "scope": "users:read changes:read", "exp": exp })
}

fn by_issuer(raw: &mut Raw) {
    raw.auth.jwt.issuer = "https://idp".to_owned();
    raw.auth.jwt.audience = "rollcall".to_owned();
}

#[tokio::test(flavor = "multi_thread")]
async fn each_attack_has_its_answer_and_its_count() {
    let (desk, key) = (NewToken::from_random([1; 32]), SigningKey::rsa("a", "RS256", 2048));
    let issuer = Issuer::start(&[&key]).await;
    let lines = line(&desk, "desk", &[Scope::UsersRead]);
    let world = World::start(|raw, folder| {
        in_file(&lines)(raw, folder);
        by_issuer(raw);
        raw.auth.jwt.jwks_url = issuer.keys_url();
    })
    .await;
    until_answered(&world, "/users/180", &key.token(&claims(LIFE_S)), 200).await;
    let header = |algorithm: &str| json!({ "alg": algorithm, "kid": "a" });
    let by_public_key = token_by_secret(&header("HS256"), &claims(LIFE_S), &key.public_pem());
    let bearer = |token: &str| vec![("authorization", format!("Bearer {token}"))];
    let none = format!("{}.", unsigned(&header("none"), &claims(LIFE_S)));
    let scope = "Bearer error=\"insufficient_scope\", scope=\"status:read\"";
    let expired = "Bearer realm=\"rollcall\", error=\"invalid_token\", error_description=\"the token has expired\"";
    let in_url = format!("/users/180?access_token={}", desk.expose());
    let several = "Bearer realm=\"rollcall\", error=\"invalid_request\"";
    let twice = [bearer(desk.expose()), bearer(desk.expose())].concat();
    let basic = vec![("authorization", format!("Basic {}", desk.expose()))];
    for (attack, path, fields, status, challenge, reason) in [
        ("no token", "/users/180", vec![], 401, "Bearer realm=\"rollcall\"", "no_token"),
        ("no token, an unknown user", "/users/1", vec![], 401, "Bearer realm=\"rollcall\"", "no_token"),
        ("a token in the URL", &in_url, vec![], 401, "Bearer realm=\"rollcall\"", "no_token"),
        ("another scheme", "/users/180", basic, 401, "Bearer realm=\"rollcall\"", "no_token"),
        ("a wrong token", "/users/180", bearer("rollcall_00"), 401, INVALID, "unknown_token"),
        ("two tokens", "/users/180", twice, 400, several, "several_tokens"),
        ("a wrong scope", "/status", bearer(desk.expose()), 403, scope, "scope"),
        ("an expired JWT", "/users/180", bearer(&key.token(&claims(-61))), 401, expired, "expired"),
        ("no algorithm", "/users/180", bearer(&none), 401, INVALID, "unknown_token"),
        ("the public key as a secret", "/users/180", bearer(&by_public_key), 401, INVALID, "algorithm"),
        (
            "an unknown key",
            "/users/180",
            bearer(&SigningKey::ec("z").token(&claims(LIFE_S))),
            401,
            INVALID,
            "unknown_key",
        ),
        ("another host", "/users/180", vec![("x", "y".to_owned())], 421, "", "host"),
    ] {
        let before = world.denied(reason).await;
        let fields: Vec<(&str, &str)> = fields.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = if reason == "host" {
            let text = format!("GET {path} HTTP/1.1\r\nhost: rebound.example\r\nconnection: close\r\n\r\n");
            testkit::Http::to(world.service.http).exchange(&text).await
        } else {
            get(world.service.http, path, &fields).await
        };
        assert_eq!(answer.status, status, "{attack}: {answer:?}");
        assert_eq!(answer.header("www-authenticate").unwrap_or_default(), challenge, "{attack}");
        assert!(!answer.body_text().contains("Rachel"), "{attack}: {answer:?}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{attack}");
        assert_eq!(world.denied(reason).await, before + 1, "{attack}");
    }
    assert_eq!(world.get("/users/180", desk.expose()).await.status, 200);
    let beside = world.get(&in_url, desk.expose()).await;
    assert_eq!(beside.status, 400, "not even beside the field: {beside:?}");
    for path in ["/openapi.json", "/docs/"] {
        assert_eq!(world.service.get(path).await.status, 200, "{path} is for everybody");
    }
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_of_tokens_that_changes_is_read_again_and_ends_the_streams_of_those_it_drops() {
    let (first, second) = (NewToken::from_random([1; 32]), NewToken::from_random([2; 32]));
    let scopes: Vec<Scope> = Scopes::ALL.iter().collect();
    let world = World::start(in_file(&line(&first, "desk", &scopes))).await;
    let header = format!("Bearer {}", first.expose());
    let mut events = Events::with(&world.service, "/changes", &[("authorization", &header)]).await;
    events.until("caught-up").await;
    assert_eq!(world.get("/users/180", second.expose()).await.status, 401);

    world.write("tokens", "no tokens at all");
    let failed = "rollcall_projector_auth_failed_reads_total{source=\"token_file\"}";
    let counted = async || (world.service.metric(failed).await == Some(1)).then_some(());
    eventually("the fault is counted", PATIENCE, counted).await;
    assert_eq!(world.get("/users/180", first.expose()).await.status, 200, "what was read before stays in force");

    world.write("tokens", &(line(&first, "desk", &scopes) + &line(&second, "desk", &scopes)));
    until_answered(&world, "/users/180", second.expose(), 200).await;
    assert_eq!(world.get("/users/180", first.expose()).await.status, 200, "a name may have two");
    world.write("tokens", &line(&second, "desk", &scopes));
    until_answered(&world, "/users/180", first.expose(), 401).await;
    let last = events.until("cut-off").await.pop().unwrap();
    assert_eq!(last.data.unwrap()["reason"], "the permission of the token was taken back or changed");
    assert!(events.next().await.is_none(), "it is the last event");
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_jwt() {
    let key = SigningKey::ec("a");
    let set = json!({ "keys": [key.jwk()] }).to_string();
    static NOW_S: AtomicI64 = AtomicI64::new(START_S);
    let clock = || UnixMillis::from_millis(NOW_S.load(Ordering::Relaxed) * 1000);
    let world = World::start_at(clock, |raw, folder| {
        by_issuer(raw);
        raw.auth.jwt.jwks_file = folder.join("keys.json");
        std::fs::write(&raw.auth.jwt.jwks_file, set).unwrap();
    })
    .await;
    let header = format!("Bearer {}", key.token(&claims(LIFE_S)));
    let mut events = Events::with(&world.service, "/changes", &[("authorization", &header)]).await;
    events.until("caught-up").await;
    NOW_S.fetch_add(2 * LIFE_S, Ordering::Relaxed);
    let last = events.until("cut-off").await.pop().unwrap();
    assert_eq!(last.data.unwrap()["reason"], "the token has expired");
    let answer = get(world.service.http, "/changes", &[("authorization", &header)]).await;
    assert_eq!(answer.status, 401);

    let next = SigningKey::ec("b");
    assert_eq!(world.get("/users/180", &next.token(&claims(3 * LIFE_S))).await.status, 401);
    world.write("keys.json", &json!({ "keys": [next.jwk()] }).to_string());
    until_answered(&world, "/users/180", &next.token(&claims(3 * LIFE_S)), 200).await;
    assert_eq!(
        world.get("/users/180", &key.token(&claims(3 * LIFE_S))).await.status,
        401,
        "its key is no longer listed"
    );
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_key_of_the_issuer_is_fetched_once_however_many_name_it() {
    let (first, second) = (SigningKey::ec("a"), SigningKey::ec("b"));
    let issuer = Issuer::start(&[]).await;
    issuer.fail(true);
    let world = World::start(|raw, _| {
        by_issuer(raw);
        raw.auth.jwt.jwks_url = issuer.keys_url();
    })
    .await;
    let answer = world.get("/users/180", &first.token(&claims(LIFE_S))).await;
    assert_eq!(
        (answer.status.as_u16(), answer.header("retry-after")),
        (503, Some("5")),
        "it is not the reader's fault"
    );
    issuer.fail(false);
    issuer.publish(&[&first]);
    until_answered(&world, "/users/180", &first.token(&claims(LIFE_S)), 200).await;

    issuer.publish(&[&first, &second]);
    let (token, asked) = (second.token(&claims(LIFE_S)), issuer.requests());
    let stranger = SigningKey::ec("z").token(&claims(LIFE_S));
    let began = tokio::time::Instant::now();
    for _ in 0..50 {
        assert_eq!(world.get("/users/180", &stranger).await.status, 401);
    }
    until_answered(&world, "/users/180", &token, 200).await;
    let (fetches, passed) = (issuer.requests() - asked, began.elapsed());
    assert!(fetches as u64 <= passed.as_secs() / 10 + 2, "{fetches} fetches in {passed:?}, whatever strangers name");
    issuer.fail(true);
    assert_eq!(world.get("/users/180", &token).await.status, 200, "what was fetched before stays in force");
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_has_a_share_of_requests_and_streams() {
    let (desk, other) = (NewToken::from_random([1; 32]), NewToken::from_random([2; 32]));
    let scopes: Vec<Scope> = Scopes::ALL.iter().collect();
    let lines = line(&desk, "desk", &scopes) + &line(&other, "other", &scopes);
    let world = World::start(|raw, folder| {
        in_file(&lines)(raw, folder);
        raw.auth.requests_per_principal_max = 2;
        raw.auth.streams_per_principal_max = 1;
    })
    .await;
    let header = format!("Bearer {}", desk.expose());
    let fields = [("authorization", header.as_str())];
    let mut stream = Events::with(&world.service, "/changes", &fields).await;
    stream.until("caught-up").await;
    let second = get(world.service.http, "/changes", &fields).await;
    assert_eq!((second.status.as_u16(), second.header("retry-after")), (429, Some("5")));
    assert_eq!(world.denied("streams").await, 1);
    // A browser's EventSource gives up on an error, and comes again after this.
    let source = [fields[0], ("accept", "text/event-stream")];
    let third = get(world.service.http, "/changes", &source).await;
    assert_eq!((third.status.as_u16(), third.header("content-type")), (200, Some("text/event-stream")));
    let told = "retry: 10000\nevent: busy\ndata: {\"reason\":\"too many streams of this principal\"}\n\n";
    assert_eq!(third.body_text(), told);
    assert_eq!(world.denied("streams").await, 2);

    let waiting = "/users/180?at_least=0:99&wait_ms=5000";
    // A request that asks whether the share is held can take a place from those that are to hold it.
    let mut held = Vec::new();
    while world.get("/users/180", desk.expose()).await.status != 429 {
        held.push(send(world.service.http, "GET", waiting, &fields).await);
    }
    assert_eq!(world.get("/users/180", other.expose()).await.status, 200, "another principal has its own share");
    drop(held);
    until_answered(&world, "/users/180", desk.expose(), 200).await;
    drop(stream);
    let again = async || {
        let mut stream = send(world.service.http, "GET", "/changes", &fields).await;
        let mut head = [0; "HTTP/1.1 200".len()];
        let read = tokio::io::AsyncReadExt::read_exact(&mut stream, &mut head).await;
        (read.is_ok() && head.ends_with(b"200")).then_some(())
    };
    eventually("the place of a stream that ended is free", PATIENCE, again).await;
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_load_only_what_is_ours_and_no_script_stands_in_them() {
    let world = World::start(|_, _| {}).await;
    let page = world.service.get("/docs/").await;
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
    let text = page.body_text();
    assert!(text.contains("<script src=\"./") && !text.contains("<script>") && !text.contains("<style"), "{text}");
    assert!(!text.contains("http://") && !text.contains("https://"), "{text}");
    let head = request(world.service.http, "HEAD", "/users/180", &[]).await;
    assert_eq!(head.header("x-content-type-options"), Some("nosniff"));
    let admin = get(world.service.admin, "/metrics", &[]).await;
    assert_eq!(admin.header("x-content-type-options"), Some("nosniff"));
    let document = world.service.get("/openapi.json").await.json();
    assert_eq!(document["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    assert_eq!(document["security"], json!([{ "bearer": [] }, {}]));
    world.service.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_beyond_the_loopback_is_not_open_by_accident() {
    let (kafka, folder) = (Log::start(1), tempfile::tempdir().unwrap());
    let error = Service::refused_beyond_the_loopback(&kafka, &folder).await;
    let error = error.source().unwrap().to_string();
    assert!(error.contains("auth.allow_anonymous = true"), "{error}");
}
