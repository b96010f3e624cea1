//! A repair: builds the records that make a key clean, from bytes on the log. Pure: [`crate::Upkeep`] calls it, and the
//! tests that model a keeper.

use std::collections::{BTreeMap, BTreeSet};

use domain::headers::{self, REASSERTED, SECOND};
use domain::roll::{self, KeyState, Member, Roll, second};
use domain::{Position, UnixMillis, UserId, wire};
use kafka::Record;
use kafka::publish::Outgoing;

/// The records that a repair needs, by position.
pub type Fetched = BTreeMap<Position, Record>;

/// A state that must be appended again.
#[derive(Clone, Debug)]
pub struct Repair {
    pub user_id: UserId,
    pub state: Roll,
    /// The partitions for the tombstone of a forgotten user. The record of an event is placed by its key.
    partitions: Vec<i32>,
    /// The key is clean: only the age of its tombstone matters.
    pub is_renewal: bool,
}

impl Repair {
    /// Returns the repair of a key, or the renewal of its tombstones.
    pub fn of(user_id: UserId, key: &KeyState) -> Self {
        let (state, partitions) = (key.roll.clone(), key.forgotten_on());
        Self { user_id, state, partitions, is_renewal: !key.needs_repair() }
    }

    /// Returns the positions of the records that carry the state: each event of the set. A tombstone follows from the
    /// state alone.
    pub fn needed(&self) -> BTreeSet<Position> {
        self.state.members().iter().map(|member| member.at).collect()
    }

    /// Returns the records to append: the tombstones, or the record that yields the state by itself. Returns `None`
    /// when a needed record no longer exists.
    ///
    /// Their Kafka timestamp is `now`. (Until the repair, the age of the later record protects the winner: the cleaner
    /// does not consider that record while it is younger than `min.compaction.lag.ms`.)
    pub fn records(&self, fetched: &Fetched, topic: &str, now: UnixMillis) -> Option<Vec<Outgoing>> {
        match self.state.winner() {
            Some(winner) => Some(vec![self.event(winner, fetched, topic, now)?]),
            None => Some(self.partitions.iter().map(|partition| self.tombstone(*partition, topic, now)).collect()),
        }
    }

    /// Returns the tombstone with the time of the forgetting: a later one would also forget what came in between.
    fn tombstone(&self, partition: i32, topic: &str, now: UnixMillis) -> Outgoing {
        let forgotten = Outgoing::forgotten(self.user_id, topic, self.state.rank().time(), now);
        Outgoing { partition: Some(partition), ..self.reasserted(forgotten) }
    }

    /// Returns the winner unchanged, and in a tied second the other events in its header.
    fn event(&self, winner: &Member, fetched: &Fetched, topic: &str, now: UnixMillis) -> Option<Outgoing> {
        let value = payload(winner, fetched)?;
        let mut headers = headers_of(fetched.get(&winner.at)?, value)?;
        headers.retain(|(name, _)| name != REASSERTED && name != SECOND);
        let others = self.state.members().iter().filter(|member| member.event_id != winner.event_id);
        let others: Vec<&[u8]> = others.map(|member| payload(member, fetched)).collect::<Option<_>>()?;
        headers.extend(second::encode(others.into_iter()).map(|header| (SECOND.to_owned(), header)));
        let key = self.user_id.to_string().into_bytes();
        let timestamp = roll::carrier_timestamp(winner, now);
        let value = Some(value.to_vec());
        Some(self.reasserted(Outgoing { topic: topic.to_owned(), key, value, headers, timestamp, partition: None }))
    }

    fn reasserted(&self, mut record: Outgoing) -> Outgoing {
        let repaired = self.state.position().offset.to_string();
        record.headers.push((REASSERTED.to_owned(), repaired.into_bytes()));
        record
    }
}

fn payload<'r>(member: &Member, fetched: &'r Fetched) -> Option<&'r [u8]> {
    fetched.get(&member.at)?.read().ok()?.payload(member)
}

/// Returns the headers that the event in `value` had on the log. If `record` carries the event for another one, returns
/// headers built from the event.
fn headers_of(record: &Record, value: &[u8]) -> Option<Vec<(String, Vec<u8>)>> {
    if record.value.as_deref() == Some(value) {
        return Some(record.headers.clone());
    }
    let event = wire::decode(value).ok()?;
    let headers = headers::for_event(&event, None).into_iter();
    Some(headers.map(|(name, value)| (name.to_owned(), value.into_bytes())).collect())
}

#[cfg(test)]
mod tests {
    use domain::headers::CE_TIME;

    use super::*;
    use crate::Table;
    use crate::fixture::{NOW, change, record, tombstone};

    const TOPIC: &str = "users";

