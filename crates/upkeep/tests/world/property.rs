//! What holds in every world, and the check after its end.

use std::cmp::Ordering;

use domain::order::Rank;
use domain::roll::{Roll, SET_MAX, Standing};
use domain::{Head, UnixMillis, UserId, wire};
use kafka::publish::Outgoing;

use crate::log::{Cursor, Entry, Place};
use crate::projector::Projection;
use crate::sender::{Sent, user};
use crate::world::World;

/// What holds in every world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Property {
    /// The table that lived, those that were rebuilt before and after compaction, and both gates agree.
    Agree,
    /// The last record of every key is its newest.
    Newest,
    /// An erased user does not return by an older event.
    Erased,
    /// Nothing of an erased user is left when the time has passed.
    Gone,
    /// An acknowledged event is in the log, or was superseded by a newer one.
    Acknowledged,
    /// No answer is wrong in hindsight.
    Answered,
    /// Keepers come to rest.
    Rest,
    /// A record of a later build is not written over by a keeper.
    Unknown,
    /// The answer about every user can be read from the log.
    Served,
    /// An unreadable record is copied before it goes, unless a tombstone erases it.
    Kept,
    /// A repair has the bytes that are on the log.
    Framing,
    /// The last record of each key on the state topic is the state of its user.
    Flat,
    /// A gap is shown for each delivery that is missing, and for no other.
    Gaps,
}

impl Property {
    pub(crate) const ALL: [Self; 13] = [
        Self::Agree,
        Self::Newest,
        Self::Erased,
        Self::Gone,
        Self::Acknowledged,
        Self::Answered,
        Self::Rest,
        Self::Unknown,
        Self::Served,
        Self::Kept,
        Self::Framing,
        Self::Flat,
        Self::Gaps,
    ];
}

/// A broken property.
#[derive(Clone, Debug)]
pub(crate) struct Violation {
    pub(crate) property: Property,
    pub(crate) detail: String,
}

/// An event that was answered with 200.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) head: Head,
    /// The record that the answer relied on. Its loss in a log that was cut excuses everything.
    pub(crate) witness: Option<Place>,
}

/// A user that `forget` reported as forgotten.
#[derive(Clone, Debug)]
pub(crate) struct Erased {
    pub(crate) user: UserId,
    pub(crate) rank: Rank,
    /// The rank of what was on the log before.
    pub(crate) covers: Rank,
    pub(crate) markers: Vec<Place>,
}

impl Violation {
    pub(crate) fn new(property: Property, detail: impl Into<String>) -> Self {
        Self { property, detail: detail.into() }
    }
}

fn check(holds: bool, property: Property, detail: impl FnOnce() -> String) -> Result<(), Violation> {
    if holds { Ok(()) } else { Err(Violation::new(property, detail())) }
}

impl World {
    /// Compares how a delivery was judged with the records that the judge had read.
    pub(crate) fn compare(
        &self,
        head: &Head,
        letter: Option<UnixMillis>,
        standing: Standing,
        cursor: &Cursor,
    ) -> Result<(), Violation> {
        let right = self.log.state(head.user_id, cursor).map_or(Standing::News, |state| match letter {
            Some(received_at) => state.standing_of_letter(head, received_at),
            None => state.standing(head),
        });
        let is_right = std::mem::discriminant(&right) == std::mem::discriminant(&standing);
        check(is_right, Property::Answered, || format!("{head:?} was judged {standing:?}, and it is {right:?}"))
    }

    /// Checks everything that holds after quiet.
    pub(crate) fn check(&self) -> Result<(), Violation> {
        let rebuilt = Projection::of(&self.log, self.fault);
        for user in [user(0), user(1)] {
            self.check_erased(user, &rebuilt)?;
            if !self.unknown.contains(&user) {
                self.check_agreement(user, &rebuilt)?;
                self.check_newest(user)?;
                self.check_state(user, &rebuilt)?;
            }
            self.check_served(user)?;
            self.check_gaps(user)?;
            self.check_kept(user)?;
        }
        self.answers.iter().try_for_each(|answer| self.check_answer(answer, &rebuilt))
    }

