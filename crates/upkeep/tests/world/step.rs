//! The steps of a history, and their choice from a seed.

use testkit::random::Random;

/// The most steps of a history.
const STEPS_MAX: u64 = 48;

/// What becomes of a record on its way to Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Stored,
    /// Appended, and appended again by a retry.
    Twice,
    /// Appended, and the acknowledgement is lost.
    Unacknowledged,
    /// Lost before it was appended.
    Lost,
    /// On its way, until [`Step::Arrive`].
    OnItsWay,
}

/// How far the vendor's clock is ahead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lead {
    None,
    Minutes,
    Hours,
    Years,
}

/// The error of a process's clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Clock {
    Right,
    Fast,
    Slow,
    DaySlow,
}

/// How much time passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pass {
    Second,
    Minutes,
    Hours,
    Days,
    Weeks,
}

/// Bytes that another writer appends under a user's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bytes {
    /// Neither head nor body can be read.
    Broken,
    /// The head can be read.
    BodyBroken,
    /// Of a later build.
    Unknown,
    /// An event that is ahead, written past the door.
    Ahead,
}

/// One step of a history. Numbers are taken modulo what there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A user changes at the vendor.
    Happen {
        user: u8,
        to: u8,
        lead: Lead,
    },
    /// The vendor delivers an event, or delivers it again. A garbled one is decrypted by no key of that time.
    Deliver {
        event: u8,
        replica: u8,
        garbled: bool,
        fate: Fate,
    },
    /// A record that was on its way arrives, or does not.
    Arrive {
        request: u8,
        fate: Fate,
    },
    Read {
        replica: u8,
        records: u8,
    },
    /// A keeper decides on repairs.
    Decide {
        replica: u8,
    },
    /// A keeper appends what it has decided on. That can be outdated.
    Repair {
        replica: u8,
        fate: Fate,
    },
    Crash {
        replica: u8,
    },
    Assign {
        replica: u8,
        partition: u8,
    },
    Revoke {
        replica: u8,
        partition: u8,
    },
    /// The clock of a replica, or of the commands, goes wrong.
    Skew {
        process: u8,
        clock: Clock,
    },
    Project {
        records: u8,
    },
    Commit,
    CrashProjector,
    /// The second projector rebuilds.
    Rebuild {
        records: u8,
    },
    BeginRebuild,
    Forget {
        user: u8,
        fate: Fate,
    },
    Import {
        user: u8,
        to: u8,
        fate: Fate,
    },
    Replay {
        fate: Fate,
    },
    /// A command is stopped before its records are acknowledged.
    CrashCommand,
    Clean,
    Pass(Pass),
    Truncate {
        partition: u8,
        records: u8,
    },
    Replace,
    Widen,
    Open {
        user: u8,
        to: u8,
    },
    Close {
        commits: bool,
    },
    Scribble {
        user: u8,
        bytes: Bytes,
    },
    /// On the state topic.
    State(StateStep),
}

/// A step on the state topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StateStep {
    Read {
        replica: u8,
        records: u8,
    },
    /// A replica's writer appends the corrections that it has decided on.
    Correct {
        replica: u8,
        fate: Fate,
    },
    /// A replica reads both topics to their ends, and corrects the state topic.
    Keep {
        replica: u8,
    },
    Truncate {
        partition: u8,
        records: u8,
    },
    Replace,
    /// Another writer appends to a partition.
    Scribble {
        user: u8,
        has_value: bool,
    },
}

/// Returns the history of a seed. The same seed gives the same history on every machine.
pub(crate) fn history(seed: u64) -> Vec<Step> {
    let mut random = Random(seed);
    let steps = 4 + random.below(STEPS_MAX - 4);
    // Most histories are of few things, so that these meet.
    let mood = random.below(8);
    let mut of_state = Random(!seed);
    (0..steps)
        .flat_map(|_| {
            let state = (of_state.below(3) == 0).then(|| Step::State(state_step(&mut of_state)));
            std::iter::once(step(&mut random, mood)).chain(state)
        })
        .collect()
}

fn state_step(random: &mut Random) -> StateStep {
    match random.below(24) {
        0..=10 => StateStep::Read { replica: small(random, 2), records: small(random, 6) },
        11..=15 => StateStep::Keep { replica: small(random, 2) },
        16..=21 => StateStep::Correct { replica: small(random, 2), fate: fate(random) },
        22 => StateStep::Scribble { user: small(random, 4), has_value: random.below(3) > 0 },
        _ if random.below(4) == 0 => StateStep::Replace,
        _ => StateStep::Truncate { partition: small(random, 2), records: 1 + small(random, 3) },
    }
}

fn choice(random: &mut Random, bound: u64) -> usize {
    usize::try_from(random.below(bound)).unwrap()
}

fn small(random: &mut Random, bound: u64) -> u8 {
    u8::try_from(random.below(bound)).unwrap()
}

fn fate(random: &mut Random) -> Fate {
    match random.below(16) {
        0 => Fate::Twice,
        1 => Fate::Unacknowledged,
        2 => Fate::Lost,
        3 | 4 => Fate::OnItsWay,
        _ => Fate::Stored,
    }
}

