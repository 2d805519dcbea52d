//! What the metrics say of the process, under the names that every program uses that Prometheus reads. They come from `/proc`;
//! where a file is missing, as on systems that are no Linux, so are its metrics.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::registry::Registry;
use rustix::process::{Resource, getrlimit};

/// Kernel clock ticks a second in `/proc/PID/stat`: 100 on every Linux architecture since 2.4 (USER_HZ).
const TICKS: f64 = 100.0;

/// Registers the metrics, which have no prefix of ours.
pub(super) fn register(registry: &mut Registry) {
    registry.register_collector(Box::new(Process));
}

#[derive(Debug)]
struct Process;

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let (stat, status) = (read("/proc/self/stat"), read("/proc/self/status"));
        if let Some(seconds) = cpu_seconds(&stat) {
            let help = "User and system CPU time of this process";
            let descriptor =
                encoder.encode_descriptor("process_cpu_seconds", help, None, MetricType::Counter)?;
            ConstCounter::new(seconds).encode(descriptor)?;
        }
        let gauges = [
            ("process_start_time_seconds", "Start of this process, since 1970-01-01 UTC", started(&stat)),
            (
                "process_resident_memory_bytes",
                "Memory of this process that is in RAM",
                line(&status, "VmRSS:").map(|kib| kib * 1024.0),
            ),
            (
                "process_virtual_memory_bytes",
                "Address space of this process",
                line(&status, "VmSize:").map(|kib| kib * 1024.0),
            ),
            ("process_threads", "Threads of this process", line(&status, "Threads:")),
            ("process_open_fds", "Open file descriptors of this process", open_files()),
            (
                "process_max_fds",
                "File descriptors that this process may open",
                getrlimit(Resource::Nofile).current.map(|most| most as f64),
            ),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let descriptor = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
            ConstGauge::new(value).encode(descriptor)?;
        }
        Ok(())
    }
}

/// A field of `/proc/PID/stat`, counted from 1 as proc(5) does. The second one, the name of the program, can contain spaces and
/// parentheses; the third comes after its last parenthesis.
fn field(stat: &str, number: usize) -> Option<f64> {
    let rest = &stat[stat.rfind(')')? + 1..];
    rest.split_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

fn cpu_seconds(stat: &str) -> Option<f64> {
    Some((field(stat, 14)? + field(stat, 15)?) / TICKS)
}

/// `stat` counts from the start of the system, which `/proc/stat` tells.
fn started(stat: &str) -> Option<f64> {
    let system = line(&fs::read_to_string("/proc/stat").ok()?, "btime ")?;
    Some(system + field(stat, 22)? / TICKS)
}

/// The number behind a name.
fn line(text: &str, name: &str) -> Option<f64> {
    let rest = text.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// Since Linux 6.2 the directory tells how many there are; before, they are counted, one of them being that of the directory.
fn open_files() -> Option<f64> {
    const DIRECTORY: &str = "/proc/self/fd";
    match fs::metadata(DIRECTORY).ok()?.len() {
        0 => Some(fs::read_dir(DIRECTORY).ok()?.count().saturating_sub(1) as f64),
        told => Some(told as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_any_name() {
        let before: Vec<String> = (4..=13).map(|number| number.to_string()).collect();
        let stat = format!("7 (a ) b) S {} 150 50 16 17 18 19 20 21 4200 23", before.join(" "));
        assert_eq!((cpu_seconds(&stat), field(&stat, 22)), (Some(2.0), Some(4200.0)));
        assert_eq!((cpu_seconds(""), cpu_seconds("7 (a) S"), field("7 (a) S x", 4)), (None, None, None));
    }

    #[test]
    fn a_line_of_the_status() {
        let status = "Name:\tdyad\nVmRSS:\t   12 kB\nThreads:\t5\n";
        assert_eq!((line(status, "VmRSS:"), line(status, "Threads:")), (Some(12.0), Some(5.0)));
        assert_eq!((line(status, "VmSize:"), line("VmSize: x", "VmSize:")), (None, None));
    }
}
