//! Clients that know nothing of Rollcall: kcat reads the record, and Apache Avro for Python decodes its value with the
//! schema file alone.
//!
//! Left out, with a line that says so, where `kcat` or Python's `avro` is not installed.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::support::broker::{Broker, on_both_brokers};
use crate::support::deliveries::CREATED;
use crate::support::engine::tell_left_out;
use crate::support::system::System;

on_both_brokers!(another_language_reads_what_was_sent);

const SCHEMA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../schemas/user-event.v1.avsc");
/// The marker and the fingerprint of Avro's single-object encoding come before the data.
const DECODE: &str = "
import avro.io, avro.schema, io, json, sys
schema = avro.schema.parse(open(sys.argv[1]).read())
value = sys.stdin.buffer.read()
event = avro.io.DatumReader(schema).read(avro.io.BinaryDecoder(io.BytesIO(value[10:])))
print(json.dumps(event, default=str))
";

async fn another_language_reads_what_was_sent(broker: &Broker) {
    let test = "foreign_clients::another_language_reads_what_was_sent";
    let Some(python) =
        ["python3", "/usr/bin/python3"].into_iter().find(|python| runs(python, &["-c", "import avro.io"]))
    else {
        return tell_left_out(test, "no Python with avro");
    };
    if !runs("kcat", &["-V"]) {
        return tell_left_out(test, "no kcat");
    }
    let system = System::start(broker, 1).await;
    let delivered = system.ingest.post(CREATED).await;

    let bootstrap = broker.client_options().bootstrap;
    let from = ["-b", &bootstrap, "-C", "-q", "-t", &system.names.users, "-p", "0", "-o", "0", "-c", "1", "-D", ""];
    let read = |format: &str| output("kcat", &[&from[..], &["-f", format]].concat(), &[]);
    let envelope = String::from_utf8(read("%k|%h")).expect("key and headers are text");
    let event = output(python, &["-c", DECODE, SCHEMA], &read("%s"));
    println!("kcat: {envelope}\navro: {}", String::from_utf8_lossy(&event));

    let event: Value = serde_json::from_slice(&event).expect("the script prints JSON");
    let (key, headers) = envelope.split_once('|').expect("the format has a bar");
    assert_eq!(key, "180");
    for header in ["ce_specversion=1.0", "ce_type=live.vcc.user.created", "ce_time=2017-06-06T08:53:43Z"] {
        assert!(headers.split(',').any(|found| found == header), "{header} in {headers}");
    }
    assert_eq!(event["userId"], 180);
    assert_eq!(event["type"], "CREATED");
    assert_eq!(event["eventId"], delivered.text("/eventId"));
    assert_eq!(event["old"], Value::Null);
    assert_eq!(event["new"]["name"], "Rachel Smith");
    assert_eq!(event["new"]["contactPhone"], "3618888888");
    assert_eq!(event["new"]["isAgent"], true);
    system.stop().await;
}

fn runs(program: &str, arguments: &[&str]) -> bool {
    let run = Command::new(program).args(arguments).stdout(Stdio::null()).stderr(Stdio::null()).status();
    run.is_ok_and(|status| status.success())
}

/// Runs a program on this input and returns what it wrote.
fn output(program: &str, arguments: &[&str], input: &[u8]) -> Vec<u8> {
    let mut run = Command::new(program)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program ran before");
    run.stdin.take().expect("it is piped").write_all(input).expect("the program reads its input");
    let output = run.wait_with_output().expect("the program is a child");
    assert!(output.status.success(), "{program} {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
