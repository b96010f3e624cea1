//! Members share the partitions out and read each from its beginning.

use std::collections::BTreeSet;

use kafka::group::{Error, GroupEvent, Membership};
use kafka::tail::Limits;

use crate::broker::{PATIENCE, TOPIC, broker, publish_all, publisher};

/// What a member has been told so far.
#[derive(Default)]
struct Told {
    owned: BTreeSet<i32>,
    offsets: Vec<(i32, i64)>,
    ended: BTreeSet<i32>,
}

impl Told {
    async fn next(&mut self, member: &mut Membership) {
        match tokio::time::timeout(PATIENCE, member.next()).await.unwrap().unwrap() {
            GroupEvent::Assigned(partitions) => {
                self.offsets.retain(|(partition, _)| !partitions.contains(partition));
                self.owned.extend(partitions);
            }
            GroupEvent::Revoked(partitions) => {
                self.owned.retain(|partition| !partitions.contains(partition));
                self.ended.retain(|partition| !partitions.contains(partition));
            }
            GroupEvent::Records(records) => {
                for record in records {
                    assert!(self.owned.contains(&record.position.partition), "{record:?}");
                    self.offsets.push((record.position.partition, record.position.offset));
                }
            }
            GroupEvent::EndReached { partition, .. } => {
                self.ended.insert(partition);
            }
        }
    }

    async fn until_ended(&mut self, member: &mut Membership, partitions: &[i32]) {
        let partitions: BTreeSet<i32> = partitions.iter().copied().collect();
        while self.owned != partitions || self.ended != partitions {
            self.next(member).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_reads_its_partitions_from_the_beginning() {
    let broker = broker(2);
    let positions = publish_all(&publisher(&broker), 0..20).await;
    let mut expected: Vec<(i32, i64)> =
        positions.iter().map(|position| (position.partition, position.offset)).collect();
    expected.sort_unstable();
    // The embedded broker does not take a member into a group that was left by its last one, hence a group each.
    for group in ["keeper", "another"] {
        let mut member = Membership::join(&broker.client_options(), group, TOPIC, Limits::default()).unwrap();
        let mut told = Told::default();
        told.until_ended(&mut member, &[0, 1]).await;
        told.offsets.sort_unstable();
        assert_eq!(told.offsets, expected);
        member.leave().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_position_outside_the_log_ends_the_membership_and_the_next_one_reads_anew() {
    let broker = broker(1);
    publish_all(&publisher(&broker), 0..3).await;
    let mut member = Membership::join(&broker.client_options(), "keeper", TOPIC, Limits::default()).unwrap();
    Told::default().until_ended(&mut member, &[0]).await;

    broker.deny_next_fetch();
    let ended = async {
        loop {
            if let Err(error) = member.next().await {
                return error;
            }
        }
    };
    let error = tokio::time::timeout(PATIENCE, ended).await.expect("a member that fetches no more says so");
    assert_eq!(error, Error::PositionOutsideLog);
    member.leave().await;

    publish_all(&publisher(&broker), 3..5).await;
    let mut member = Membership::join(&broker.client_options(), "another", TOPIC, Limits::default()).unwrap();
    let mut told = Told::default();
    told.until_ended(&mut member, &[0]).await;
    assert_eq!(told.offsets.len(), 5);
    member.leave().await;
}
