//! The keeper's membership in its consumer group, which decides what this replica repairs.

use std::time::Duration;

use kafka::group::{GroupEvent, Membership};
use tokio::time::Instant;

use super::Upkeep;
use crate::keeper::{self, GROUP};

/// The pause before the group is joined again after an error.
const REJOIN_AFTER: Duration = Duration::from_secs(2);

/// The membership in the keeper's group. It is renewed whenever it ends.
pub(super) struct Group<'u> {
    upkeep: &'u Upkeep,
    membership: Option<Membership>,
    rejoin_at: Instant,
}

impl<'u> Group<'u> {
    pub(super) fn new(upkeep: &'u Upkeep) -> Self {
        Self { upkeep, membership: None, rejoin_at: Instant::now() }
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
                Some(membership) => match membership.next().await {
                    Ok(GroupEvent::Assigned(partitions)) => return keeper::Event::Assigned(partitions),
                    Ok(GroupEvent::Revoked(partitions)) => return keeper::Event::Revoked(partitions),
                    Err(error) => error,
                },
                None => {
                    tokio::time::sleep_until(self.rejoin_at).await;
                    match Membership::join(&self.upkeep.options, GROUP, &self.upkeep.topic) {
                        Ok(membership) => {
                            self.membership = Some(membership);
                            continue;
                        }
                        Err(error) => error,
                    }
                }
            };
            tracing::warn!(error = &error as &dyn std::error::Error, "the keeper has lost its group membership");
            self.rejoin_at = Instant::now() + REJOIN_AFTER;
            if self.membership.take().is_some() {
                return keeper::Event::AllRevoked;
            }
        }
    }

    pub(super) async fn leave(self) {
        if let Some(membership) = self.membership {
            membership.leave().await;
        }
    }
}
