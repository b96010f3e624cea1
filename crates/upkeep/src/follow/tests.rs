//! Gate and keeper against the embedded broker.

use std::time::Duration;

use domain::roll::Standing;
use domain::{Letter, Position, UserEvent, UserId};
use kafka::embedded::EmbeddedBroker;
use kafka::publish::{Limits, Outgoing, Publisher};

use super::*;
use crate::fixture::{NOW, change, event};
use crate::letters;

const TOPIC: &str = "users";
const LETTERS: &str = "letters";
/// Long enough for a busy machine. A test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(30);

fn names() -> Names {
    Names { users: TOPIC.to_owned(), dead_letter: LETTERS.to_owned(), ..Names::default() }
}

/// A running upkeep, with its gauges and its shutdown.
struct Running {
    gauges: Gauges,
    gate: Gate,
    shutdown: Shutdown,
    ended: tokio::task::JoinHandle<()>,
}

impl Running {
    /// Starts an upkeep that appends with these options.
    fn start(broker: &EmbeddedBroker, appends_with: &ClientOptions) -> Self {
        Self::with(broker, Publisher::open(appends_with, Limits::default()).unwrap())
    }

    fn with(broker: &EmbeddedBroker, publisher: Publisher) -> Self {
        Self::reading(broker.client_options(), publisher)
    }

    fn reading(options: ClientOptions, publisher: Publisher) -> Self {
        let upkeep = Upkeep::new(options, names(), Some(publisher), || NOW, &Metrics::new());
        let (gauges, gate, shutdown) = (upkeep.gauges.clone(), upkeep.gate(), Shutdown::new());
        let ended = tokio::spawn(upkeep.run(shutdown.clone()));
        Self { gauges, gate, shutdown, ended }
    }

    async fn until(&self, what: &str, holds: impl Fn(&Gauges) -> bool) {
        let held = async {
            while !holds(&self.gauges) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, held).await.unwrap_or_else(|_| panic!("{what}: never"));
    }

