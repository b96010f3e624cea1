//! The places of a server for connections: a limit for all, a share for each source, and a reserve for preferred
//! sources. A stranger with many connections holds no more than its share, and cannot keep a preferred source out.

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
    taken: Mutex<Taken>,
    /// Notified whenever a place becomes free.
    freed: Notify,
    open: Gauge,
    refused: Family<Labels, Counter>,
    reported: Seldom,
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

/// The places that are taken. Pure.
#[derive(Debug)]
struct Taken {
    places: usize,
    reserved: usize,
    share: usize,
    all: usize,
    by_strangers: usize,
    strangers: HashMap<IpAddr, usize>,
}

/// A place of a connection. It is free again when this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
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
        Self(Arc::new(Shared {
            preferred,
            taken: Mutex::new(taken),
            freed: Notify::new(),
            open: Gauge::default(),
            refused: Family::default(),
            reported: Seldom::default(),
        }))
    }

    pub(crate) fn register(&self, metrics: &Metrics) {
        let places = Gauge::<i64>::default();
        places.set(i64::try_from(self.0.taken.lock().places).unwrap_or(i64::MAX));
        metrics.register(|registry| {
            registry.register("rollcall_http_connections", "Open connections", self.0.open.clone());
            registry.register("rollcall_http_connections_max", "Places for connections", places);
            let help = "Connections closed at once because their source or all sources together have too many";
            registry.register("rollcall_http_connections_refused", help, self.0.refused.clone());
        });
    }

    /// Returns a place for a connection from `address`. Waits while all places are taken by others and none is kept for
    /// preferred sources: then nobody is preferred, and the connections behind this one wait in the kernel's queue. A
    /// preferred source waits too.
    ///
    /// # Errors
    /// [`Refused`] when the source holds its share, or when only the reserve is left.
    pub(super) async fn take(&self, address: IpAddr) -> Result<Place, Refused> {
        let source = source(address);
        let is_preferred = self.0.preferred.iter().any(|network| network.contains(&address.to_canonical()));
        let stranger = (!is_preferred).then_some(source);
        loop {
            let freed = self.0.freed.notified();
            let refused = match self.0.taken.lock().take(stranger) {
                Ok(()) => {
                    self.0.open.inc();
                    return Ok(Place { places: self.clone(), stranger });
                }
                Err(refused) => refused,
            };
            if refused == Refused::Share || (stranger.is_some() && !self.0.preferred.is_empty()) {
                self.refuse(source, refused);
                return Err(refused);
            }
            freed.await;
        }
    }

    /// Counts a refusal, and logs it seldom.
    fn refuse(&self, source: IpAddr, refused: Refused) {
        let (reason, text) = match refused {
            Refused::Share => ("share", "a source has as many connections as one may have: further ones are closed"),
            Refused::Full => ("full", "all places are taken but those of preferred sources: connections are closed"),
        };
        self.0.refused.get_or_create(&Labels { reason }).inc();
        if self.0.reported.is_due() {
            tracing::warn!(source.address = %source, "{text}");
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.0.taken.lock().leave(self.stranger);
        self.places.0.open.dec();
        self.places.0.freed.notify_one();
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
fn source(address: IpAddr) -> IpAddr {
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
        assert!(places.0.taken.lock().strangers.is_empty(), "nothing is remembered of a source that has gone");
    }

    #[test]
    fn an_ipv6_customer_is_one_source() {
        let source = |text: &str| source(text.parse().unwrap()).to_string();
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::");
        assert_eq!(source("::ffff:192.0.2.1"), "192.0.2.1");
    }
}
