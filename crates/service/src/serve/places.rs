//! The places of a server for connections, and as many for the streams of HTTP/2: a limit for all, a share for each
//! source, and a reserve for preferred sources. A stranger with many of them holds no more than its share, and cannot
//! keep a preferred source out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use ipnet::IpNet;
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::Notify;

use super::ServerLimits;
use super::foreign::Foreign;
use super::malformed::Malformed;
use crate::Metrics;
use crate::telemetry::Seldom;

/// The prefix of an IPv6 source: a provider gives each customer at least that much (RFC 6177).
const IPV6_SOURCE_BITS: u32 = 64;

/// The places of one listener. Clones share them.
#[derive(Clone, Debug)]
pub struct Places(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    preferred: Vec<IpNet>,
    connections: Kept,
    streams: Kept,
    /// Notified whenever a place of a connection becomes free.
    freed: Notify,
    waited: Counter,
    refused: Family<Labels, Counter>,
    reported: Seldom,
    /// Those who took a place for another protocol.
    foreign: Foreign,
    /// Those who sent what is no request.
    malformed: Malformed,
}

/// The places of one kind.
#[derive(Debug)]
struct Kept {
    taken: Mutex<Taken>,
    open: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    reason: &'static str,
}

/// The reason why a source gets no place now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The source holds its share.
    Share,
    /// All places that the source may have are taken.
    Full,
}

/// What has a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Connection,
    Stream,
}

impl Refused {
    /// Returns the label in metrics.
    fn reason(self, kind: Kind) -> &'static str {
        match (kind, self) {
            (Kind::Connection, Self::Share) => "share",
            (Kind::Connection, Self::Full) => "full",
            (Kind::Stream, Self::Share) => "stream_share",
            (Kind::Stream, Self::Full) => "stream_full",
        }
    }
}

/// The places that are taken. Pure.
#[derive(Clone, Debug)]
struct Taken {
    places: usize,
    reserved: usize,
    share: usize,
    all: usize,
    by_strangers: usize,
    strangers: HashMap<IpAddr, usize>,
}

/// A place of a connection or a stream. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    kind: Kind,
    stranger: Option<IpAddr>,
}

impl Places {
    /// Returns the places within `limits`. Sources in `preferred` have no share, and the reserve is theirs. Without any
    /// there is no reserve.
    pub fn new(limits: &ServerLimits, preferred: Vec<IpNet>) -> Self {
        let reserved = if preferred.is_empty() { 0 } else { limits.connections_reserved };
        let taken = Taken {
            places: limits.connections_max,
            reserved: reserved.min(limits.connections_max.saturating_sub(1)),
            share: limits.connections_per_source_max,
            all: 0,
            by_strangers: 0,
            strangers: HashMap::new(),
        };
        let kept = || Kept { taken: Mutex::new(taken.clone()), open: Gauge::default() };
        Self(Arc::new(Shared {
            preferred,
            connections: kept(),
            streams: kept(),
            freed: Notify::new(),
            waited: Counter::default(),
            refused: Family::default(),
            reported: Seldom::default(),
            foreign: Foreign::default(),
            malformed: Malformed::default(),
        }))
    }

    pub(crate) fn register(&self, metrics: &Metrics) {
        let Shared { connections, streams, waited, refused, foreign, malformed, .. } = &*self.0;
        // Each is there from zero.
        for kind in [Kind::Connection, Kind::Stream] {
            for why in [Refused::Share, Refused::Full] {
                drop(refused.get_or_create(&Labels { reason: why.reason(kind) }));
            }
        }
        let places = Gauge::<i64>::default();
        places.set(i64::try_from(connections.taken.lock().places).unwrap_or(i64::MAX));
        metrics.register(|registry| {
            registry.register("rollcall_http_connections", "Open connections", connections.open.clone());
            registry.register("rollcall_http_streams", "Open streams of HTTP/2", streams.open.clone());
            registry.register("rollcall_http_connections_max", "Places for connections, and for streams", places);
            let help = "Connections that had to wait for a place, since all were taken";
            registry.register("rollcall_http_connections_waited", help, waited.clone());
            let help = "Connections closed and streams refused because their source or all sources have too many";
            registry.register("rollcall_http_connections_refused", help, refused.clone());
            foreign.register(registry);
            malformed.register(registry);
        });
    }