    fn check_agreement(&self, user: UserId, rebuilt: &Projection) -> Result<(), Violation> {
        let gates = self.replicas.iter().map(|replica| replica.table.key(user).map(|key| &key.roll));
        let tables = [self.live.table.state(user), self.second.table.state(user)];
        let rebuilt = rebuilt.state(user);
        for other in tables.into_iter().chain(gates) {
            let is_same = match (rebuilt, other) {
                (Some(rebuilt), Some(other)) => rebuilt.is_same(other),
                (rebuilt, other) => rebuilt.is_none() == other.is_none(),
            };
            check(is_same, Property::Agree, || format!("user {user}:\n{other:?}\nrebuilt:\n{rebuilt:?}"))?;
        }
        Ok(())
    }

    fn check_newest(&self, user: UserId) -> Result<(), Violation> {
        let key = self.replicas[0].table.key(user);
        check(key.is_none_or(|key| key.is_clean()), Property::Newest, || format!("{key:?}"))
    }

    fn check_erased(&self, user: UserId, rebuilt: &Projection) -> Result<(), Violation> {
        for erased in self.erased.iter().filter(|erased| erased.user == user && !self.unknown.contains(&user)) {
            if !erased.markers.iter().all(|marker| self.log.has(*marker)) {
                continue;
            }
            let is_covered = erased.covers <= erased.rank;
            check(is_covered, Property::Erased, || format!("user {user} was never forgotten: {erased:?}"))?;
            for table in [rebuilt, &self.live.table, &self.second.table] {
                let state = table.state(user);
                let is_gone = state.is_none_or(|state| state.rank() >= erased.rank);
                check(is_gone, Property::Erased, || format!("user {user} is back: {state:?}"))?;
            }
        }
        Ok(())
    }

    /// A letter from before a forgetting brings nobody back.
    pub(crate) fn check_letter(&self, user: UserId, received_at: UnixMillis, read: &Cursor) -> Result<(), Violation> {
        let marker = self.log.state(user, read).map(|state| state.rank()).filter(|rank| rank.is_forgotten());
        let is_after = marker.is_none_or(|marker| received_at > marker.time());
        check(is_after, Property::Erased, || format!("user {user} is back by a letter of {received_at}"))
    }

    /// The winner's bytes are on the log and can be read.
    fn check_served(&self, user: UserId) -> Result<(), Violation> {
        let Some(winner) = self.live.table.state(user).and_then(Roll::winner) else { return Ok(()) };
        let entry = self.log.whole().find(|entry| entry.record.position == winner.at);
        let reading = entry.and_then(|entry| entry.read.read().ok());
        let value = reading.as_ref().and_then(|reading| reading.payload(winner));
        let is_served = value.is_some_and(|value| wire::decode(value).is_ok());
        check(is_served, Property::Served, || format!("user {user} cannot be answered: {winner:?}"))
    }

    fn check_answer(&self, answer: &Answer, rebuilt: &Projection) -> Result<(), Violation> {
        let Answer { head, witness } = answer;
        if witness.is_some_and(|witness| !self.log.has(witness)) || self.unknown.contains(&head.user_id) {
            return Ok(());
        }
        // As the vendor means it: with a clock that is right.
        let rank = Rank::of_event(&Head { received_at: head.occurred_at, ..*head });
        let state = rebuilt.state(head.user_id);
        let is_kept = state.is_some_and(|state| match rank.cmp(&state.rank()) {
            Ordering::Less => true,
            Ordering::Equal => {
                let members = state.members();
                members.len() == SET_MAX || members.iter().any(|member| member.event_id == head.event_id)
            }
            Ordering::Greater => false,
        });
        check(is_kept, Property::Acknowledged, || format!("{head:?} is lost: {state:?}"))
    }

