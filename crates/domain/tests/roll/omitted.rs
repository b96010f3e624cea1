//! Fields that events leave out: a change of them alone is stored, and a switch of the setting makes no gap.

use std::collections::BTreeMap;

use domain::gap::{Lineage, difference};
use domain::roll::{Effect, Roll};
use domain::{EventId, Facts, Position, UnixMillis, User, UserEvent, UserId, wire};
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};

use super::log::{Record, facts, of_facts};
use super::{cases, shuffle};

const SETTINGS: [&[&str]; 4] = [&[], &["hourly"], &["monthly"], &["hourly", "monthly"]];

/// The state of a user at the vendor: name, hourly wage, monthly wage.
type State = (u8, i64, i64);

/// Changes of a user, the states before and after each a second apart, of which some are delivered before the setting
/// is changed, and the settings before and after.
#[derive(Clone, Debug)]
struct History {
    states: Vec<State>,
    delivered_before: usize,
    settings: [&'static [&'static str]; 2],
}

fn history() -> impl Strategy<Value = History> {
    let states = proptest::collection::vec((0..4_u8, 0..3_i64, 0..3_i64), 2..8);
    let setting = || proptest::sample::select(SETTINGS.as_slice());
    (states, setting(), setting()).prop_flat_map(|(states, before, after)| {
        (1..states.len()).prop_map(move |delivered_before| History {
            states: states.clone(),
            delivered_before,
            settings: [before, after],
        })
    })
}

fn user((name, hourly, monthly): State, omitted: &[&str]) -> User {
    let (name, hourly, monthly) = (Some(name.to_string()), Some(hourly), Some(monthly));
    let mut user = User { name, hourly, monthly, ..User::new(UserId::new(1).unwrap()) };
    user.omit(omitted);
    user
}

impl History {
    fn changes(&self) -> usize {
        self.states.len() - 1
    }

    /// Returns a delivery of a change while the setting of before or of after is in force.
    fn delivery(&self, change: usize, is_after: bool) -> Record {
        let omitted = self.settings[usize::from(is_after)];
        let second = i64::try_from(change).unwrap();
        let [old, new] = [change, change + 1].map(|at| user(self.states[at], omitted));
        let omitted = omitted.iter().map(|name| (*name).to_owned()).collect();
        let received_at = UnixMillis::from_millis(100_000 + i64::from(is_after));
        of_facts(Facts { omitted, received_at, ..facts(Some(old), new, second) })
    }

    fn omits_anywhere(&self) -> Vec<&'static str> {
        self.settings.concat()
    }
}

/// What a reader knows of the user.
#[derive(Default)]
struct Reader {
    next_offset: i64,
    roll: Option<Roll>,
    events: BTreeMap<EventId, UserEvent>,
    lineage: Lineage,
}

impl Reader {
    fn read(&mut self, record: &Record) -> Effect {
        let position = Position { partition: 0, offset: self.next_offset };
        self.next_offset += 1;
        let reading = record.read(position).unwrap();
        let before = self.roll.take();
        let (state, applied) = match before.clone() {
            Some(mut state) => {
                let applied = state.apply(&reading);
                (state, applied)
            }
            None => Roll::begin(&reading),
        };
        let event = wire::decode(record.value().unwrap()).unwrap();
        self.lineage.follow(&state, &applied, &reading, || {
            let held = before.as_ref().unwrap();
            let winner = held.winner().unwrap().event_id;
            let others = held.members().iter().map(|member| member.event_id).filter(|id| *id != winner);
            difference(std::iter::once(winner).chain(others).map(|id| &self.events[&id]), &event)
        });
        self.events.insert(event.event_id, event);
        self.roll = Some(state);
        applied.effect
    }

    /// Returns the user without these fields.
    fn user(&self, omitted: &[&str]) -> User {
        let winner = self.roll.as_ref().unwrap().winner().unwrap().event_id;
        let mut user = self.events[&winner].new.clone();
        user.omit(omitted);
        user
    }
}

proptest! {
    #![proptest_config(cases(2_000))]

    /// Every change is stored as a newer one, also where it changes omitted fields alone, and none of them shows a gap.
    #[test]
    fn a_switch_makes_no_gap(history in history(), again in any::<Index>()) {
        let mut reader = Reader::default();
        for change in 0..history.changes() {
            let effect = reader.read(&history.delivery(change, change >= history.delivered_before));
            prop_assert!(matches!(effect, Effect::Newer { .. }), "{effect:?}");
            prop_assert_eq!(&reader.lineage.gaps, &[]);
            // A delivery from before the switch is repeated after it, and stands twice.
            if change + 1 == history.delivered_before {
                reader.read(&history.delivery(again.index(change + 1), true));
                prop_assert_eq!(&reader.lineage.gaps, &[]);
            }
        }
        let omitted = history.omits_anywhere();
        prop_assert_eq!(reader.user(&omitted), user(*history.states.last().unwrap(), &omitted));
    }

    /// What is delivered out of order after the switch fills the gaps that it has left. Where fields are no longer
    /// omitted, this needs that they were not changed meanwhile.
    #[test]
    fn late_deliveries_fill_gaps_across_a_switch(mut history in history(), order in any::<u64>()) {
        let [before, after] = history.settings;
        if before.iter().any(|name| !after.contains(name)) {
            let (_, hourly, monthly) = history.states[0];
            history.states.iter_mut().for_each(|state| (state.1, state.2) = (hourly, monthly));
        }
        let mut reader = Reader::default();
        for change in 0..history.delivered_before {
            reader.read(&history.delivery(change, false));
        }
        let mut rest: Vec<usize> = (history.delivered_before..history.changes()).collect();
        shuffle(&mut rest, order);
        for change in rest {
            reader.read(&history.delivery(change, true));
        }
        prop_assert_eq!(&reader.lineage.gaps, &[]);
    }

    /// A missing change of a field that is not omitted is a gap all the same.
    #[test]
    fn a_missing_delivery_is_seen_across_a_switch(mut history in history(), missing in any::<Index>()) {
        while history.changes() < 3 {
            history.states.push(history.states[0]);
        }
        let missing = 1 + missing.index(history.changes() - 2);
        for (at, state) in history.states.iter_mut().enumerate() {
            state.0 = u8::try_from(at).unwrap();
        }
        let mut reader = Reader::default();
        for change in (0..history.changes()).filter(|change| *change != missing) {
            reader.read(&history.delivery(change, change >= history.delivered_before));
        }
        prop_assert_eq!(reader.lineage.gaps.len(), 1);
        let fields = &reader.lineage.gaps[0].fields;
        prop_assert!(fields.iter().any(|name| name == "name"), "{fields:?}");
        let omitted = history.omits_anywhere();
        let is_omitted = |name: &String| omitted.contains(&name.as_str());
        prop_assert!(missing + 1 != history.delivered_before || !fields.iter().any(is_omitted), "{fields:?}");
    }

    /// Fields that are omitted differ in no event, whatever they are.
    #[test]
    fn omitted_fields_are_in_no_digest(history in history(), omitted in subsequence(User::OMITTABLE.to_vec(), 0..=10)) {
        let name = history.states[0].0;
        let all: Vec<&str> = omitted.iter().chain(&["hourly", "monthly"]).copied().collect();
        let users = history.states.iter().map(|(_, hourly, monthly)| user((name, *hourly, *monthly), &all));
        let versions: Vec<_> = users.map(|user| user.version()).collect();
        prop_assert!(versions.iter().all(|version| *version == versions[0]));
    }
}