    pub(super) fn malformed(&self) -> &Malformed {
        &self.0.malformed
    }

    pub(super) fn foreign(&self) -> &Foreign {
        &self.0.foreign
    }

    /// Returns a place for a connection from `address`. Waits while all places are taken by others and none is kept for
    /// preferred sources: then nobody is preferred, and the connections behind this one wait in the kernel's queue. A
    /// preferred source waits too.
    ///
    /// # Errors
    /// [`Refused`] when the source holds its share, or when only the reserve is left.
    pub(super) async fn take(&self, address: IpAddr) -> Result<Place, Refused> {
        let source = network_of(address);
        let stranger = self.stranger(address);
        let mut waits = false;
        loop {
            let freed = self.0.freed.notified();
            let refused = match self.try_take(Kind::Connection, stranger) {
                Ok(place) => return Ok(place),
                Err(refused) => refused,
            };
            if refused == Refused::Share || (stranger.is_some() && !self.0.preferred.is_empty()) {
                self.refuse(Kind::Connection, source, refused);
                return Err(refused);
            }
            if !std::mem::replace(&mut waits, true) {
                self.0.waited.inc();
                if self.0.reported.is_due() {
                    tracing::warn!(source.address = %source, "all places are taken: connections wait for one");
                }
            }
            freed.await;
        }
    }

    /// Returns a place for a stream from `address`.
    ///
    /// # Errors
    /// [`Refused`] when the source holds its share of streams, or when only the reserve or nothing is left.
    pub(super) fn take_stream(&self, address: IpAddr) -> Result<Place, Refused> {
        let taken = self.try_take(Kind::Stream, self.stranger(address));
        taken.inspect_err(|refused| self.refuse(Kind::Stream, network_of(address), *refused))
    }

    /// Returns the source, unless it is preferred.
    fn stranger(&self, address: IpAddr) -> Option<IpAddr> {
        let is_preferred = self.0.preferred.iter().any(|network| network.contains(&address.to_canonical()));
        (!is_preferred).then(|| network_of(address))
    }

    fn try_take(&self, kind: Kind, stranger: Option<IpAddr>) -> Result<Place, Refused> {
        let kept = self.kept(kind);
        kept.taken.lock().take(stranger)?;
        kept.open.inc();
        Ok(Place { places: self.clone(), kind, stranger })
    }

    fn kept(&self, kind: Kind) -> &Kept {
        match kind {
            Kind::Connection => &self.0.connections,
            Kind::Stream => &self.0.streams,
        }
    }

    /// Counts a refusal, and logs it seldom.
    fn refuse(&self, kind: Kind, source: IpAddr, refused: Refused) {
        let text = match (kind, refused) {
            (Kind::Connection, Refused::Share) => {
                "a source has as many connections as one may have: further ones are closed"
            }
            (Kind::Connection, Refused::Full) => {
                "all places are taken but those of preferred sources: connections are closed"
            }
            (Kind::Stream, Refused::Share) => "a source has as many streams as one may have: further ones are refused",
            (Kind::Stream, Refused::Full) => "all places of streams are taken: further ones are refused",
        };
        self.0.refused.get_or_create(&Labels { reason: refused.reason(kind) }).inc();
        if self.0.reported.is_due() {
            tracing::warn!(source.address = %source, "{text}");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let kept = self.places.kept(self.kind);
        kept.taken.lock().leave(self.stranger);
        kept.open.dec();
        if self.kind == Kind::Connection {
            self.places.0.freed.notify_one();
        }
    }
}

impl Taken {
    fn take(&mut self, stranger: Option<IpAddr>) -> Result<(), Refused> {
        if let Some(source) = stranger {
            let held = self.strangers.get(&source).copied().unwrap_or(0);
            if held >= self.share {
                return Err(Refused::Share);
            }
            if self.by_strangers >= self.places - self.reserved || self.all >= self.places {
                return Err(Refused::Full);
            }
            self.strangers.insert(source, held + 1);
            self.by_strangers += 1;
        } else if self.all >= self.places {
            return Err(Refused::Full);
        }
        self.all += 1;
        Ok(())
    }