    fn check_kept(&self, user: UserId) -> Result<(), Violation> {
        let entries: Vec<&Entry> = self.log.whole().filter(|entry| entry.user == user).collect();
        for lost in entries.iter().filter(|entry| entry.is_removed && entry.says.is_none() && !entry.is_unknown) {
            let at = lost.record.position;
            let is_erased = entries.iter().any(|entry| {
                let position = entry.record.position;
                entry.record.value.is_none() && position.partition == at.partition && position > at
            });
            let is_kept = is_erased || self.copied.contains(&self.log.place_of(lost));
            check(is_kept, Property::Kept, || format!("the record at {at} is gone, and was not copied"))?;
        }
        Ok(())
    }

    /// Checks that time has removed what an erased user left. (The events of a user who came back lie on a partition
    /// where nothing is appended any more until something is.)
    pub(crate) fn check_gone(&self) -> Result<(), Violation> {
        for Erased { user, rank, markers, .. } in &self.erased {
            let is_back = self.live.table.state(*user).is_some_and(|state| !state.rank().is_forgotten());
            if is_back || !markers.iter().all(|marker| self.log.has(*marker)) || self.unknown.contains(user) {
                continue;
            }
            let is_old = |entry: &&Entry| {
                let says = entry.says.as_ref().is_some_and(|says| says.rank() < *rank);
                entry.user == *user && entry.record.value.is_some() && says
            };
            let left = self.log.compacted().find(is_old);
            let left = left.map(|entry| (entry.record.position, &entry.says));
            check(left.is_none(), Property::Gone, || format!("of user {user} is left: {left:?}"))?;
            let is_left = self.has_state_left(*user);
            check(!is_left, Property::Gone, || format!("the state of user {user} is left"))?;
        }
        Ok(())
    }

    /// A gap is there for each break between the events that came in order, and none where all have come.
    fn check_gaps(&self, user: UserId) -> Result<(), Violation> {
        if self.is_cut || !self.live_saw_all || self.disturbed.contains(&user) {
            return Ok(());
        }
        let sent: Vec<&Sent> = self.vendor.sent.iter().filter(|sent| sent.user() == user).collect();
        if !sent.is_sorted_by(|one, next| one.second() < next.second()) {
            return Ok(());
        }
        let gaps = self.live.table.gaps(user);
        let whole = sent.iter().all(|sent| sent.is_acknowledged);
        check(!whole || gaps == 0, Property::Gaps, || format!("user {user}: nothing is missing, and {gaps} gaps"))?;
        let says = self.log.whole().filter(|entry| entry.user == user).filter_map(|entry| entry.says.as_ref());
        let mut seen: Vec<&Roll> = says.collect();
        seen.dedup_by_key(|roll| roll.winner().map(|winner| winner.event_id));
        if self.came_late.contains(&user) || !seen.is_sorted_by_key(|roll| roll.rank()) {
            return Ok(());
        }
        let breaks = seen.windows(2).filter(|pair| {
            let (held, next) = (pair[0].winner(), pair[1].winner());
            held.zip(next).is_some_and(|(held, next)| next.parent.is_some_and(|parent| parent != held.version))
        });
        let breaks = breaks.count();
        check(gaps == breaks, Property::Gaps, || format!("user {user}: {breaks} are missing, and {gaps} gaps"))
    }

    /// A keeper that has read up to `cursor` appends nothing after a record of a later build.
    pub(crate) fn check_unknown(&self, outgoing: &Outgoing, cursor: &Cursor) -> Result<(), Violation> {
        let user = UserId::from_key(&outgoing.key).unwrap();
        let partition = outgoing.partition.unwrap_or_else(|| self.log.home(user));
        let records =
            self.log.whole().filter(|entry| (entry.user, entry.record.position.partition) == (user, partition));
        let last = records.last().filter(|entry| entry.is_unknown && cursor.has_read(entry.record.position));
        let last = last.map(|entry| entry.record.position);
        check(last.is_none(), Property::Unknown, || format!("a keeper writes after {last:?} of user {user}"))
    }
}
