//! Breaks in the lineage of users: suspected by digests, filled by late events, confirmed by what the users say.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;

use domain::gap::{self, changed_fields};
use domain::{Head, Position, UserId, Version, wire};
use kafka::Record;
use kafka::{Unavailable, scan};

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

/// Events of users that came late, as the states that they lead from and to.
pub(super) type Late = BTreeMap<UserId, Vec<(Version, Version)>>;

/// Notes that `head` came late. A creation leads from nowhere.
pub(super) fn note(late: &mut Late, head: &Head) {
    if let Some(parent) = head.parent {
        late.entry(head.user_id).or_default().push((parent, head.version));
    }
}

/// Returns the suspects that the late events do not fill.
fn fill(mut suspects: Vec<Suspect>, late: &Late) -> Vec<Suspect> {
    suspects.retain(|suspect| {
        let events = late.get(&suspect.user_id).map_or(&[][..], Vec::as_slice);
        !gap::is_bridged(suspect.gap, events)
    });
    suspects
}

/// Returns the gaps that are real: neither filled from the late topic, nor of a kind in which nothing but a new member differs.
pub(super) fn confirm(options: &Options, suspects: Vec<Suspect>, mut late: Late) -> Result<Found<Gap>, scan::Error> {
    let mut found = Found::default();
    if suspects.is_empty() {
        return Ok(found);
    }
    let users: BTreeSet<UserId> = suspects.iter().map(|suspect| suspect.user_id).collect();
    read_late_topic(options, &users, &mut late)?;
    let open = fill(suspects, &late);
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

fn read_late_topic(options: &Options, users: &BTreeSet<UserId>, late: &mut Late) -> Result<(), scan::Error> {
    let topic = &options.topics.late;
    let ranges = match scan::ranges(&options.kafka, topic, SILENCE_MAX) {
        Ok(ranges) => ranges,
        // The settings say that it is missing; here it fills nothing.
        Err(scan::Error::Unavailable(Unavailable::Missing { .. })) => return Ok(()),
        Err(error) => return Err(error),
    };
    scan::scan(&options.kafka, topic, &ranges, SILENCE_MAX, |record| {
        if let Some(head) = record.value().and_then(|value| wire::decode_head(value).ok())
            && users.contains(&head.user_id)
        {
            note(late, &head);
        }
        ControlFlow::Continue(())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn late_events_of_the_same_user_fill_a_gap() {
        let version = |byte: u8| Version::from_bytes([byte; 16]);
        let position = Position { partition: 0, offset: 0 };
        let (one, two) = (UserId::new(1).unwrap(), UserId::new(2).unwrap());
        let gap = gap::Gap { held: version(1), missing: version(3) };
        let suspect = Suspect { user_id: one, gap, held: position, next: position };
        let steps = vec![(version(2), version(3)), (version(1), version(2))];
        assert!(fill(vec![suspect], &Late::from([(one, steps.clone())])).is_empty());
        assert_eq!(fill(vec![suspect], &Late::from([(two, steps)])).len(), 1, "another user's fill nothing");
    }
}
