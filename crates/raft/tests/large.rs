//! A member joins whose contents have more than 4 GiB, is killed on the way, and goes on. By hand, as it takes ten gigabytes of disk and
//! some minutes: `cargo test --workspace --test large -- --ignored --nocapture`. The variable `DYAD_TEST_CONTENTS` is another number of
//! contents of 10 MiB.
#![allow(clippy::unwrap_used, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "it measures")]

mod common;

use std::io;
use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{Member, eventually};
use dyad_config::{Change, ConfigCommand, Draft, Publish, Source};
use dyad_raft::{Claim, Founding, Position, RowsOf, refound};
use dyad_state::{CpCommand, CpState, Envelope, Stamp};
use dyad_types::{ConfigKey, MemberId};

/// Contents of 10 MiB, the largest that Nacos takes: 4.4 GiB.
const CONTENTS: u64 = 450;
const CONTENTS_VARIABLE: &str = "DYAD_TEST_CONTENTS";
const BYTES: usize = 10 * 1024 * 1024;
/// Where the member that joins is killed, in tenths of the contents.
const KILLED_AT: [u64; 2] = [3, 6];
/// What sled's file may have beside what is in it.
const DISK_FACTOR: u64 = 2;
/// Files in `snapshots/`: the current one, one that is received, and two that are kept empty.
const FILES: usize = 4;
const LIMIT: Duration = Duration::from_secs(1_200);

/// The state after each publish, whose rows are made when they are asked for.
struct Publishes {
    state: CpState,
    next: u64,
    all: u64,
}

impl Publishes {
    /// Applies one publish, and answers its rows.
    fn publish(&mut self) -> Vec<(u64, Bytes)> {
        let index = self.next + 1;
        let text = format!("{index} {}", "c".repeat(BYTES - 16));
        let key = ConfigKey::new("", "G", &format!("large-{}", self.next));
        let change = Change::Publish(Publish { key, draft: Draft::text(&text), cas: None, enforce: false });
        let command = CpCommand::Config(ConfigCommand { source: Source::default(), change });
        let (_, changes) = self.state.apply(&Envelope::bare(command), Stamp { now_ms: index, index });
        self.next += 1;
        changes.config.contents_put.iter().map(|(revision, row)| (revision.0, row.encode().into())).collect()
    }
}

impl RowsOf for Publishes {
    fn next(&mut self) -> io::Result<Option<Vec<(u64, Bytes)>>> {
        Ok((self.next < self.all).then(|| self.publish()))
    }
}

fn taken(dir: &Path) -> (u64, usize) {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let files: Vec<u64> =
        entries.filter_map(|entry| entry.metadata().ok()).filter(|m| m.is_file()).map(|m| m.len()).collect();
    (files.iter().sum(), files.len())
}

fn status(field: &str) -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    status
        .lines()
        .find(|line| line.starts_with(field))
        .unwrap()
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
}

fn wait<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

#[test]
#[ignore = "ten gigabytes of disk, and minutes"]
fn a_member_joins_with_more_than_four_gibibytes_of_contents() {
    let root = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let count = std::env::var(CONTENTS_VARIABLE).map_or(CONTENTS, |count| count.parse().unwrap());
    let (source_dir, target_dir) = (root.path().join("source"), root.path().join("target"));
    std::fs::create_dir_all(&source_dir).unwrap();
    let mut source = Member::new(0x9999, source_dir.clone(), |config| {
        config.claim = Some(Claim { start: 2, logged: Some(1) });
    });
    let begun = Instant::now();
    // Once for the state, which comes first, and once more for the rows.
    let mut first = Publishes { state: CpState::default(), next: 0, all: count };
    while first.next().unwrap().is_some() {}
    let founding =
        Founding { cluster_id: 0xfeed, member: MemberId(0x9999), node: source.node.clone(), start: 1 };
    let position = Position { term: 1, leader: MemberId(1), index: count };
    let mut rows = Publishes { state: CpState::default(), next: 0, all: count };
    refound(&source_dir, &founding, (first.state, position), &mut rows).unwrap();
    println!("made in {:?}, {} bytes of contents", begun.elapsed(), taken(&source_dir.join("contents")).0);
    source.start();
    assert!(source.block_on(source.handle().wait_recovered(LIMIT)));
    std::fs::write("/proc/self/clear_refs", "5").unwrap();
    println!("source alone: {}", status("VmRSS"));

    let mut target = Member::new(0x8888, target_dir.clone(), |_| {});
    let begun = Instant::now();
    target.start();
    eventually("it is admitted", || {
        target.block_on(target.handle().join(&source.node.cluster_address, target.node.clone())).ok()
    });
    let files = || taken(&target_dir.join("snapshots")).1;
    let all = count * BYTES as u64;
    for tenth in KILLED_AT {
        wait("a part is there", || {
            assert!(files() <= FILES, "{} files in snapshots/", files());
            (taken(&target_dir.join("contents")).0 > all / 10 * tenth).then_some(())
        });
        println!("killed after {:?}, {} bytes there", begun.elapsed(), taken(&target_dir.join("contents")).0);
        target.crash();
        target.start();
    }
    wait("the state is there", || {
        assert!(files() <= FILES, "{} files in snapshots/", files());
        (target.handle().state() == source.handle().state()).then_some(())
    });
    let (bytes, _) = taken(&target_dir.join("contents"));
    println!("joined in {:?}, {bytes} bytes of contents, both members: {}", begun.elapsed(), status("VmHWM"));
    assert!(bytes > all && bytes < DISK_FACTOR * all, "{bytes}");
    let (state, contents) = (target.handle().state(), target.handle().contents());
    for revision in state.config().revisions().step_by(13) {
        assert_eq!(
            contents.read(revision).unwrap().content.unwrap().text().len(),
            BYTES - 16 + format!("{} ", revision.index()).len()
        );
    }
}
