//! The facts as metrics, read when they are asked for.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use super::{Distance, Facts, seconds};

/// A partition of the topic.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabel {
    messaging_destination_partition_id: i32,
}

/// Shows the present facts. A number that is not known is absent.
#[derive(Debug)]
pub(crate) struct FactsCollector(pub(crate) Arc<Mutex<Facts>>);

impl Collector for FactsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let facts = self.0.lock().clone();
        let next = "Offset of the next record to be read";
        by_partition(&mut encoder, "rollcall_projector_next_offset", next, &facts, |distance| Some(distance.next))?;
        let lag = "Records between the table and the end of the log, absent for a partition whose end is not known";
        by_partition(&mut encoder, "rollcall_projector_lag", lag, &facts, Distance::lag)?;
        let held = "1 for a partition whose readers are held back by an open transaction, else 0";
        let is_held = |distance: &Distance| Some(i64::from(distance.hold.is_some()));
        by_partition(&mut encoder, "rollcall_projector_held_back", held, &facts, is_held)?;
        let answers = "1 while the cluster answers where the log ends, else 0";
        let answer = i64::from(facts.cluster().0);
        let metric =
            encoder.encode_descriptor("rollcall_projector_cluster_answers", answers, None, MetricType::Gauge)?;
        ConstGauge::new(answer).encode(metric)?;
        let Some(as_of) = facts.as_of() else { return Ok(()) };
        let help = "When the table was last known to have all of the log, since 1970: of the partition where that is \
                    longest ago";
        let name = "rollcall_projector_as_of_timestamp";
        let metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
        ConstGauge::new(seconds(as_of)).encode(metric)
    }
}

fn by_partition(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    facts: &Facts,
    value: impl Fn(&Distance) -> Option<i64>,
) -> Result<(), fmt::Error> {
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for distance in facts.distances() {
        if let Some(value) = value(&distance) {
            let label = PartitionLabel { messaging_destination_partition_id: distance.partition };
            ConstGauge::new(value).encode(family.encode_family(&label)?)?;
        }
    }
    Ok(())
}
