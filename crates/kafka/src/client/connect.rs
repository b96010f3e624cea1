//! Connects to the cluster, to tell why it cannot be used.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::error::RDKafkaErrorCode as Code;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::{ClientOptions, TracingContext, foreign};
use crate::Fault;
use crate::native::{Observed, Observer};
use crate::trouble::{Failure, Kind, Trouble};

/// The time after which a reason counts although waiting might help: a broker that just starts, a name server that is
/// slow. It also lets several attempts fail, of which one may say more than the others.
const REASON_AFTER: Duration = Duration::from_millis(1_500);
/// The longest single wait for something to happen.
const POLL: Duration = Duration::from_millis(50);
/// The interval of reports on the state of the connections.
const STATISTICS_INTERVAL_MS: &str = "50";
/// The port of an address without one.
const PORT: &str = "9092";

/// Returns once a broker of the cluster can be used: one of those that the cluster itself names, at the address that it
/// advertises. Topics are not looked at.
///
/// # Errors
/// The reason: as soon as the client library knows it and every broker has had a chance, otherwise at the deadline.
pub async fn connect(options: &ClientOptions, deadline: Duration) -> Result<(), Fault> {
    let (tell, told) = oneshot::channel();
    let options = options.clone();
    // The end of a client can take long, as while a name server is silent: the reason does not wait for it.
    let observing = tokio::task::spawn_blocking(move || {
        let observer = Observer::open(&config(&options), options.context());
        let outcome =
            observer.as_ref().map_err(Clone::clone).and_then(|observer| observe(observer, &options, deadline));
        // Nobody listens any more if the call was dropped.
        drop(tell.send(outcome));
    });
    match told.await {
        Ok(outcome) => outcome,
        Err(_) => {
            observing.await.expect("observing does not panic");
            Err(Code::Fail.into())
        }
    }
}

fn config(options: &ClientOptions) -> ClientConfig {
    let mut config = options.base();
    config
        .set("statistics.interval.ms", STATISTICS_INTERVAL_MS)
        // Connects to every broker that it hears of, not only to those that a request needs.
        .set("enable.sparse.connections", "false")
        .set("enable.idempotence", "false");
    config
}

fn observe(observer: &Observer, options: &ClientOptions, deadline: Duration) -> Result<(), Fault> {
    let began = Instant::now();
    let (mut seen, mut is_looked_at) = (Seen::new(options), false);
    loop {
        if let Some(observed) = observer.next(POLL) {
            seen.take(&observed, observer.context());
        }
        if seen.is_connected() {
            return Ok(());
        }
        let waited = began.elapsed();
        if (waited >= REASON_AFTER && seen.has_failed_everywhere()) || waited >= deadline {
            let reason = seen.reason(observer.context().certificate_error());
            // A silent peer was looked at before.
            let is_silent = reason.kind == Kind::Silent;
            let protocol = if is_silent { None } else { foreign::protocol(&reason, foreign::STEP_MAX) };
            return Err(reason.with_protocol(protocol).into());
        }
        if waited >= REASON_AFTER
            && !is_looked_at
            && let Some(silent) = seen.silent()
        {
            is_looked_at = true;
            // The library would wait for an answer until the connection's setup takes too long.
            if let Some(protocol) = foreign::protocol(&silent, foreign::STEP_MAX.min(deadline - waited)) {
                return Err(silent.with_protocol(Some(protocol)).into());
            }
        }
    }
}

/// What was seen of each broker.
struct Seen<'o> {
    options: &'o ClientOptions,
    bootstrap: Vec<String>,
    /// By address: the reason that says most.
    troubles: BTreeMap<String, Trouble>,
    brokers: Vec<Broker>,
    /// The last state of each connection that was accepted. One that is tried again begins anew.
    accepted: BTreeMap<String, String>,
}

/// The state of the connection to a broker.
struct Broker {
    address: String,
    /// Whether the cluster has named it.
    is_named: bool,
    state: String,
}

impl Broker {
    fn is_up(&self) -> bool {
        ["UP", "UPDATE"].contains(&self.state.as_str())
    }

    /// Returns the trouble of a connection that stays in its state.
    fn trouble(&self) -> Trouble {
        Trouble::in_state(&self.address, &self.state)
    }
}

impl<'o> Seen<'o> {
    fn new(options: &'o ClientOptions) -> Self {
        let (troubles, accepted) = (BTreeMap::new(), BTreeMap::new());
        Self { options, bootstrap: addresses(&options.bootstrap), troubles, brokers: Vec::new(), accepted }
    }

