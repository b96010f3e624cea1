//! Who is handed what, who is woken, and what is kept: without a broker.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Wake;

use domain::{LeaderEpochs, Position, TopicId, UnixMillis, User, wire};
use tempfile::TempDir;
use testkit::event::{at, event, log_id, user, user_id};

use super::*;
use crate::store::{Seen, StoreMeta, Traits, Writer};

const WAITING_MAX: usize = 8;

struct Table {
    fan_out: Arc<FanOut>,
    woken: Counter,
    _writer: Writer,
    _dir: TempDir,
}

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn names() -> LogNames {
    LogNames::new(TopicId::from_bytes([1; 16]), LeaderEpochs::default())
}

fn table() -> Table {
    let dir = tempfile::tempdir().unwrap();
    let meta = StoreMeta::new("t", &log_id(), UnixMillis::from_millis(0));
    let writer = Writer::create(&dir.path().join("users.1.db"), &meta).unwrap();
    let kept = KeptChanges::new(Arc::clone(writer.readers()));
    let woken = Counter::default();
    let fan_out = Arc::new(FanOut::new(Bookmark::default(), kept, WAITING_MAX, woken.clone()));
    Table { fan_out, woken, _writer: writer, _dir: dir }
}

fn with(state: Option<&str>, is_agent: Option<bool>, priv_group: Option<i64>) -> Traits {
    Traits { state: state.map(str::to_owned), is_agent, priv_group }
}

/// The change of a user at that offset to the traits `now`, from `before`.
fn change(offset: i64, id: i64, now: &Traits, before: Seen) -> Change {
    let Traits { state, is_agent, priv_group } = now.clone();
    let user = User { state, is_agent, priv_group, ..user(id, "a") };
    let event = wire::encode(&event(None, user, offset));
    let position = Position { partition: 0, offset };
    Change {
        position,
        user_id: user_id(id),
        event: Some(event.into()),
        forgotten_at: None,
        gaps: Vec::new(),
        unknown_since: None,
        before,
        former: None,
    }
}

fn active(offset: i64, id: i64) -> Change {
    change(offset, id, &with(Some("active"), None, None), Seen::Nobody)
}

fn announce(table: &Table, changes: Vec<Change>) {
    let next = changes.iter().map(|change| change.position.offset + 1).max().unwrap();
    table.fan_out.announce(changes, &names(), Checkpoint::from_next_offsets([(0, next)]));
}

fn of_users(ids: &[i64]) -> Arc<ChangeFilter> {
    let ids = ids.iter().copied().map(user_id).collect();
    Arc::new(ChangeFilter::new(Some(ids), Traits::default()))
}

fn of(wanted: Traits) -> Arc<ChangeFilter> {
    Arc::new(ChangeFilter::new(None, wanted))
}

/// Begins to wait, and returns how often the listener was woken since.
fn wait(listener: &Listener) -> Arc<Woken> {
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    assert!(listener.poll(Some(&mut Context::from_waker(&waker))).is_pending());
    woken
}

fn offsets(listener: &Listener) -> Vec<i64> {
    std::iter::from_fn(|| listener.try_next()).map(|announced| announced.change.position.offset).collect()
}

#[test]
fn each_listener_gets_what_its_filter_lets_through_and_nothing_else() {
    let states = [None, Some("active"), Some("inactive")];
    let (agents, groups) = ([None, Some(true), Some(false)], [None, Some(1), Some(2)]);
    let each: Vec<Traits> = (0..27).map(|n| with(states[n % 3], agents[n / 3 % 3], groups[n / 9])).collect();
    let ids = [None, Some(vec![user_id(1)]), Some(vec![user_id(2), user_id(1), user_id(1)]), Some(vec![])];
    let filters: Vec<Arc<ChangeFilter>> = ids
        .iter()
        .flat_map(|ids| each.iter().map(|wanted| Arc::new(ChangeFilter::new(ids.clone(), wanted.clone()))))
        .collect();
    let table = table();
    let listeners: Vec<Listener> = filters.iter().map(|filter| table.fan_out.listen(filter)).collect();
    let befores = each.iter().cloned().map(Seen::User).chain([Seen::Nobody, Seen::Somebody]);
    let mut offset = 0;
    let check = |change: Change| {
        let expected = Announced::new(change.clone(), names());
        announce(&table, vec![change]);
        for (filter, listener) in filters.iter().zip(&listeners) {
            assert_eq!(listener.try_next().is_some(), filter.lets_through(&expected), "{filter:?} {expected:?}");
            assert!(listener.try_next().is_none(), "once");
        }
    };
    for (number, before) in befores.enumerate() {
        for now in &each {
            offset += 1;
            check(change(offset, 1 + offset % 3, now, before.clone()));
        }
        offset += 1;
        let gone = change(offset, number as i64 % 3, &each[0], before.clone());
        check(Change { event: None, forgotten_at: Some(at(1)), ..gone.clone() });
        offset += 1;
        check(Change { position: Position { partition: 0, offset }, event: Some(Arc::from(&b"?"[..])), ..gone });
    }
    assert_eq!(table.fan_out.waiting(), 0, "nothing is kept once all have taken it");
}

