//! What goes on by itself: keepers read and repair, the cleaner runs, and time passes.

use domain::UnixMillis;

use crate::fault::Fault;
use crate::framing::check_repair;
use crate::property::{Property, Violation};
use crate::step::{Fate, Pass, Step};
use crate::world::{HOUR, Then, World};

/// The longest time that keepers and cleaner do not run: `min.compaction.lag.ms`, less what a slow clock takes from it.
const ROUND: i64 = 36 * HOUR;
/// Every back-off is over after this time.
const REST: i64 = 200_000;
/// The most rounds until the keepers rest.
const ROUNDS_MAX: usize = 24;

impl World {
    pub(crate) fn read(&mut self, replica: usize, records: usize) {
        let now = self.since_start();
        self.replicas[replica].read(&self.log, records, now);
    }

    pub(crate) fn decide(&mut self, replica: usize) {
        let (now, wall) = (self.since_start(), UnixMillis::from_millis(self.clock(replica)));
        self.replicas[replica].decide(now, wall);
    }

    pub(crate) fn repair(&mut self, replica: usize, fate: Fate) -> Result<(), Violation> {
        if self.has(Fault::NoKeeper) {
            return Ok(());
        }
        let (now, wall) = (self.since_start(), UnixMillis::from_millis(self.clock(replica)));
        for at in self.replicas[replica].copies(now) {
            // A record that is gone is passed over.
            self.copied.extend(self.log.at(at).map(|entry| self.log.place_of(entry)));
        }
        for (outgoing, cursor) in self.replicas[replica].repairs(&self.log, now, wall) {
            self.check_unknown(&outgoing, &cursor)?;
            check_repair(&self.log, &outgoing)?;
            self.submit(outgoing, Then::Nothing, fate)?;
        }
        Ok(())
    }

    /// Lets time pass. Keepers and cleaner run at least once in each [`ROUND`], as they do everywhere in operation.
    pub(crate) fn pass(&mut self, millis: i64) -> Result<(), Violation> {
        let mut left = millis;
        while left > 0 {
            let round = left.min(ROUND);
            if round > HOUR {
                // The coordinator aborts it after `transaction.max.timeout.ms`, a quarter of an hour.
                self.befall(Step::Close { commits: false });
                self.arrive_all()?;
                self.maintain()?;
                self.live.read(&self.log, usize::MAX / 2, self.fault);
                self.clean();
            }
            self.now += round;
            left -= round;
        }
        self.retain();
        Ok(())
    }

    pub(crate) fn clean(&mut self) {
        self.live_saw_all &=
            (0..self.log.count()).all(|partition| self.live.table.cursor.is_at_end(&self.log, partition));
        self.log.clean(self.now);
        self.state.clean(self.now);
    }

    fn arrive_all(&mut self) -> Result<(), Violation> {
        while !self.network.is_empty() {
            self.arrive_at(0, Fate::Stored)?;
        }
        Ok(())
    }

    /// Lets both replicas read and repair until nothing is appended any more.
    ///
    /// # Errors
    /// [`Property::Rest`] when they never rest.
    pub(crate) fn maintain(&mut self) -> Result<(), Violation> {
        for partition in 0..self.log.count() {
            self.replicas[usize::try_from(partition).unwrap() % 2].assign(partition);
        }
        for _ in 0..ROUNDS_MAX {
            let before = self.log.appended + self.state.appended;
            for replica in 0..self.replicas.len() {
                self.read(replica, usize::MAX / 2);
                self.read_state(replica, usize::MAX / 2);
                self.decide(replica);
                self.repair(replica, Fate::Stored)?;
                self.correct(replica, Fate::Stored)?;
            }
            self.now += REST;
            if self.log.appended + self.state.appended == before {
                return Ok(());
            }
        }
        Err(Violation::new(Property::Rest, "the keepers never come to rest"))
    }

    /// Ends what is under way: everything is delivered, read and repaired.
    ///
    /// # Errors
    /// [`Violation`] where that breaks a property.
    pub(crate) fn quiet(&mut self) -> Result<(), Violation> {
        self.befall(Step::Close { commits: true });
        self.arrive_all()?;
        // An event that is a little ahead is refused, and accepted when the vendor repeats it.
        for _ in 0..2 {
            for sent in self.vendor.pending(self.now) {
                self.deliver(sent, 0, false, Fate::Stored)?;
            }
            self.pass(3 * HOUR)?;
        }
        self.maintain()?;
        for projector in [&mut self.live, &mut self.second] {
            projector.read(&self.log, usize::MAX / 2, self.fault);
        }
        self.read_late();
        Ok(())
    }

    fn read_late(&mut self) {
        if !self.has(Fault::LateUnread) {
            self.live.table.read_late(&self.late);
        }
    }

    /// Drops what retention removes: it counts from the time that a segment is closed.
    fn retain(&mut self) {
        self.read_late();
        let oldest = self.now - domain::topics::RETENTION_MS - domain::topics::SEGMENT_MS;
        self.letters.retain(|letter| letter.written_at >= oldest);
        self.late.retain(|late| late.written_at >= oldest);
    }
}

impl Pass {
    pub(crate) fn millis(self) -> i64 {
        match self {
            Self::Second => 1_000,
            Self::Minutes => 10 * 60_000,
            Self::Hours => 3 * HOUR,
            Self::Days => 4 * 24 * HOUR,
            Self::Weeks => 24 * 24 * HOUR,
        }
    }
}
