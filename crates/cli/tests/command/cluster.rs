//! A cluster that cannot be used: every command says why.

use std::net::TcpListener;

use crate::store_in;
use crate::support::{Service, run, stderr};

#[test]
fn every_command_says_why_the_cluster_cannot_be_used_and_what_to_do() {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let bootstrap = format!("127.0.0.1:{port}");
    let expected = format!("{bootstrap} refuses the connection: no broker listens there; check the port");
    let ports = ["--port-webhooks=0", "--port-queries=0", "--port-ingest-admin=0", "--port-projector-admin=0"];
    for args in [
        &["topics", "check"][..],
        &["topics", "create"],
        &["topics", "copy", "--to", "wider", "--partitions", "2"],
        &["verify"],
        &["forget", "180", "--yes"],
        &["dead-letter", "list"],
        &["dead-letter", "show", "0"],
        &["dead-letter", "replay"],
        &[&["dev"][..], &ports].concat(),
    ] {
        let output = run(&[args, &["--bootstrap", &bootstrap]].concat());
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(stderr(&output).contains(&expected), "{args:?}: {}", stderr(&output));
        assert!(!stderr(&output).contains("Connect to ipv4#"), "{args:?}: {}", stderr(&output));
    }
    let verbose = run(&["topics", "check", "--bootstrap", &bootstrap, "-v"]);
    assert!(stderr(&verbose).contains("Connect to ipv4#127.0.0.1"), "{}", stderr(&verbose));

    // The services wait, and say so.
    let folder = tempfile::tempdir().unwrap();
    let store = store_in(folder.path());
    let ingest =
        Service::start(&["ingest", "--bootstrap", &bootstrap, "--set", "security.allow_unauthenticated=true"], &[]);
    let projector = Service::start(&["projector", "--bootstrap", &bootstrap, "--set", &store], &[]);
    for service in [ingest, projector] {
        service.until_unready_because(&expected);
        let (status, log) = service.stop();
        assert!(status.success(), "{log}");
        assert_eq!(log.matches("\"the cluster cannot be used: trying again\"").count(), 1, "{log}");
    }
}
