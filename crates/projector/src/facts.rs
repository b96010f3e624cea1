//! How far the table is from the end of the log, as far as the cluster has answered: the one source of lag, as-of and
//! the cluster's silence, for status, metrics, readiness and log.
//!
//! The end of a partition is its high watermark. A lag is unknown while the leader of the partition does not answer;
//! it is never guessed. The table is as of the last moment at which every record that the log had then was in it, of
//! the partition where that is longest ago.

pub(crate) mod collector;

use std::collections::BTreeMap;
use std::time::Duration;

use domain::{Checkpoint, UnixMillis};
use kafka::topics::{Ends, Hold, Watermarks};

use crate::phase::Phase;

/// What is known of the log, and how far the table has read it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    partitions: BTreeMap<i32, PartitionFacts>,
    /// When the cluster last answered.
    answered_at: Option<UnixMillis>,
    /// Whether it was asked since, and did not answer.
    is_silent: bool,
    /// The topic, if the answer was that there is none.
    missing: Option<String>,
}

/// What is known of a partition.
#[derive(Clone, Debug, Default)]
struct PartitionFacts {
    /// Every record below is in the table.
    next: i64,
    /// The greatest end that was seen.
    seen: i64,
    /// The end, where the leader gave it at the last question.
    end: Option<i64>,
    /// Whether the end was asked for since the table is in use.
    is_asked: bool,
    hold: Option<Hold>,
    /// Every record that the log had then is in the table.
    as_of: Option<UnixMillis>,
    /// An end that the table has not reached, and when it was asked for.
    goal: Option<(i64, UnixMillis)>,
}

/// An answer of the cluster.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    /// The time just before the question.
    pub(crate) asked_at: UnixMillis,
    /// The end of each partition; `None` where its leader has not answered.
    pub(crate) ends: Vec<(i32, Option<i64>)>,
    /// The partitions whose readers are held back.
    pub(crate) holds: Vec<Hold>,
}

impl Answer {
    pub(crate) fn new(asked_at: UnixMillis, ends: &Ends, holds: Vec<Hold>) -> Self {
        let end = |(partition, found): (&i32, &Result<Watermarks, _>)| {
            (*partition, found.as_ref().ok().map(|found: &Watermarks| found.high))
        };
        Self { asked_at, ends: ends.iter().map(end).collect(), holds }
    }
}

/// The distance of one partition from its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Distance {
    pub(crate) partition: i32,
    pub(crate) next: i64,
    /// `None` while it is not known.
    pub(crate) end: Option<i64>,
    pub(crate) hold: Option<Hold>,
}

impl Distance {
    /// Returns the number of offsets between the table and the end of the log, where that is known.
    pub(crate) fn lag(&self) -> Option<i64> {
        self.end.map(|end| (end - self.next).max(0))
    }
}

impl Facts {
    /// Begins with a table that is put into use: nothing is known of the end of its log.
    pub(crate) fn begin(&mut self, checkpoint: &Checkpoint, as_of: UnixMillis) {
        let partition = |(partition, next)| {
            let facts = PartitionFacts { next, seen: next, as_of: Some(as_of), ..PartitionFacts::default() };
            (partition, facts)
        };
        self.partitions = checkpoint.iter().map(partition).collect();
    }

    /// Notes how far the table has been read.
    pub(crate) fn read(&mut self, checkpoint: &Checkpoint) {
        for (partition, next) in checkpoint.iter() {
            self.partitions.entry(partition).or_default().read(next);
        }
    }

    /// Notes that the cluster has answered where the log ends.
    pub(crate) fn answered(&mut self, answer: &Answer) {
        // A partition that is new had nothing at that time.
        let as_of = self.as_of();
        for (partition, end) in &answer.ends {
            let new = || PartitionFacts { as_of, ..PartitionFacts::default() };
            let facts = self.partitions.entry(*partition).or_insert_with(new);
            let hold = answer.holds.iter().find(|hold| hold.partition == *partition);
            facts.answered(*end, hold, answer.asked_at);
        }
        self.answered_at = Some(answer.asked_at);
        self.is_silent = false;
    }

    /// Notes that the cluster has not answered where the log ends, since this topic does not exist or for any other
    /// reason.
    pub(crate) fn unanswered(&mut self, missing: Option<String>) {
        self.is_silent = true;
        self.missing = missing;
    }

    /// Returns whether the cluster answered the last question, and when it last answered one. Before the first answer
    /// it has answered none.
    pub(crate) fn cluster(&self) -> (bool, Option<UnixMillis>) {
        (!self.is_silent && self.answered_at.is_some(), self.answered_at)
    }