fn step(random: &mut Random, mood: u64) -> Step {
    if mood == 7 {
        return orderly(random);
    }
    match random.below(64) {
        0..=8 => happen(random),
        9..=22 => deliver(random, mood),
        23..=29 => Step::Read { replica: small(random, 2), records: small(random, 6) },
        30..=32 => Step::Decide { replica: small(random, 2) },
        33..=35 => Step::Repair { replica: small(random, 2), fate: fate(random) },
        36..=38 => Step::Project { records: small(random, 6) },
        39 => Step::Commit,
        40 | 41 => Step::Rebuild { records: small(random, 6) },
        42 => Step::Arrive { request: small(random, 8), fate: fate(random) },
        43..=45 => Step::Pass(*random.one_of(&[Pass::Second, Pass::Second, Pass::Minutes, Pass::Hours, Pass::Days])),
        46 => Step::Clean,
        47 => Step::Forget { user: small(random, 2), fate: fate(random) },
        48..=50 => rare(random),
        _ => moody(random, mood),
    }
}

fn happen(random: &mut Random) -> Step {
    let lead =
        *random.one_of(&[Lead::None, Lead::None, Lead::None, Lead::None, Lead::Minutes, Lead::Hours, Lead::Years]);
    Step::Happen { user: small(random, 2), to: small(random, 4), lead }
}

fn deliver(random: &mut Random, mood: u64) -> Step {
    let garbled = mood == 1 && random.below(2) == 0;
    // 255: the last one.
    let event = if random.below(2) == 0 { u8::MAX } else { small(random, 12) };
    Step::Deliver { event, replica: small(random, 2), garbled, fate: fate(random) }
}

/// A sender whose clock is right and whose deliveries come in order, if they come.
fn orderly(random: &mut Random) -> Step {
    let event = if random.below(4) == 0 { small(random, 12) } else { u8::MAX };
    match random.below(16) {
        0..=4 => Step::Happen { user: small(random, 2), to: small(random, 4), lead: Lead::None },
        5..=8 => Step::Pass(Pass::Second),
        9..=13 => Step::Deliver { event, replica: small(random, 2), garbled: false, fate: Fate::Stored },
        14 => Step::Read { replica: small(random, 2), records: 5 },
        _ => *random.one_of(&[Step::Pass(Pass::Weeks), Step::Clean, Step::Project { records: 5 }, Step::Commit]),
    }
}

/// What happens in few histories, by the mood of each.
fn moody(random: &mut Random, mood: u64) -> Step {
    match mood {
        0 => *random.one_of(&[
            Step::Widen,
            Step::Forget { user: 0, fate: Fate::Stored },
            Step::Forget { user: 1, fate: Fate::Stored },
            Step::Rebuild { records: 5 },
        ]),
        1 => *random.one_of(&[
            Step::Replay { fate: Fate::Stored },
            Step::Replay { fate: Fate::Stored },
            Step::Pass(Pass::Hours),
            Step::Forget { user: 0, fate: Fate::Stored },
            Step::Forget { user: 1, fate: Fate::Stored },
            Step::CrashCommand,
        ]),
        2 => truncating(random),
        3 => *random.one_of(&[Step::Pass(Pass::Days), Step::Pass(Pass::Weeks), Step::Clean]),
        4 => [Step::Close { commits: true }, Step::Close { commits: false }, open(random)][choice(random, 3)],
        5 => scribble(random),
        6 => Step::Import { user: small(random, 2), to: small(random, 4), fate: fate(random) },
        _ => rare(random),
    }
}

fn truncating(random: &mut Random) -> Step {
    match random.below(4) {
        0 => Step::Truncate { partition: small(random, 2), records: 1 + small(random, 3) },
        1 if random.below(3) == 0 => Step::Replace,
        2 => Step::Project { records: 5 },
        _ => Step::Read { replica: small(random, 2), records: 5 },
    }
}

fn open(random: &mut Random) -> Step {
    Step::Open { user: small(random, 2), to: small(random, 4) }
}

fn scribble(random: &mut Random) -> Step {
    let bytes = *random.one_of(&[Bytes::Broken, Bytes::BodyBroken, Bytes::BodyBroken, Bytes::Unknown, Bytes::Ahead]);
    Step::Scribble { user: small(random, 2), bytes }
}

fn rare(random: &mut Random) -> Step {
    match random.below(14) {
        0 => Step::Crash { replica: small(random, 2) },
        1 => Step::CrashProjector,
        2 => Step::BeginRebuild,
        3 => Step::CrashCommand,
        4 => Step::Assign { replica: small(random, 2), partition: small(random, 2) },
        5 => Step::Revoke { replica: small(random, 2), partition: small(random, 2) },
        6 | 7 => {
            let clock = *random.one_of(&[Clock::Right, Clock::Fast, Clock::Slow, Clock::DaySlow]);
            Step::Skew { process: small(random, 3), clock }
        }
        8 => truncating(random),
        9 => open(random),
        10 => Step::Close { commits: random.below(2) == 0 },
        11 => scribble(random),
        12 => Step::Import { user: small(random, 2), to: small(random, 4), fate: fate(random) },
        _ => Step::Replay { fate: fate(random) },
    }
}
