//! Finds breaks in the lineage of users ([`domain::gap`]): suspects them by digests while the log is read, and confirms
//! them by the users' fields.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::gap::{Lineage, OpenGap, changed_fields};
use domain::roll::{Applied, Effect, Member, Reading, Roll};
use domain::wire::Framed as _;
use domain::{Position, UserEvent, UserId, wire};
use kafka::{Record, Unavailable, scan};

use super::{Gap, Gaps, Options};
use crate::SILENCE_MAX;
use crate::keeper::refetch::refetch;
use crate::reader::{Error, Reader};

/// The users with gaps or late events, as far as the log has been read.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    lineages: HashMap<UserId, Lineage>,
    /// For the event that shows a gap: the position of the state held before.
    held: HashMap<Position, Position>,
}

/// Stands for the fields of a gap that is not confirmed yet.
const NOT_COMPARED: &str = "?";

impl Suspects {
    /// Follows what a record did, by which the state at `held`, if there was one, became `state`.
    pub(super) fn follow(&mut self, held: Option<Position>, state: &Roll, applied: &Applied, reading: &Reading<'_>) {
        if applied.effect == Effect::Forgotten {
            self.lineages.remove(&reading.user_id);
        }
        if !Lineage::is_news(state, applied, reading) {
            return;
        }
        let Self { lineages, held: held_before } = self;
        let lineage = lineages.entry(reading.user_id).or_default();
        lineage.follow(state, applied, reading, || {
            held_before.extend(held.map(|held| (reading.position, held)));
            vec![NOT_COMPARED.to_owned()]
        });
    }

    pub(super) fn append(&mut self, other: Self) {
        for (user_id, lineage) in other.lineages {
            let own = self.lineages.entry(user_id).or_default();
            own.gaps.extend(lineage.gaps);
            for late in lineage.late {
                own.note(late);
            }
        }
        self.held.extend(other.held);
    }
}

/// Returns the confirmed gaps: not filled from the late topic, and with at least one field that differs.
pub(super) fn confirm(options: &Options, mut suspects: Suspects) -> Result<Gaps, Error> {
    let Options { kafka, topics, schemas, now, since, .. } = options;
    let mut found = Gaps::default();
    suspects.lineages.retain(|_, lineage| !lineage.gaps.is_empty());
    if suspects.lineages.is_empty() {
        return Ok(found);
    }
    read_late_topic(options, &mut suspects.lineages)?;
    let open: BTreeMap<UserId, Vec<OpenGap>> =
        suspects.lineages.into_iter().map(|(user_id, lineage)| (user_id, lineage.gaps)).collect();
    let positions =
        open.values().flatten().flat_map(|gap| [Some(gap.position), suspects.held.get(&gap.position).copied()]);
    let wanted: BTreeSet<Position> = positions.flatten().collect();
    let mut records = refetch(kafka, &topics.users, &wanted, || true)?.unwrap_or_default();
    records.values_mut().for_each(|record| record.translate(&schemas.known()));
    for (user_id, gaps) in open {
        for open in gaps {
            let OpenGap { gap, position, .. } = open;
            let held = suspects.held.get(&position).and_then(|held| records.get(held));
            let held = held.and_then(|record| event(record, |member| member.version == gap.held));
            let next = records.get(&position);
            let next = next.and_then(|record| event(record, |member| member.parent == Some(gap.missing)));
            let fields = match (held, next) {
                (Some(held), Some(next)) => changed_fields(&held, &next),
                // The records were compacted away. A field differs, but which one is unknown.
                _ => vec![NOT_COMPARED.to_owned()],
            };
            if !fields.is_empty() {
                let gap = Gap { user_id, position, fields, awaited_until: open.awaited_until() };
                found.push(gap, *now, *since);
            }
        }
    }
    Ok(found)
}

/// Returns the event of a record for which `is_it` returns true, including the other events of its second.
fn event(record: &Record, is_it: impl Fn(&Member) -> bool) -> Option<UserEvent> {
    let reading = record.read().ok()?;
    let member = reading.says().members().iter().find(|member| is_it(member))?;
    wire::decode(reading.payload(member)?).ok()
}

/// Fills gaps with late deliveries.
fn read_late_topic(options: &Options, lineages: &mut HashMap<UserId, Lineage>) -> Result<(), Error> {
    let (kafka, topic) = (&options.kafka, &options.topics.late);
    let ranges = match scan::ranges(kafka, topic, SILENCE_MAX) {
        Ok(ranges) => ranges,
        // The check of settings reports the missing topic. Here it fills no gap.
        Err(scan::Error::Unavailable(Unavailable::Missing { .. })) => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    let mut reader = Reader::new(&options.schemas);
    let scanned = scan::scan(kafka, topic, &ranges, SILENCE_MAX, |record| {
        let mut note = |value: Option<&[u8]>| {
            if let Some(head) = value.and_then(|value| wire::decode_head(value).ok())
                && let (Some(parent), Some(lineage)) = (head.parent, lineages.get_mut(&head.user_id))
            {
                lineage.note((parent, head.version));
            }
        };
        reader.take(|schemas, ids| {
            // A record that cannot be read fills no gap.
            schemas.read(ids, || true, |ids| record.read_with(ids, |_, value| note(value))).map(drop)
        })
    });
    reader.end(scanned)
}
