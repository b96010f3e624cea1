//! A transaction of another producer, which holds back every reader of committed records while it is open.

use std::time::Duration;

use domain::topics::Names;
use domain::{UserEvent, headers, wire};
use kafka::ClientOptions;
use rdkafka::ClientConfig;
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer as _};

/// How long a step of a transaction may take.
const STEP_MAX: Duration = Duration::from_secs(60);
/// When the broker ends the transaction by itself: later than any test.
const TIMEOUT_MS: &str = "600000";

/// A transaction. It is aborted by the broker when its producer is gone for long.
pub(crate) struct Transaction {
    producer: BaseProducer,
    topic: String,
}

impl Transaction {
    /// Prepares a transaction on the topic of users. It is open from the first record on.
    pub(crate) async fn prepare(options: &ClientOptions, names: &Names) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", &options.bootstrap)
            .set("transactional.id", format!("{}.transaction", names.users))
            .set("transaction.timeout.ms", TIMEOUT_MS);
        let topic = names.users.clone();
        step(move || {
            let producer: BaseProducer = config.create()?;
            producer.init_transactions(STEP_MAX)?;
            producer.begin_transaction()?;
            Ok(Self { producer, topic })
        })
        .await
    }

    /// Appends an event to the first partition.
    pub(crate) async fn append(self, event: &UserEvent) -> Self {
        let event = event.clone();
        step(move || {
            let (key, value) = (event.head().user_id.to_string(), wire::encode(&event));
            let headers = headers::for_event(&event, None).into_iter().fold(OwnedHeaders::new(), |headers, header| {
                headers.insert(Header { key: header.0, value: Some(&header.1) })
            });
            let record = BaseRecord::to(&self.topic).key(&key).payload(&value).partition(0).headers(headers);
            self.producer.send(record.timestamp(event.received_at.millis())).map_err(|(error, _)| error)?;
            self.producer.flush(STEP_MAX)?;
            Ok(self)
        })
        .await
    }

    /// Ends it: its records count.
    pub(crate) async fn commit(self) {
        step(move || self.producer.commit_transaction(STEP_MAX)).await;
    }

    /// Ends it: its records do not count.
    pub(crate) async fn abort(self) {
        step(move || self.producer.abort_transaction(STEP_MAX)).await;
    }
}

async fn step<T: Send + 'static>(step: impl FnOnce() -> rdkafka::error::KafkaResult<T> + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(step).await.expect("the step does not panic");
    done.expect("the broker takes the transaction")
}
