//! Metrics of the process: memory and open files.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Unit;

/// Reads /proc each time the metrics are encoded. The metrics are absent on systems without /proc.
#[derive(Debug)]
pub(super) struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        if let Some(bytes) = resident_bytes() {
            let gauge = ConstGauge::<u64>::new(bytes);
            let name = "process_resident_memory";
            let metric = encoder.encode_descriptor(name, "Resident memory", Some(&Unit::Bytes), gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
            let gauge = ConstGauge::<u64>::new(files.count() as u64);
            let metric =
                encoder.encode_descriptor("process_open_fds", "Open file descriptors", None, gauge.metric_type())?;
            gauge.encode(metric)?;
        }
        Ok(())
    }
}

/// Returns `VmRSS` of /proc/self/status (proc(5)) in bytes; the file has it in KiB.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}
#[cfg(test)]
mod tests {
    use crate::Metrics;

    #[test]
    #[cfg(target_os = "linux")]
    fn the_process_is_measured() {
        let text = Metrics::new().encode();
        let value = |name: &str| -> u64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes ") > 1 << 20);
        assert!(value("process_open_fds ") > 2);
    }
}
