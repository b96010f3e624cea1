//! Asks the cluster about the topic, before its log is read.

use std::pin::pin;

use domain::topics::{DELETE_RETENTION, Spec};
use futures_util::future::{Either, select};
use kafka::client::connect;
use kafka::topics::{self, Severity};
use service::telemetry::chain;

use crate::error::Error;
use crate::shared::{ASK_DEADLINE, Shared};
use crate::start::Topic;

/// Asks the cluster about the topic, for as long as it takes; `None` when the shutdown came first.
pub(super) async fn ask_topic(shared: &Shared) -> Result<Option<Topic>, Error> {
    let (options, name) = (&shared.options.kafka, &shared.options.topic);
    shared.waits_for("the cluster");
    loop {
        let asked_at = shared.now();
        let asked = async {
            // In this order: whatever reads the log finds out if the ends are of another one.
            let description = topics::describe(options, name, ASK_DEADLINE).await?;
            Ok::<_, topics::Error>((description, topics::watermarks(options, name, ASK_DEADLINE).await?))
        };
        let (description, log) = match shared.until_shutdown(or_reason(asked, connect(options, ASK_DEADLINE))).await {
            None => return Ok(None),
            Some(Ok(Ok(answer))) => answer,
            Some(Err(reason)) => {
                shared.log_wait(&reason, "the cluster cannot be used: trying again");
                shared.waits_for(&format!("the cluster: {reason}"));
                shared.ends_unanswered(reason.into());
                if shared.pause().await.is_none() {
                    return Ok(None);
                }
                continue;
            }
            // Whatever it is, somebody may mend it: cluster, topic or permissions.
            Some(Ok(Err(error))) => {
                shared.log_wait(&error, "the topic cannot be described: trying again");
                shared.waits_for(&format!("the cluster: {}", chain(&error)));
                shared.ends_unanswered(error.into());
                if shared.pause().await.is_none() {
                    return Ok(None);
                }
                continue;
            }
        };
        shared.partitions.report(description.partitions);
        for finding in topics::judge(&Spec::users(name, description.partitions, 1), Some(&description)) {
            match finding.severity {
                Severity::Refuse => return Err(Error::Topic { topic: name.clone(), reason: finding.to_string() }),
                Severity::Warn => tracing::warn!(%finding, "the topic is not as the contract says"),
                Severity::Note => tracing::debug!(%finding, "the topic cannot be checked in this respect"),
            }
        }
        let setting = |name| description.settings.as_ref()?.get(name)?.parse().ok();
        let holds = shared.ends.holds(&log).await;
        let topic = Topic {
            name: name.clone(),
            id: description.log,
            delete_retention_ms: setting(DELETE_RETENTION),
            log,
            holds,
            asked_at,
        };
        shared.ends_answered(&topic.answer());
        return Ok(Some(topic));
    }
}

/// Returns the answer to a question, or the reason for which the cluster cannot be used, which says more than the
/// failure of the question. An answer does not wait until there is no such reason.
async fn or_reason<T, E, R>(
    asked: impl Future<Output = Result<T, E>>,
    connected: impl Future<Output = Result<(), R>>,
) -> Result<Result<T, E>, R> {
    match select(pin!(asked), pin!(connected)).await {
        Either::Left((Ok(answer), _)) => Ok(Ok(answer)),
        Either::Left((Err(error), connected)) => connected.await.map(|()| Err(error)),
        Either::Right((connected, asked)) => {
            connected?;
            Ok(asked.await)
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    #[tokio::test]
    async fn the_reason_why_a_cluster_cannot_be_used_says_more_than_a_question_without_an_answer() {
        type Asked = Result<Result<u8, &'static str>, &'static str>;
        let answered: Asked = or_reason(ready(Ok(1)), pending()).await;
        assert_eq!(answered, Ok(Ok(1)), "nobody waits for a reason that is not needed");
        let refused: Asked = or_reason(pending(), ready(Err("refused"))).await;
        assert_eq!(refused, Err("refused"), "nor for a question that has no answer");
        let failed: Asked = or_reason(ready(Err("timed out")), ready(Err("refused"))).await;
        assert_eq!(failed, Err("refused"));
        let denied: Asked = or_reason(ready(Err("denied")), ready(Ok(()))).await;
        assert_eq!(denied, Ok(Err("denied")), "the cluster can be used, and the topic cannot");
    }
}
