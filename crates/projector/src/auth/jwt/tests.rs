//! Tokens that are right, and attacks, each with the reason for which it is denied.

use serde_json::json;
use testkit::issuer::{SigningKey, token_by_secret, unsigned};

use super::*;
use crate::auth::follow::Followed as _;
use crate::scopes::Scope;

const NOW_S: i64 = 1_800_000_000;

fn expected() -> Expected {
    Expected { issuer: "https://idp".to_owned(), audience: "rollcall".to_owned(), scope_claim: "scope".to_owned() }
}

fn keys(keys: &[&SigningKey]) -> Keys {
    let keys: Vec<Value> = keys.iter().map(|key| key.jwk()).collect();
    Keys::of(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
}

fn judged(token: &str, keys: &Keys) -> Result<Principal, Denied> {
    principal(token, keys, &expected(), UnixMillis::from_millis(NOW_S * 1000))
}

fn claims() -> Value {
    json!({
        "iss": "https://idp", "aud": "rollcall", "sub": "desk", "scope": "users:read openid status:read",
        "exp": NOW_S + 300, "nbf": NOW_S
    })
}

/// Returns the claims with some members set, or removed by null.
fn with(changes: &Value) -> Value {
    let mut claims = claims();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::Null => drop(claims.as_object_mut().unwrap().remove(name)),
            value => claims[name] = value.clone(),
        }
    }
    claims
}

#[test]
fn a_token_of_each_kind_of_key_is_its_principal() {
    let all = [
        SigningKey::rsa("rs", "RS256", 2048),
        SigningKey::rsa("ps", "PS256", 2048),
        SigningKey::ec("es"),
        SigningKey::ed25519("ed"),
    ];
    let keys = keys(&all.each_ref());
    for key in &all {
        let admitted = judged(&key.token(&claims()), &keys).unwrap_or_else(|denied| panic!("{}: {denied:?}", key.id));
        assert_eq!(&*admitted.name, "jwt:desk");
        assert_eq!(admitted.scopes.iter().collect::<Vec<_>>(), [Scope::UsersRead, Scope::StatusRead]);
        assert_eq!(admitted.until.unwrap().millis(), (NOW_S + 360) * 1000, "with what clocks may be apart");
        let forged = with(&json!({ "scope": "users:pay" }));
        let (token, other) = (key.token(&claims()), key.token(&forged));
        let (_, signature) = token.rsplit_once('.').unwrap();
        let (message, _) = other.rsplit_once('.').unwrap();
        assert_eq!(judged(&format!("{message}.{signature}"), &keys).unwrap_err(), Denied::Signature, "{}", key.id);
    }
}

