//! The history of a user as each set of scopes is answered.

use super::*;

/// Returns the names of the fields that the entries name.
pub(super) fn changed(entries: &Value) -> BTreeSet<String> {
    let fields = |entry: &Value| entry["fields"].as_array().unwrap().clone();
    let name = |field: Value| field["name"].as_str().unwrap().to_owned();
    entries.as_array().unwrap().iter().flat_map(fields).map(name).collect()
}

async fn json(answer: Response) -> Value {
    serde_json::from_slice(&answer.into_body().collect().await.unwrap().to_bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_hidden_fields_alone_tells_no_more_than_that_there_was_one() {
    let world = World::start().await;
    let [_, current, _] = states();
    let paid = User { hourly: Some(771_000_999), ..current.clone() };
    world.change(&event(Some(current.clone()), paid.clone(), 40)).await;
    let reached = User { email: Some("hidden@example.com".to_owned()), ..paid.clone() };
    world.change(&event(Some(paid), reached, 50)).await;
    for scopes in sets().into_iter().filter(|scopes| scopes.contains(Scope::UsersRead)) {
        let body = json(world.get(scopes, "/users/180/history", &[]).await).await;
        let entries = body["changes"].as_array().unwrap();
        let newest: Vec<BTreeSet<String>> =
            entries[..2].iter().map(|entry| changed(&serde_json::json!([entry]))).collect();
        let seen = |scope, name: &str| scopes.contains(scope).then(|| name.to_owned()).into_iter().collect();
        let expected: [BTreeSet<String>; 2] = [seen(Scope::UsersContact, "email"), seen(Scope::UsersPay, "hourly")];
        assert_eq!(newest, expected, "{scopes:?}");
        // But for the fields that are shown, an entry is the same for all: it does not say which are hidden.
        for entry in &entries[..2] {
            let mut members: Vec<&str> = entry.as_object().unwrap().keys().map(String::as_str).collect();
            members.sort_unstable();
            let all = ["comparedWith", "eventId", "fields", "kind", "occurredAt", "position", "receivedAt", "type"];
            assert_eq!(members, all, "{scopes:?}");
            assert_eq!((&entry["kind"], &entry["comparedWith"]), (&"changed".into(), &"held".into()));
        }
    }
    world.projection.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_is_of_the_fields_that_are_shown_and_of_each_change() {
    let world = World::start().await;
    let path = "/users/180/history?fields=name";
    let read: Scopes = [Scope::UsersRead].into_iter().collect();
    let tag = world.get(read, path, &[]).await.headers()["etag"].to_str().unwrap().to_owned();
    assert!(tag.starts_with("W/\""), "{tag}");
    let again = world.get(read, path, &[("if-none-match", &tag)]).await;
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(again.headers()["cache-control"], "private, no-cache");
    let wider = world.get(read, "/users/180/history?fields=name,email", &[("if-none-match", &tag)]).await;
    assert_eq!(wider.status(), StatusCode::OK, "it names what is hidden");
    let [_, current, later] = states();
    world.change(&event(Some(current), later, 40)).await;
    let changed = world.get(read, path, &[("if-none-match", &tag)]).await;
    assert_eq!(changed.status(), StatusCode::OK);
    world.projection.close().await.unwrap();
}
