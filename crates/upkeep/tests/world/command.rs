//! The commands: forgetting a user, importing one, and replaying dead letters.

use std::collections::BTreeSet;

use domain::order::Rank;
use domain::roll::Standing;
use domain::{Head, UnixMillis, UserEvent, UserId};
use kafka::publish::Outgoing;
use upkeep::forget::Held;

use crate::fault::Fault;
use crate::framing::framed;
use crate::log::{Cursor, Place};
use crate::property::{Answer, Erased, Violation};
use crate::replica::{TOPIC, table_of};
use crate::sender::Sent;
use crate::step::Fate;
use crate::world::{Late, Letter, Then, World};

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

    /// Writes a tombstone on every partition that holds the user. A user that is on no topic is not forgotten.
    pub(crate) fn forget(&mut self, user: UserId, fate: Fate) -> Result<(), Violation> {
        let (table, _) = table_of(&self.log);
        let held = Held {
            state: table.key(user).map(|key| key.roll.clone()),
            partitions: self.log.partitions_of(user),
            home: self.log.home(user),
            late: self.late.iter().filter(|late| late.head.user_id == user).count(),
            dead_letters: self.letters.iter().filter(|letter| letter.sent.user() == user && !letter.garbled).count(),
            ..Held::default()
        };
        if held.is_nothing() {
            return Ok(());
        }
        let now = UnixMillis::from_millis(self.commands_clock());
        let at =
            held.state.as_ref().filter(|_| !self.has(Fault::ForgetByClock)).map_or(now, |state| state.marker_time(now));
        let partitions = if self.has(Fault::TombstoneAtHome) { BTreeSet::from([held.home]) } else { held.marked() };
        let (command, waiting) = (self.next_command(), partitions.len());
        self.disturbed.insert(user);
        let covers = held.state.map_or(Rank::of_forgotten(at), |state| state.rank());
        self.erasing.push(Erasing { command, user, at, covers, waiting, markers: Vec::new() });
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
            return self.answer_without_append(head, None, standing, &cursor);
        }
        let command = self.next_command();
        self.submit(framed(&event), Then::Imported { head, command }, fate)
    }

    /// Replays every letter, those of one event together. A replay is a delivery: it is received now.
    pub(crate) fn replay(&mut self, fate: Fate) -> Result<(), Violation> {
        let now = self.commands_clock();
        let mut events: Vec<(UserEvent, Vec<Letter>)> = Vec::new();
        for letter in self.letters.clone() {
            let event = letter.sent.received(now);
            match events.iter_mut().find(|(known, _)| known.event_id == event.event_id) {
                Some((_, letters)) => letters.push(letter),
                None if event.head().is_ahead() => {}
                None => events.push((event, vec![letter])),
            }
        }
        events.sort_by_key(|(event, _)| Rank::of_event(&event.head()));
        let (table, cursor) = table_of(&self.log);
        for (event, letters) in events {
            let head = event.head();
            let received_at = letters.iter().map(|letter| letter.received_at).min().unwrap();
            let letters = letters.iter().map(|letter| letter.id).collect::<Vec<_>>();
            let known = table.key(head.user_id).map(|key| &key.roll);
            let standing = match self.fault {
                Some(Fault::ReplayPastGate) => Standing::News,
                Some(Fault::LetterForgiven) => known.map_or(Standing::News, |roll| roll.standing(&head)),
                _ => known.map_or(Standing::News, |roll| roll.standing_of_letter(&head, received_at)),
            };
            if standing != Standing::News {
                self.letters.retain(|kept| !letters.contains(&kept.id));
                self.answer_without_append(head, Some(received_at), standing, &cursor)?;
                continue;
            }
            self.check_letter(head.user_id, received_at, &cursor)?;
            if !self.has(Fault::LetterForgiven) {
                self.compare(&head, Some(received_at), standing, &cursor)?;
            }
            let command = self.next_command();
            let then = Then::Replayed { letters, head, command };
            self.submit(framed(&event), then, fate)?;
        }
        Ok(())
    }

    /// Answers a delivery, or the replay of a letter of that time, that is stored, superseded, or of a forgotten user.
    pub(crate) fn answer_without_append(
        &mut self,
        head: Head,
        letter: Option<UnixMillis>,
        standing: Standing,
        cursor: &Cursor,
    ) -> Result<(), Violation> {
        let at = match standing {
            Standing::News => return Ok(()),
            Standing::Known(at) => at,
            Standing::Older(at) | Standing::Forgotten(at) => {
                let has_value = matches!(standing, Standing::Older(_));
                self.came_late.insert(head.user_id);
                self.late.push(Late { head, has_value, written_at: self.now });
                at
            }
        };
        let place = cursor.place(at, &self.log);
        self.compare(&head, letter, standing, cursor)?;
        // A letter from before the forgetting leaves nothing, whatever the time of its event.
        if letter.is_none() || !matches!(standing, Standing::Forgotten(_)) {
            self.answers.push(Answer { head, witness: Some(place) });
        }
        Ok(())
    }
}