#[test]
fn each_attack_has_its_reason() {
    let (rsa, other, ec) =
        (SigningKey::rsa("a", "RS256", 2048), SigningKey::rsa("a", "RS256", 2048), SigningKey::ec("b"));
    let known = keys(&[&rsa, &ec]);
    let header = |algorithm: &str| json!({ "alg": algorithm, "kid": "a" });
    let none = format!("{}.", unsigned(&header("none"), &claims()));
    let by_public_key = token_by_secret(&header("HS256"), &claims(), &rsa.public_pem());
    let by_modulus = token_by_secret(&header("HS256"), &claims(), rsa.jwk()["n"].as_str().unwrap().as_bytes());
    for (attack, token, reason) in [
        ("no algorithm", none.clone(), Denied::UnknownToken),
        ("no algorithm, in another case", none.replace("none", "nOnE"), Denied::UnknownToken),
        ("the public key as a secret", by_public_key, Denied::Algorithm),
        ("its modulus as a secret", by_modulus, Denied::Algorithm),
        ("the algorithm of another key", rsa.sign(&header("ES256"), &claims()), Denied::Algorithm),
        ("another key of that name", other.token(&claims()), Denied::Signature),
        ("a key that is not known", SigningKey::ec("c").token(&claims()), Denied::UnknownKey),
        ("no name of a key", rsa.sign(&json!({ "alg": "RS256" }), &claims()), Denied::UnknownKey),
        ("an extension", rsa.sign(&json!({ "alg": "RS256", "kid": "a", "crit": ["x"] }), &claims()), Denied::Claims),
        (
            "a key that it brings along",
            ec.sign(&json!({ "alg": "RS256", "jwk": other.jwk() }), &claims()),
            Denied::UnknownKey,
        ),
        ("no JWT", "rollcall_0000".to_owned(), Denied::UnknownToken),
        ("no signature", rsa.token(&claims()).rsplit_once('.').unwrap().0.to_owned(), Denied::UnknownToken),
        ("an empty signature", format!("{}.", rsa.token(&claims()).rsplit_once('.').unwrap().0), Denied::Signature),
    ] {
        assert_eq!(judged(&token, &known).unwrap_err(), reason, "{attack}");
    }
    for (changes, reason) in [
        (json!({ "exp": NOW_S - 61 }), Denied::Expired),
        (json!({ "exp": null }), Denied::Claims),
        (json!({ "exp": "tomorrow" }), Denied::Claims),
        (json!({ "exp": -1 }), Denied::Claims),
        (json!({ "nbf": NOW_S + 61 }), Denied::NotYetValid),
        (json!({ "nbf": "x" }), Denied::Claims),
        (json!({ "iss": "https://other" }), Denied::Issuer),
        (json!({ "iss": null }), Denied::Claims),
        (json!({ "aud": "other" }), Denied::Audience),
        (json!({ "aud": null }), Denied::Claims),
        (json!({ "sub": null }), Denied::Claims),
    ] {
        assert_eq!(judged(&rsa.token(&with(&changes)), &known).unwrap_err(), reason, "{changes}");
    }
}

#[test]
fn a_token_says_the_same_in_each_of_its_forms() {
    let key = SigningKey::ec("a");
    let known = keys(&[&key]);
    for (changes, name, scopes) in [
        (json!({ "scope": ["users:read", 7, "nothing"], "aud": ["x", "rollcall"] }), "jwt:desk", "{\"users:read\"}"),
        (json!({ "scope": null, "sub": null, "client_id": "app" }), "jwt:app", "{}"),
        (json!({ "sub": "a\nb", "exp": 1.8e9 + 0.5 }), "jwt:a b", "{\"users:read\", \"status:read\"}"),
        (json!({ "exp": u64::MAX }), "jwt:desk", "{\"users:read\", \"status:read\"}"),
    ] {
        let admitted = judged(&key.token(&with(&changes)), &known).unwrap();
        assert_eq!((&*admitted.name, format!("{:?}", admitted.scopes).as_str()), (name, scopes), "{changes}");
    }
    let only = key.sign(&json!({ "alg": "ES256" }), &claims());
    assert!(judged(&only, &known).is_ok(), "the only key needs no name");
}

#[test]
fn keys_that_check_no_signature_are_left_out() {
    let (key, short) = (SigningKey::ec("a"), SigningKey::rsa("b", "RS256", 1024));
    let secret = json!({ "kty": "oct", "kid": "s", "k": "c2VjcmV0" });
    let mut for_encryption = key.jwk();
    for_encryption["use"] = json!("enc");
    let mut off_the_curve = key.jwk();
    off_the_curve["x"] = off_the_curve["y"].clone();
    let mut unfit = key.jwk();
    unfit["alg"] = json!("RS256");
    for jwk in [secret, short.jwk(), for_encryption, off_the_curve, unfit, json!({ "kty": "new" }), json!(7)] {
        let alone = json!({ "keys": [jwk] }).to_string();
        assert!(Keys::of(alone.as_bytes()).is_err(), "{alone}");
        let beside = json!({ "keys": [jwk, key.jwk()] }).to_string();
        assert!(judged(&key.token(&claims()), &Keys::of(beside.as_bytes()).unwrap()).is_ok(), "{beside}");
    }
    for text in ["", "{}", "[]", r#"{"keys":[]}"#] {
        assert!(Keys::of(text.as_bytes()).is_err(), "{text}");
    }
    let many = json!({ "keys": vec![key.jwk(); 101] }).to_string();
    assert!(Keys::of(many.as_bytes()).unwrap_err().to_string().contains("100"));
}
