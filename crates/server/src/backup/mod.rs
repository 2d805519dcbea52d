//! Backups of the state that this member has applied: on demand over the admin socket, and by the clock into a directory.

mod metrics;
mod schedule;
mod shelf;
mod stream;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dyad_backup::{Header, HeldMember, Rows, Summary};
use dyad_cluster::Directory;
use dyad_raft::{Export, Fatal, RaftHandle};

pub(crate) use metrics::BackupMetrics;
pub(crate) use schedule::{prepare, spawn};
pub(crate) use stream::Streams;

/// What a backup is made of.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) raft: Arc<RaftHandle>,
    /// `None`: the server is alone, and nobody removes it.
    pub(crate) directory: Option<Arc<Directory>>,
    /// Milliseconds since the epoch.
    pub(crate) wall_ms: fn() -> u64,
}

/// A state that was taken, with its contents held, and what the backup says of it.
pub(crate) struct Taken {
    export: Export,
    pub(crate) header: Header,
}

impl Source {
    /// The cluster to which this member belongs. One that is in none yet, or was removed from it, has nothing to back up.
    fn cluster(&self) -> Option<u128> {
        let is_removed = self.directory.as_ref().is_some_and(|directory| directory.is_removed());
        self.raft.status().cluster_id.filter(|_| !is_removed)
    }

    /// # Errors
    /// This member has no state, or raft does not answer.
    pub(crate) async fn take(&self) -> Result<Taken, Fatal> {
        let export = self.raft.export().await?;
        let member = |voter: bool| {
            move |peer: &dyad_raft::Peer| HeldMember {
                member: peer.member,
                address: peer.node.address.clone(),
                cluster_address: peer.node.cluster_address.clone(),
                voter,
            }
        };
        let header = Header {
            cluster_id: export.state.cluster().id(),
            term: export.at.term,
            leader: export.at.leader,
            index: export.at.index,
            taken_ms: (self.wall_ms)(),
            state_ms: export.state.now_ms(),
            member: self.raft.status().member,
            in_quorum: export.in_quorum,
            level: export.state.cluster().level(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            members: export
                .voters
                .iter()
                .map(member(true))
                .chain(export.learners.iter().map(member(false)))
                .collect(),
            ..Header::default()
        };
        // Goes through all services and versions: some milliseconds for each hundred thousand.
        let header = tokio::task::block_in_place(|| header.counting(&export.state));
        Ok(Taken { export, header })
    }
}

impl Taken {
    /// Writes the backup. Reads the disk, and may take minutes. `done` counts the rows.
    ///
    /// # Errors
    /// The output fails, or a row is damaged or gone.
    pub(crate) fn write(&self, out: impl io::Write, done: &AtomicU64) -> io::Result<Summary> {
        let mut rows = Held { export: &self.export, done };
        dyad_backup::write(out, &self.header, &self.export.state, &mut rows)
    }
}

struct Held<'a> {
    export: &'a Export,
    done: &'a AtomicU64,
}

impl Rows for Held<'_> {
    fn take(&mut self, revisions: &[u64]) -> io::Result<Vec<Bytes>> {
        let rows = self.export.rows(revisions)?;
        self.done.fetch_add(rows.len() as u64, Ordering::Relaxed);
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use dyad_cluster::{ClusterTls, Dialer, Membership};
    use dyad_raft::{Dial, Node, RaftConfig};
    use dyad_state::ports::CpSink;
    use dyad_state::{CpChanges, CpState};
    use dyad_types::MemberId;
    use tonic::transport::{Channel, Endpoint};

    use super::*;

    struct Alone;

    impl Dial for Alone {
        fn channel(&self, _: &str) -> Channel {
            Endpoint::from_static("http://127.0.0.1:1").connect_lazy()
        }
    }

    impl CpSink for Alone {
        fn applied(&self, _: &CpState, _: &CpChanges) {}
        fn installed(&self, _: &CpState) {}
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_member_that_was_removed_has_nothing_to_back_up() {
        let root = tempfile::tempdir().unwrap();
        let me = MemberId(7);
        let config = RaftConfig::new(me, root.path().join("data"));
        let raft = RaftHandle::start(config, Arc::new(Alone), Arc::new(Alone)).await.unwrap();
        let tls = ClusterTls::from_token(&[7; 32]).unwrap();
        let directory = Arc::new(Directory::new(me, 1, Vec::new(), Dialer::new(tls)).unwrap());
        let source = Source { raft, directory: Some(Arc::clone(&directory)), wall_ms: || 0 };
        assert_eq!(source.cluster(), None, "it is in no cluster yet");
        source.raft.initialize([(me, Node::new("a:1", "a:2"))].into()).await.unwrap();
        let founded = async {
            while source.cluster().is_none() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), founded).await.unwrap();
        directory.follow(Membership::default(), true);
        assert_eq!(source.cluster(), None);
    }
}
