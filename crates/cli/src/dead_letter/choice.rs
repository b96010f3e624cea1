//! Which dead letters a command takes, and how it shows them to programs.

use std::collections::BTreeMap;

use domain::{Letter, TopicId, UnixMillis};
use serde_json::{Value, json};
use upkeep::letters::Kept;

/// The rejections of which there are letters.
const REJECTIONS: [&str; 4] = ["undecryptable", "not_an_event", "ahead", Letter::UNREADABLE_RECORD];

/// The dead letters of a command: all, or those that every given condition holds of.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Choice {
    /// Only letters with this rejection
    #[arg(long, value_name = "LABEL", value_parser = REJECTIONS)]
    rejection: Option<String>,
    /// Only letters whose reason contains this text
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
    /// Only letters received at this time or later, ISO 8601 with an offset
    #[arg(long, value_name = "TIME", value_parser = UnixMillis::parse_iso8601)]
    since: Option<UnixMillis>,
    /// Only letters received before this time
    #[arg(long, value_name = "TIME", value_parser = UnixMillis::parse_iso8601)]
    before: Option<UnixMillis>,
}

impl Choice {
    /// Returns whether there is no condition.
    pub(super) fn is_all(&self) -> bool {
        let Self { rejection, reason, since, before } = self;
        rejection.is_none() && reason.is_none() && since.is_none() && before.is_none()
    }

    pub(super) fn takes(&self, kept: &Kept) -> bool {
        let letter = &kept.letter;
        self.rejection.as_ref().is_none_or(|label| *label == letter.rejection)
            && self.reason.as_ref().is_none_or(|text| letter.reason.contains(text))
            && self.since.is_none_or(|since| letter.received_at >= since)
            && self.before.is_none_or(|before| letter.received_at < before)
    }
}

/// Returns the letter without its body as one line of JSON.
pub(super) fn json(kept: &Kept, topic: TopicId) -> String {
    described(kept, topic).to_string()
}

/// Returns the letter as one line of JSON, with its body: as text, or in base64 if it is none.
pub(super) fn json_with_body(kept: &Kept, topic: TopicId) -> String {
    let mut letter = described(kept, topic);
    match std::str::from_utf8(&kept.letter.body) {
        Ok(text) => letter["body"] = text.into(),
        Err(_) => letter["bodyBase64"] = openssl::base64::encode_block(&kept.letter.body).into(),
    }
    letter.to_string()
}

fn described(kept: &Kept, topic: TopicId) -> Value {
    let letter = &kept.letter;
    json!({
        "key": kept.key,
        "position": topic.at(kept.position).to_string(),
        "receivedAt": letter.received_at.to_string(),
        "rejection": letter.rejection,
        "reason": letter.reason,
        "pointer": letter.pointer,
        "iv": letter.iv,
        "asOf": letter.as_of.map(|at| at.to_string()),
        "bytes": letter.body.len(),
    })
}

/// Letters with one rejection and reason, by receipt and never empty.
type Group<'l> = ((&'l str, &'l str), Vec<&'l Kept>);

/// Returns the letters by rejection and reason, the largest group first.
fn grouped(letters: &[Kept]) -> Vec<Group<'_>> {
    let mut groups: BTreeMap<(&str, &str), Vec<&Kept>> = BTreeMap::new();
    for kept in letters {
        groups.entry((&kept.letter.rejection, &kept.letter.reason)).or_default().push(kept);
    }
    let mut groups: Vec<_> = groups.into_iter().collect();
    groups.sort_by_key(|(_, letters)| std::cmp::Reverse(letters.len()));
    groups
}

/// Returns a line of JSON for each group.
pub(super) fn groups_json(letters: &[Kept]) -> Vec<String> {
    let line = |((rejection, reason), letters): Group<'_>| {
        let (first, last) = (letters[0], letters[letters.len() - 1]);
        json!({
            "rejection": rejection,
            "reason": reason,
            "letters": letters.len(),
            "firstReceivedAt": first.letter.received_at.to_string(),
            "lastReceivedAt": last.letter.received_at.to_string(),
            "lastKey": last.key,
        })
        .to_string()
    };
    grouped(letters).into_iter().map(line).collect()
}

/// Returns a line for each reason: how many letters, the times of the first and of the last, the beginning of a key.
pub(super) fn groups(letters: &[Kept]) -> String {
    let line = |((rejection, reason), letters): Group<'_>| {
        let (first, last) = (letters[0], letters[letters.len() - 1]);
        let (from, to) = (first.letter.received_at, last.letter.received_at);
        format!("{:>6} {rejection:<14} {from} to {to}, {:.12}: {reason}\n", letters.len(), last.key)
    };
    grouped(letters).into_iter().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use domain::Position;

    fn kept(rejection: &str, reason: &str, seconds: i64) -> Kept {
        let letter = Letter {
            body: reason.as_bytes().to_vec(),
            iv: None,
            rejection: rejection.to_owned(),
            reason: reason.to_owned(),
            pointer: String::new(),
            received_at: UnixMillis::from_millis(seconds * 1000),
            as_of: None,
            record: None,
        };
        Kept { key: format!("{seconds:064}"), letter, position: Position { partition: 0, offset: seconds } }
    }

    #[test]
    fn every_condition_must_hold() {
        let letter = kept("ahead", "the event occurred 1 h after its receipt", 60);
        let at = |seconds: i64| Some(UnixMillis::from_millis(seconds * 1000));
        let text = |text: &str| Some(text.to_owned());
        for (choice, takes) in [
            (Choice::default(), true),
            (Choice { rejection: text("ahead"), reason: text("1 h"), since: at(60), before: at(61) }, true),
            (Choice { rejection: text("undecryptable"), ..Choice::default() }, false),
            (Choice { reason: text("2 h"), ..Choice::default() }, false),
            (Choice { since: at(61), ..Choice::default() }, false),
            (Choice { before: at(60), ..Choice::default() }, false),
        ] {
            assert_eq!(choice.takes(&letter), takes, "{choice:?}");
        }
    }

    #[test]
    fn a_body_that_is_no_text_is_shown_in_base64() {
        let topic = TopicId::from_bytes([0; 16]);
        let shown = |body: &[u8]| -> Value {
            let mut kept = kept("undecryptable", "x", 1);
            kept.letter.body = body.to_vec();
            serde_json::from_str(&json_with_body(&kept, topic)).unwrap()
        };
        assert_eq!((&shown(b"a b")["body"], shown(b"a b").get("bodyBase64")), (&"a b".into(), None));
        assert_eq!((shown(&[0xff, 0]).get("body"), &shown(&[0xff, 0])["bodyBase64"]), (None, &"/wA=".into()));
    }

    #[test]
    fn the_largest_group_comes_first() {
        let letters = [kept("ahead", "a", 1), kept("not_an_event", "b", 2), kept("not_an_event", "b", 3)];
        let shown = groups(&letters);
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!(
            lines,
            [
                "     2 not_an_event   1970-01-01T00:00:02Z to 1970-01-01T00:00:03Z, 000000000000: b",
                "     1 ahead          1970-01-01T00:00:01Z to 1970-01-01T00:00:01Z, 000000000000: a",
            ]
        );
        let lines: Vec<Value> = groups_json(&letters).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&lines[0]["letters"], &lines[0]["lastKey"]), (&2.into(), &letters[2].key.as_str().into()));
        assert_eq!((&lines[1]["rejection"], &lines[1]["reason"]), (&"ahead".into(), &"a".into()));
    }
}
