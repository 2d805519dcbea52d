//! What the stores take on the disk while much is written for long: the log, whatever is published, and the contents, when old
//! versions go.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::collections::BTreeMap;
use std::path::Path;

use common::{LIMIT, Member, eventually};
use dyad_config::{Change, ConfigCommand, ConfigReply, Draft, Prune, Publish, Source};
use dyad_raft::{RaftConfig, log_disk_max};
use dyad_state::ports::Propose;
use dyad_state::{CpCommand, CpReply};
use dyad_types::ConfigKey;

const MIB: u64 = 1024 * 1024;
/// Bytes of histories that stay.
const HISTORY: u64 = 8 * MIB;
/// Contents of 64 KiB. A round of them is what is written between two looks at the histories.
const CONTENT: usize = 64 * 1024;
const ROUNDS: usize = 32;
const OF_ROUND: usize = 80;
const CONFIGS: usize = 10;
/// What the file of contents may have beside twice the rows that are stored: sled writes a page again for every few values, so that a
/// new row costs twice its bytes; rows go after a snapshot; and sled collects a segment of its file only when half of it is dead.
const CONTENTS_BASE: u64 = 48 * MIB;

fn tuned(config: &mut RaftConfig) {
    config.snapshot_bytes = 4 * MIB;
    config.keep_bytes = MIB;
}

fn change(change: Change) -> CpCommand {
    CpCommand::Config(ConfigCommand { source: Source::default(), change })
}

fn publish(n: usize, text: String) -> CpCommand {
    let key = ConfigKey::new("", "G", &format!("c{}", n % CONFIGS));
    change(Change::Publish(Publish { key, draft: Draft::text(&text), cas: None, enforce: false }))
}

fn taken(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).into_iter().flatten().map(Result::unwrap);
    let sizes = entries.map(|entry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => taken(&entry.path()),
        // A file that goes while it is looked at takes nothing.
        meta => meta.map_or(0, |meta| meta.len()),
    });
    sizes.sum()
}

/// Many times what stays of either is written.
#[test]
fn the_log_and_the_contents_stay_within_their_bounds() {
    let dir = tempfile::tempdir().unwrap();
    let mut member = Member::new(1, dir.path().into(), tuned);
    member.start();
    let voters = BTreeMap::from([(member.id, member.node.clone())]);
    member.block_on(member.handle().initialize(voters)).unwrap();
    assert!(member.block_on(member.handle().wait_recovered(LIMIT)));
    let mut config = RaftConfig::new(member.id, dir.path().into());
    tuned(&mut config);
    let log_max = log_disk_max(&config, 0);
    let stored_max = HISTORY + (OF_ROUND * CONTENT) as u64;
    let contents_max = 2 * stored_max + CONTENTS_BASE;
    let mut written = 0;
    for round in 0..ROUNDS {
        let texts = (0..OF_ROUND).map(|n| (n, format!("{round}/{n} {}", "z".repeat(CONTENT))));
        for (n, text) in texts {
            written += text.len() as u64;
            let reply = member.propose(publish(n, text));
            assert!(matches!(reply, Ok(CpReply::Config(ConfigReply::Done { .. }))), "{reply:?}");
            if n % 16 == 0 {
                let log = taken(&dir.path().join("raft"));
                assert!(log <= log_max, "round {round}: {log} bytes of log on the disk, {written} written");
            }
        }
        if let Some(until_ms) = member.block_on(member.handle().history_until(HISTORY)).unwrap() {
            let prune = Change::Prune(Prune { until_ms, keep: 1_000, from: None });
            member.block_on(member.handle().propose(change(prune))).unwrap();
        }
        // A snapshot that is due is made before more is written, however fast that is.
        eventually("a snapshot", || {
            let status = member.handle().status();
            let since = status.applied.unwrap_or(0) - status.snapshot.unwrap_or(0);
            (since < OF_ROUND as u64).then_some(())
        });
        let contents = taken(&dir.path().join("contents"));
        assert!(contents <= contents_max, "round {round}: {contents} bytes of contents, {written} written");
    }
    assert!(written > 2 * contents_max, "{written} bytes are too few to tell");
    let state = member.handle().state();
    assert!(state.config().revisions().count() as u64 * CONTENT as u64 <= stored_max + HISTORY / 4);
}
