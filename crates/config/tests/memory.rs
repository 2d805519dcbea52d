//! Reading what a stranger sent takes memory in proportion to it. One test in a process of its own, so that the peak is its own.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use dyad_config::archive::{self, NEW, OLD};
use dyad_config::{ConfigType, syntax};

/// As the server has it: memory that was given back is not counted for long.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bytes that each of the texts has.
const TEXT: usize = 4 * 1024 * 1024;
/// KiB that reading may take at its peak: the text twice, while it is inflated, and what the parser looks ahead.
const PEAK_KIB: u64 = 64 * 1024;

fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
fn a_small_archive_takes_little_memory_whatever_it_inflates_to() {
    if !cfg!(target_os = "linux") {
        return;
    }
    let filled = |start: &str, part: &str, end: &str| {
        format!("{start}{}{end}", part.repeat((TEXT - start.len() - end.len()) / part.len()))
    };
    let texts = [
        (NEW, filled("metadata: [", "a,", "a]")),
        (NEW, filled("[", "a,", "a]")),
        (NEW, filled("metadata:\n- {", "a: b,", "}")),
        (NEW, filled("metadata:\n", "- a\n", "")),
        (NEW, filled("metadata:\n", "- {group: G, dataId: d, type: t}\n", "")),
        (NEW, filled("x:\n", "- &a b\n", "metadata: []\n")),
        (NEW, filled("x:\n", "- a\n", "metadata: []\n")),
        (NEW, filled("", "- ", "x")),
        (OLD, filled("", "G.a.app=b\n", "")),
        (OLD, filled("", "a=b\r", "c")),
    ];
    let archives: Vec<Vec<u8>> =
        texts.iter().map(|(name, text)| archive::write([("G/a", "x"), (name, text)]).unwrap()).collect();
    let yaml = filled("[", "a,", "a]");
    let before = peak_kib();
    for (archive, (name, text)) in archives.iter().zip(&texts) {
        assert!(archive.len() < 100_000, "{name} is sent with {} bytes", archive.len());
        let read = archive::read(archive, "");
        let taken = peak_kib() - before;
        let start: String = text.chars().take(40).collect();
        assert!(taken <= PEAK_KIB, "{name} that starts with {start:?}: {taken} KiB, {read:?}");
    }
    assert_eq!(syntax::check(ConfigType::Yaml, &yaml), None);
    let taken = peak_kib() - before;
    assert!(taken <= PEAK_KIB, "the check of a content: {taken} KiB");
}
