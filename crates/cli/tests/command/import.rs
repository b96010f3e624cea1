//! `rollcall import` of a list that ends early.

use testkit::broker::Log;

use crate::support::{on_runtime, run, stderr, stdout, text};

#[test]
fn a_list_that_ends_early_is_counted_as_far_as_it_was_written() {
    let (log, folder) = (Log::start(1), tempfile::tempdir().unwrap());
    let (bootstrap, file) = (log.broker.bootstrap(), folder.path().join("users.csv"));
    let import = |list: &str| {
        std::fs::write(&file, list).unwrap();
        let list = ["import", text(&file), "--as-of", "2025-01-01T00:00:00Z", "--bootstrap", &bootstrap];
        run(&[&list[..], &["--set", "security.allow_unauthenticated=true"]].concat())
    };
    // More than are under way at a time.
    let rows: String = (1..=1000).map(|user| format!("{user},a\n")).collect();
    let output = import(&format!("userId,name\n{rows}1001,\"b\n"));
    let (summary, said) = (stdout(&output), stderr(&output));
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(summary.contains("1000 users as of 2025-01-01T00:00:00Z: 1000 stored, 0 known already"), "{summary}");
    let told = "the import ended after 1000 users; it can be run again: ";
    assert!(said.contains(told) && said.contains("the quote that opens in line 1002 is not closed"), "{said}");
    assert_eq!(on_runtime(log.records(&log.names.users)).len(), 1000);

    let output = import("userId,Name\n2000,a\n");
    assert!(stderr(&output).contains("expected name for Name"), "{output:?}");
    assert_eq!(on_runtime(log.records(&log.names.users)).len(), 1000, "nothing was written");
}
