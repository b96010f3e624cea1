//! The commands: forgetting a user, importing one, and replaying dead letters.

use std::collections::BTreeSet;

use domain::order::Rank;
use domain::roll::Standing;
use domain::{UnixMillis, UserId};
use kafka::publish::Outgoing;

use crate::fault::Fault;
use crate::log::{Cursor, Place};
use crate::property::{Answer, Erased, Violation};
use crate::replica::{TOPIC, table_of};
use crate::sender::Sent;
use crate::step::Fate;
use crate::world::{Late, Then, World};

/// A user that is being forgotten.
#[derive(Debug)]
pub(crate) struct Erasing {
    command: u64,
    user: UserId,
    at: UnixMillis,
    /// The rank of what was on the log before.
    covers: Rank,
    /// The number of tombstones that are not acknowledged.
    waiting: usize,
    markers: Vec<Place>,
}

impl World {
    fn next_command(&mut self) -> u64 {
        self.commands += 1;
        self.commands - 1
    }

    /// Writes a tombstone on every partition that holds the user.
    pub(crate) fn forget(&mut self, user: UserId, fate: Fate) -> Result<(), Violation> {
        let (table, _) = table_of(&self.log);
        // A user that is on no topic is not forgotten.
        let Some(key) = table.key(user) else { return Ok(()) };
        let now = UnixMillis::from_millis(self.commands_clock());
        let at =
            if key.roll.is_forgotten_by(now) || self.has(Fault::ForgetByClock) { now } else { key.roll.rank().time() };
        let home = self.log.home(user);
        let partitions =
            if self.has(Fault::TombstoneAtHome) { BTreeSet::from([home]) } else { self.log.partitions_of(user) };
        let command = self.next_command();
        let covers = key.roll.rank();
        self.disturbed.insert(user);
        self.erasing.push(Erasing { command, user, at, covers, waiting: partitions.len(), markers: Vec::new() });
        for partition in partitions {
            let tombstone = Outgoing { partition: Some(partition), ..Outgoing::forgotten(user, TOPIC, at, now) };
            self.submit(tombstone, Then::Marker { command }, fate)?;
        }
        Ok(())
    }

    /// A tombstone was acknowledged. After the last one, letters and late deliveries go.
    pub(crate) fn marked(&mut self, command: u64, place: Place) {
        let Some(index) = self.erasing.iter().position(|erasing| erasing.command == command) else { return };
        let erasing = &mut self.erasing[index];
        erasing.markers.push(place);
        erasing.waiting -= 1;
        if erasing.waiting > 0 {
            return;
        }
        let Erasing { user, at, covers, markers, .. } = self.erasing.remove(index);
        self.letters.retain(|letter| letter.garbled || letter.sent.user() != user);
        self.late.retain(|late| late.head.user_id != user);
        self.erased.push(Erased { user, rank: Rank::of_forgotten(at), covers, markers });
    }

    pub(crate) fn import(&mut self, number: u8, to: u8, fate: Fate) -> Result<(), Violation> {
        let now = self.commands_clock();
        let event = Sent::imported(number, to, now).received(now);
        self.disturbed.insert(event.user_id);
        let ((table, cursor), head) = (table_of(&self.log), event.head());
        let standing = table.judge(&head);
        if standing != Standing::News {
            return self.answer_without_append(head, standing, &cursor);
        }
        let command = self.next_command();
        self.submit(Outgoing::event(&event, TOPIC, None), Then::Imported { head, command }, fate)
    }

    /// Replays every letter. A replay is a delivery: it is received now.
    pub(crate) fn replay(&mut self, fate: Fate) -> Result<(), Violation> {
        let now = self.commands_clock();
        for letter in self.letters.clone() {
            let event = letter.sent.received(now);
            let head = event.head();
            if head.is_ahead() {
                continue;
            }
            let (table, cursor) = table_of(&self.log);
            let known = table.judge(&head);
            let standing = if self.has(Fault::ReplayPastGate) { Standing::News } else { known };
            self.compare(&head, standing, &cursor)?;
            if standing != Standing::News {
                self.letters.retain(|kept| kept.id != letter.id);
                self.answer_without_append(head, standing, &cursor)?;
                continue;
            }
            let command = self.next_command();
            let then = Then::Replayed { letter: letter.id, head, command };
            self.submit(Outgoing::event(&event, TOPIC, None), then, fate)?;
        }
        Ok(())
    }

    /// Answers a delivery that is stored, superseded, or of a forgotten user.
    pub(crate) fn answer_without_append(
        &mut self,
        head: domain::Head,
        standing: Standing,
        cursor: &Cursor,
    ) -> Result<(), Violation> {
        let at = match standing {
            Standing::News => return Ok(()),
            Standing::Known(at) => at,
            Standing::Older(at) | Standing::Forgotten(at) => {
                let has_value = matches!(standing, Standing::Older(_));
                self.late.push(Late { head, has_value, written_at: self.now });
                at
            }
        };
        let place = cursor.place(at, &self.log);
        self.compare(&head, standing, cursor)?;
        self.answers.push(Answer { head, witness: Some(place) });
        Ok(())
    }
}
