//! What a change says of itself, as each set of scopes is answered.

use super::*;

/// Returns whether a member lists fields: those of a gap, or those that a change names.
pub(super) fn names_fields(member: &str) -> bool {
    ["fields", "changed"].contains(&member)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_of_hidden_fields_alone_names_none() {
    let world = World::start().await;
    let [_, current, _] = states();
    let paid = User { hourly: Some(771_000_999), ..current.clone() };
    world.change(&event(Some(current), paid.clone(), 40)).await;
    let reached = User { email: Some("hidden@example.com".to_owned()), ..paid.clone() };
    world.change(&event(Some(paid), reached, 50)).await;
    let path = format!("/changes?lastEventId={}", world.first);
    for scopes in sets().into_iter().filter(|scopes| scopes.contains(Scope::ChangesRead)) {
        let mut answer = world.get(scopes, &path, &[]).await;
        let changes = documents(&text_until(answer.body_mut(), CAUGHT_UP).await);
        let named: Vec<&Value> = changes.iter().filter_map(|change| change["_meta"].get("changed")).collect();
        let seen = |scope, name: &str| Value::from_iter(scopes.contains(scope).then_some(name));
        let expected = [seen(Scope::UsersPay, "hourly"), seen(Scope::UsersContact, "email")];
        let [.., first, second] = named.as_slice() else { panic!("{scopes:?}: {changes:?}") };
        assert_eq!([*first, *second], [&expected[0], &expected[1]], "{scopes:?}");
    }
    world.projection.close().await.unwrap();
}
