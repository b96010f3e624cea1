//! What `deploy` gives to Prometheus and Grafana is about metrics that the services have, and each alert has its
//! section of the runbook and an example. The trace of a request can be followed.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use serde_json::Value;
use tempfile::TempDir;
use testkit::broker::read_all;
use testkit::deliveries::{CHANGED, CREATED};
use testkit::http::request;
use testkit::registry::FakeRegistry;
use testkit::{eventually, tls};

use crate::support::broker::{Broker, on_embedded};
use crate::support::engine::tell_left_out;
use crate::support::process::{Ports, Process};
use crate::support::system::{Ingest, Projector, SECRET, WEBHOOK};

const DEPLOY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy");
const ALERTS: &str = "prometheus/alerts.yaml";
const EXAMPLES: &str = "prometheus/alerts.test.yaml";
/// How the names of the services' metrics begin.
const PREFIXES: [&str; 4] = ["rollcall_", "http_server_", "messaging_client_", "process_"];
/// How long a service may take to have all of its metrics.
const METRICS_MAX: Duration = Duration::from_secs(120);

fn deployed(file: &str) -> String {
    let path = PathBuf::from(DEPLOY).join(file);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A metric in a rule or panel: its name, and the labels that it is selected by, each with its alternatives.
#[derive(Debug)]
struct Selector<'e> {
    name: &'e str,
    labels: Vec<(&'e str, Vec<&'e str>)>,
}

/// Returns the metrics that a text names.
fn selectors(text: &str) -> Vec<Selector<'_>> {
    let is_of_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut found = Vec::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_of_name) {
        let word = rest.split_at(start).1;
        let (name, after) = word.split_at(word.find(|c| !is_of_name(c)).unwrap_or(word.len()));
        rest = after;
        if PREFIXES.iter().any(|prefix| name.starts_with(prefix)) {
            let matchers =
                after.strip_prefix('{').and_then(|inner| inner.split_once('}')).map_or("", |(inner, _)| inner);
            found.push(Selector { name, labels: matchers.split(", ").filter_map(label).collect() });
        }
    }
    found
}

fn label(matcher: &str) -> Option<(&str, Vec<&str>)> {
    let (name, value) = matcher.split_once('"')?;
    Some((name.trim_end_matches(['=', '~', '!']), value.trim_end_matches('"').split('|').collect()))
}

/// Asserts that there is a series of each label that a metric is selected by, so that no name of either is misspelt.
fn assert_there_are(series: &str, file: &str, expression: &str) {
    for Selector { name, labels } in selectors(expression) {
        let of_name = |line: &&str| line.strip_prefix(name).is_some_and(|after| after.starts_with(['{', ' ']));
        let lines: Vec<&str> = series.lines().filter(of_name).collect();
        assert!(!lines.is_empty(), "{file} names {name}, which no service has, in {expression}");
        for (label, values) in labels {
            for value in values {
                let wanted = format!("{label}=\"{value}\"");
                let has = |line: &&str| line.contains(&format!("{{{wanted}")) || line.contains(&format!(",{wanted}"));
                assert!(lines.iter().any(has), "{file}: no series of {name} has {wanted}: {lines:#?}");
            }
        }
    }
}

/// Returns the series of both services, with every part of them switched on.
async fn series_of_both(broker: &Broker) -> String {
    let names = broker.make_topics(2).await;
    let names = broker.make_state_topic(names, 2).await;
    let (options, registry) = (broker.client_options(), FakeRegistry::start().await);
    let folder = TempDir::new().expect("a folder can be made");
    let certificate: (X509, PKey<Private>) = tls::self_signed("localhost");
    let [certificate, key] = tls::write(folder.path(), &certificate);
    let ingest = Ingest::start(&options, &names, |raw| {
        raw.registry.url = registry.url();
        raw.state_topic.enabled = true;
        raw.state_topic.topic = names.state.clone().expect("it was made");
        raw.http.tls_certificate_file = Some(certificate.clone());
        raw.http.tls_key_file = Some(key.clone());
    })
    .await;
    let projector = Projector::start(&options, &names, &folder.path().join("store"), |raw| {
        raw.registry.url = registry.url();
    })
    .await;
    ingest.ready().await;
    projector.ready().await;
    // One request, so that there is a duration.
    projector.http.get("/users").await;
    // It says only after a while which permissions there are, and how many letters.
    let asked = ["rollcall_missing_permission{", "rollcall_ingest_dead_letters_kept "];
    let metrics = eventually("permissions and letters are known", METRICS_MAX, async || {
        let metrics = ingest.metrics().await;
        asked.iter().all(|name| metrics.contains(name)).then_some(metrics)
    })
    .await;
    let series = metrics + &projector.metrics().await;
    ingest.stop().await.expect("ingest ends well");
    projector.stop().await.expect("the projector ends well");
    series
}

#[test]
fn every_metric_of_a_rule_or_panel_exists() {
    on_embedded(async |broker| {
        let series = series_of_both(broker).await;
        let rules = deployed(ALERTS);
        for line in rules.lines().filter(|line| !line.trim_start().starts_with('#')) {
            assert_there_are(&series, ALERTS, line);
        }
        let file = "grafana/rollcall.json";
        let dashboard: Value = serde_json::from_str(&deployed(file)).expect("the dashboard is JSON");
        let panels = dashboard["panels"].as_array().expect("it has panels");
        let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
        let expressions: Vec<&str> = targets.filter_map(|target| target["expr"].as_str()).collect();
        assert!(selectors(&expressions.join(" ")).len() > 50, "the panels were read");
        for expression in expressions {
            assert_there_are(&series, file, expression);
        }
    });
}