    fn take(&mut self, observed: &Observed, context: &TracingContext) {
        match observed {
            Observed::Line { facility, text } => {
                tracing::debug!(target: "librdkafka", facility, "{}", context.redact(text));
                let Some(failure) = Failure::of(facility, text) else { return };
                let trouble = context.trouble(&failure);
                let said = self.troubles.entry(trouble.address.clone()).or_insert_with(|| trouble.clone());
                if said.kind < trouble.kind {
                    *said = trouble;
                }
            }
            Observed::Statistics(json) => {
                let statistics = serde_json::from_slice::<rdkafka::Statistics>(json).unwrap_or_default();
                let is_broker = |source: &str| source != "internal" && source != "logical";
                let brokers = statistics.brokers.into_values().filter(|broker| is_broker(&broker.source));
                self.note(brokers.map(|broker| Broker {
                    address: broker.nodename,
                    is_named: broker.nodeid >= 0,
                    state: broker.state,
                }));
            }
        }
    }

    /// Notes the states of the connections.
    fn note(&mut self, brokers: impl IntoIterator<Item = Broker>) {
        self.brokers = brokers.into_iter().collect();
        let accepted = self.brokers.iter().filter(|broker| broker.trouble().kind == Kind::Silent);
        self.accepted.extend(accepted.map(|broker| (broker.address.clone(), broker.state.clone())));
    }

    fn is_connected(&self) -> bool {
        self.brokers.iter().any(|broker| broker.is_named && broker.is_up())
    }

    /// Returns whether there is a reason for each connection that is not there, and the cluster has been heard if one
    /// of the first addresses can be used.
    fn has_failed_everywhere(&self) -> bool {
        let is_heard = self.brokers.iter().any(|broker| broker.is_named) || !self.is_any_up();
        let failed = |broker: &Broker| broker.is_up() || self.troubles.contains_key(&broker.address);
        !self.troubles.is_empty() && is_heard && self.brokers.iter().all(failed)
    }

    fn is_any_up(&self) -> bool {
        self.brokers.iter().any(Broker::is_up)
    }

    /// Returns the trouble of a connection that is accepted and not answered, where no other can be used.
    fn silent(&self) -> Option<Trouble> {
        let of_brokers = self.brokers.iter().map(Broker::trouble);
        of_brokers.filter(|_| !self.is_any_up()).find(|trouble| trouble.kind == Kind::Silent)
    }

    /// Returns the reason that says most: of an address that the cluster advertises, if it has named one.
    fn reason(&self, certificate_error: Option<i32>) -> Trouble {
        // The library drops the first connections once it knows the brokers by their names.
        let is_named =
            |address: &String| self.brokers.iter().any(|broker| broker.is_named && broker.address == *address);
        let is_advertised =
            |trouble: &Trouble| is_named(&trouble.address) && !self.bootstrap.contains(&trouble.address);
        let waiting = self.brokers.iter().filter(|broker| !broker.is_up()).map(|broker| {
            // Between two attempts nobody would say that the last one was accepted.
            let state = self.accepted.get(&broker.address).unwrap_or(&broker.state);
            Trouble::in_state(&broker.address, state)
        });
        let told = self.troubles.values().cloned().max_by_key(|trouble| (is_advertised(trouble), trouble.kind));
        let trouble = told
            .or_else(|| waiting.max_by_key(|trouble| (is_advertised(trouble), trouble.kind)))
            .unwrap_or_else(|| Trouble::in_state(&self.options.bootstrap, "UP"));
        let trouble = trouble.with_certificate_error(certificate_error);
        if is_advertised(&trouble) { trouble.advertised() } else { trouble }
    }
}

/// The protocols that an address may begin with, as in `advertised.listeners`.
const PROTOCOLS: [&str; 4] = ["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"];

/// Returns the fault of a list of addresses. A comma may follow the last one.
pub(super) fn bootstrap_fault(bootstrap: &str) -> Option<&'static str> {
    let list = bootstrap.trim_end();
    let list = list.strip_suffix(',').unwrap_or(list);
    if list.trim().is_empty() {
        return Some("at least one host:port is needed");
    }
    list.split(',').map(str::trim).find_map(|address| {
        if address.is_empty() {
            return Some("one of the addresses is empty: expected host:port, several separated by commas");
        }
        let (protocol, address) = address.split_once("://").unwrap_or((PROTOCOLS[0], address));
        if !PROTOCOLS.iter().any(|known| known.eq_ignore_ascii_case(protocol)) {
            return Some("expected host:port, as in kafka.example:9092, and not the URL of another protocol");
        }
        (!is_address(address)).then_some("expected host:port, several separated by commas")
    })
}

/// Returns whether the text is a host, a name or an address, with a port or without.
fn is_address(text: &str) -> bool {
    let is_ipv6 = text.parse::<Ipv6Addr>().is_ok();
    let (host, port) = text.rsplit_once(':').filter(|_| !is_ipv6 && !text.ends_with(']')).unwrap_or((text, PORT));
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || b".-_[]:%".contains(&byte);
    !host.is_empty() && host.bytes().all(legal) && port.parse::<u16>().is_ok_and(|port| port > 0)
}