    fn at(offset: i64) -> Position {
        Position { partition: 0, offset }
    }

    /// Returns the repair of user 1 in a log of these records, the state of the log, and the state after the repair
    /// alone.
    fn repaired(records: &[Record]) -> (Outgoing, Roll, Roll) {
        let mut table = Table::default();
        records.iter().for_each(|record| drop(table.take(record)));
        let user_id = UserId::new(1).unwrap();
        let repair = Repair::of(user_id, table.key(user_id).unwrap());
        let needed = repair.needed();
        let fetched = records.iter().filter(|record| needed.contains(&record.position));
        let fetched = fetched.map(|record| (record.position, record.clone())).collect();
        let again = repair.records(&fetched, TOPIC, NOW).unwrap().pop().unwrap();
        let Outgoing { key, value, headers, timestamp, .. } = again.clone();
        let mut begun = Table::default();
        begun.take(&Record { position: at(9), leader_epoch: None, timestamp, key: Some(key), value, headers }).unwrap();
        let key = begun.key(user_id).unwrap();
        assert!(key.is_clean());
        (again, repair.state, key.roll.clone())
    }

    #[test]
    fn a_repair_yields_the_state_of_its_key() {
        let (newer, older) = (record(at(0), &change(1, "A>B", 9)), record(at(1), &change(1, "B>C", 5)));
        let (again, state, begun) = repaired(&[newer.clone(), older]);
        assert!(begun.is_same(&state));
        assert_eq!(again.value, newer.value);
        assert_eq!(again.headers.len(), newer.headers.len() + 1, "{:?}", again.headers);
    }

    #[test]
    fn the_repair_of_a_tied_second_carries_all_of_it() {
        let records: Vec<Record> = (0..)
            .zip(["C>D", "B>C", "A>B"])
            .map(|(offset, states)| record(at(offset), &change(1, states, 1)))
            .collect();
        let (again, state, begun) = repaired(&records);
        assert_eq!(state.members().len(), 3);
        assert!(begun.is_same(&state));
        assert_eq!(again.value, records[0].value, "C>D wins");
        // The repair arrives again like a repeated delivery, with the winner in the header of another event's record.
        let Outgoing { key, value, headers, timestamp, .. } = again;
        let third = Record { position: at(3), leader_epoch: None, timestamp, key: Some(key), value, headers };
        let (again, state, begun) = repaired(&[third, records[2].clone()]);
        assert_eq!(state.members().len(), 3);
        assert!(begun.is_same(&state) && again.value == records[0].value);
    }

    #[test]
    fn a_tombstone_keeps_its_place_in_the_order_when_it_is_appended_again() {
        const WRITTEN: UnixMillis = UnixMillis::from_millis(1_600_000_000_000);
        let of = |headers| Record { timestamp: WRITTEN, headers, ..tombstone(at(0), 1, 0) };
        let misdated = vec![("x".to_owned(), b"y".to_vec()), (CE_TIME.to_owned(), b"then".to_vec())];
        for tombstone in [tombstone(at(0), 1, 9), of(misdated), of(Vec::new())] {
            let (again, state, begun) = repaired(&[tombstone]);
            assert_eq!(again.timestamp, NOW, "what the cleaner measures its lag on");
            assert!(begun.is_same(&state), "{:?}", again.headers);
        }
        let user_id = UserId::new(1).unwrap();
        let forgotten = Outgoing::forgotten(user_id, TOPIC, WRITTEN, NOW);
        let record = Record {
            position: at(4),
            leader_epoch: None,
            timestamp: NOW,
            key: Some(forgotten.key.clone()),
            value: None,
            headers: forgotten.headers.clone(),
        };
        let (again, ..) = repaired(&[record]);
        let reasserted = (REASSERTED.to_owned(), b"4".to_vec());
        assert_eq!(again.headers, [forgotten.headers, vec![reasserted]].concat(), "as `forget` wrote it");
    }

    #[test]
    fn a_tombstone_goes_on_every_partition_that_holds_the_key() {
        let on = |partition| Position { partition, offset: 0 };
        let records = [record(on(3), &change(1, "A>B", 1)), tombstone(on(1), 1, 2)];
        let mut table = Table::default();
        assert!(records.iter().all(|record| table.take(record).is_ok()));
        let user_id = UserId::new(1).unwrap();
        let repair = Repair::of(user_id, table.key(user_id).unwrap());
        assert!(repair.needed().is_empty() && !repair.is_renewal);
        let records = repair.records(&Fetched::new(), TOPIC, NOW).unwrap();
        let partitions: Vec<_> = records.iter().map(|record| record.partition).collect();
        assert_eq!(partitions, [Some(3), Some(1)]);
    }
}
