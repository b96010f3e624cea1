//! Finds breaks in the lineage of users ([`domain::gap`]): suspects them by digests while the log is read, and confirms
//! them by the users' fields.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use domain::gap::{Difference, Gap as Suspected, Lineage, OpenGap, difference};
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
    /// For the event that shows a gap: the positions of the state held before.
    held: HashMap<Position, Held>,
}

/// The positions of the events of a state: the winner's, and those of the other events of a tied second.
#[derive(Clone, Debug)]
pub(super) struct Held {
    winner: Position,
    others: Vec<Position>,
}

impl Held {
    pub(super) fn of(roll: &Roll) -> Self {
        let winner = roll.position();
        let others = roll.members().iter().map(|member| member.at).filter(|at| *at != winner);
        Self { winner, others: others.collect() }
    }

    fn positions(&self) -> impl Iterator<Item = Position> {
        std::iter::once(self.winner).chain(self.others.iter().copied())
    }
}

/// Stands for the fields of a gap that is not confirmed yet.
const NOT_COMPARED: &str = "?";

impl Suspects {
    /// Follows what a record did, by which the state at `held`, if there was one, became `state`.
    pub(super) fn follow(&mut self, held: Option<Held>, state: &Roll, applied: &Applied, reading: &Reading<'_>) {
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
            let Effect::Newer { gap: Some(gap) } = applied.effect else { return None };
            Some(Difference { held: gap.held, fields: vec![NOT_COMPARED.to_owned()] })
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
    let mut found_gaps = Gaps::default();
    suspects.lineages.retain(|_, lineage| !lineage.gaps.is_empty());
    if suspects.lineages.is_empty() {
        return Ok(found_gaps);
    }
    read_late_topic(options, &mut suspects.lineages)?;
    let open: BTreeMap<UserId, Lineage> = suspects.lineages.into_iter().collect();
    let gaps = open.values().flat_map(|lineage| &lineage.gaps);
    let held = |gap: &OpenGap| suspects.held.get(&gap.position).into_iter().flat_map(Held::positions);
    let wanted: BTreeSet<Position> = gaps.flat_map(|gap| std::iter::once(gap.position).chain(held(gap))).collect();
    let mut records = refetch(kafka, &topics.users, &wanted, || true)?.unwrap_or_default();
    records.values_mut().for_each(|record| record.translate(&schemas.known()));
    for (user_id, lineage) in open {
        for open in &lineage.gaps {
            let OpenGap { gap, position, .. } = *open;
            let mut before: Vec<UserEvent> =
                held(open).filter_map(|at| records.get(&at)).flat_map(|record| events(record, |_| true)).collect();
            before.sort_by_key(|event| event.version != gap.held);
            let winner_is_there = before.first().is_some_and(|event| event.version == gap.held);
            let is_next = |member: &Member| member.parent == Some(gap.missing);
            let next = records.get(&position).and_then(|record| events(record, is_next).pop());
            let found = match next.filter(|_| winner_is_there) {
                Some(next) => difference(&before, &next),
                // The records were compacted away. A field differs, but which one is unknown.
                None => Some(Difference { held: gap.held, fields: vec![NOT_COMPARED.to_owned()] }),
            };
            let Some(Difference { held, fields }) = found else { continue };
            if !(Suspected { held, ..gap }).is_bridged(&lineage.late) {
                let gap = Gap { user_id, position, fields, awaited_until: open.awaited_until() };
                found_gaps.push(gap, *now, *since);
            }
        }
    }
    Ok(found_gaps)
}

/// Returns the events of a record for which `is_it` returns true, including the other events of its second.
fn events(record: &Record, is_it: impl Fn(&Member) -> bool) -> Vec<UserEvent> {
    let Ok(reading) = record.read() else { return Vec::new() };
    let members = reading.says().members().iter().filter(|member| is_it(member));
    members.filter_map(|member| wire::decode(reading.payload(member)?).ok()).collect()
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
