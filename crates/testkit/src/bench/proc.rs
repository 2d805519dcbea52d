//! What /proc says about a process: CPU time and memory.

use std::time::Duration;

use anyhow::{Context, Result};

/// Kernel clock ticks a second in /proc/PID/stat: 100 on every Linux architecture since 2.4 (USER_HZ).
const TICKS: u64 = 100;

/// User and system time of a process.
///
/// # Errors
/// It is gone.
pub(super) fn cpu_of(pid: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_cpu(&text).context("/proc/PID/stat has another form")
}

/// Resident memory of a process in bytes.
///
/// # Errors
/// It is gone.
pub(super) fn rss_of(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse_rss(&text).context("/proc/PID/status has another form")
}

fn parse_cpu(text: &str) -> Option<Duration> {
    // The command's name may contain spaces and parentheses; the third field comes after its last one.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}

fn parse_rss(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert_eq!(parse_cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse_cpu("12"), None);
        assert_eq!(parse_rss("Name:\tx\nVmRSS:\t  20 kB\n"), Some(20_480));
        assert_eq!(parse_rss("Name: x"), None);
        assert!(cpu_of(std::process::id()).is_ok() && rss_of(std::process::id()).unwrap() > 0);
    }
}
