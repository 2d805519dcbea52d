//! Parsers of single values. Each returns `None` for a bad value; the message is the rule in the table of settings.

use std::path::PathBuf;
use std::time::Duration;

use super::table::row;

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// `true` or `false`, in any case.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "true" => Some(true),
        "false" => Some(false),
        _ => None,
    }
}

/// Decimal digits only: no sign, no spaces.
pub(super) fn number(text: &str) -> Option<u64> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

pub(super) fn port(text: &str) -> Option<u16> {
    number(text).and_then(|n| u16::try_from(n).ok())
}

/// A count from 1 to 100,000,000: above it no memory of today holds what is counted.
pub(super) fn count(text: &str) -> Option<usize> {
    number(text).filter(|n| (1..=100_000_000).contains(n)).and_then(|n| usize::try_from(n).ok())
}

/// A level of the replicated state that this build knows, or the newest one.
pub(super) fn level(text: &str) -> Option<u32> {
    if text == "newest" {
        return Some(dyad_state::LEVEL);
    }
    text.parse().ok().filter(|level| (1..=dyad_state::LEVEL).contains(level))
}

/// Days, up to a century.
pub(super) fn days(text: &str) -> Option<u64> {
    number_not_empty(text).filter(|n| (1..=36_500).contains(n))
}

/// Versions of one configuration: the core holds no more.
pub(super) fn versions(text: &str) -> Option<u32> {
    let max = dyad_config::limits::HISTORY_MAX as u64;
    number_not_empty(text).filter(|n| (1..=max).contains(n)).and_then(|n| u32::try_from(n).ok())
}

/// Versions of all configurations: with less than a mebibyte, a content of the largest size would never have an older version.
pub(super) fn history_size(text: &str) -> Option<u64> {
    size(text, MIB, 16 * TIB)
}

/// A size in bytes from `least` to `most`.
pub(super) fn size(text: &str, least: u64, most: u64) -> Option<u64> {
    let (digits, unit) = split_unit(text);
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => KIB,
        "MiB" => MIB,
        "GiB" => GIB,
        "TiB" => TIB,
        _ => return None,
    };
    number_not_empty(digits)?.checked_mul(factor).filter(|bytes| (least..=most).contains(bytes))
}

/// A size as the settings of a request have it: 1 KiB to 1 GiB.
pub(super) fn request_size(text: &str) -> Option<usize> {
    size(text, KIB, GIB).and_then(|bytes| usize::try_from(bytes).ok())
}

/// Headers: below 8 KiB the HTTP parser does not work, above 1 MiB is no header.
pub(super) fn header_size(text: &str) -> Option<usize> {
    size(text, 8 * KIB, MIB).and_then(|bytes| usize::try_from(bytes).ok())
}

/// Free disk: 0 switches the check off. The default stands for what fits the disk.
pub(super) fn disk_size(text: &str) -> Option<Option<u64>> {
    if text == row("min_free_disk").default {
        return Some(None);
    }
    size(text, 0, TIB).map(Some)
}

/// Memory of the process: with less than 128 MiB it cannot work. The default stands for what the machine has.
pub(super) fn memory(text: &str) -> Option<Option<u64>> {
    if text == row("memory").default {
        return Some(None);
    }
    size(text, 128 * MIB, 16 * TIB).map(Some)
}

/// A duration with its unit, 1 ms to 1 h.
pub(super) fn duration(text: &str) -> Option<Duration> {
    duration_upto(text, 3_600_000)
}

/// `off`, or the time between two backups, up to a month.
pub(super) fn period_or_off(text: &str) -> Option<Option<Duration>> {
    if text.eq_ignore_ascii_case("off") {
        return Some(None);
    }
    duration_upto(text, 720 * 3_600_000).filter(|time| *time >= Duration::from_secs(1)).map(Some)
}

/// Backups that are kept: more files than that are not looked through.
pub(super) fn kept(text: &str) -> Option<usize> {
    count(text).filter(|n| *n <= 10_000)
}

/// A directory. The default is none: it follows from the data directory.
pub(super) fn backup_dir(text: &str) -> Option<Option<PathBuf>> {
    Some(path(text))
}

fn duration_upto(text: &str, most_ms: u64) -> Option<Duration> {
    let (digits, unit) = split_unit(text);
    let factor = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return None,
    };
    let ms = number_not_empty(digits)?.checked_mul(factor)?;
    (1..=most_ms).contains(&ms).then(|| Duration::from_millis(ms))
}

/// `off`, or a duration of at least a second: what is done once a second cannot be timed finer.
pub(super) fn time_or_off(text: &str) -> Option<Option<Duration>> {
    if text.eq_ignore_ascii_case("off") {
        return Some(None);
    }
    duration(text).filter(|time| *time >= Duration::from_secs(1)).map(Some)
}

/// Any path but an empty one.
pub(super) fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// A level, or a list of `target=level` and levels.
pub(super) fn log_level(text: &str) -> Option<String> {
    let level = |word: &str| matches!(word, "off" | "error" | "warn" | "info" | "debug" | "trace");
    let target = |word: &str| {
        !word.is_empty() && word.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b':')
    };
    let text = text.to_ascii_lowercase();
    let good = text.split(',').all(|part| match part.split_once('=') {
        Some((name, word)) => target(name) && level(word),
        None => level(part),
    });
    good.then_some(text)
}

fn number_not_empty(digits: &str) -> Option<u64> {
    if digits.is_empty() { None } else { number(digits) }
}

fn split_unit(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_durations() {
        let sizes = [
            ("0", Some(0)),
            ("64KiB", Some(65_536)),
            ("1TiB", Some(1 << 40)),
            ("2TiB", None),
            ("", None),
            ("KiB", None),
            ("64KB", None),
            ("64kib", None),
            ("-1", None),
            ("1.5MiB", None),
            ("99999999999999999999", None),
            ("18446744073709551615KiB", None),
        ];
        for (text, want) in sizes {
            assert_eq!(disk_size(text), want.map(Some), "{text:?}");
        }
        assert_eq!(disk_size("auto"), Some(None));
        let durations = [
            ("10s", Some(10_000)),
            ("500ms", Some(500)),
            ("1h", Some(3_600_000)),
            ("2h", None),
            ("0s", None),
            ("10", None),
            ("s", None),
            ("1d", None),
            ("18446744073709551615h", None),
        ];
        for (text, want) in
            [("512MiB", Some(Some(512 << 20))), ("127MiB", None), ("0", None), ("17592186044417", None)]
        {
            assert_eq!(memory(text), want, "{text:?}");
        }
        for (text, want) in durations {
            assert_eq!(duration(text), want.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn log_levels() {
        for good in ["info", "OFF", "info,dyad_raft=debug", "dyad::wire=trace"] {
            assert!(log_level(good).is_some(), "{good:?}");
        }
        for bad in ["", "verbose", "info,", "=info", "a=b", "a[b]=info"] {
            assert!(log_level(bad).is_none(), "{bad:?}");
        }
    }
}
