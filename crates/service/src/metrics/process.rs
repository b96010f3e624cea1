//! Metrics of the process: its start, processor time, memory and open files.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
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
        if let Some(Times { start_s, cpu_s }) = times() {
            let (start, cpu) = (ConstGauge::new(start_s), ConstCounter::new(cpu_s));
            let (name, help) = ("process_start_time", "Start of the process, since 1970");
            start.encode(encoder.encode_descriptor(name, help, Some(&Unit::Seconds), start.metric_type())?)?;
            let (name, help) = ("process_cpu", "Processor time of the process, user and system");
            cpu.encode(encoder.encode_descriptor(name, help, Some(&Unit::Seconds), cpu.metric_type())?)?;
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

/// The times of the process, in seconds.
struct Times {
    start_s: f64,
    cpu_s: f64,
}

/// The unit of times in /proc: `USER_HZ` is 100 on every architecture that Rust's Linux targets have (proc(5)).
const TICKS_PER_SECOND: f64 = 100.0;

/// Returns the times in /proc/self/stat, the start since the boot time of /proc/stat.
fn times() -> Option<Times> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field, the name in brackets, may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    // The first one here is the third of proc(5): 14 and 15 are the times used, 22 is the start.
    let ticks = |field: usize| fields.get(field - 3)?.parse::<f64>().ok();
    let boot = std::fs::read_to_string("/proc/stat").ok()?;
    let boot: f64 = boot.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse().ok()?;
    Some(Times { start_s: boot + ticks(22)? / TICKS_PER_SECOND, cpu_s: (ticks(14)? + ticks(15)?) / TICKS_PER_SECOND })
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
        let value = |name: &str| -> f64 {
            let line = text.lines().find(|line| line.starts_with(name)).unwrap();
            line.rsplit(' ').next().unwrap().parse().unwrap()
        };
        assert!(value("process_resident_memory_bytes ") > 1e6);
        assert!(value("process_open_fds ") > 2.0);
        assert!(value("process_cpu_seconds_total ") >= 0.0);
        let since_2020 = 1_577_836_800.0;
        assert!(value("process_start_time_seconds ") > since_2020);
    }
}
