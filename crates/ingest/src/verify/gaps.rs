//! Breaks in the lineage of users: suspected by digests, filled by late events, confirmed by what the users say.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use domain::gap::{self, changed_fields};
use domain::{Head, Position, UserId, wire};
use log::Record;
use log::scan;

use super::{Found, Gap, Options, SILENCE_MAX};
use crate::keeper::refetch;

/// An event whose parent is not the state that was held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Suspect {
    pub(super) user_id: UserId,
    pub(super) gap: gap::Gap,
    pub(super) held: Position,
    pub(super) next: Position,
}

/// Returns the suspects that the late events `late` do not fill, narrowed by those that they fill in part.
pub(super) fn fill(suspects: Vec<Suspect>, late: &BTreeMap<UserId, Vec<Head>>) -> Vec<Suspect> {
    let narrowed = suspects.into_iter().filter_map(|suspect| {
        let events = late.get(&suspect.user_id).map_or(&[][..], Vec::as_slice);
        let mut gap = suspect.gap;
        // Each pass fits the events that the one before made fit: as many passes as events are enough.
        for _ in 0..events.len() {
            for event in events {
                gap = gap.narrow(event)?;
            }
        }
        Some(Suspect { gap, ..suspect })
    });
    narrowed.collect()
}

/// Returns the gaps that are real: neither filled from the late topic, nor of a kind in which nothing but a new member differs.
pub(super) fn confirm(options: &Options, suspects: Vec<Suspect>) -> Result<Found<Gap>, log::tail::Error> {
    let mut found = Found::default();
    if suspects.is_empty() {
        return Ok(found);
    }
    let users: BTreeSet<UserId> = suspects.iter().map(|suspect| suspect.user_id).collect();
    let open = fill(suspects, &late_events(options, &users)?);
    let mut wanted: BTreeMap<i32, BTreeSet<i64>> = BTreeMap::new();
    for position in open.iter().flat_map(|suspect| [suspect.held, suspect.next]) {
        wanted.entry(position.partition).or_default().insert(position.offset);
    }
    let mut records: BTreeMap<Position, Record> = BTreeMap::new();
    for (partition, offsets) in wanted {
        let fetched = refetch::refetch(&options.kafka, &options.topics.users, partition, &offsets)?;
        records.extend(fetched.into_iter().map(|(offset, record)| (Position { partition, offset }, record)));
    }
    for suspect in open {
        let event = |position| wire::decode(records.get(&position)?.value.as_deref()?).ok();
        let fields = match (event(suspect.held), event(suspect.next).and_then(|next| next.old)) {
            (Some(held), Some(old)) => changed_fields(&held.new, &old),
            // Compacted away while we looked: what differs cannot be told, that something does can.
            _ => vec!["?".to_owned()],
        };
        if !fields.is_empty() {
            found.push(Gap { user_id: suspect.user_id, position: suspect.next, fields });
        }
    }
    Ok(found)
}

fn late_events(options: &Options, users: &BTreeSet<UserId>) -> Result<BTreeMap<UserId, Vec<Head>>, log::tail::Error> {
    let mut late: BTreeMap<UserId, Vec<Head>> = BTreeMap::new();
    let topic = &options.topics.late;
    let ranges = match scan::ranges(&options.kafka, topic, SILENCE_MAX) {
        Ok(ranges) => ranges,
        // The settings say that it is missing; here it fills nothing.
        Err(log::tail::Error::TopicMissing { .. }) => return Ok(late),
        Err(error) => return Err(error),
    };
    scan::scan(&options.kafka, topic, &ranges, SILENCE_MAX, |record| {
        if let Some(head) = record.value().and_then(|value| wire::decode_head(value).ok())
            && users.contains(&head.user_id)
        {
            late.entry(head.user_id).or_default().push(head);
        }
        ControlFlow::Continue(())
    })?;
    Ok(late)
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::{EventId, EventType, UnixMillis, Version};

    fn version(byte: u8) -> Version {
        Version::from_bytes([byte; 16])
    }

    fn event(from: u8, to: u8) -> Head {
        let user_id = UserId::new(1).unwrap();
        let event_id = EventId::derive(user_id, "", version(to), Some(version(from)));
        let occurred_at = UnixMillis::from_millis(0);
        Head {
            user_id,
            kind: EventType::Changed,
            occurred_at,
            version: version(to),
            parent: Some(version(from)),
            event_id,
        }
    }

    #[test]
    fn late_events_fill_a_gap_in_any_order() {
        let position = Position { partition: 0, offset: 0 };
        let suspect = Suspect {
            user_id: UserId::new(1).unwrap(),
            gap: gap::Gap { held: version(1), missing: version(5) },
            held: position,
            next: position,
        };
        let late = |events: &[Head]| BTreeMap::from([(suspect.user_id, events.to_vec())]);
        let all = [event(3, 4), event(1, 2), event(4, 5), event(2, 3)];
        assert!(fill(vec![suspect], &late(&all)).is_empty());
        let open = fill(vec![suspect], &late(&all[..3]));
        assert_eq!(open[0].gap, gap::Gap { held: version(2), missing: version(3) });
        assert_eq!(fill(vec![suspect], &BTreeMap::new()).len(), 1);
    }
}
