//! Both framings on one topic: each writer has one at random, and readers translate.

use std::sync::LazyLock;

use domain::UserEvent;
use domain::roll::second;
use domain::wire::{Framed as _, Framing, Ids, SCHEMAS};
use kafka::Record;
use kafka::publish::Outgoing;
use testkit::random::Random;

use crate::fault::Fault;
use crate::log::{Entry, Log};
use crate::property::{Property, Violation};
use crate::replica::TOPIC;

/// The id of the schema in the registry.
const REGISTERED: u32 = 7;
/// An id of the schema of something else.
pub(crate) const STRANGER: u32 = 8;

/// Returns what every reader knows of the registry.
pub(crate) fn ids() -> &'static Ids {
    static IDS: LazyLock<Ids> = LazyLock::new(|| {
        let mut ids = Ids::NONE;
        ids.list(REGISTERED, SCHEMAS.last().unwrap());
        ids.list(STRANGER, "\"string\"");
        ids
    });
    &IDS
}

/// Returns the record as readers take it.
pub(crate) fn translated(mut record: Record) -> Record {
    record.translate(ids());
    record
}

/// Returns the record of an event, in a framing that differs from one copy of it to another.
pub(crate) fn framed(event: &UserEvent) -> Outgoing {
    let seed = event.user_id.get() ^ event.occurred_at.millis() ^ event.received_at.millis().rotate_left(32);
    let framing = match Random(seed.cast_unsigned()).below(2) {
        0 => Framing::SingleObject,
        _ => Framing::Registered(REGISTERED),
    };
    Outgoing::framed(event, framing, TOPIC, None)
}

impl Entry {
    /// Returns the record as it is fetched to be appended again.
    pub(crate) fn on_log(&self, fault: Option<Fault>) -> &Record {
        self.intact.as_ref().filter(|_| fault == Some(Fault::HeadAlone)).unwrap_or(&self.record)
    }
}

/// A repair has the bytes that are on the log, each event in its framing.
pub(crate) fn check_repair(log: &Log, repair: &Outgoing) -> Result<(), Violation> {
    let carried = |value: Option<&[u8]>, header: Option<&[u8]>| -> Vec<Vec<u8>> {
        let others = header.map(|header| second::decode(header).unwrap_or_default()).unwrap_or_default();
        value.into_iter().chain(others).map(<[u8]>::to_vec).collect()
    };
    let second = repair.headers.iter().find(|(name, _)| name == domain::headers::SECOND);
    let on_log: Vec<Vec<u8>> = log
        .whole()
        .flat_map(|entry| carried(entry.record.value.as_deref(), entry.record.header(domain::headers::SECOND)))
        .collect();
    for event in carried(repair.value.as_deref(), second.map(|(_, header)| header.as_slice())) {
        if !on_log.contains(&event) {
            return Err(Violation::new(Property::Framing, format!("these bytes are not on the log: {event:02x?}")));
        }
    }
    Ok(())
}
