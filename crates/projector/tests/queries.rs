//! Lists and look-ups against a model: every filter, order and page size, on a table that lived.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;

use domain::{Position, UnixMillis, User, UserId, headers, wire};
use kafka::Record;
use projector::store::{LogBatch, Order, Place, StoreMeta, StoreReader, UserFilter, Writer};
use testkit::event::{at, event, log_id, user_id};
use testkit::random::Random;

/// Names, and the same as they are searched.
const NAMES: [(&str, &str); 9] = [
    ("Rachel Smith", "rachel smith"),
    ("RACHEL Smithers", "rachel smithers"),
    ("José Núñez", "jose nunez"),
    ("jose nunez", "jose nunez"),
    ("Søren Ørsted", "soren orsted"),
    ("Straße", "strasse"),
    ("Οδυσσεύς", "οδυσσευσ"),
    ("王小明", "王小明"),
    ("", ""),
];
/// Longer than the names are that a cursor carries: they are sorted by their beginning.
const LONG: &str = "x123456789x123456789x123456789x123456789x123456789x123456789x123456789";
const SOUGHT: [&str; 14] = [
    "RACHEL", "chel", "smith", "e", "núñez", "NUNEZ", "ØRSTED", "STRASSE", "ς", "小", "@example", "user1", "zz",
    "\u{301}",
];
const STATES: [&str; 3] = ["active", "inactive", "away"];
/// Some neighbours, and some far apart.
const IDS: u64 = 400;

struct Model {
    users: BTreeMap<UserId, User>,
    writer: Writer,
    offset: i64,
    _dir: tempfile::TempDir,
}

impl Model {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let meta = StoreMeta::new("vcc.users", &log_id(), UnixMillis::from_millis(0));
        let writer = Writer::create(&dir.path().join("users.1.db"), &meta).unwrap();
        Self { users: BTreeMap::new(), writer, offset: 0, _dir: dir }
    }

    /// Lets as many users change, come and go, in several commits.
    fn live(&mut self, random: &mut Random, changes: usize) {
        let mut records = Vec::new();
        for _ in 0..changes {
            let id = random.small(IDS);
            let user_id = user_id(if id % 10 == 0 { id * 1_000_003 } else { id });
            self.offset += 1;
            let is_forgotten = random.below(10) == 0;
            let (value, headers) = if is_forgotten {
                self.users.remove(&user_id);
                (None, headers::for_forgotten(user_id, at(self.offset)))
            } else {
                let user = some_user(user_id, random);
                let former = self.users.insert(user_id, user.clone()).unwrap_or_else(|| User::new(user_id));
                (Some(wire::encode(&event(Some(former), user, self.offset))), Vec::new())
            };
            records.push(Record {
                position: Position { partition: 0, offset: self.offset },
                leader_epoch: None,
                timestamp: at(self.offset),
                key: Some(user_id.to_string().into_bytes()),
                value,
                headers: headers.into_iter().map(|(name, value)| (name.to_owned(), value.into_bytes())).collect(),
            });
        }
        for records in records.chunks(50) {
            let batch = LogBatch { records: records.to_vec(), ..LogBatch::default() };
            self.writer.commit(&batch, UnixMillis::from_millis(1)).unwrap();
        }
    }

    /// Returns those that a filter lets through, as the documentation has it.
    fn expected(&self, filter: &UserFilter) -> Vec<UserId> {
        let same = |asked: &Option<String>, value: &Option<String>| {
            asked.as_ref().is_none_or(|asked| value.as_ref().is_some_and(|value| value.eq_ignore_ascii_case(asked)))
        };
        let passes = |user: &&User| {
            (filter.state.is_none() || filter.state == user.state)
                && (filter.is_agent.is_none() || filter.is_agent == user.is_agent)
                && (filter.priv_groups.is_empty()
                    || user.priv_group.is_some_and(|one| filter.priv_groups.contains(&one)))
                && same(&filter.username, &user.username)
                && same(&filter.email, &user.email)
                && same(&filter.extension, &user.extension)
                && filter.contains.as_ref().is_none_or(|sought| contains(user, &folded(sought), !filter.without_email))
        };
        let mut found: Vec<&User> = self.users.values().filter(passes).collect();
        if filter.order == Order::Name {
            let sort_name = |user: &User| {
                let name = folded(user.name.as_deref().unwrap_or_default());
                let ends = name.char_indices().map(|(at, letter)| at + letter.len_utf8());
                let end = ends.take_while(|end| *end <= 64).last().unwrap_or_default();
                name.get(..end).unwrap_or_default().to_owned()
            };
            found.sort_by_key(|user| (sort_name(user), user.user_id));
        }
        found.into_iter().map(|user| user.user_id).collect()
    }
}