#[test]
fn a_misspelt_metric_or_label_is_noticed() {
    let series = "rollcall_x_total{reason=\"a\",other=\"b\"} 0\nrollcall_y 1\n";
    let is_fine = |expression: &str| std::panic::catch_unwind(|| assert_there_are(series, "", expression)).is_ok();
    for yes in ["rollcall_y > 0", r#"rate(rollcall_x_total{other=~"b"}[5m])"#, "sum by (rollcall) (up)"] {
        assert!(is_fine(yes), "{yes}");
    }
    for no in ["rollcall_x", r#"rollcall_x_total{reason=~"a|b"}"#, r#"rollcall_x_total{reaso!="a"}"#, "rollcall_yy"] {
        assert!(!is_fine(no), "{no}");
    }
}

#[test]
fn every_alert_has_its_section_of_the_runbook_and_an_example() {
    let (rules, examples, runbook) = (deployed(ALERTS), deployed(EXAMPLES), deployed("runbook.md"));
    let sections: Vec<&str> = runbook.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 30, "the rules were read: {alerts:?}");
    for alert in &alerts {
        assert!(sections.contains(alert), "the runbook has no section {alert}");
        // As a heading's anchor is made of its text.
        let anchor = format!("runbook: deploy/runbook.md#{}\n", alert.to_lowercase());
        assert_eq!(rules.matches(&anchor).count(), 1, "{alert}");
        for example in ["- { alertname: ", "- alertname: "] {
            assert!(examples.contains(&format!("{example}{alert}")), "{alert} has no example");
        }
    }
    for section in sections {
        assert!(alerts.contains(&section), "the section {section} is of no alert");
    }
}

#[test]
fn alerts_fire_as_their_examples_say() {
    let mut promtool = Command::new("promtool");
    let promtool = promtool.args(["test", "rules", EXAMPLES]).current_dir(DEPLOY);
    match promtool.output() {
        Ok(output) => assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout)),
        Err(_) => tell_left_out("watching::alerts_fire_as_their_examples_say", "there is no promtool"),
    }
}

/// A trace as a proxy in front sends it.
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn the_trace_of_a_request_is_in_the_log_of_both_services_and_on_the_record() {
    on_embedded(async |broker| {
        let (options, names) = (broker.client_options(), broker.make_topics(2).await);
        let folder = TempDir::new().expect("a folder can be made");
        let (ports, projector_ports) = (Ports::free(), Ports::free());
        let log = ["log.format=json".to_owned(), "log.filter=debug".to_owned()];
        let secret = format!("security.secret_keys=['{SECRET}']");
        let ingest = Process::service("ingest", &options, &names, ports, &[log.as_slice(), &[secret]].concat());
        let store = format!("store.dir='{}'", folder.path().display());
        let projector =
            Process::service("projector", &options, &names, projector_ports, &[log.as_slice(), &[store]].concat());
        let exchange = async |ports: Ports, request: String, status: u16| {
            eventually("the answer", METRICS_MAX, async || {
                let connected = tokio::net::TcpStream::connect(ports.address()).await.is_ok();
                (connected && ports.http().exchange(&request).await.status == status).then_some(())
            })
            .await;
        };
        let header = format!("traceparent: {TRACEPARENT}");
        exchange(ports, request("POST", WEBHOOK, &[], CREATED), 200).await;
        exchange(ports, request("POST", WEBHOOK, &[&header], CHANGED), 200).await;
        exchange(ports, request("POST", WEBHOOK, &[&header], "{}"), 422).await;
        exchange(projector_ports, request("GET", "/users/180", &[&header], ""), 200).await;

        let traces = async |topic: &str| -> Vec<String> {
            let records = read_all(&options, topic).await;
            let text = |trace: &[u8]| String::from_utf8_lossy(trace).into_owned();
            records.iter().filter_map(|record| record.header("traceparent").map(text)).collect()
        };
        let users = traces(&names.users).await;
        assert!(users.contains(&TRACEPARENT.to_owned()), "{users:?}");
        let made: Vec<&String> = users.iter().filter(|trace| *trace != TRACEPARENT).collect();
        assert!(!made.is_empty(), "a request without a trace gets one: {users:?}");
        assert_eq!(traces(&names.dead_letter).await, [TRACEPARENT]);

        ingest.terminate();
        projector.terminate();
        let (ingest, projector) = (ingest.finished().await.stderr, projector.finished().await.stderr);
        let says = |log: &str, trace: &str, message: &str| {
            let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
            let mut of_trace = lines.filter(|line| line["span"]["traceparent"] == trace);
            assert!(of_trace.any(|line| line["message"] == message), "{message:?} with {trace} in\n{log}");
        };
        says(&ingest, made[0], "event acknowledged");
        says(&ingest, TRACEPARENT, "event acknowledged");
        says(&ingest, TRACEPARENT, "request refused");
        says(&projector, TRACEPARENT, "request answered");
    });
}
