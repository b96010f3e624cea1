//! What there is in the table, as metrics. It is counted when it is asked for, as for `/status`, so that both say the
//! same at the same moment; before there is a table in use, there is no sample.

use std::fmt;
use std::sync::Arc;

use domain::UnixMillis;
use domain::gap::GapState;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

use crate::facts::seconds;
use crate::shared::Shared;
use crate::store::{Contents, Tally};

/// Counts the table in use: it reads from the file, so it blocks.
#[derive(Debug)]
pub(crate) struct ContentsCollector(pub(crate) Arc<Shared>);

impl Collector for ContentsCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let (Ok(readers), now) = (self.0.readers(), self.0.now()) else { return Ok(()) };
        match readers.with(|reader| Ok((reader.contents()?, reader.tally(now)?))) {
            Ok((contents, tally)) => {
                encode_contents(&mut encoder, contents)?;
                encode_tally(&mut encoder, tally)
            }
            Err(error) => {
                tracing::debug!(error = &error as &dyn std::error::Error, "the table cannot be counted");
                Ok(())
            }
        }
    }
}

fn encode_contents(encoder: &mut DescriptorEncoder<'_>, contents: Contents) -> Result<(), fmt::Error> {
    let Contents { counts, records_unreadable, last_event } = contents;
    gauge(encoder, "rollcall_projector_users", "Users in the table", counts.users)?;
    gauge(encoder, "rollcall_projector_forgotten_users", "Users that are forgotten", counts.forgotten)?;
    let help = "Records up to the table's position that cannot be read or are unknown";
    gauge(encoder, "rollcall_projector_unreadable_records", help, records_unreadable)?;
    let (name, help) = (
        "rollcall_projector_last_event_timestamp",
        "Receipt of the newest event in the table, since 1970; 0 without any",
    );
    let metric = encoder.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Gauge)?;
    ConstGauge::new(seconds(last_event.unwrap_or(UnixMillis::from_millis(0)))).encode(metric)
}

fn encode_tally(encoder: &mut DescriptorEncoder<'_>, tally: Tally) -> Result<(), fmt::Error> {
    let Tally { gaps_awaited, gaps_lost, users_unknown } = tally;
    gauge(encoder, "rollcall_projector_unknown_users", "Users whose last records are unknown", users_unknown)?;
    let (name, help) = ("rollcall_projector_gaps", "Deliveries that are missing, by state");
    let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    for (state, count) in [(GapState::Awaited, gaps_awaited), (GapState::Lost, gaps_lost)] {
        ConstGauge::new(gauged(count)).encode(family.encode_family(&[("state", state.as_str())])?)?;
    }
    Ok(())
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
    let metric = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
    ConstGauge::new(gauged(value)).encode(metric)
}

/// Returns a count as a gauge has it.
fn gauged(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
