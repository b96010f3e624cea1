//! Readers of the projector: their tokens, and a service that does not start before somebody says who they are.

use crate::support::{run, stderr, stdout};

#[test]
fn a_new_token_is_printed_once_with_the_line_that_admits_it() {
    let made = run(&["token", "new", "desk", "--scope", "users:read", "--scope", "changes:read"]);
    let made = stdout(&made);
    let (token, line) = made.trim_end().split_once('\n').unwrap();
    assert!(token.starts_with("rollcall_") && token.len() == 73, "{token}");
    let digest: String = openssl::sha::sha256(token.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(line, format!("desk {digest} users:read,changes:read"));
    assert_ne!(stdout(&run(&["token", "new", "desk", "--scope", "users:read"])).lines().next(), Some(token));
    for args in [&["token", "new", "desk"][..], &["token", "new", "a b", "--scope", "users:read"], &["token", "new"]] {
        assert_eq!(run(args).status.code(), Some(2), "{args:?}");
    }
    let unknown = run(&["token", "new", "desk", "--scope", "users:write"]);
    assert!(stderr(&unknown).contains("users:contact"), "the scopes are named: {}", stderr(&unknown));
}

#[test]
fn a_projector_beyond_the_loopback_does_not_start_before_somebody_says_who_may_read() {
    let listen = ["projector", "--set", "http.listen=0.0.0.0:0"];
    let refused = run(&[&["config", "check"], &listen[..]].concat());
    assert_eq!(refused.status.code(), Some(1));
    assert!(stderr(&refused).contains("auth: expected token_file or [auth.jwt]"), "{}", stderr(&refused));
    let open = run(&[&["config", "check"], &listen[..], &["--set", "auth.allow_anonymous=true"]].concat());
    assert_eq!(open.status.code(), Some(0), "{}", stderr(&open));
}
