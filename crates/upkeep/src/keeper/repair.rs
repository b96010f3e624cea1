//! A repair: builds the record that makes a key clean, from bytes on the log.

use std::collections::{BTreeMap, BTreeSet};

use domain::headers::{self, CE_TIME, REASSERTED, SECOND};
use domain::roll::{self, Member, Roll, second};
use domain::{Position, UnixMillis, UserId, wire};
use kafka::Record;
use kafka::publish::Outgoing;

/// The records that a repair needs, by position.
pub type Fetched = BTreeMap<Position, Record>;

/// Returns the positions of the records that carry the state: the marker, or each event of the set.
pub fn needed(state: &Roll) -> BTreeSet<Position> {
    let members = state.members().iter().map(|member| member.at);
    if state.rank().is_forgotten() { BTreeSet::from([state.position()]) } else { members.collect() }
}

/// Returns the record that yields `state` by itself: the winner unchanged, and in a tied second the other events in its
/// header. Returns `None` when a needed record no longer exists. The record is placed by its key.
///
/// Its Kafka timestamp is `now`. (Until the repair, the age of the later record protects the winner: the cleaner does
/// not consider that record while it is younger than `min.compaction.lag.ms`.)
pub fn repair(user_id: UserId, state: &Roll, fetched: &Fetched, topic: &str, now: UnixMillis) -> Option<Outgoing> {
    let repaired = state.position();
    let record = fetched.get(&repaired)?;
    let (value, mut headers) = match state.winner() {
        None => (None, dated(record)),
        Some(winner) => {
            let value = payload(winner, fetched)?;
            (Some(value.to_vec()), headers_of(record, value)?)
        }
    };
    headers.retain(|(name, _)| name != REASSERTED && name != SECOND);
    let winner = state.winner().map(|winner| winner.event_id);
    let others = state.members().iter().filter(|member| Some(member.event_id) != winner);
    let others: Vec<&[u8]> = others.map(|member| payload(member, fetched)).collect::<Option<_>>()?;
    headers.extend(second::encode(others.into_iter()).map(|header| (SECOND.to_owned(), header)));
    headers.push((REASSERTED.to_owned(), repaired.offset.to_string().into_bytes()));
    let key = user_id.to_string().into_bytes();
    let timestamp = state.winner().map_or(now, |winner| roll::carrier_timestamp(winner, now));
    Some(Outgoing { topic: topic.to_owned(), key, value, headers, timestamp, partition: None })
}

fn payload<'r>(member: &Member, fetched: &'r Fetched) -> Option<&'r [u8]> {
    fetched.get(&member.at)?.read().ok()?.payload(member)
}

/// Returns the headers of a tombstone. A tombstone that only its Kafka timestamp dates gets the header with that time.
/// Otherwise the repair would also forget events between that time and now.
fn dated(record: &Record) -> Vec<(String, Vec<u8>)> {
    let mut headers = record.headers.clone();
    if roll::dated(record.header(CE_TIME)).is_none() {
        headers.retain(|(name, _)| name != CE_TIME);
        headers.push((CE_TIME.to_owned(), record.timestamp.to_string().into_bytes()));
    }
    headers
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
        let state = table.key(user_id).unwrap().roll.clone();
        let needed = needed(&state);
        let fetched = records.iter().filter(|record| needed.contains(&record.position));
        let fetched = fetched.map(|record| (record.position, record.clone())).collect();
        let again = repair(user_id, &state, &fetched, TOPIC, NOW).unwrap();
        let Outgoing { key, value, headers, timestamp, .. } = again.clone();
        let mut begun = Table::default();
        begun.take(&Record { position: at(9), leader_epoch: None, timestamp, key: Some(key), value, headers }).unwrap();
        let key = begun.key(user_id).unwrap();
        assert!(key.is_clean());
        (again, state, key.roll.clone())
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
        for (tombstone, count) in [(tombstone(at(0), 1, 9), 2), (of(misdated), 3), (of(Vec::new()), 2)] {
            let (again, state, begun) = repaired(&[tombstone]);
            assert_eq!(again.timestamp, NOW, "what the cleaner measures its lag on");
            assert!(begun.is_same(&state), "{:?}", again.headers);
            assert_eq!(again.headers.len(), count, "{:?}", again.headers);
        }
    }
}
