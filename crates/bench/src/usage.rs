//! Who used the processors during a measurement, from `/proc` (proc(5)).

use std::fs;
use std::time::Duration;

use tokio::time::Instant;

/// The kernel counts the time of processors in hundredths of a second (proc(5): `USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;
const KIB: u64 = 1024;
pub(crate) const MIB: f64 = (1 << 20) as f64;

/// Processor seconds of a time, by who used them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) elapsed: Duration,
    /// This process: the load, and what is measured inside it.
    pub(crate) own: f64,
    pub(crate) service: f64,
    /// Not a number where the broker's process is not known.
    pub(crate) broker: f64,
    /// What all others used of the processors, in per cent of all of them.
    pub(crate) others_percent: f64,
    /// The bytes that the service had written to a disk.
    pub(crate) written: f64,
}

/// The counters at the beginning of a measurement.
#[derive(Debug)]
pub(crate) struct Watch {
    began: Instant,
    service_pid: Option<u32>,
    broker_pid: Option<u32>,
    at_begin: Counters,
}

#[derive(Clone, Copy, Debug)]
struct Counters {
    busy: f64,
    own: f64,
    service: f64,
    broker: f64,
    written: u64,
}

impl Watch {
    /// Begins to count for these processes and this one.
    pub(crate) fn begin(service_pid: Option<u32>, broker_pid: Option<u32>) -> Self {
        let at_begin = Counters::now(service_pid, broker_pid);
        Self { began: Instant::now(), service_pid, broker_pid, at_begin }
    }

    /// Returns what was used since the beginning.
    pub(crate) fn end(&self) -> Usage {
        let (elapsed, from) = (self.began.elapsed(), self.at_begin);
        let until = Counters::now(self.service_pid, self.broker_pid);
        let (own, service, broker) = (until.own - from.own, until.service - from.service, until.broker - from.broker);
        let others = (until.busy - from.busy - own - service - broker).max(0.0);
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Usage {
            elapsed,
            own,
            service,
            broker: if self.broker_pid.is_some() { broker } else { f64::NAN },
            others_percent: 100.0 * others / (elapsed.as_secs_f64() * processors as f64),
            written: until.written.saturating_sub(from.written) as f64,
        }
    }
}

impl Counters {
    fn now(service_pid: Option<u32>, broker_pid: Option<u32>) -> Self {
        Self {
            busy: busy(),
            own: seconds_of_path("/proc/self/stat"),
            service: service_pid.map_or(0.0, seconds_of),
            broker: broker_pid.map_or(0.0, seconds_of),
            written: service_pid.map_or(0, written_by),
        }
    }
}

/// Returns the resident memory of a process and the most that it has had, in bytes.
pub(crate) fn memory_of(pid: u32) -> (u64, u64) {
    let path = format!("/proc/{pid}/status");
    (field(&path, "VmRSS:") * KIB, field(&path, "VmHWM:") * KIB)
}

/// Lets the count of the most memory begin anew (proc(5): `clear_refs`).
pub(crate) fn forget_most(pid: u32) {
    if let Err(error) = fs::write(format!("/proc/{pid}/clear_refs"), "5") {
        eprintln!("the most memory counts from the start: {error}");
    }
}

/// Returns the bytes that a process had written to a disk.
fn written_by(pid: u32) -> u64 {
    field(&format!("/proc/{pid}/io"), "write_bytes:")
}

fn field(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok());
    value.unwrap_or(0)
}

/// Returns the time of a process and of its children.
fn seconds_of(pid: u32) -> f64 {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|child| child.parse().ok());
    seconds_of_path(&format!("/proc/{pid}/stat")) + children.map(seconds_of).sum::<f64>()
}

/// User and system time: fields 14 and 15, counted after the name, which can have blanks.
fn seconds_of_path(path: &str) -> f64 {
    let stat = fs::read_to_string(path).unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2);
    fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND
}

/// Returns the time that all processors were busy: user, nice, system, irq and softirq of the first line.
fn busy() -> f64 {
    let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
    let ticks: Vec<f64> = stat.lines().next().unwrap_or_default().split(' ').filter_map(|t| t.parse().ok()).collect();
    [0, 1, 2, 5, 6].iter().filter_map(|field| ticks.get(*field)).sum::<f64>() / TICKS_PER_SECOND
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_known_by_its_number() {
        let own = std::process::id();
        let (now, most) = memory_of(own);
        assert!(now > 0 && most >= now);
        assert!(seconds_of(own) <= busy());
    }
}
