//! Measures what the state of 100,000 configurations of 1 KB with 10 versions each takes, without the store.

#![allow(clippy::print_stdout, reason = "a program for people")]

use dyad_config::{Change, ConfigCommand, ConfigState, Draft, Publish, Source};
use dyad_types::{ConfigKey, Stamp};

/// As the server has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CONFIGS: u64 = 100_000;
const VERSIONS: u64 = 10;
const CONTENT: usize = 1_000;

fn resident_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux shows it");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).expect("a number of kB")
}

fn main() {
    let before = resident_kib();
    let started = std::time::Instant::now();
    let mut state = ConfigState::default();
    for index in 1..=CONFIGS * VERSIONS {
        let n = index % CONFIGS;
        let key = ConfigKey::new("public", "DEFAULT_GROUP", &format!("service-{n:06}.properties"));
        let mut content = format!("{index}=");
        content.extend(std::iter::repeat_n('x', CONTENT - content.len()));
        let publish = Publish { key, draft: Draft::text(&content), cas: None, enforce: false };
        let source = Source { user: "nacos".into(), ip: "10.0.0.1".into(), reason: "".into() };
        let command = ConfigCommand { source, change: Change::Publish(publish) };
        let (_, changes) = state.apply(&command, Stamp { now_ms: index, index });
        assert_eq!(changes.contents_put.len(), 1);
    }
    let taken = resident_kib() - before;
    let each = taken * 1024 / CONFIGS;
    let elapsed = started.elapsed();
    println!(
        "{CONFIGS} configurations of {CONTENT} bytes with {VERSIONS} versions: {taken} KiB, {each} bytes each"
    );
    println!("{} ns a publish, its md5 included", elapsed.as_nanos() / u128::from(CONFIGS * VERSIONS));
    println!("{} rows relied on", state.revisions().count());
}
