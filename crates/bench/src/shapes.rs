//! `bench shapes`: the whole pipeline on the dearest bodies that are known. Linear work is a flat line.

use std::hint::black_box;
use std::time::Duration;

use bytes::Bytes;
use domain::UnixMillis;
use ingest::transport::{BodyCipher, BodyKey, BodyPolicy, RawRequest, SenderPolicy, authenticate};
use ingest::{dead_letter, pipeline};
use service::Secret;
use tokio::time::Instant;

use crate::Outcome;
use crate::arguments::seconds;

const SIZES_KIB: [usize; 5] = [1, 4, 16, 64, 256];
const NOW: UnixMillis = UnixMillis::from_millis(1_600_000_000_000);

/// A body of a given length: what it begins with, what is repeated, and what it ends with.
struct Shape {
    name: &'static str,
    parts: [&'static str; 3],
    is_encrypted: bool,
}

const fn clear(name: &'static str, start: &'static str, repeated: &'static str, end: &'static str) -> Shape {
    Shape { name, parts: [start, repeated, end], is_encrypted: false }
}

const USER: &str = r#"{"timestamp":"2017-06-06T10:53:43Z","new":{"userId":1,"a":"#;

const NUMBERS: &str = r#"{"timestamp":"2017-06-06T10:53:43Z","new":{"userId":1,"a":[0"#;
const TEXTS: &str = r#"{"timestamp":"2017-06-06T10:53:43Z","new":{"userId":1,"messageLists":["""#;

const SHAPES: [Shape; 20] = [
    clear("backslashes", "", "\\", ""),
    clear("quotation marks", "", "\"", ""),
    clear("open objects", "", r#"{"a":"#, ""),
    clear("open arrays", "", "[", ""),
    clear("blanks", "", " ", "{}"),
    clear("escaped backslashes in a text", "{\"a\":\"", "\\\\", "\"}"),
    clear("escaped quotation marks in a text", "{\"a\":\"", "\\\"", "\"}"),
    clear("unicode escapes in a text", "{\"a\":\"", "\\u005c", "\"}"),
    clear("pairs of surrogates", "{\"a\":\"", "\\ud83d\\ude00", "\"}"),
    clear("bare passwords", "", "password", ""),
    clear("passwords with half an escape", "{\"password\":\"", "\\\\\\", ""),
    clear("texts with passwords", "{\"a\":[\"\"", r#","{\"password\":\"x\"}""#, "]}"),
    clear("members with passwords", "{\"a\":[0", r#",{"password":"x"}"#, "]}"),
    clear("the same key", "{\"b\":0", ",\"a\":1", "}"),
    clear("a long number", USER, "9", "}}"),
    clear("a list of numbers", NUMBERS, ",1e5", "]}}"),
    clear("a list of texts", TEXTS, ",\"é\"", "]}}"),
    clear("JSON in a text", "{\"a\":\"", r#"{\"b\":\"c\"},"#, "\"}"),
    Shape { name: "base64 that no key decrypts", parts: ["", "QUJD", ""], is_encrypted: true },
    Shape { name: "no base64", parts: ["", "\u{1}=", ""], is_encrypted: true },
];

/// Measures the pipeline on the dearest bodies that are known: µs for each KiB, from 1 to 256 KiB
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Args {
    /// How long each size is repeated at least
    #[arg(long, value_name = "SECONDS", default_value = "0.2", value_parser = seconds)]
    seconds: Duration,
}

/// Runs the command.
///
/// # Errors
/// If OpenSSL lacks a cipher.
pub(crate) fn run(args: Args) -> Outcome<()> {
    println!("µs for each KiB of a body of {SIZES_KIB:?} KiB; the last column is the largest by the smallest");
    let encrypted = BodyPolicy {
        keys: vec![BodyKey {
            cipher: BodyCipher::named("aes-256-ctr").map_err(|_| "OpenSSL has no aes-256-ctr")?,
            key: Secret::new("the key of the yardstick"),
        }],
        ..BodyPolicy::default()
    };
    for shape in &SHAPES {
        let policy = if shape.is_encrypted { &encrypted } else { &BodyPolicy::default() };
        let costs = SIZES_KIB.map(|kib| micros_per_kib(&shape.body(kib * 1024), kib, policy, args.seconds));
        let ratio = costs[SIZES_KIB.len() - 1] / costs[0];
        let costs = costs.map(|cost| format!("{cost:8.2}")).join(" ");
        println!("{:<34} {costs}  {ratio:6.2}", shape.name);
    }
    Ok(())
}

impl Shape {
    fn body(&self, length: usize) -> Vec<u8> {
        let [start, repeated, end] = self.parts;
        let count = length.saturating_sub(start.len() + end.len()) / repeated.len();
        format!("{start}{}{end}", repeated.repeat(count)).into_bytes()
    }
}

fn micros_per_kib(body: &[u8], kib: usize, policy: &BodyPolicy, measured_min: Duration) -> f64 {
    let (began, mut rounds) = (Instant::now(), 0_u32);
    while began.elapsed() < measured_min {
        receive(body, policy);
        rounds += 1;
    }
    began.elapsed().as_secs_f64() * 1e6 / f64::from(rounds) / kib as f64
}

/// Does what the service does with a body: an event or a refusal, and the dead letter of that.
fn receive(body: &[u8], policy: &BodyPolicy) {
    let peer = std::net::Ipv4Addr::LOCALHOST.into();
    let head = RawRequest { query: "iv=000102030405060708090a0b0c0d0e0f".to_owned(), peer, forwarded_for: Vec::new() };
    let sender = authenticate(&head, &SenderPolicy::default()).expect("every sender is accepted");
    let request = sender.sent(Bytes::copy_from_slice(body));
    match pipeline::accept(&request, policy, NOW) {
        Ok(event) => drop(black_box(domain::wire::encode(&event))),
        Err(rejection) => drop(black_box(dead_letter::of(&request, &rejection, NOW))),
    }
}