    /// Returns whether the cluster was asked, and did not answer.
    pub(crate) fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Returns the distance of each partition from its end.
    pub(crate) fn distances(&self) -> impl Iterator<Item = Distance> + '_ {
        self.partitions.iter().map(|(partition, facts)| Distance {
            partition: *partition,
            next: facts.next,
            end: facts.end.filter(|_| !self.is_silent).map(|end| end.max(facts.next)),
            hold: facts.hold,
        })
    }

    /// Returns the time that the table is as of; `None` before there is a table, and while the end of a partition has
    /// never been reached.
    pub(crate) fn as_of(&self) -> Option<UnixMillis> {
        let times = self.partitions.values().map(|facts| facts.as_of);
        times.reduce(|least, next| Some(least?.min(next?))).flatten()
    }

    /// Returns the greatest end that was seen of each partition.
    pub(crate) fn seen_ends(&self) -> Checkpoint {
        Checkpoint::from_next_offsets(self.partitions.iter().map(|(partition, facts)| (*partition, facts.seen)))
    }

    /// Returns what keeps the table from the end of the log, as far as somebody else has to mend it.
    pub(crate) fn trouble(&self) -> Option<String> {
        if let Some(topic) = self.missing.as_ref().filter(|_| self.is_silent) {
            return Some(format!("the topic {topic} does not exist"));
        }
        if self.is_silent {
            let since = self.answered_at.map(|at| format!(" since {at}")).unwrap_or_default();
            return Some(format!("the cluster does not answer{since}"));
        }
        let held = self.partitions.values().filter_map(|facts| facts.hold).min_by_key(|hold| hold.since);
        let leaderless = || {
            let unknown = self.partitions.iter().find(|(_, facts)| facts.is_asked && facts.end.is_none());
            unknown.map(|(partition, _)| format!("the leader of partition {partition} does not answer"))
        };
        held.map(|hold| hold.to_string()).or_else(leaderless)
    }

    /// Returns the phase, and what keeps the table from the end of the log.
    pub(crate) fn with_trouble(&self, phase: &Phase) -> String {
        let phase = phase.to_string();
        match self.trouble().filter(|trouble| !phase.contains(trouble)) {
            Some(trouble) => format!("{phase}; {trouble}"),
            None => phase,
        }
    }

    /// Returns that the table is as of a time longer than `max` before `now`, and why.
    pub(crate) fn behind(&self, now: UnixMillis, max: Duration) -> Option<String> {
        let as_of = self.as_of();
        let age_ms = as_of.map(|at| now.millis().saturating_sub(at.millis()));
        if age_ms.is_some_and(|age_ms| u128::try_from(age_ms).unwrap_or(0) <= max.as_millis()) {
            return None;
        }
        let as_of = as_of.map_or_else(|| "an unknown time".to_owned(), |at| at.to_string());
        let why = self.trouble().unwrap_or_else(|| "it is being read to the end of the log".to_owned());
        Some(format!("the table is as of {as_of}, which is more than {} s ago: {why}", max.as_secs()))
    }
}

/// Returns a time as metrics have it, not below 0.
pub(crate) fn seconds(at: UnixMillis) -> f64 {
    Duration::from_millis(u64::try_from(at.millis()).unwrap_or_default()).as_secs_f64()
}

impl PartitionFacts {
    fn read(&mut self, next: i64) {
        self.next = self.next.max(next);
        self.seen = self.seen.max(next);
        // What is read beyond it was held back no more.
        self.hold = self.hold.filter(|hold| self.next <= hold.stable);
        if let Some((goal, asked_at)) = self.goal
            && self.next >= goal
        {
            self.as_of = self.as_of.max(Some(asked_at));
            self.goal = None;
        }
    }

