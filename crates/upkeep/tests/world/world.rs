//! The world: everything that takes part, on one clock, driven step by step.

use std::collections::BTreeSet;
use std::time::Duration;

use domain::roll::Standing;
use domain::{Head, UnixMillis, UserId};
use kafka::publish::Outgoing;

use crate::command::Erasing;
use crate::fault::Fault;
use crate::framing::framed;
use crate::log::{Log, Place};
use crate::projector::Projector;
use crate::property::{Answer, Erased, Violation};
use crate::replica::Replica;
use crate::sender::{Sent, Vendor, user};
use crate::state::STATE_TOPIC;
use crate::step::{Fate, Step};

/// The first moment of every world.
const BEGINNING: i64 = 1_790_000_000_000;
pub(crate) const HOUR: i64 = 3_600_000;
/// The process that runs commands.
const COMMANDS: usize = 2;

/// A record on its way to Kafka.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    outgoing: Outgoing,
    then: Then,
}

/// What an acknowledgement leads to.
#[derive(Clone, Debug)]
pub(crate) enum Then {
    Nothing,
    /// A replica answers the vendor.
    Answer {
        sent: usize,
        head: Head,
        replica: usize,
        process: u64,
    },
    /// A command goes on.
    Marker {
        command: u64,
    },
    Replayed {
        letters: Vec<u64>,
        head: Head,
        command: u64,
    },
    Imported {
        head: Head,
        command: u64,
    },
}

/// A dead letter.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) id: u64,
    pub(crate) sent: Sent,
    /// It could not be decrypted when it came.
    pub(crate) garbled: bool,
    /// By the clock of the replica.
    pub(crate) received_at: UnixMillis,
    pub(crate) written_at: i64,
}

/// A late delivery; without a value where the user was forgotten.
#[derive(Clone, Debug)]
pub(crate) struct Late {
    pub(crate) head: Head,
    pub(crate) has_value: bool,
    pub(crate) written_at: i64,
}

/// Everything that takes part.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) fault: Option<Fault>,
    pub(crate) log: Log,
    /// The state topic.
    pub(crate) state: Log,
    /// The true time.
    pub(crate) now: i64,
    skews: [i64; 3],
    pub(crate) vendor: Vendor,
    pub(crate) replicas: [Replica; 2],
    pub(crate) network: Vec<Request>,
    pub(crate) letters: Vec<Letter>,
    pub(crate) late: Vec<Late>,
    /// Users with a late delivery, which retention may have taken since.
    pub(crate) came_late: BTreeSet<UserId>,
    pub(crate) live: Projector,
    pub(crate) second: Projector,
    pub(crate) erasing: Vec<Erasing>,
    /// Commands so far; those before `stopped` were stopped.
    pub(crate) commands: u64,
    stopped: u64,
    pub(crate) transaction: Option<Place>,
    pub(crate) answers: Vec<Answer>,
    pub(crate) erased: Vec<Erased>,
    /// Users of whom a record of a later build was seen.
    pub(crate) unknown: Vec<UserId>,
    /// Users of whom more was written than the vendor sent.
    pub(crate) disturbed: BTreeSet<UserId>,
    /// Unreadable records of which a letter has a copy.
    pub(crate) copied: BTreeSet<Place>,
    /// The log was cut, made anew or widened.
    pub(crate) is_cut: bool,
    /// The projector that lives has read every record before the cleaner took it.
    pub(crate) live_saw_all: bool,
}

impl World {
    pub(crate) fn new(fault: Option<Fault>) -> Self {
        let mut world = Self {
            fault,
            log: Log::new(),
            state: Log::new(),
            now: BEGINNING,
            skews: [0; 3],
            vendor: Vendor::default(),
            replicas: [Replica::new(fault), Replica::new(fault)],
            network: Vec::new(),
            letters: Vec::new(),
            late: Vec::new(),
            came_late: BTreeSet::new(),
            live: Projector::default(),
            second: Projector::default(),
            erasing: Vec::new(),
            commands: 0,
            stopped: 0,
            transaction: None,
            answers: Vec::new(),
            erased: Vec::new(),
            unknown: Vec::new(),
            disturbed: BTreeSet::new(),
            copied: BTreeSet::new(),
            is_cut: false,
            live_saw_all: true,
        };
        world.replicas[0].assign(0);
        world
    }

    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    /// Returns the time by the clock of a process.
    pub(crate) fn clock(&self, process: usize) -> i64 {
        self.now + self.skews[process]
    }

    pub(crate) fn commands_clock(&self) -> i64 {
        self.clock(COMMANDS)
    }

