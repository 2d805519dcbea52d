//! A start reads a long run of large entries in small pieces.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dyad_config::{Change, ConfigCommand, Draft, Publish, Source};
use dyad_state::CpCommand;
use dyad_state::ports::Propose;
use dyad_types::{ConfigKey, MemberId};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

use super::NoSink;
use crate::backend::{LogBackend, MemBackend, MemContents, MetaKey, Volume};
use crate::{Dial, Node, RaftConfig, RaftHandle};

/// What opening the log reads at once, and one entry more: the most that a start may read.
const READ_MAX: usize = 4 * 1024 * 1024 + CONTENT + 1024;
const CONTENT: usize = 256 * 1024;
/// More than the 16 MiB of the log's tail that stay in memory, by more than [`READ_MAX`].
const ENTRIES: usize = 100;

/// Notes the largest read.
#[derive(Default)]
struct Watched {
    log: MemBackend,
    largest: AtomicUsize,
}

impl LogBackend for Watched {
    fn append(&self, records: &[(u64, Bytes)]) -> io::Result<()> {
        self.log.append(records)
    }
    fn truncate_from(&self, index: u64) -> io::Result<()> {
        self.log.truncate_from(index)
    }
    fn purge_to(&self, index: u64, limit: usize) -> io::Result<bool> {
        self.log.purge_to(index, limit)
    }
    fn put_meta(&self, key: MetaKey, value: &[u8]) -> io::Result<()> {
        self.log.put_meta(key, value)
    }
    fn get_meta(&self, key: MetaKey) -> io::Result<Option<Bytes>> {
        self.log.get_meta(key)
    }
    fn range(&self, from: u64, to: u64, max_bytes: usize) -> io::Result<Vec<(u64, Bytes)>> {
        let found = self.log.range(from, to, max_bytes)?;
        let bytes = found.iter().map(|(_, record)| record.len()).sum();
        self.largest.fetch_max(bytes, Ordering::Relaxed);
        Ok(found)
    }
    fn sync(&self) -> io::Result<()> {
        self.log.sync()
    }
    fn file(&self) -> String {
        self.log.file()
    }
    fn volume(&self) -> io::Result<Option<Volume>> {
        self.log.volume()
    }
}

struct Nobody;

impl Dial for Nobody {
    fn channel(&self, address: &str) -> Channel {
        Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
    }
}

async fn start(log: &Arc<Watched>, dir: &TempDir) -> Arc<RaftHandle> {
    let mut config = RaftConfig::new(MemberId(super::MEMBER), dir.path().to_owned());
    config.min_free_bytes = Some(0);
    let backends = (Arc::clone(log) as Arc<dyn LogBackend>, Arc::new(MemContents::new()) as _);
    RaftHandle::start_on(backends, config, Arc::new(Nobody), Arc::new(NoSink)).await.unwrap()
}

#[tokio::test]
async fn a_start_reads_a_run_of_large_entries_in_pieces() {
    let (log, dir) = (Arc::new(Watched::default()), TempDir::new().unwrap());
    let first = start(&log, &dir).await;
    let node = Node::new("a:1", "a:2");
    first.initialize(BTreeMap::from([(MemberId(super::MEMBER), node)])).await.unwrap();
    assert!(first.wait_leader(Duration::from_secs(30)).await);
    for n in 0..ENTRIES {
        let key = ConfigKey::new("", "G", &n.to_string());
        let publish = Publish { key, draft: Draft::text(&"x".repeat(CONTENT)), cas: None, enforce: false };
        let change = Change::Publish(publish);
        let command = CpCommand::Config(ConfigCommand { source: Source::default(), change });
        first.propose(command).await.unwrap();
    }
    first.shutdown().await;
    log.largest.store(0, Ordering::Relaxed);

    let second = start(&log, &dir).await;
    let largest = log.largest.load(Ordering::Relaxed);
    assert!(largest <= READ_MAX, "{largest} bytes were read at once");
    assert_eq!(second.state().config().items().count(), ENTRIES, "replayed before the start returns");
    second.shutdown().await;
}
