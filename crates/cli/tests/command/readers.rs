//! Readers of the projector: their tokens, and a service that does not start before somebody says who they are.

use std::fs;

use crate::support::{Service, run, stderr, stdout, text};

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

#[test]
fn a_projector_with_tls_and_tokens_is_verified() {
    let log = testkit::broker::Log::start(1);
    let bootstrap = log.options().bootstrap;
    let folder = tempfile::tempdir().unwrap();
    let [certificate, key] = testkit::tls::write(folder.path(), &testkit::tls::self_signed("localhost"));
    let made = stdout(&run(&["token", "new", "nightly", "--scope", "users:read", "--scope", "users:contact"]));
    let (partial, line) = made.trim_end().split_once('\n').unwrap();
    let scopes = ["users:read", "users:contact", "users:pay", "status:read"];
    let whole =
        stdout(&run(&[&["token", "new", "all"], &scopes.map(|scope| ["--scope", scope]).concat()[..]].concat()));
    let (token, all) = whole.trim_end().split_once('\n').unwrap();
    let [tokens, token_file, partial_file] = ["tokens", "token", "partial"].map(|name| folder.path().join(name));
    fs::write(&tokens, format!("{line}\n{all}\n")).unwrap();
    fs::write(&token_file, token).unwrap();
    fs::write(&partial_file, partial).unwrap();

    let settings = [
        format!("store.dir={}", text(&folder.path().join("store"))),
        format!("http.tls_certificate_file={}", text(&certificate)),
        format!("http.tls_key_file={}", text(&key)),
        format!("auth.token_file={}", text(&tokens)),
    ];
    let set: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting.as_str()]).collect();
    let projector = Service::start(&[&["projector", "--bootstrap", &bootstrap], &set[..]].concat(), &[]);
    projector.until_ready();
    let port = projector.listens["http"].as_str().unwrap().rsplit_once(':').unwrap().1.to_owned();
    let url = format!("https://localhost:{port}");
    let verify = |more: &[&str]| run(&[&["verify", "--bootstrap", &bootstrap, "--projector", &url], more].concat());

    let trusted = ["--ca-file", text(&certificate)];
    let verified = verify(&[&trusted[..], &["--token-file", text(&token_file)]].concat());
    assert_eq!(verified.status.code(), Some(0), "{}{}", stdout(&verified), stderr(&verified));
    for (more, reason) in [
        (&trusted[..], "401"),
        (&[&trusted[..], &["--token-file", text(&partial_file)]].concat(), "scope"),
        (
            &["--token-file", text(&token_file)],
            "does not answer: its certificate comes from an authority that is not trusted here",
        ),
    ] {
        let refused = verify(more);
        assert_eq!(refused.status.code(), Some(1));
        assert!(stderr(&refused).contains(reason), "{reason} is missing in {}", stderr(&refused));
    }
    let (_, log) = projector.stop();
    let trail: Vec<&str> = log.lines().filter(|line| line.contains("\"target\":\"audit\"")).collect();
    for part in ["\"principal\":\"all\",\"http.route\":\"/users\"", "\"denied\":\"scope\"", "\"denied\":\"no_token\""] {
        assert!(trail.iter().any(|line| line.contains(part)), "{part} is missing in {trail:?}");
    }
}
