//! Backups of the state that this member has applied: on demand over the admin socket, and by the clock into a directory.

mod metrics;
mod room;
mod schedule;
mod stream;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use dyad_backup::{Header, HeldMember, Rows, Summary};
use dyad_raft::{Export, Fatal, RaftHandle};

pub(crate) use metrics::BackupMetrics;
pub(crate) use schedule::spawn;
pub(crate) use stream::Streams;

/// What a backup is made of.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    pub(crate) raft: Arc<RaftHandle>,
    /// Milliseconds since the epoch.
    pub(crate) wall_ms: fn() -> u64,
}

/// A state that was taken, with its contents held, and what the backup says of it.
pub(crate) struct Taken {
    export: Export,
    pub(crate) header: Header,
}

impl Source {
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
        let header = tokio::task::block_in_place(|| dyad_backup::counted(header, &export.state));
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
