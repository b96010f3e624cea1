//! Each command with tiny numbers on the in-memory broker: the shape of its table, and that the counts add up. Nothing
//! here says how fast anything is.

use std::process::Command;

/// A table as printed: its head and its rows, cell by cell. The first cell of a row is its name.
type Printed = Vec<Vec<String>>;

/// Runs a command with options and returns the tables that it prints.
fn tables(arguments: &[&str]) -> Vec<Printed> {
    let dir = tempfile::tempdir().expect("a folder can be made");
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    command.args(arguments).args(["--embedded", "--rounds", "1"]).current_dir(dir.path());
    let output = command.output().expect("the command starts");
    let printed = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success(), "{printed}\n{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read_dir(dir.path()).expect("the folder is there").count(), 0, "the stores are removed");
    let mut tables: Vec<Printed> = Vec::new();
    for line in printed.lines().filter(|line| line.starts_with('|') && !line.starts_with("| ---")) {
        let cells = line.trim_end_matches('|').split('|').skip(1).map(|cell| cell.trim().to_owned());
        let cells: Vec<String> = cells.collect();
        if cells[0].is_empty() {
            tables.push(Vec::new());
        }
        let table = tables.last_mut().expect("a table begins with its head");
        table.push(cells);
        assert_eq!(table[0].len(), table[table.len() - 1].len(), "{printed}");
    }
    tables
}

/// Returns the number in the column of that name of the row of that name.
fn number(table: &Printed, row: &str, column: &str) -> f64 {
    let at = table[0].iter().position(|name| name == column).expect(column);
    let cell = &table.iter().find(|cells| cells[0] == row).expect(row)[at];
    cell.replace(',', "").parse().unwrap_or_else(|_| panic!("{row}, {column}: {cell}"))
}

#[test]
fn ingest_is_measured_beside_its_limits() {
    let arguments =
        ["ingest", "--seconds", "1", "--warm-up", "0.2", "--connections", "4", "--overload-connections", "8"];
    let tables = tables(&[&arguments[..], &["--also", "keeper.enabled=false"]].concat());
    let [table, overload] = &tables[..] else { panic!("{tables:?}") };
    for row in ["bare hyper", "bare producer (the limit)", "Rollcall", "Rollcall, keeper.enabled=false"] {
        assert!(number(table, row, "acked/s") > 0.0, "{table:?}");
    }
    assert_eq!(number(table, "bare producer (the limit)", "of the limit"), 1.0);
    let of = |column| number(overload, "Rollcall", column);
    assert!(of("goodput/s") > 0.0 && of("of those due") > 0.0, "{overload:?}");
    // Each of the three is rounded.
    assert!((of("goodput/s") + of("503/s") - of("sent/s")).abs() <= 2.0, "{overload:?}");
}

#[test]
fn every_webhook_of_the_latency_is_answered_and_seen() {
    let tables = tables(&["latency", "--rate", "50", "--seconds", "2", "--warm-up", "0.2"]);
    for row in ["bare hyper", "bare producer (the limit)", "Rollcall: answered", "Rollcall: in the projector"] {
        assert_eq!(number(&tables[0], row, "answers"), 100.0, "{row}");
        assert!(number(&tables[0], row, "p99 ms") >= number(&tables[0], row, "p50 ms"), "{row}");
    }
}

#[test]
fn a_rebuild_is_measured_until_its_first_answer() {
    let tables = tables(&["rebuild", "--sizes", "400/100", "--consumer", "check.crcs=true queued.min.messages=100"]);
    let variant = "bare consumer, check.crcs=true queued.min.messages=100";
    for row in ["bare consumer (the limit)", variant, "consumer that decodes heads", "Rollcall"] {
        assert!(number(&tables[0], row, "records/s until the first answer") > 0.0, "{tables:?}");
    }
    let ready = number(&tables[0], "Rollcall", "ready, s");
    assert!(ready >= number(&tables[0], "Rollcall", "first answer, s"), "{tables:?}");
}

#[test]
fn users_are_asked_for_in_three_ways() {
    let tables = tables(&["get", "--users", "200", "--seconds", "1", "--warm-up", "0.1", "--connections", "4"]);
    for row in ["bare hyper (the limit)", "Rollcall: random users", "Rollcall: one user", "Rollcall: by e-mail"] {
        assert!(number(&tables[0], row, "answers/s") > 0.0, "{tables:?}");
    }
}

#[test]
fn every_live_change_is_seen() {
    let arguments = ["live", "--rates", "50,100", "--seconds", "2", "--warm-up", "0.2", "--users", "300"];
    let tables = tables(&arguments);
    for (rate, seen) in [(50, 100.0), (100, 200.0)] {
        for row in [format!("bare consumer at {rate}/s (the limit)"), format!("Rollcall at {rate}/s")] {
            assert_eq!(number(&tables[0], &row, "seen"), seen, "{row}");
        }
    }
}

#[test]
fn every_subscriber_is_sent_what_is_due() {
    let arguments = ["fan-out", "--subscribers", "60", "--rate", "20", "--seconds", "1", "--users", "300"];
    let tables = tables(&[&arguments[..], &["--resumes", "10", "--missed", "100"]].concat());
    let [sent, coming] = &tables[..] else { panic!("{tables:?}") };
    for row in ["Rollcall: 60 subscribers of a fiftieth", "Rollcall: 60 subscribers of everything"] {
        assert_eq!(number(sent, row, "of those due"), 1.0, "{sent:?}");
        assert_eq!(number(sent, row, "cut off"), 0.0, "{sent:?}");
    }
    let half = number(coming, "Rollcall", "resumes: half of them within s");
    assert!(half <= number(coming, "Rollcall", "all within s"), "{coming:?}");
}

#[test]
fn memory_is_told_of_both_services() {
    let tables = tables(&["memory", "--users", "300"]);
    for row in ["Rollcall: ingest", "Rollcall: projector"] {
        assert!(number(&tables[0], row, "at most, MiB") >= number(&tables[0], row, "with all, MiB"), "{tables:?}");
    }
}

/// Runs a command that needs no broker and returns what it prints.
fn printed(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_bench")).args(arguments).output().expect("the command starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn the_table_of_the_gate_has_every_user() {
    assert!(printed(&["gate-table", "--users", "1000"]).starts_with("1000 users: "));
}

#[test]
fn every_shape_of_a_body_is_measured() {
    let printed = printed(&["shapes", "--seconds", "0.0001"]);
    assert!(printed.contains("base64 that no key decrypts"), "{printed}");
    assert_eq!(printed.lines().count(), 21, "{printed}");
}
