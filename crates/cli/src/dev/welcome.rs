//! What `rollcall dev` prints when it starts: the addresses, and two lines to paste.

use simulator::encrypt::Encryption;
use tokio::net::TcpListener;

use super::broker::Broker;
use super::settings::Settings;
use super::{Ports, TableFolder};

/// The vendor's own sample of a User Created webhook.
const SAMPLE: &str = include_str!("../../../../schemas/golden/v1/user-created.json");
/// The user of the sample.
const SAMPLE_USER: i64 = 180;

/// Returns the text.
///
/// # Errors
/// When an address or a key cannot be had.
pub(super) fn welcome(
    settings: &Settings,
    broker: &Broker,
    webhook_url: &str,
    ports: &Ports,
    folder: &TableFolder,
    is_simulated: bool,
) -> anyhow::Result<String> {
    let address = |listener: &TcpListener| listener.local_addr();
    let memory = match (broker.is_in_memory(), folder) {
        (true, TableFolder::Temporary(_)) => {
            "Everything is in memory or in a temporary folder: nothing outlives this process.\n"
        }
        (true, TableFolder::Given(_)) => "The broker is in memory: no event outlives this process.\n",
        (false, TableFolder::Temporary(_)) => {
            "The table is in a temporary folder, and rebuilt from the log each time.\n"
        }
        (false, TableFolder::Given(_)) => "",
    };
    let queries = settings.base_url(address(&ports.projector.http)?);
    let users = &settings.topics().users;
    Ok(format!(
        "Rollcall {version}, for a look and for development. {memory}
  page       {queries}/
  webhooks   {webhook_url}
  queries    {queries}/users
  changes    {queries}/changes
  admin      http://{ingest_admin}/metrics  http://{projector_admin}/metrics
  Kafka      {bootstrap}
             kcat -C -e -b {bootstrap} -t {users} -f '%p:%o %k %h\\n'

The vendor's sample in, the user out:

{post}
{query}

",
        version = env!("CARGO_PKG_VERSION"),
        ingest_admin = address(&ports.ingest.admin)?,
        projector_admin = address(&ports.projector.admin)?,
        bootstrap = broker.bootstrap,
        post = post(settings, webhook_url)?,
        query = query(settings, broker, &queries, is_simulated),
    ))
}

/// Returns the command that posts the sample as the services expect it.
fn post(settings: &Settings, webhook_url: &str) -> anyhow::Result<String> {
    let sample: String = SAMPLE.lines().map(str::trim).collect();
    let (url, media, body) = match settings.encryption()? {
        None => (webhook_url.to_owned(), "application/json", sample),
        Some(encryption) => sealed(webhook_url, &encryption, &sample)?,
    };
    Ok(format!("curl -sS -w '\\n'{} '{url}' -H 'content-type: {media}' -d '{body}'", trusting(settings)))
}

fn sealed(url: &str, encryption: &Encryption, clear: &str) -> anyhow::Result<(String, &'static str, String)> {
    let sent = encryption.encrypt(clear.as_bytes())?;
    let separator = if url.contains('?') { '&' } else { '?' };
    let url = sent.iv_hex.map_or_else(|| url.to_owned(), |iv| format!("{url}{separator}iv={iv}"));
    Ok((url, "text/plain", String::from_utf8(sent.body)?))
}

/// Returns the command that queries the sample's user. It finds the user even when it runs right after the sample.
fn query(settings: &Settings, broker: &Broker, queries: &str, is_simulated: bool) -> String {
    let token = if settings.has_readers() { " -H 'authorization: Bearer TOKEN'" } else { "" };
    let (url, trusting) = (format!("{queries}/users/{SAMPLE_USER}"), trusting(settings));
    match broker.first_position(SAMPLE_USER).filter(|_| !is_simulated) {
        // Nobody else writes to this broker, so the sample is the first record of its partition, and the query waits
        // for it.
        Some(position) => format!("curl -sS -w '\\n'{trusting}{token} '{url}?at_least={position}'"),
        // The position of the record is unknown here, so the query is repeated silently until the projector has read
        // the record.
        None => {
            format!("curl -s -w '\\n' --fail --retry 5 --retry-delay 1 --retry-all-errors{trusting}{token} '{url}'")
        }
    }
}

fn trusting(settings: &Settings) -> String {
    settings.certificate().map(|file| format!(" --cacert '{}'", file.display())).unwrap_or_default()
}