    async fn stop(self) {
        self.shutdown.trigger();
        tokio::time::timeout(PATIENCE, self.ended).await.expect("the upkeep stops").unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gate_is_in_force_at_the_end_that_the_log_had_though_the_reader_reports_none() {
    let broker = EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap();
    let sender = Publisher::open(&broker.client_options(), Limits::default()).unwrap();
    let stored = event(1, None, "x", 1);
    sender.publish(Outgoing::event(&stored, TOPIC, None)).await.unwrap();
    // The reader reports an end when a fetch has waited so long for a record, which traffic prevents.
    let mut waiting = broker.client_options();
    waiting.properties.insert("fetch.wait.max.ms".to_owned(), (2 * PATIENCE).as_millis().to_string());
    let replica = Running::reading(waiting, sender);
    let in_force = async {
        while replica.gate.judge(&stored.head()).await.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, in_force).await.expect("the gate comes into force");
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_repair_is_tried_again_though_other_partitions_are_never_quiet() {
    let broker = EmbeddedBroker::start(&[(TOPIC, 2)]).unwrap();
    let sender = Publisher::open(&broker.client_options(), Limits::default()).unwrap();
    let on =
        |partition, event: &UserEvent| Outgoing { partition: Some(partition), ..Outgoing::event(event, TOPIC, None) };
    // The winner exceeds the keeper's message limit. The late record that makes the key dirty does not.
    sender.publish(on(0, &event(1, None, &"x".repeat(4_000), 9))).await.unwrap();
    sender.publish(on(0, &event(1, None, "x", 1))).await.unwrap();
    let mut narrow = broker.client_options();
    narrow.properties.insert("message.max.bytes".to_owned(), "2000".to_owned());
    let keeper = Running::start(&broker, &narrow);

    let traffic = tokio::spawn(async move {
        for second in (0..60).cycle() {
            sender.publish(on(1, &event(2, None, "y", second))).await.unwrap();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    });
    keeper.until("another attempt", |gauges| gauges.keeper.failed.get() >= 2).await;
    assert_eq!(keeper.gauges.dirty.get(), 1, "a key that could not be repaired stays dirty");
    traffic.abort();
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_record_is_copied_and_the_newest_record_is_appended_after_it() {
    let broker = EmbeddedBroker::start(&[(TOPIC, 1), (LETTERS, 1)]).unwrap();
    let sender = Publisher::open(&broker.client_options(), Limits::default()).unwrap();
    let winner = Outgoing::event(&event(1, None, "x", 1), TOPIC, None);
    sender.publish(winner.clone()).await.unwrap();
    let broken = winner.value.as_deref().unwrap()[..20].to_vec();
    sender.publish(Outgoing { value: Some(broken.clone()), ..winner.clone() }).await.unwrap();
    // The user of this one has no state.
    let stateless = Outgoing { key: b"2".to_vec(), value: Some(broken[..19].to_vec()), ..winner };
    sender.publish(stateless).await.unwrap();
    let keeper = Running::start(&broker, &broker.client_options());
    keeper.until("a repair", |gauges| gauges.keeper.repairs.get() == 1 && gauges.dirty.get() == 0).await;
    assert_eq!(keeper.gauges.unreadable.get(), 2);

    let options = broker.client_options();
    let letters = tokio::task::spawn_blocking(move || letters::list(&options, LETTERS).unwrap()).await.unwrap();
    let mut letters: Vec<Letter> = letters.into_iter().map(|kept| kept.letter).collect();
    letters.sort_by_key(|letter| letter.body.len());
    let bodies: Vec<&[u8]> = letters.iter().map(|letter| letter.body.as_slice()).collect();
    assert_eq!(bodies, [&broken[..19], &broken], "also the one that stays");
    let of = |letter: &Letter| letter.record.clone().map(|record| (record.user_id.get(), record.position));
    for (letter, (user, offset)) in letters.iter().zip([(2, 2), (1, 1)]) {
        assert!(letter.is_of_record() && !letter.reason.is_empty(), "{letter:?}");
        let (own, position) = of(letter).unwrap();
        assert_eq!((own, position.position), (user, Position { partition: 0, offset }));
    }
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_appended_after_an_unreadable_record_that_cannot_be_copied() {
    // There is no topic for dead letters.
    let broker = EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap();
    let sender = Publisher::open(&broker.client_options(), Limits::default()).unwrap();
    let winner = Outgoing::event(&event(1, None, "x", 1), TOPIC, None);
    sender.publish(winner.clone()).await.unwrap();
    let broken = winner.value.as_deref().unwrap()[..20].to_vec();
    sender.publish(Outgoing { value: Some(broken), ..winner }).await.unwrap();
    let narrow = Limits { deadline: Duration::from_secs(1), ..Limits::default() };
    let keeper = Running::with(&broker, Publisher::open(&broker.client_options(), narrow).unwrap());
    keeper.until("a second attempt", |gauges| gauges.keeper.not_copied.get() == 2).await;
    assert_eq!((keeper.gauges.keeper.repairs.get(), keeper.gauges.dirty.get()), (0, 1));
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_tombstone_is_renewed_and_one_on_another_partition_is_repeated_there() {
    let broker = EmbeddedBroker::start(&[(TOPIC, 2)]).unwrap();
    let sender = Publisher::open(&broker.client_options(), Limits::default()).unwrap();
    let user_id = |user| UserId::new(user).unwrap();
    let old = UnixMillis::from_millis(NOW.millis() - 86_400_000 * 10);
    let on = |partition, record| Outgoing { partition: Some(partition), ..record };
    sender.publish(on(0, Outgoing::forgotten(user_id(1), TOPIC, old, old))).await.unwrap();
    sender.publish(on(0, Outgoing::event(&event(2, None, "x", 1), TOPIC, None))).await.unwrap();
    sender.publish(on(1, Outgoing::forgotten(user_id(2), TOPIC, NOW, NOW))).await.unwrap();
    let keeper = Running::start(&broker, &broker.client_options());
    let renewed = |gauges: &Gauges| gauges.keeper.renewals.get() == 1 && gauges.keeper.repairs.get() == 2;
    keeper.until("a renewal and a repair on both partitions", renewed).await;
    let is_new = |gauges: &Gauges| gauges.oldest_tombstone.get() == NOW.millis() / 1_000 && gauges.dirty.get() == 0;
    keeper.until("both are new", is_new).await;
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_keeper_stops_in_the_middle_of_a_repair() {
    let broker = EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap();
    let sender = Publisher::open(&broker.client_options(), Limits::default()).unwrap();
    for second in [9, 1] {
        sender.publish(Outgoing::event(&event(1, None, "x", second), TOPIC, None)).await.unwrap();
    }
    // Kafka acknowledges none of its records.
    let nowhere = ClientOptions::new("127.0.0.1:1");
    let limits = Limits { deadline: PATIENCE * 10, ..Limits::default() };
    let publisher = Publisher::open(&nowhere, limits).unwrap();
    let keeper = Running::with(&broker, publisher.clone());
    keeper.until("a repair under way", |_| publisher.in_queue() == 1).await;
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_ends_in_what_a_later_build_may_know_is_left_alone() {
    let broker = EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap();
    let sender = Publisher::open(&broker.client_options(), Limits::default()).unwrap();
    let known = |user, second| Outgoing::event(&change(user, "A>B", second), TOPIC, None);
    sender.publish(known(1, 1)).await.unwrap();
    sender.publish(Outgoing { value: Some(b"\0\0\0\0\x01".to_vec()), ..known(1, 1) }).await.unwrap();
    for second in [9, 1] {
        sender.publish(known(2, second)).await.unwrap();
    }
    let keeper = Running::start(&broker, &broker.client_options());
    let repaired = |gauges: &Gauges| gauges.keeper.repairs.get() == 1 && gauges.dirty.get() == 0;
    keeper.until("the other key's repair", repaired).await;
    assert_eq!(keeper.gauges.unknown.get(), 1);
    keeper.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tied_second_ends_in_one_record_that_carries_it() {
    let broker = EmbeddedBroker::start(&[(TOPIC, 1)]).unwrap();
    let sender = Publisher::open(&broker.client_options(), Limits::default()).unwrap();
    let events = ["C>D", "B>C", "A>B"].map(|states| change(1, states, 1));
    for event in &events {
        sender.publish(Outgoing::event(event, TOPIC, None)).await.unwrap();
    }
    let keeper = Running::start(&broker, &broker.client_options());
    keeper.until("a repair", |gauges| gauges.keeper.repairs.get() == 1 && gauges.dirty.get() == 0).await;
    let stored = |event: &UserEvent| match keeper.gate.look(|table| table.judge(&event.head())) {
        Standing::Known(position) => Some(position.offset),
        _ => None,
    };
    assert_eq!(events.each_ref().map(stored), [Some(3); 3], "one record carries all three");
    let winner =
        keeper.gate.look(|table| table.key(UserId::new(1).unwrap())?.roll.winner().map(|winner| winner.event_id));
    assert_eq!(winner, Some(events[0].event_id));
    keeper.stop().await;
}
