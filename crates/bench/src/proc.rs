//! What /proc says about a process.

use std::time::Duration;

/// Kernel clock ticks a second in /proc/PID/stat: 100 on every Linux architecture since 2.4 (USER_HZ).
const TICKS: u64 = 100;

/// User and system time of these processes together; None if there is none, one is gone or this is no Linux.
pub(crate) fn cpu_of(pids: &[u32]) -> Option<Duration> {
    all(pids, cpu_of_one)
}

/// Resident bytes of these processes together.
pub(crate) fn rss_of(pids: &[u32]) -> Option<u64> {
    all(pids, rss_of_one)
}

fn all<T: std::iter::Sum>(pids: &[u32], one: impl Fn(u32) -> Option<T>) -> Option<T> {
    if pids.is_empty() { None } else { pids.iter().map(|pid| one(*pid)).sum() }
}

fn cpu_of_one(pid: u32) -> Option<Duration> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The command's name may contain spaces and parentheses; the third field comes after its last one.
    let fields: Vec<&str> = text[text.rfind(')')? + 1..].split_whitespace().collect();
    let ticks = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Duration::from_millis(ticks * 1000 / TICKS))
}

fn rss_of_one(pid: u32) -> Option<u64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process() {
        let own = std::process::id();
        let once = rss_of(&[own]).unwrap();
        assert!(cpu_of(&[own]).is_some() && once > 0 && rss_of(&[own, own]).unwrap() > once);
        assert_eq!((cpu_of(&[]), cpu_of(&[own, u32::MAX])), (None, None));
    }
}
