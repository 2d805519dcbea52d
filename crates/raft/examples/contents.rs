//! What configurations cost a member: memory and disk of many with many versions, and the latency of a publish beside that
//! of an instance's registration. `cargo run --release -p dyad-raft --example contents -- [CONFIGS] [BYTES] [VERSIONS]`,
//! by default 100,000 of 1,024 bytes with 10 versions each; it takes some minutes and two gigabytes of disk.
#![allow(clippy::unwrap_used, reason = "a measurement may panic")]
#![allow(clippy::print_stdout, reason = "a program for people")]

use dyad_naming::cp::NamingCommand;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dyad_config::{Catalog, Change, ConfigCommand, ConfigReply, Draft, Publish, Source};
use dyad_raft::{Dial, Node, RaftConfig, RaftHandle};
use dyad_state::ports::{CpSink, Propose};
use dyad_state::{CpChanges, CpCommand, CpReply, CpState};
use dyad_types::{ConfigKey, Instance, MemberId, ServiceKey};
use tonic::transport::{Channel, Endpoint};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WRITERS: usize = 256;
const SAMPLES: usize = 2_000;

struct NoDial;

impl Dial for NoDial {
    fn channel(&self, _: &str) -> Channel {
        Endpoint::from_static("http://127.0.0.1:0").connect_lazy()
    }
}

/// As the server feeds its readers.
struct Readers(Catalog);

impl CpSink for Readers {
    fn applied(&self, state: &CpState, changes: &CpChanges) {
        self.0.applied(state.config(), &changes.config);
    }

    fn installed(&self, state: &CpState) {
        self.0.installed(state.config());
    }
}

async fn start(dir: &Path) -> (Arc<RaftHandle>, Arc<Readers>) {
    let readers = Arc::new(Readers(Catalog::default()));
    let config = RaftConfig::new(MemberId(1), dir.to_owned());
    let handle = RaftHandle::start(config, Arc::new(NoDial), readers.clone()).await.unwrap();
    let node = Node::new("a:8848", "127.0.0.1:1");
    handle.initialize(BTreeMap::from([(MemberId(1), node)])).await.unwrap();
    assert!(handle.wait_recovered(Duration::from_secs(600)).await);
    (handle, readers)
}

fn publish(n: usize, version: usize, bytes: usize) -> CpCommand {
    let head = format!("service.{n}.version={version}\n");
    let content = format!("{head}{}", "k=v;".repeat(bytes.saturating_sub(head.len()) / 4));
    let key = ConfigKey::new("", "DEFAULT_GROUP", &format!("application-{n}.properties"));
    let change = Change::Publish(Publish { key, draft: Draft::text(&content), cas: None, enforce: false });
    CpCommand::Config(ConfigCommand { source: Source::default(), change })
}

async fn fill(handle: &Arc<RaftHandle>, configs: usize, versions: usize, bytes: usize) {
    let mut writers = Vec::new();
    for writer in 0..WRITERS {
        let handle = handle.clone();
        writers.push(tokio::spawn(async move {
            for version in 0..versions {
                for n in (writer..configs).step_by(WRITERS) {
                    let reply = handle.propose(publish(n, version, bytes)).await;
                    assert!(matches!(reply, Ok(CpReply::Config(ConfigReply::Done { .. }))), "{reply:?}");
                }
            }
        }));
    }
    for writer in writers {
        writer.await.unwrap();
    }
}

/// Percentiles of one writer's latency, in microseconds: publishes and registrations in turn, on the same disk.
async fn latency(handle: &Arc<RaftHandle>, bytes: usize) -> [[u128; 2]; 2] {
    let service = ServiceKey::new("public", "DEFAULT_GROUP", "orders");
    let mut took = [Vec::new(), Vec::new()];
    for n in 0..SAMPLES {
        let instance = Instance::new("10.0.0.1", u16::try_from(n % 60_000).unwrap() + 1);
        let commands =
            [publish(0, n, bytes), NamingCommand::Register { service: service.clone(), instance }.into()];
        for (took, command) in took.iter_mut().zip(commands) {
            let begun = Instant::now();
            handle.propose(command).await.unwrap();
            took.push(begun.elapsed().as_micros());
        }
    }
    took.map(|mut took| {
        took.sort_unstable();
        [took[SAMPLES / 2], took[SAMPLES * 99 / 100]]
    })
}

fn rss_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn disk_mib(dir: &Path) -> u64 {
    let entries = std::fs::read_dir(dir).unwrap().map(Result::unwrap);
    entries
        .map(|entry| match entry.metadata().unwrap() {
            meta if meta.is_dir() => disk_mib(&entry.path()) << 20,
            meta => meta.len(),
        })
        .sum::<u64>()
        >> 20
}

fn say(what: &str, dir: &Path) {
    let stores =
        ["raft", "contents", "snapshots"].map(|store| format!("{store} {}", disk_mib(&dir.join(store))));
    println!("{what}: {} MiB resident; MiB on disk: {}", rss_mib(), stores.join(", "));
}

#[tokio::main]
async fn main() {
    let args: Vec<usize> = std::env::args().skip(1).map(|arg| arg.parse().unwrap()).collect();
    let arg = |at: usize, default| args.get(at).copied().unwrap_or(default);
    let (configs, bytes, versions) = (arg(0, 100_000), arg(1, 1024), arg(2, 10));
    let dir = tempfile::tempdir_in(".").unwrap();
    let dir = dir.path();
    let (handle, readers) = start(dir).await;
    say("empty", dir);
    for (what, [p50, p99]) in ["publish", "register"].into_iter().zip(latency(&handle, bytes).await) {
        println!("{what}: p50 {p50} us, p99 {p99} us");
    }
    let begun = Instant::now();
    fill(&handle, configs, versions, bytes).await;
    let rate = (configs * versions) as f64 / begun.elapsed().as_secs_f64();
    say(&format!("{configs} configurations of {bytes} bytes, {versions} versions, {rate:.0} a second"), dir);
    // One that is being made does not count: asked again until it is the last.
    let last = handle.status().applied;
    let mut begun = Instant::now();
    while handle.status().snapshot < last {
        begun = Instant::now();
        let before = handle.status().snapshot;
        handle.snapshot().await.unwrap();
        while handle.status().snapshot == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    say(&format!("after a snapshot, the last took {} ms", begun.elapsed().as_millis()), dir);
    let state = readers.0.state();
    let revisions: Vec<_> = state.revisions().collect();
    let contents = handle.contents();
    let begun = Instant::now();
    let sample: Vec<_> = (0..10_000).map(|n| revisions[n * 7919 % revisions.len()]).collect();
    for revision in &sample {
        contents.read(*revision).unwrap();
    }
    let each = begun.elapsed().as_micros() / sample.len() as u128;
    say(&format!("after 10,000 reads of any versions, {each} us each"), dir);
    handle.shutdown().await;
    drop((contents, handle, state, readers));
    let begun = Instant::now();
    let (handle, _readers) = start(dir).await;
    say(&format!("started again in {} ms", begun.elapsed().as_millis()), dir);
    handle.shutdown().await;
}
