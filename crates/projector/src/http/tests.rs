//! For every set of scopes and every route: no answer has a field that the principal's scopes hide.

mod changes;

mod history;

use std::collections::BTreeSet;

use axum::body::Body;
use axum::response::Response;
use domain::{Positions, User, UserEvent};
use http::{Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use testkit::broker::Log;
use testkit::event::{at, event, user_id};
use testkit::random::Random;
use testkit::wait::PATIENCE;
use tower::ServiceExt as _;

use super::*;
use crate::scopes::{Principal, Scopes};
use crate::{Options, Projection};

/// The members of a user by the scope that shows each, as the README has it.
const READ: [&str; 11] = [
    "extension",
    "isAgent",
    "messageLists",
    "mobileProjectId",
    "name",
    "privGroup",
    "redistribution",
    "registerTransport",
    "sampleRate",
    "state",
    "username",
];
const CONTACT: [&str; 4] = ["contactPhone", "email", "mobilePhone", "outboundPhone"];
const PAY: [&str; 3] = ["extra", "hourly", "monthly"];
/// The member outside the vendor's table that the user has.
const SKILLS: &str = "skills";
/// How many subsets of fields are asked of each route.
const SUBSETS: usize = 2;
const USER: i64 = 180;
const FORGOTTEN: i64 = 181;

/// Returns a user whose every value contains its member's name, after `word` or in a number of nine digits.
fn marked(word: &str, number: i64) -> User {
    let text = |name: &str| Some(format!("{word}-{name}"));
    User {
        contact_phone: text("contactPhone"),
        email: text("email"),
        extension: text("extension"),
        hourly: Some(number),
        is_agent: Some(number % 2 == 0),
        message_lists: Some(vec![format!("{word}-messageLists")]),
        mobile_phone: text("mobilePhone"),
        mobile_project_id: Some(number + 1),
        monthly: Some(number + 2),
        name: text("name"),
        outbound_phone: text("outboundPhone"),
        priv_group: Some(number + 3),
        redistribution: Some(number + 4),
        register_transport: text("registerTransport"),
        sample_rate: text("sampleRate"),
        state: text("state"),
        username: text("username"),
        extra: [(SKILLS, "extra"), ("_meta", "extra-meta")]
            .into_iter()
            .map(|(name, value)| (name.to_owned(), format!("\"{word}-{value}\"")))
            .collect(),
        ..User::new(user_id(USER))
    }
}

/// The states of the user: before the gap, after it, and after the change that streams hear of.
fn states() -> [User; 3] {
    [marked("former", 771_000_100), marked("current", 771_000_201), marked("later", 771_000_302)]
}

/// Returns the texts that show the value of a member in some state.
fn values_of(member: &str) -> Vec<String> {
    let number =
        |at: i64| [771_000_100, 771_000_201, 771_000_302].map(|number: i64| (number + at).to_string()).to_vec();
    match member {
        "hourly" => number(0),
        "mobileProjectId" => number(1),
        "monthly" => number(2),
        "privGroup" => number(3),
        "redistribution" => number(4),
        "isAgent" => Vec::new(),
        text => ["former", "current", "later"].map(|word| format!("{word}-{text}")).to_vec(),
    }
}

struct World {
    _kafka: Log,
    _store: tempfile::TempDir,
    projection: Projection,
    api: Arc<Api>,
    /// The id of a subscription that has read nothing but the first event.
    first: String,
}

impl World {
    async fn start() -> Self {
        let (kafka, store) = (Log::start(1), tempfile::tempdir().unwrap());
        let options = Options { kafka: kafka.options(), ..Options::new("", &kafka.names.users, store.path()) };
        let projection = Projection::open(options).unwrap();
        projection.ready().await.unwrap();
        let [former, current, _] = states();
        let gone = User { user_id: user_id(FORGOTTEN), ..former.clone() };
        kafka.event(&event(None, former, 10)).await;
        kafka.event(&event(None, gone, 10)).await;
        kafka.forget(user_id(FORGOTTEN), at(20)).await;
        // A delivery is missing: between the two states, every field differs.
        let missed = marked("missed", 771_000_400);
        let last = kafka.event(&event(Some(missed), current, 30)).await;
        projection.wait_for(last, PATIENCE).await.unwrap();
        let api =
            Arc::new(Api { projection: projection.clone(), shutdown: Shutdown::new(), readiness: Readiness::new(&[]) });
        let mut world = Self { _kafka: kafka, _store: store, projection, api, first: String::new() };
        let topic = world.api.table().unwrap().topic();
        world.first = Positions { topic, checkpoint: "0:1".parse().unwrap() }.to_string();
        world
    }

    async fn get(&self, scopes: Scopes, path: &str, headers: &[(&str, &str)]) -> Response {
        let principal = Principal { scopes, ..Principal::anonymous() };
        let mut request = Request::get(path).extension(principal);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        routes(Arc::clone(&self.api)).oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    async fn change(&self, event: &UserEvent) {
        let position = self._kafka.event(event).await;
        self.projection.wait_for(position, PATIENCE).await.unwrap();
    }
}

/// Returns all sets of scopes.
fn sets() -> Vec<Scopes> {
    let each = |bits: usize| Scope::EACH.into_iter().enumerate().filter(move |(at, _)| bits & 1 << at != 0);
    (0..1 << Scope::EACH.len()).map(|bits| each(bits).map(|(_, scope)| scope).collect()).collect()
}

/// Returns the members that a principal with these scopes may not see, in alphabetical order.
fn hidden(scopes: Scopes) -> BTreeSet<&'static str> {
    let groups = [(Scope::UsersRead, &READ[..]), (Scope::UsersContact, &CONTACT[..]), (Scope::UsersPay, &PAY[..])];
    let hidden = groups.into_iter().filter(|(scope, _)| !scopes.contains(*scope));
    hidden.flat_map(|(_, members)| members.iter().copied()).collect()
}

/// What a request asks of a route, and for whom.
struct Asked<'a> {
    scopes: Scopes,
    path: &'a str,
    fields: Option<&'a [&'static str]>,
}