    pub(crate) fn since_start(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.now - BEGINNING).unwrap())
    }

    /// Takes a step.
    ///
    /// # Errors
    /// [`Violation`] where the step itself breaks a property.
    pub(crate) fn act(&mut self, step: Step) -> Result<(), Violation> {
        let which = |replica: u8| usize::from(replica % 2);
        match step {
            Step::Happen { user, to, lead } => self.vendor.happen(user, to, lead, self.now),
            Step::Deliver { event, replica, garbled, fate } => {
                if let Some(sent) = self.vendor.delivery(event, self.now) {
                    self.deliver(sent, which(replica), garbled, fate)?;
                }
            }
            Step::Arrive { request, fate } => return self.arrive(request, fate),
            Step::Read { replica, records } => self.read(which(replica), usize::from(records)),
            Step::Decide { replica } => {
                self.decide(which(replica));
            }
            Step::Repair { replica, fate } => return self.repair(which(replica), fate),
            Step::State(step) => return self.act_on_state(step),
            Step::Crash { replica } => self.replicas[which(replica)].crash(),
            Step::Assign { replica, partition } => self.replicas[which(replica)].assign(self.partition(partition)),
            Step::Revoke { replica, partition } => self.replicas[which(replica)].revoke(self.partition(partition)),
            Step::Skew { process, clock } => self.skews[usize::from(process % 3)] = clock.error(),
            Step::Project { records } => self.live.read(&self.log, usize::from(records), self.fault),
            Step::Commit => self.live.commit(),
            Step::CrashProjector => self.live.crash(self.fault),
            Step::Rebuild { records } => self.second.read(&self.log, usize::from(records), self.fault),
            Step::BeginRebuild => self.second.begin_anew(),
            Step::Forget { user: number, fate } => return self.forget(user(number % 2), fate),
            Step::Import { user, to, fate } => return self.import(user % 2, to, fate),
            Step::Replay { fate } => return self.replay(fate),
            Step::CrashCommand => self.stop_commands(),
            Step::Clean => self.clean(),
            Step::Pass(pass) => return self.pass(pass.millis()),
            Step::Truncate { .. }
            | Step::Replace
            | Step::Widen
            | Step::Open { .. }
            | Step::Close { .. }
            | Step::Scribble { .. } => self.befall(step),
        }
        Ok(())
    }

    pub(crate) fn partition(&self, number: u8) -> i32 {
        i32::from(number) % self.log.count()
    }

    pub(crate) fn deliver(&mut self, sent: usize, replica: usize, garbled: bool, fate: Fate) -> Result<(), Violation> {
        let event = self.vendor.sent[sent].received(self.clock(replica));
        let head = event.head();
        if garbled || (head.is_ahead() && !self.has(Fault::DoorWithoutClock)) {
            let sent = self.vendor.sent[sent].clone();
            let (id, received_at, written_at) = (self.commands, head.received_at, self.now);
            self.letters.push(Letter { id, sent, garbled, received_at, written_at });
            self.commands += 1;
            return Ok(());
        }
        let standing = self.replicas[replica].judge(&head, &self.log);
        if standing == Standing::News {
            let process = self.replicas[replica].process;
            let then = Then::Answer { sent, head, replica, process };
            if self.has(Fault::AnswerTooEarly) {
                self.answers.push(Answer { head, witness: None });
                self.vendor.sent[sent].is_acknowledged = true;
            }
            return self.submit(framed(&event), then, fate);
        }
        self.vendor.sent[sent].is_acknowledged = true;
        let cursor = self.replicas[replica].cursor.clone();
        self.answer_without_append(head, None, standing, &cursor)
    }

    /// Sends a record to Kafka.
    pub(crate) fn submit(&mut self, outgoing: Outgoing, then: Then, fate: Fate) -> Result<(), Violation> {
        self.network.push(Request { outgoing, then });
        self.arrive_at(self.network.len() - 1, fate)
    }

    fn arrive(&mut self, request: u8, fate: Fate) -> Result<(), Violation> {
        if self.network.is_empty() {
            return Ok(());
        }
        self.arrive_at(usize::from(request) % self.network.len(), fate)
    }

    pub(crate) fn arrive_at(&mut self, index: usize, fate: Fate) -> Result<(), Violation> {
        if fate == Fate::OnItsWay {
            return Ok(());
        }
        let Request { outgoing, then } = self.network.remove(index);
        if fate == Fate::Lost {
            return Ok(());
        }
        let log = if outgoing.topic == STATE_TOPIC { &mut self.state } else { &mut self.log };
        if fate == Fate::Twice {
            log.append(outgoing.clone(), None);
        }
        let place = log.append(outgoing, None);
        if fate == Fate::Unacknowledged { Ok(()) } else { self.acknowledge(then, place) }
    }

    fn acknowledge(&mut self, then: Then, place: Place) -> Result<(), Violation> {
        let witness = Some(place);
        match then {
            Then::Nothing => {}
            Then::Answer { sent, head, replica, process } => {
                if self.replicas[replica].process == process {
                    self.vendor.sent[sent].is_acknowledged = true;
                    self.answers.push(Answer { head, witness });
                }
            }
            Then::Marker { command } if command >= self.stopped => self.marked(command, place),
            Then::Replayed { letters, head, command } if command >= self.stopped => {
                self.letters.retain(|kept| !letters.contains(&kept.id));
                self.answers.push(Answer { head, witness });
            }
            Then::Imported { head, command } if command >= self.stopped => self.answers.push(Answer { head, witness }),
            Then::Marker { .. } | Then::Replayed { .. } | Then::Imported { .. } => {}
        }
        Ok(())
    }

    fn stop_commands(&mut self) {
        self.stopped = self.commands;
        self.erasing.clear();
    }
}
