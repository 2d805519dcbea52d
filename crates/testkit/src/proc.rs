//! What /proc says about a process: CPU time, memory, threads and descriptors.

use std::time::Duration;

use anyhow::{Context, Result};

/// Kernel clock ticks a second in /proc/PID/stat: 100 on every Linux architecture since 2.4 (USER_HZ).
const TICKS: u64 = 100;
const FORM: &str = "/proc/PID/status has another form";

/// User and system time of a process.
///
/// # Errors
/// It is gone.
pub fn cpu_of(pid: u32) -> Result<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    parse_cpu(&text).context("/proc/PID/stat has another form")
}

/// Resident memory of a process in bytes.
///
/// # Errors
/// It is gone.
pub fn rss_of(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    Ok(parse_status(&text, "VmRSS:").context(FORM)? * 1024)
}

/// Threads of a process.
///
/// # Errors
/// It is gone.
pub fn threads_of(pid: u32) -> Result<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    parse_status(&text, "Threads:").context(FORM)
}

/// Open descriptors of a process.
///
/// # Errors
/// It is gone.
pub fn descriptors_of(pid: u32) -> Result<u64> {
    Ok(std::fs::read_dir(format!("/proc/{pid}/fd"))?.count() as u64)
}

fn parse_cpu(text: &str) -> Option<Duration> {
    // The command's name may contain spaces and parentheses; the third field comes after its last one.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}

/// The number behind a name in /proc/PID/status; memory is in KiB there.
fn parse_status(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let stat = "12 (a) b) S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20";
        assert_eq!(parse_cpu(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse_cpu("12"), None);
        assert_eq!(parse_status("Name:\tx\nVmRSS:\t  20 kB\n", "VmRSS:"), Some(20));
        assert_eq!(parse_status("Name: x", "VmRSS:"), None);
        let me = std::process::id();
        assert!(cpu_of(me).is_ok() && rss_of(me).unwrap() > 0);
        assert!(threads_of(me).unwrap() > 0 && descriptors_of(me).unwrap() > 2);
    }
}
