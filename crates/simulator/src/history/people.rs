//! The people of a simulated call centre: their names, and their changes.

use domain::{User, UserId};
use rand::RngExt as _;
use rand::rngs::ChaCha8Rng;
use rand::seq::IndexedRandom as _;

/// First names with the spelling in their login. Some need more than ASCII, as real names do.
const FIRST: [(&str, &str); 16] = [
    ("Rachel", "rachel"),
    ("Zsófia", "zsofia"),
    ("Ádám", "adam"),
    ("Réka", "reka"),
    ("Dávid", "david"),
    ("Łukasz", "lukasz"),
    ("Katarzyna", "katarzyna"),
    ("Jürgen", "jurgen"),
    ("Anke", "anke"),
    ("Tomáš", "tomas"),
    ("Ştefan", "stefan"),
    ("Ioana", "ioana"),
    ("Grace", "grace"),
    ("Owen", "owen"),
    ("Márta", "marta"),
    ("Bence", "bence"),
];
const LAST: [(&str, &str); 16] = [
    ("Smith", "smith"),
    ("Kovács", "kovacs"),
    ("Szabó", "szabo"),
    ("Nagy", "nagy"),
    ("Tóth", "toth"),
    ("Horváth", "horvath"),
    ("Wójcik", "wojcik"),
    ("Kamiński", "kaminski"),
    ("Müller", "muller"),
    ("Schäfer", "schafer"),
    ("Novák", "novak"),
    ("Popescu", "popescu"),
    ("O'Brien", "obrien"),
    ("Jones", "jones"),
    ("Fekete", "fekete"),
    ("Varga", "varga"),
];
const TRANSPORTS: [&str; 4] = ["global", "sip-tcp", "sip-udp", "encrypted-dip"];
const NOTIFICATIONS: [&str; 3] = ["technical", "marketing", "current balance"];
const GROUPS: i64 = 12;
/// One user in so many is a supervisor rather than an agent.
const SUPERVISOR_ONE_IN: u32 = 10;
pub(super) const PASSWORD: &str = "new password";

/// The kinds of change, weighted by repetition: phones change every week, wages once a year.
const CHANGES: [Change; 20] = [
    Change::ContactPhone,
    Change::ContactPhone,
    Change::ContactPhone,
    Change::OutboundPhone,
    Change::OutboundPhone,
    Change::OutboundPhone,
    Change::Group,
    Change::Group,
    Change::Group,
    Change::Redistribution,
    Change::Redistribution,
    Change::State,
    Change::State,
    Change::Password,
    Change::Password,
    Change::Mobile,
    Change::Notifications,
    Change::Name,
    Change::Wages,
    Change::Transport,
];

#[derive(Clone, Copy)]
enum Change {
    ContactPhone,
    OutboundPhone,
    Group,
    Redistribution,
    State,
    Password,
    Mobile,
    Notifications,
    Name,
    Wages,
    Transport,
}

/// A name, and its spelling in addresses.
pub(super) struct Person {
    first: (&'static str, &'static str),
    last: (&'static str, &'static str),
}

impl Person {
    pub(super) fn draw(rng: &mut ChaCha8Rng) -> Self {
        Self { first: *one_of(&FIRST, rng), last: *one_of(&LAST, rng) }
    }

    /// Returns the user of this person on the first day.
    pub(super) fn hired(&self, id: UserId, rng: &mut ChaCha8Rng) -> User {
        let is_agent = !rng.random_ratio(1, SUPERVISOR_ONE_IN);
        let mut user = User {
            extension: Some(id.to_string()),
            hourly: Some(0),
            is_agent: Some(is_agent),
            message_lists: Some(Vec::new()),
            monthly: Some(0),
            outbound_phone: Some(if is_agent { phone(rng) } else { String::new() }),
            contact_phone: Some(phone(rng)),
            priv_group: Some(rng.random_range(1..=GROUPS)),
            redistribution: Some(0),
            register_transport: Some("sip-tcp".to_owned()),
            sample_rate: Some("global".to_owned()),
            state: Some("active".to_owned()),
            // The login contains the number, so that people of the same name have different logins. It never changes.
            username: Some(format!("{}_{}_{id}", self.first.1, self.last.1)),
            ..User::new(id)
        };
        self.name(&mut user);
        user
    }

    fn name(&self, user: &mut User) {
        user.name = Some(format!("{} {}", self.first.0, self.last.0));
        user.email = Some(format!("{}.{}.{}@example.com", self.first.1, self.last.1, user.user_id));
    }
}

/// Returns the user after one change, and the name of the change. The two users differ unless a password changed.
pub(super) fn changed(old: &User, passwords: bool, rng: &mut ChaCha8Rng) -> (User, &'static str) {
    let mut new = old.clone();
    let what = loop {
        if let Some(what) = apply(*one_of(&CHANGES, rng), &mut new, passwords, rng)
            && (what == PASSWORD || new != *old)
        {
            break what;
        }
    };
    (new, what)
}

/// Applies the change and returns its name, or `None` if it does not occur in this population.
fn apply(change: Change, user: &mut User, passwords: bool, rng: &mut ChaCha8Rng) -> Option<&'static str> {
    Some(match change {
        Change::ContactPhone => {
            user.contact_phone = Some(if rng.random_ratio(1, 4) { String::new() } else { phone(rng) });
            "contact phone"
        }
        Change::OutboundPhone => {
            user.outbound_phone = Some(phone(rng));
            "outbound phone"
        }
        Change::Group => {
            user.priv_group = Some(rng.random_range(1..=GROUPS));
            "group"
        }
        Change::Redistribution => {
            user.redistribution = Some(1 - user.redistribution.unwrap_or(0));
            "redistribution"
        }
        Change::State => {
            let active = user.state.as_deref() == Some("active");
            user.state = Some(if active { "inactive" } else { "active" }.to_owned());
            if active { "left" } else { "came back" }
        }
        Change::Password if passwords => PASSWORD,
        Change::Password => return None,
        Change::Mobile => {
            let project = user.mobile_project_id.is_none().then(|| rng.random_range(100..200));
            user.mobile_project_id = project;
            user.mobile_phone = project.map(|_| phone(rng));
            "mobile app"
        }
        Change::Notifications => {
            let wanted = NOTIFICATIONS.iter().filter(|_| rng.random_ratio(1, 2)).map(|list| (*list).to_owned());
            user.message_lists = Some(wanted.collect());
            "notifications"
        }
        Change::Name => {
            let first = FIRST.iter().find(|(name, _)| user.name.as_deref().is_some_and(|full| full.starts_with(name)));
            Person { first: *first.unwrap_or(&FIRST[0]), last: *one_of(&LAST, rng) }.name(user);
            "name"
        }
        Change::Wages => {
            user.monthly = Some(rng.random_range(20..80) * 10_000);
            "wage"
        }
        Change::Transport => {
            user.register_transport = Some((*one_of(&TRANSPORTS, rng)).to_owned());
            "transport"
        }
    })
}

/// Returns a password that a search of all written bytes can find: its prefix occurs nowhere else.
pub(super) fn password(rng: &mut ChaCha8Rng) -> String {
    format!("Pw-simulated-{:016x}", rng.random::<u64>())
}

fn phone(rng: &mut ChaCha8Rng) -> String {
    format!("361{:07}", rng.random_range(0..10_000_000))
}

fn one_of<'t, T>(table: &'t [T], rng: &mut ChaCha8Rng) -> &'t T {
    table.choose(rng).expect("the tables of this module are not empty")
}
