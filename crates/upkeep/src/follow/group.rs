//! The keeper's membership in its consumer group, which decides what this replica repairs.

use std::time::Duration;

use kafka::group::{GroupEvent, Membership};
use service::permissions::Permission;
use tokio::time::Instant;

use super::{Upkeep, sleep_until};
use crate::keeper::{self, GROUP};

/// The pause before the group is joined again after an error.
const REJOIN_AFTER: Duration = Duration::from_secs(2);
/// A membership without an error for so long is permitted: a refusal comes with the first answer.
const PERMITTED_AFTER: Duration = Duration::from_secs(30);

/// The membership in the keeper's group. It is renewed whenever it ends.
pub(super) struct Group<'u> {
    upkeep: &'u Upkeep,
    membership: Option<Membership>,
    rejoin_at: Instant,
    /// When a membership that is not refused by then counts as permitted.
    permitted_at: Option<Instant>,
}

impl<'u> Group<'u> {
    pub(super) fn new(upkeep: &'u Upkeep) -> Self {
        Self { upkeep, membership: None, rejoin_at: Instant::now(), permitted_at: None }
    }

    /// Waits for the next change of this replica's assignment. Waits forever where the replica does not repair.
    ///
    /// Cancel-safe.
    pub(super) async fn next(&mut self) -> keeper::Event {
        if self.upkeep.repairer.is_none() {
            return std::future::pending().await;
        }
        loop {
            let error = match &mut self.membership {
                Some(membership) => {
                    let event = tokio::select! {
                        event = membership.next() => event,
                        () = sleep_until(self.permitted_at) => {
                            self.report(false);
                            continue;
                        }
                    };
                    match event {
                        Ok(event) => {
                            self.report(false);
                            return match event {
                                GroupEvent::Assigned(partitions) => keeper::Event::Assigned(partitions),
                                GroupEvent::Revoked(partitions) => keeper::Event::Revoked(partitions),
                            };
                        }
                        Err(error) => error,
                    }
                }
                None => {
                    tokio::time::sleep_until(self.rejoin_at).await;
                    match Membership::join(&self.upkeep.options, GROUP, &self.upkeep.topic) {
                        Ok(membership) => {
                            self.membership = Some(membership);
                            self.permitted_at = Some(Instant::now() + PERMITTED_AFTER);
                            continue;
                        }
                        Err(error) => error,
                    }
                }
            };
            if error.is_refused() {
                self.report(true);
            }
            tracing::warn!(error = &error as &dyn std::error::Error, "the keeper has lost its group membership");
            self.rejoin_at = Instant::now() + REJOIN_AFTER;
            if self.membership.take().is_some() {
                return keeper::Event::AllRevoked;
            }
        }
    }

    /// Reports whether the group is refused.
    fn report(&mut self, is_refused: bool) {
        self.permitted_at = None;
        if let Some(permissions) = &self.upkeep.permissions {
            permissions.report(&self.upkeep.options.group(GROUP), Permission::Group, is_refused);
        }
    }

    pub(super) async fn leave(self) {
        if let Some(membership) = self.membership {
            membership.leave().await;
        }
    }
}