fn some_user(user_id: UserId, random: &mut Random) -> User {
    let mut maybe = |text: String| (random.below(8) > 0).then_some(text);
    let (username, email) =
        (maybe(format!("User{}", user_id.get() % 30)), maybe(format!("É{}@example.com", user_id.get() % 20)));
    let extension = maybe((user_id.get() % 40).to_string());
    let name = match random.below(11) {
        0 => None,
        1 => Some(format!("{LONG}{}", random.below(5))),
        _ => Some(random.one_of(&NAMES).0.to_owned()),
    };
    let state = (random.below(6) > 0).then(|| (*random.one_of(&STATES)).to_owned());
    let is_agent = [None, Some(false), Some(true)][usize::try_from(random.below(3)).unwrap()];
    let priv_group = (random.below(6) > 0).then(|| random.small(4));
    User { name, username, email, extension, state, is_agent, priv_group, ..User::new(user_id) }
}

/// Folds the texts of this test by its own table.
fn folded(text: &str) -> String {
    let known = NAMES.iter().find(|(name, _)| *name == text).map(|(_, folded)| (*folded).to_owned());
    known.unwrap_or_else(|| match text {
        "núñez" => "nunez".to_owned(),
        "ØRSTED" => "orsted".to_owned(),
        "ς" => "σ".to_owned(),
        "\u{301}" => String::new(),
        text => text.replace('É', "e").to_ascii_lowercase(),
    })
}

fn contains(user: &User, sought: &str, with_email: bool) -> bool {
    let email = user.email.as_ref().filter(|_| with_email);
    let texts = [user.name.as_ref(), user.username.as_ref(), user.extension.as_ref(), email];
    texts.into_iter().any(|text| folded(text.map_or("", String::as_str)).contains(sought))
}

/// Returns all users of a list, by pages.
fn pages(reader: &StoreReader, filter: &UserFilter, limit: usize) -> Vec<UserId> {
    let (mut found, mut after): (_, Option<Place>) = (Vec::new(), None);
    loop {
        let page = reader.find(filter, after.as_ref(), limit).unwrap();
        assert!(page.users.len() <= limit && (page.next_after.is_none() || page.users.len() == limit), "{filter:?}");
        found.extend(page.users.iter().map(|user| user.user_id));
        match page.next_after {
            Some(place) => after = Some(place),
            None => return found,
        }
    }
}

fn some_filter(random: &mut Random) -> UserFilter {
    let maybe = |random: &mut Random, of: u64| random.below(of) == 0;
    UserFilter {
        state: maybe(random, 2).then(|| (*random.one_of(&STATES)).to_owned()),
        is_agent: maybe(random, 2).then(|| random.below(2) == 0),
        priv_groups: if maybe(random, 2) { (0..=random.small(3)).collect() } else { Vec::new() },
        contains: maybe(random, 3).then(|| (*random.one_of(&SOUGHT)).to_owned()),
        without_email: maybe(random, 2),
        username: maybe(random, 8).then(|| format!("uSer{}", random.below(30))),
        email: maybe(random, 8).then(|| format!("É{}@EXAMPLE.com", random.below(20))),
        extension: maybe(random, 8).then(|| random.below(40).to_string()),
        order: if maybe(random, 2) { Order::Name } else { Order::UserId },
    }
}

#[test]
fn every_list_has_each_of_its_users_once_and_in_order() {
    let (mut model, mut random) = (Model::new(), Random(16));
    for round in 0..4 {
        model.live(&mut random, 400);
        let reader = StoreReader::open(model.writer.path()).unwrap();
        let mut found = 0;
        for _ in 0..150 {
            let filter = some_filter(&mut random);
            let limit = usize::try_from(1 + random.below(7)).unwrap();
            let expected = model.expected(&filter);
            found += expected.len();
            assert_eq!(pages(&reader, &filter, limit), expected, "round {round}, pages of {limit}: {filter:?}");
        }
        assert!(found > 1_000, "the filters are no test if they find nobody: {found}");
    }
}

/// The index of names is walked as far as users that are let through are near; these are far from each other.
#[test]
fn those_who_are_far_apart_in_the_order_of_names_are_found() {
    let (mut model, mut random) = (Model::new(), Random(17));
    let records = (0..6_000).map(|id| {
        let state = if id % 2_500 == 2_499 { "away" } else { "active" };
        let name = format!("{:06}", random.below(1_000_000));
        let user = User { name: Some(name), state: Some(state.to_owned()), ..User::new(user_id(id)) };
        model.users.insert(user.user_id, user.clone());
        Record {
            position: Position { partition: 0, offset: id },
            leader_epoch: None,
            timestamp: at(id),
            key: Some(id.to_string().into_bytes()),
            value: Some(wire::encode(&event(None, user, id))),
            headers: Vec::new(),
        }
    });
    let batch = LogBatch { records: records.collect(), ..LogBatch::default() };
    model.writer.commit(&batch, UnixMillis::from_millis(1)).unwrap();
    let reader = StoreReader::open(model.writer.path()).unwrap();
    let (away, active) = (Some("away".to_owned()), Some("active".to_owned()));
    for (state, limit) in [(away.clone(), 1), (away, 10), (active, 999), (None, 1_000)] {
        let filter = UserFilter { state, order: Order::Name, ..UserFilter::default() };
        assert_eq!(pages(&reader, &filter, limit), model.expected(&filter), "{filter:?}");
    }
}