#[test]
fn a_commit_wakes_each_who_wants_something_of_it_once_and_nobody_else() {
    let table = table();
    let all = table.fan_out.listen(&of(Traits::default()));
    let (one, other) = (table.fan_out.listen(&of_users(&[1])), table.fan_out.listen(&of_users(&[7])));
    let inactive: Vec<Listener> =
        (0..100).map(|_| table.fan_out.listen(&of(with(Some("inactive"), None, None)))).collect();
    let woken = [&all, &one, &other].map(wait);
    let never: Vec<Arc<Woken>> = inactive.iter().map(wait).collect();
    announce(&table, (0..5).map(|offset| active(offset, offset)).collect());
    assert_eq!(woken.map(|woken| woken.0.load(Ordering::Relaxed)), [1, 1, 0]);
    assert!(never.iter().all(|woken| woken.0.load(Ordering::Relaxed) == 0));
    assert_eq!(table.woken.get(), 2);
    assert_eq!((offsets(&all), offsets(&one), offsets(&other)), (vec![0, 1, 2, 3, 4], vec![1], vec![]));
    let reached = other.reached().unwrap();
    assert_eq!(reached.checkpoint, Checkpoint::from_next_offsets([(0, 5)]), "it has seen all that it wants");
    announce(&table, vec![active(5, 5)]);
    assert!(all.reached().is_none() && one.reached().is_some());
}

#[test]
fn a_change_is_kept_for_the_slowest_up_to_the_limit_and_not_longer() {
    let table = table();
    let (slow, quick) = (table.fan_out.listen(&of_users(&[1])), table.fan_out.listen(&of(Traits::default())));
    announce(&table, vec![active(0, 1), active(1, 2)]);
    assert_eq!(table.fan_out.waiting(), 2);
    assert_eq!(offsets(&quick), [0, 1]);
    assert_eq!(table.fan_out.waiting(), 1, "the slow one wants it still");
    let late = table.fan_out.listen(&of_users(&[1]));
    announce(&table, vec![active(2, 1)]);
    assert_eq!((offsets(&late), offsets(&slow), offsets(&quick)), (vec![2], vec![0, 2], vec![2]));
    assert_eq!(table.fan_out.waiting(), 0);
    drop(late);

    for offset in 3..3 + 2 * WAITING_MAX as i64 {
        announce(&table, vec![active(offset, 1)]);
        assert_eq!(offsets(&quick), [offset]);
    }
    assert_eq!(table.fan_out.waiting(), WAITING_MAX);
    let poll = slow.poll(Some(&mut Context::from_waker(Waker::noop())));
    assert!(matches!(poll, Poll::Ready(Err(Ended::TooSlow(behind))) if behind == WAITING_MAX as u64), "{poll:?}");
    drop(slow);
    assert_eq!(table.fan_out.waiting(), 0, "who is gone keeps nothing");
    assert_eq!(offsets(&quick), [] as [i64; 0]);
    drop(quick);
    let state = table.fan_out.state.lock();
    assert!(state.groups.is_empty() && state.waiting.is_empty(), "{state:?}");
}

#[test]
fn who_was_forgotten_is_taken_back_from_those_who_have_not_taken_it() {
    let table = table();
    let all = table.fan_out.listen(&of(Traits::default()));
    announce(&table, vec![active(0, 1), active(1, 2)]);
    table.fan_out.erase(&BTreeSet::from([user_id(1)]));
    let erased: Vec<bool> = std::iter::from_fn(|| all.try_next()).map(|announced| announced.is_erased()).collect();
    assert_eq!(erased, [true, false]);
    table.fan_out.close();
    assert!(matches!(all.poll(None), Poll::Ready(Err(Ended::Replaced))));
}

#[test]
fn a_change_says_what_covers_it_and_all_before() {
    let table = table();
    let one = table.fan_out.listen(&of_users(&[2]));
    table.fan_out.announce(vec![active(4, 1), active(7, 2)], &names(), Checkpoint::from_next_offsets([(0, 9)]));
    let announced = one.try_next().unwrap();
    assert_eq!(announced.after().unwrap().checkpoint, Checkpoint::from_next_offsets([(0, 8)]));
    assert_eq!(announced.id().unwrap(), announced.after().unwrap().to_string());
}