/// Returns the addresses of a list, each with its port.
fn addresses(bootstrap: &str) -> Vec<String> {
    let each = bootstrap.split(',').map(str::trim).filter(|address| !address.is_empty());
    let with_port = |address: &str| {
        let address = address.split_once("://").map_or(address, |(_, rest)| rest);
        let has_port = address.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        if has_port { address.to_owned() } else { format!("{address}:{PORT}") }
    };
    each.map(with_port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_ports() {
        let found = addresses("a, SASL_SSL://b:1,[::1]:9093 ,");
        assert_eq!(found, ["a:9092", "b:1", "[::1]:9093"]);
    }

    #[test]
    fn what_is_the_address_of_a_cluster() {
        for taken in
            ["h", "h:1", "a:9092, b:9092,", "SASL_SSL://b:1", "[::1]:9093", "::1", "[::1]", "10.0.0.1:9", "a_b:1"]
        {
            assert_eq!(bootstrap_fault(taken), None, "{taken}");
        }
        for (refused, part) in [
            ("", "at least one"),
            (" , ", "at least one"),
            ("kafka:1,,b:2", "is empty"),
            (",b:2", "is empty"),
            ("a:1,,", "is empty"),
            ("http://127.0.0.1:9092", "not the URL"),
            ("a:1,kafka://b:1", "not the URL"),
            ("h:port", "expected host:port, several"),
            ("h:0", "several"),
            ("h:65536", "several"),
            ("h:1/topic", "several"),
            ("u@h:1", "several"),
            ("a b:1", "several"),
            (":9092", "several"),
        ] {
            assert!(bootstrap_fault(refused).is_some_and(|fault| fault.contains(part)), "{refused}");
        }
    }

    fn broker(address: &str, is_named: bool, state: &str) -> Broker {
        Broker { address: address.to_owned(), is_named, state: state.to_owned() }
    }

    fn seen<'o>(options: &'o ClientOptions, brokers: Vec<Broker>, lines: &[&str]) -> Seen<'o> {
        let mut seen = Seen::new(options);
        for text in lines {
            let line = Observed::Line { facility: "FAIL".to_owned(), text: (*text).to_owned() };
            seen.take(&line, &options.context());
        }
        seen.note(brokers);
        seen
    }

    const REFUSED: &str = "a:1/bootstrap: Connect to ipv4#10.0.0.1:1 failed: Connection refused (after 0ms in state …)";
    const OF_NAMED: &str = "b:1/7: Failed to resolve 'b:1': Name or service not known (after 0ms in state CONNECT)";

    #[test]
    fn a_reason_waits_until_every_broker_has_had_a_chance() {
        let options = ClientOptions::new("a:1,c:1");
        let waits = seen(&options, vec![broker("a:1", false, "DOWN"), broker("c:1", false, "CONNECT")], &[REFUSED]);
        assert!(!waits.has_failed_everywhere());
        let unheard = seen(&options, vec![broker("a:1", false, "DOWN"), broker("c:1", false, "UP")], &[REFUSED]);
        assert!(!unheard.has_failed_everywhere(), "the cluster is about to name its brokers");
        let done = seen(&options, vec![broker("a:1", false, "DOWN")], &[REFUSED]);
        assert!(done.has_failed_everywhere());
        assert!(done.reason(None).to_string().starts_with("a:1 refuses the connection"), "{}", done.reason(None));
    }

    #[test]
    fn an_address_that_the_cluster_advertises_is_called_so() {
        let options = ClientOptions::new("c:1");
        let named = vec![broker("c:1", false, "UP"), broker("b:1", true, "DOWN")];
        let seen = seen(&options, named, &[REFUSED, OF_NAMED]);
        assert!(seen.has_failed_everywhere() && !seen.is_connected());
        let said = seen.reason(None).to_string();
        assert!(said.contains("that it advertises, b:1, has a host name that cannot be resolved"), "{said}");
        assert!(said.ends_with("`advertised.listeners` of the broker sets that address"), "{said}");
    }

    #[test]
    fn a_connection_that_hangs_is_told_by_its_state() {
        let options = ClientOptions::new("a:1");
        for (state, said) in [("APIVERSION_QUERY", "does not answer"), ("CONNECT", "cannot be reached")] {
            let reason = seen(&options, vec![broker("a:1", false, state)], &[]).reason(None).to_string();
            assert!(reason.contains(said), "{reason}");
        }
        assert!(seen(&options, vec![], &[]).reason(None).to_string().starts_with("a:1 "));
        let mut again = seen(&options, vec![broker("a:1", false, "APIVERSION_QUERY")], &[]);
        assert_eq!(again.silent().map(|trouble| trouble.address).as_deref(), Some("a:1"));
        again.note([broker("a:1", false, "TRY_CONNECT")]);
        assert!(again.silent().is_none());
        let reason = again.reason(None).to_string();
        assert!(reason.starts_with("a:1 accepts the connection and does not answer; "), "{reason}");
    }
}