    fn answered(&mut self, end: Option<i64>, hold: Option<&Hold>, asked_at: UnixMillis) {
        (self.end, self.is_asked) = (end, true);
        self.hold = hold.copied();
        let Some(end) = end else { return };
        self.seen = self.seen.max(end);
        // The earliest end that is not reached stays the goal, or one that moves would never be.
        self.goal.get_or_insert((end, asked_at));
        self.read(self.next);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> UnixMillis {
        UnixMillis::from_millis(seconds * 1_000)
    }

    /// Returns the answer that two partitions end there, asked for at a time.
    fn answer(asked_at: i64, ends: [Option<i64>; 2]) -> Answer {
        Answer { asked_at: at(asked_at), ends: (0..).zip(ends).collect(), holds: Vec::new() }
    }

    fn facts() -> Facts {
        let mut facts = Facts::default();
        facts.begin(&"0:5,1:7".parse().unwrap(), at(10));
        facts
    }

    fn lags(facts: &Facts) -> Vec<Option<i64>> {
        facts.distances().map(|distance| distance.lag()).collect()
    }

    #[test]
    fn the_table_is_as_of_the_partition_that_is_longest_behind() {
        let mut facts = facts();
        assert_eq!((facts.as_of(), lags(&facts)), (Some(at(10)), vec![None, None]), "as the store says");
        assert_eq!((facts.cluster(), facts.is_silent()), ((false, None), false), "nobody has asked yet");
        facts.answered(&answer(20, [Some(5), Some(9)]));
        assert_eq!((facts.as_of(), lags(&facts)), (Some(at(10)), vec![Some(0), Some(2)]));
        facts.answered(&answer(30, [Some(5), Some(12)]));
        facts.read(&"1:9".parse().unwrap());
        assert_eq!((facts.as_of(), lags(&facts)), (Some(at(20)), vec![Some(0), Some(3)]), "under steady traffic too");
        facts.answered(&answer(40, [Some(5), Some(12)]));
        facts.read(&"1:12".parse().unwrap());
        assert_eq!((facts.as_of(), lags(&facts)), (Some(at(40)), vec![Some(0), Some(0)]));
        facts.read(&"1:15".parse().unwrap());
        assert_eq!(lags(&facts), [Some(0), Some(0)], "read since");
    }

    #[test]
    fn an_unknown_end_is_never_a_lag_of_zero() {
        let mut facts = facts();
        facts.answered(&answer(20, [Some(5), Some(7)]));
        facts.answered(&answer(30, [Some(5), None]));
        assert_eq!((facts.as_of(), lags(&facts)), (Some(at(20)), vec![Some(0), None]));
        assert_eq!(facts.trouble().as_deref(), Some("the leader of partition 1 does not answer"));
        facts.unanswered(Some("vcc.users".to_owned()));
        assert_eq!(facts.trouble().as_deref(), Some("the topic vcc.users does not exist"));
        let waits = Phase::Stored { waits_for: "the cluster: the topic vcc.users does not exist".to_owned() };
        assert_eq!(facts.with_trouble(&waits), waits.to_string(), "it is said once");
        facts.unanswered(None);
        assert_eq!((facts.as_of(), lags(&facts)), (Some(at(20)), vec![None, None]));
        assert_eq!(facts.cluster(), (false, Some(at(30))));
        assert_eq!(facts.trouble().unwrap(), format!("the cluster does not answer since {}", at(30)));
        facts.answered(&answer(40, [Some(5), Some(7)]));
        assert_eq!((facts.as_of(), lags(&facts), facts.trouble()), (Some(at(40)), vec![Some(0), Some(0)], None));
    }

    #[test]
    fn a_table_that_was_just_put_into_use_is_in_no_trouble() {
        let mut facts = facts();
        facts.answered(&answer(20, [Some(5), None]));
        facts.begin(&"0:5,1:7".parse().unwrap(), at(30));
        assert_eq!(facts.trouble(), None, "nobody has asked yet");
        facts.answered(&answer(40, [Some(5), None]));
        assert!(facts.trouble().is_some());
    }

    #[test]
    fn a_table_that_is_held_back_is_as_of_before() {
        let mut facts = facts();
        facts.answered(&answer(20, [Some(5), Some(7)]));
        let hold = Hold { partition: 1, stable: 7, high: 9, since: Some(at(25)) };
        facts.answered(&Answer { holds: vec![hold], ..answer(30, [Some(5), Some(9)]) });
        assert_eq!((facts.as_of(), lags(&facts)), (Some(at(20)), vec![Some(0), Some(2)]));
        assert_eq!(facts.behind(at(80), Duration::from_secs(60)), None);
        let behind = facts.behind(at(81), Duration::from_secs(60)).unwrap();
        assert!(behind.contains("more than 60 s ago: held back by an open transaction since"), "{behind}");
        facts.read(&"1:9".parse().unwrap());
        assert_eq!((facts.as_of(), facts.trouble()), (Some(at(30)), None));
    }

    #[test]
    fn a_new_partition_is_as_of_the_others_until_it_is_read() {
        let mut facts = Facts::default();
        facts.begin(&"0:5".parse().unwrap(), at(10));
        facts.answered(&answer(20, [Some(5), Some(3)]));
        assert_eq!((facts.as_of(), lags(&facts)), (Some(at(10)), vec![Some(0), Some(3)]));
        facts.read(&"1:3".parse().unwrap());
        assert_eq!(facts.as_of(), Some(at(20)));
        assert_eq!(Facts::default().as_of(), None);
    }
}
