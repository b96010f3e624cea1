//! The bytes of events as they are on the log. A repair is built from records that were translated to be read, and is
//! appended with the bytes that were there: a record keeps its framing, and what only its writer's schema has.

use std::borrow::Cow;
use std::collections::BTreeMap;

use domain::headers::SECOND;
use domain::roll::second;
use domain::wire::{Framed as _, Ids};
use kafka::Record;
use kafka::publish::Outgoing;

use super::Fetched;

/// The bytes on the log of each event that was translated, by the translated bytes.
#[derive(Debug, Default)]
pub struct Originals(BTreeMap<Vec<u8>, Vec<u8>>);

impl Originals {
    /// Translates the records.
    pub fn translate(fetched: &mut Fetched, ids: &Ids) -> Self {
        let mut originals = Self::default();
        for record in fetched.values_mut() {
            originals.keep(record, ids);
            record.translate(ids);
        }
        originals
    }

    fn keep(&mut self, record: &Record, ids: &Ids) {
        let second = record.header(SECOND).and_then(|header| second::decode(header).ok()).unwrap_or_default();
        for original in record.value.as_deref().into_iter().chain(second) {
            if let Cow::Owned(translated) = ids.translate(original) {
                self.0.insert(translated, original.to_vec());
            }
        }
    }

    /// Returns the repair with the bytes that are on the log.
    pub fn restore(&self, mut repair: Outgoing) -> Outgoing {
        let original = |event: &[u8]| self.0.get(event).cloned();
        if let Some(value) = &mut repair.value
            && let Some(original) = original(value)
        {
            *value = original;
        }
        for (_, header) in repair.headers.iter_mut().filter(|(name, _)| name == SECOND) {
            let events = second::decode(header).expect("a repair's header is well formed");
            let events = events.into_iter().map(|event| original(event).unwrap_or_else(|| event.to_vec()));
            let events: Vec<Vec<u8>> = events.collect();
            let restored = second::encode(events.iter().map(Vec::as_slice));
            *header = restored.expect("it has an event");
        }
        repair
    }
}

#[cfg(test)]
mod tests {
    use domain::wire::{Framing, SCHEMAS};
    use domain::{Position, UserId};

    use super::*;
    use crate::Table;
    use crate::fixture::{NOW, change, record};
    use crate::keeper::Repair;

    #[test]
    fn a_repair_has_the_framings_that_its_events_have_on_the_log() {
        let mut ids = Ids::NONE;
        ids.list(7, SCHEMAS[0]);
        let framings = [Framing::Registered(7), Framing::SingleObject, Framing::Registered(7)];
        let events = ["C>D", "B>C", "A>B"].map(|states| change(1, states, 1));
        let (mut table, mut fetched) = (Table::default(), Fetched::new());
        for (offset, (event, framing)) in (0..).zip(events.iter().zip(framings)) {
            let at = Position { partition: 0, offset };
            let on_log = Record { value: Some(framing.encode(event)), ..record(at, event) };
            let mut read = on_log.clone();
            read.translate(&ids);
            table.take(&read).unwrap();
            fetched.insert(at, on_log);
        }
        let user_id = UserId::new(1).unwrap();
        let repair = Repair::of(user_id, table.key(user_id).unwrap());
        assert_eq!(repair.needed().len(), 3);
        let originals = Originals::translate(&mut fetched, &ids);
        let again = originals.restore(repair.records(&fetched, "users", NOW).unwrap().remove(0));
        assert_eq!(again.value, Some(framings[0].encode(&events[0])));
        let header = again.headers.iter().find(|(name, _)| name == SECOND).map(|(_, header)| header.clone());
        let mut carried = second::decode(header.as_ref().unwrap()).unwrap();
        carried.sort_unstable();
        assert_eq!(carried, [framings[2].encode(&events[2]), framings[1].encode(&events[1])]);
    }
}