    fn leave(&mut self, stranger: Option<IpAddr>) {
        self.all -= 1;
        if let Some(source) = stranger
            && let Some(held) = self.strangers.get_mut(&source)
        {
            *held -= 1;
            self.by_strangers -= 1;
            if *held == 0 {
                self.strangers.remove(&source);
            }
        }
    }
}

/// Returns the address that counts as one source: of IPv6, the network of one customer.
pub fn network_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !(u128::MAX >> IPV6_SOURCE_BITS)).into(),
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn limits(connections_max: usize, share: usize, connections_reserved: usize) -> ServerLimits {
        let connections_per_source_max = share;
        ServerLimits { connections_max, connections_per_source_max, connections_reserved, ..ServerLimits::default() }
    }

    #[tokio::test]
    async fn a_source_has_its_share_and_the_reserve_is_for_the_preferred() {
        let places = Places::new(&limits(4, 2, 1), vec!["10.0.0.0/8".parse().unwrap()]);
        let take = async |address: &str| places.take(address.parse().unwrap()).await;
        let first = take("192.0.2.1").await.unwrap();
        let _second = take("::ffff:192.0.2.1").await.unwrap();
        assert_eq!(take("192.0.2.1").await.unwrap_err(), Refused::Share);
        let _third = take("192.0.2.2").await.unwrap();
        assert_eq!(take("192.0.2.3").await.unwrap_err(), Refused::Full, "one place is reserved");
        let preferred = take("10.1.2.3").await.unwrap();
        drop(first);
        let _again = take("192.0.2.1").await.unwrap();
        drop(preferred);
        assert_eq!(take("192.0.2.3").await.unwrap_err(), Refused::Full);
        let _preferred = take("10.1.2.3").await.unwrap();
        let full = tokio::time::timeout(Duration::from_millis(10), take("10.1.2.4")).await;
        assert!(full.is_err(), "a preferred source waits");
    }

    #[tokio::test]
    async fn a_preferred_source_has_no_share() {
        let places = Places::new(&limits(4, 1, 1), vec!["10.0.0.0/8".parse().unwrap()]);
        let mut held = Vec::new();
        for _ in 0..4 {
            held.push(places.take("10.0.0.1".parse().unwrap()).await.unwrap());
        }
        assert_eq!(places.take("192.0.2.1".parse().unwrap()).await.unwrap_err(), Refused::Full);
    }

    #[tokio::test]
    async fn where_nobody_is_preferred_a_connection_waits_for_a_place() {
        let places = Places::new(&limits(1, 1, 1), Vec::new());
        let first = places.take("192.0.2.1".parse().unwrap()).await.unwrap();
        let waiting = places.clone();
        let second = tokio::spawn(async move { waiting.take("192.0.2.2".parse().unwrap()).await.map(drop) });
        drop(first);
        assert_eq!(second.await.unwrap(), Ok(()));
        assert!(
            places.0.connections.taken.lock().strangers.is_empty(),
            "nothing is remembered of a source that has gone"
        );
    }

    #[test]
    fn streams_have_places_of_their_own_and_never_wait() {
        let places = Places::new(&limits(3, 2, 1), vec!["10.0.0.0/8".parse().unwrap()]);
        let take = |address: &str| places.take_stream(address.parse().unwrap());
        let _first = take("192.0.2.1").unwrap();
        let second = take("192.0.2.1").unwrap();
        assert_eq!(take("192.0.2.1").unwrap_err(), Refused::Share);
        assert_eq!(take("192.0.2.2").unwrap_err(), Refused::Full, "one place is reserved");
        let _preferred = take("10.0.0.1").unwrap();
        assert_eq!(take("10.0.0.1").unwrap_err(), Refused::Full);
        drop(second);
        assert!(take("192.0.2.2").is_ok());
        assert_eq!(places.0.connections.open.get(), 0);
    }

    #[test]
    fn an_ipv6_customer_is_one_source() {
        let source = |text: &str| network_of(text.parse().unwrap()).to_string();
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(source("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
