//! Faults that can be put back: each replaces one decision of the world's actors by a wrong one.
//!
//! A property that no fault breaks would say nothing; a fault that no property sees would go unnoticed in the code too.

use crate::property::Property;

/// A wrong decision.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The door lets an event in that is ahead of its receipt.
    DoorWithoutClock,
    /// The gate compares with the time of an event that is ahead.
    GateTrustsAhead,
    /// The gate takes a tie for a repeated delivery.
    GateTakesTies,
    /// The gate judges by what it knew of a log that is gone.
    GateUnconfirmed,
    /// Ingest answers before Kafka has acknowledged.
    AnswerTooEarly,
    /// The keeper does not append tombstones again.
    NoRenewal,
    /// The keeper dates a tombstone by the time of its repair.
    UndatedRepair,
    /// The keeper appends the winner without the rest of its second.
    RepairAlone,
    /// The keeper appends a clean key again.
    KeeperNeverRests,
    /// The keeper appends over a record that this build does not know.
    KeeperOverwritesUnknown,
    /// No keeper repairs anything.
    NoKeeper,
    /// `forget` and keeper write tombstones on the partition that the key has now.
    TombstoneAtHome,
    /// The keeper appends after an unreadable record without a copy of it.
    CopyOmitted,
    /// `forget` takes the time of its own clock, whatever is on the log.
    ForgetByClock,
    /// A replay appends what the gate would not.
    ReplayPastGate,
    /// A replay looks at the time of the event alone, and not at that of its letter.
    LetterForgiven,
    /// A reader continues at its offset, whatever the epoch of the record there.
    OffsetsAlone,
    /// A reader does not notice that the topic was made anew.
    TopicByName,
    /// A reader believes the head of a record whose body is broken.
    HeadAlone,
    /// The rule of before: two records are compared, and no set is kept.
    Pairwise,
    /// A marker is compared by time with creations too.
    CreationByTime,
    /// The projector commits its position before its state.
    PositionFirst,
    /// The projector does not read the topic of late deliveries.
    LateUnread,
    /// The projector takes every break for a field that the vendor has added.
    GapsForgiven,
    /// A keeper appends events in the framing that it reads.
    KeeperTranslates,
    /// Gate and keeper do not know the ids of the registry.
    KeeperWithoutIds,
    /// The writer of the state topic looks at the event that wins, and not at its copy.
    StateForgetsCopies,
    /// The writer of the state topic writes no tombstones.
    StateWithoutTombstones,
    /// The writer of the state topic leaves what is on another partition than the key's.
    StateAtHome,
    /// The writer of the state topic does not read it.
    StateUnread,
    /// The tombstones of the state topic are not appended again.
    StateNotRenewed,
}

impl Fault {
    pub(crate) const ALL: [Self; 31] = [
        Self::DoorWithoutClock,
        Self::GateTrustsAhead,
        Self::GateTakesTies,
        Self::GateUnconfirmed,
        Self::AnswerTooEarly,
        Self::NoRenewal,
        Self::UndatedRepair,
        Self::RepairAlone,
        Self::KeeperNeverRests,
        Self::KeeperOverwritesUnknown,
        Self::NoKeeper,
        Self::TombstoneAtHome,
        Self::CopyOmitted,
        Self::ForgetByClock,
        Self::ReplayPastGate,
        Self::LetterForgiven,
        Self::OffsetsAlone,
        Self::TopicByName,
        Self::HeadAlone,
        Self::Pairwise,
        Self::CreationByTime,
        Self::PositionFirst,
        Self::LateUnread,
        Self::GapsForgiven,
        Self::KeeperTranslates,
        Self::KeeperWithoutIds,
        Self::StateForgetsCopies,
        Self::StateWithoutTombstones,
        Self::StateAtHome,
        Self::StateUnread,
        Self::StateNotRenewed,
    ];

    /// Returns the property that the fault breaks.
    pub(crate) fn breaks(self) -> Property {
        match self {
            Self::DoorWithoutClock | Self::AnswerTooEarly => Property::Acknowledged,
            Self::GateTrustsAhead | Self::GateTakesTies | Self::GateUnconfirmed | Self::ReplayPastGate => {
                Property::Answered
            }
            Self::OffsetsAlone | Self::TopicByName | Self::Pairwise | Self::PositionFirst | Self::KeeperWithoutIds => {
                Property::Agree
            }
            Self::UndatedRepair | Self::RepairAlone | Self::KeeperNeverRests | Self::StateUnread => Property::Rest,
            Self::KeeperOverwritesUnknown => Property::Unknown,
            Self::NoKeeper | Self::TombstoneAtHome => Property::Newest,
            Self::NoRenewal | Self::StateNotRenewed => Property::Gone,
            Self::CopyOmitted => Property::Kept,
            Self::ForgetByClock | Self::CreationByTime | Self::LetterForgiven => Property::Erased,
            Self::HeadAlone => Property::Served,
            Self::KeeperTranslates => Property::Framing,
            Self::StateForgetsCopies | Self::StateWithoutTombstones | Self::StateAtHome => Property::Flat,
            Self::LateUnread | Self::GapsForgiven => Property::Gaps,
        }
    }
}
