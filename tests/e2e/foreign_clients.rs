//! Clients that know nothing of Rollcall: kcat reads the record, Apache Avro for Python decodes its value with the
//! schema file alone, and the Avro libraries of Python and Java name the schema by the fingerprint that values carry.
//!
//! Left out, with a line that says so, where `kcat`, Python's `avro` or `fastavro`, or Java's `avro` is not installed.

use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::Value;
use testkit::deliveries::CREATED;

use crate::support::broker::{Broker, on_both_brokers};
use crate::support::engine::leave_out_of_ecosystem;
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

/// A value that the schema wrote: the marker, then the fingerprint.
const GOLDEN: &[u8] = include_bytes!("../../schemas/golden/v1/user-created.avro");

const FINGERPRINT_IN_PYTHON: &str = "
import fastavro.schema as avro, json, sys
form = avro.to_parsing_canonical_form(json.load(open(sys.argv[1])))
print(avro.fingerprint(form, 'CRC-64-AVRO'))
";
const FINGERPRINT_IN_JAVA: &str = "
public class Fingerprint {
    public static void main(String[] files) throws Exception {
        var schema = new org.apache.avro.Schema.Parser().parse(new java.io.File(files[0]));
        var bytes = org.apache.avro.SchemaNormalization.parsingFingerprint(\"CRC-64-AVRO\", schema);
        System.out.println(java.util.HexFormat.of().formatHex(bytes));
    }
}
";
/// What Java's `avro` needs, by the beginnings of the files' names in Maven's local repository.
const JARS: [&str; 5] = ["avro-1.", "jackson-core-", "jackson-databind-", "jackson-annotations-", "slf4j-api-"];

#[test]
fn fastavro_names_the_schema_as_values_do() {
    let test = "foreign_clients::fastavro_names_the_schema_as_values_do";
    let Some(python) = python_with("fastavro") else { return leave_out_of_ecosystem(test, "no Python with fastavro") };
    let fingerprint = output(python, &["-c", FINGERPRINT_IN_PYTHON, SCHEMA], &[]);
    assert_eq!(String::from_utf8_lossy(&fingerprint).trim(), hex(&GOLDEN[2..10]));
}

#[test]
fn java_names_the_schema_as_values_do() {
    let test = "foreign_clients::java_names_the_schema_as_values_do";
    let Some(jars) = jars() else { return leave_out_of_ecosystem(test, "no avro for Java in ~/.m2") };
    if !runs("java", &["-version"]) {
        return leave_out_of_ecosystem(test, "no java");
    }
    let folder = tempfile::tempdir().expect("there is room for a file");
    let source = folder.path().join("Fingerprint.java");
    std::fs::write(&source, FINGERPRINT_IN_JAVA).expect("the folder can be written");
    let source = source.to_str().expect("a temporary folder has a plain name");
    let fingerprint = output("java", &["-cp", &jars, source, SCHEMA], &[]);
    assert_eq!(String::from_utf8_lossy(&fingerprint).trim(), hex(&GOLDEN[2..10]));
}

async fn another_language_reads_what_was_sent(broker: &Broker) {
    let test = "foreign_clients::another_language_reads_what_was_sent";
    let Some(python) = python_with("avro.io") else { return leave_out_of_ecosystem(test, "no Python with avro") };
    if !runs("kcat", &["-V"]) {
        return leave_out_of_ecosystem(test, "no kcat");
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
    assert_eq!(event["type"], "created");
    assert_eq!(event["eventId"], delivered.text("/eventId"));
    assert_eq!(event["old"], Value::Null);
    assert_eq!(event["new"]["name"], "Rachel Smith");
    assert_eq!(event["new"]["contactPhone"], "3618888888");
    assert_eq!(event["new"]["isAgent"], true);
    system.stop().await;
}

fn python_with(module: &str) -> Option<&'static str> {
    let import = format!("import {module}");
    ["python3", "/usr/bin/python3"].into_iter().find(|python| runs(python, &["-c", &import]))
}

/// Returns the class path of Java's `avro`, if all of it is in Maven's local repository.
fn jars() -> Option<String> {
    let mut folders = vec![std::env::home_dir()?.join(".m2/repository")];
    let mut found: [Option<String>; JARS.len()] = Default::default();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), entry.file_name().to_string_lossy().into_owned());
            if path.is_dir() {
                folders.push(path);
            } else if let Some(jar) = JARS.iter().position(|jar| name.starts_with(jar) && name.ends_with(".jar")) {
                found[jar] = path.to_str().map(str::to_owned);
            }
        }
    }
    let found: Option<Vec<String>> = found.into_iter().collect();
    found.map(|jars| jars.join(":"))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
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
