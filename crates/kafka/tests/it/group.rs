//! Members share the partitions, and the group serves nothing else.

use std::collections::BTreeSet;

use kafka::group::{GroupEvent, Membership};

use crate::broker::{PATIENCE, TOPIC, broker, publish_all, publisher};

/// Waits until the member owns `count` partitions, and returns them.
async fn owning(member: &mut Membership, owned: &mut BTreeSet<i32>, count: usize) {
    let wait = async {
        while owned.len() != count {
            match member.next().await.unwrap() {
                GroupEvent::Assigned(partitions) => owned.extend(partitions),
                GroupEvent::Revoked(partitions) => owned.retain(|partition| !partitions.contains(partition)),
            }
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_member_owns_what_its_group_shares_out_and_gives_it_back() {
    let broker = broker(4);
    publish_all(&publisher(&broker), 0..20).await;
    // The embedded broker does not accept a member into a group that its last member has left, so each case has its own
    // group. It also does not reassign the partitions of a member; the tests against Apache Kafka cover that.
    for group in ["keeper", "another"] {
        let mut member = Membership::join(&broker.client_options(), group, TOPIC).unwrap();
        let mut owned = BTreeSet::new();
        owning(&mut member, &mut owned, 4).await;
        assert_eq!(owned, BTreeSet::from([0, 1, 2, 3]));
        member.leave().await;
    }
}