impl Asked<'_> {
    /// Asserts that an answer keeps what is hidden, and shows the rest that is asked for.
    fn check(&self, text: &str) {
        let hidden = hidden(self.scopes);
        let why = format!("{:?} asks {}: {text}", self.scopes, self.path);
        for value in hidden.iter().flat_map(|member| values_of(member)) {
            assert!(!text.contains(&value), "{value} is hidden: {why}");
        }
        for json in documents(text) {
            self.check_within(&json, &hidden, &why);
        }
    }

    fn check_within(&self, json: &Value, hidden: &BTreeSet<&'static str>, why: &str) {
        match json {
            Value::Array(items) => items.iter().for_each(|item| self.check_within(item, hidden, why)),
            Value::Object(members) => {
                // A gap is awaited or lost: its own `state`.
                let is_gap = members.contains_key("awaitedUntil");
                for (name, value) in members {
                    assert!(is_gap || !hidden.contains(name.as_str()), "{name} is hidden: {why}");
                    assert!(name != SKILLS || !hidden.contains("extra"), "{name} is hidden: {why}");
                    let named = value.as_array().filter(|_| changes::names_fields(name)).into_iter().flatten();
                    for name in named.map(|field| field.as_str().or(field["name"].as_str()).unwrap()) {
                        let member = if [SKILLS, "_meta"].contains(&name) { "extra" } else { name };
                        assert!(!hidden.contains(member), "a gap or a change names {name}: {why}");
                    }
                    self.check_within(value, hidden, why);
                }
                if members.get("userId") == Some(&USER.into()) && members.contains_key("_meta") {
                    self.check_user(json, hidden, why);
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    /// Asserts that a user has each member that is asked for, or names it as hidden.
    fn check_user(&self, user: &Value, hidden: &BTreeSet<&'static str>, why: &str) {
        let is_asked = |name: &str| self.fields.is_none_or(|fields| fields.contains(&name));
        let redacted: Vec<&str> = hidden.iter().copied().filter(|name| is_asked(name)).collect();
        let named = user["_meta"]["redacted"].as_array().map_or(Vec::new(), |names| {
            assert!(!names.is_empty(), "{why}");
            names.iter().map(|name| name.as_str().unwrap()).collect()
        });
        assert_eq!(named, redacted, "{why}");
        let history = user.get("changes").map(history::changed);
        for name in READ.into_iter().chain(CONTACT).chain(PAY) {
            let is_there = match (&history, name) {
                (Some(changed), "extra") => changed.contains(SKILLS) && changed.contains("_meta"),
                (Some(changed), name) => changed.contains(name),
                (None, "extra") => user.get(SKILLS).is_some() && user["_meta"].get("extra").is_some(),
                (None, name) => user.get(name).is_some(),
            };
            assert_eq!(is_there, is_asked(name) && !hidden.contains(name), "{name}: {why}");
        }
    }
}

/// Returns the JSON documents of a body: the whole, lines of NDJSON, or the data of events.
fn documents(text: &str) -> Vec<Value> {
    let lines = text.lines().filter_map(|line| serde_json::from_str(line.strip_prefix("data: ").unwrap_or(line)).ok());
    lines.collect()
}

/// Reads a body until it contains `end`, and the blank line behind it; a body without it to its end.
async fn text_until(body: &mut Body, end: &str) -> String {
    let mut text = String::new();
    let reading = async {
        while let Some(frame) = body.frame().await {
            text.push_str(std::str::from_utf8(frame.unwrap().data_ref().unwrap()).unwrap());
            if text.find(end).and_then(|found| text.get(found..)).is_some_and(|rest| rest.contains("\n\n")) {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, reading).await.unwrap();
    text
}

const CAUGHT_UP: &str = "event: caught-up";

/// Every route that shows users, with the scopes that it demands.
const ASKED: [(&str, &[Scope]); 13] = [
    ("/users", &[Scope::UsersRead]),
    ("/users?q=RRENT-%C3%91ame", &[Scope::UsersRead]),
    ("/users?sort=name", &[Scope::UsersRead]),
    ("/users?email=current-email", &[Scope::UsersRead, Scope::UsersContact]),
    ("/users?state=current-state", &[Scope::UsersRead]),
    ("/users/180", &[Scope::UsersRead]),
    ("/users/180/history", &[Scope::UsersRead]),
    ("/users/by-username/current-username", &[Scope::UsersRead]),
    ("/users/by-email/current-email", &[Scope::UsersRead, Scope::UsersContact]),
    ("/users/by-extension/current-extension", &[Scope::UsersRead]),
    ("/changes", &[Scope::ChangesRead]),
    ("/changes?lastEventId=", &[Scope::ChangesRead]),
    ("/changes?state=current-state", &[Scope::ChangesRead, Scope::UsersRead]),
];

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_has_a_field_that_its_scopes_hide() {
    let world = World::start().await;
    let mut random = Random(1);
    let members: Vec<&str> = READ.into_iter().chain(CONTACT).chain(PAY).collect();
    for scopes in sets() {
        for (path, demanded) in ASKED {
            let path = if path.ends_with('=') { format!("{path}{}", world.first) } else { path.to_owned() };
            let mut subsets = vec![None];
            subsets
                .extend((0..SUBSETS).map(|_| Some(members.iter().copied().filter(|_| random.below(2) == 0).collect())));
            for fields in subsets {
                let fields: Option<Vec<&str>> = fields;
                let fields = fields.as_deref().filter(|fields| !fields.is_empty());
                let asks = fields.map_or(String::new(), |fields| format!("fields={}", fields.join(",")));
                let path = format!("{path}{}{asks}", if path.contains('?') { '&' } else { '?' });
                let accepted =
                    if path.starts_with("/users?") { &["*/*", "application/x-ndjson"][..] } else { &["*/*"] };
                for accept in accepted {
                    let mut answer = world.get(scopes, &path, &[("accept", accept)]).await;
                    let text = text_until(answer.body_mut(), CAUGHT_UP).await;
                    let asked = Asked { scopes, path: &path, fields };
                    asked.check(&text);
                    let missing = demanded.iter().find(|scope| !scopes.contains(**scope));
                    assert_is_refused(&answer, &text, missing.copied(), &path);
                    assert!(missing.is_some() || text.contains("\"userId\":180"), "{path}: {text}");
                    let goes_on = missing.is_none() && path.contains("lastEventId");
                    assert!(!goes_on || text.contains("event: changed"), "{path}: {text}");
                }
            }
        }
    }
    world.projection.close().await.unwrap();
}

/// Asserts that an answer is 403 if a scope is missing, and else the principal's own.
fn assert_is_refused(answer: &Response, text: &str, missing: Option<Scope>, path: &str) {
    let Some(missing) = missing else {
        assert_eq!(answer.status(), StatusCode::OK, "{path}: {text}");
        let kept = answer.headers()["cache-control"].to_str().unwrap();
        assert!(["private, no-cache", "no-store, no-transform"].contains(&kept), "{path}: {kept}");
        let vary = answer.headers()["vary"].to_str().unwrap();
        assert!(vary.starts_with("authorization, accept-encoding"), "{path}: {vary}");
        return;
    };
    assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}");
    assert_eq!(answer.extensions().get::<Scope>(), Some(&missing), "{path}");
    assert_eq!(answer.headers()["content-type"], "application/problem+json");
    assert!(text.contains(&format!("the scope {missing} is missing")), "{path}: {text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_user_hides_the_same() {
    let world = World::start().await;
    for scopes in sets() {
        for path in [
            "/status",
            "/users/181",
            "/users/181/history",
            "/users/999",
            "/users/x",
            "/users?fields=pay",
            "/users?q=rent-email",
            "/users?q=rent-email&sort=name",
            "/users/by-email/nobody",
            "/users/by-username/nobody",
            "/users/180?at_least=0:99&wait_ms=1",
            "/changes?state=none&fields=nothing",
            "/changes?privGroup=x",
        ] {
            let answer = world.get(scopes, path, &[]).await;
            let (status, body) = (answer.status(), answer.into_body().collect().await.unwrap().to_bytes());
            let text = std::str::from_utf8(&body).unwrap();
            Asked { scopes, path, fields: None }.check(text);
            if path.contains("q=rent-email") && status == StatusCode::OK {
                let found = text.contains("\"userId\"");
                assert_eq!(found, scopes.contains(Scope::UsersContact), "no look-up by what is hidden: {text}");
            }
        }
        let status = world.get(scopes, "/status", &[]).await;
        assert_eq!(status.status() == StatusCode::OK, scopes.contains(Scope::StatusRead));
    }
    world.projection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_is_sent_to_each_as_its_scopes_say() {
    let world = World::start().await;
    let mut streams = Vec::new();
    for scopes in sets().into_iter().filter(|scopes| scopes.contains(Scope::ChangesRead)) {
        for path in ["/changes", "/changes?fields=email,name"] {
            let mut answer = world.get(scopes, path, &[]).await;
            text_until(answer.body_mut(), CAUGHT_UP).await;
            streams.push((scopes, path, answer));
        }
    }
    let [_, current, later] = states();
    world.change(&event(Some(current), later, 40)).await;
    for (scopes, path, mut answer) in streams {
        let text = text_until(answer.body_mut(), "event: changed").await;
        let fields = path.contains("fields").then_some(&["email", "name"][..]);
        Asked { scopes, path, fields }.check(&text);
        assert_eq!(text.contains("later-name"), scopes.contains(Scope::UsersRead), "{text}");
        assert_eq!(text.contains("later-email"), scopes.contains(Scope::UsersContact), "{text}");
    }
    world.projection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entity_tag_is_of_the_fields_that_are_shown() {
    let world = World::start().await;
    let mut tags = BTreeSet::new();
    let readers: Vec<Scopes> = sets().into_iter().filter(|scopes| scopes.contains(Scope::UsersRead)).collect();
    for scopes in &readers {
        for path in ["/users/180", "/users/180?fields=email,hourly,name"] {
            let tag = world.get(*scopes, path, &[]).await.headers()["etag"].to_str().unwrap().to_owned();
            let again = world.get(*scopes, path, &[("if-none-match", &tag)]).await;
            assert_eq!(again.status(), StatusCode::NOT_MODIFIED, "{path}");
            assert_eq!(again.headers()["cache-control"], "private, no-cache");
            tags.insert(tag);
        }
    }
    assert_eq!(tags.len(), 8, "one for each set of fields: {tags:?}");
    world.projection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_without_a_principal_has_no_scopes() {
    let world = World::start().await;
    let paths = ["/users", "/users/180", "/users/180/history", "/users/by-email/x", "/changes"];
    for path in paths.into_iter().chain(["/status?at_least=0:99&wait_ms=30000"]) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let answer = routes(Arc::clone(&world.api)).oneshot(request).await.unwrap();
        assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{path}, before anything is waited for");
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().contains("insufficient_scope"));
    }
    world.projection.close().await.unwrap();
}
