//! What the cluster, its operators, strangers and wrong clocks do to the log.

use domain::wire::Framing;

use crate::framing::{STRANGER, framed};
use crate::sender::{Sent, user};
use crate::step::{Bytes, Clock, Lead, Step};
use crate::world::{HOUR, World};

impl World {
    /// What the cluster, its operators and strangers do.
    pub(crate) fn befall(&mut self, step: Step) {
        self.is_cut |= matches!(step, Step::Truncate { .. } | Step::Replace | Step::Widen);
        match step {
            Step::Truncate { partition, records } => {
                self.log.truncate(self.partition(partition), usize::from(records), self.now - HOUR);
                self.transaction = self.transaction.filter(|own| self.log.has(*own));
            }
            Step::Replace => {
                self.log.replace();
                self.transaction = None;
            }
            Step::Widen if self.log.count() < 3 => {
                self.log.widen();
                self.state.widen();
            }
            Step::Open { user: number, to } if self.transaction.is_none() => {
                let home = self.log.home(user(number % 2));
                if !self.log.is_open(home) {
                    self.log.open(home);
                    self.disturbed.insert(user(number % 2));
                    let event = Sent::stray(number % 2, to, Lead::None, self.now).received(self.now);
                    self.transaction = Some(self.log.append(framed(&event), None));
                }
            }
            Step::Close { commits } => {
                if let Some(own) = self.transaction.take() {
                    self.log.close(own.position.partition, (!commits).then_some(own.position));
                }
            }
            Step::Scribble { user, bytes } => self.scribble(user % 2, bytes),
            _ => {}
        }
    }

    fn scribble(&mut self, number: u8, bytes: Bytes) {
        self.disturbed.insert(user(number));
        let lead = if bytes == Bytes::Ahead { Lead::Years } else { Lead::None };
        let event = Sent::stray(number, 3, lead, self.now).received(self.now);
        let mut outgoing = framed(&event);
        let whole = outgoing.value.take().unwrap();
        let mut intact = None;
        outgoing.value = Some(match bytes {
            Bytes::Broken => whole[..20].to_vec(),
            Bytes::BodyBroken => {
                intact = Some(whole.clone());
                whole[..whole.len() - 1].to_vec()
            }
            // Of no framing, or of an id that is of something else.
            Bytes::Unknown if self.now / 1_000 % 2 == 0 => b"{}".to_vec(),
            Bytes::Unknown => Framing::Registered(STRANGER).encode(&event),
            Bytes::Ahead => whole,
        });
        self.log.append(outgoing, intact);
        if bytes == Bytes::Unknown {
            self.unknown.push(user(number));
        }
    }
}

impl Clock {
    pub(crate) fn error(self) -> i64 {
        match self {
            Self::Right => 0,
            Self::Fast => 10 * 60_000,
            Self::Slow => -10 * 60_000,
            Self::DaySlow => -24 * HOUR,
        }
    }
}
