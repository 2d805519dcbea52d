//! Sends rows of contents from one member to another: the rows on which a received snapshot relies and which the
//! receiver does not have.
//!
//! The receiver asks for these rows instead of getting all of them, because a member that was away for an hour lacks
//! only a few of many. It stores what it gets, so a transfer that breaks goes on where it was. Rows never change, so
//! any member can send them; the sender of the snapshot is asked first.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::time::Duration;

use dyad_config::{ContentRow, Revision};
use dyad_proto::raft as pb;
use tonic::Status;

use super::snapshot::{Received, blocking};
use crate::contents::{NotServed, Since};
use crate::handle::Inner;
use crate::space::Purpose;
use crate::types::{Node, index_of};

/// Revisions in one request.
const ASK_MAX: usize = 1024;
/// Bytes of rows in one reply, but for one larger row.
const REPLY_BYTES: usize = 1024 * 1024;
/// One reply with rows of a megabyte or more, and reading them from the disk.
const REPLY_DEADLINE: Duration = Duration::from_secs(20);

impl Inner {
    /// Fetches, stores and makes durable the rows that the snapshot needs and this member lacks.
    pub(super) async fn fetch_rows(&self, received: &Received) -> Result<(), Status> {
        let upto = index_of(received.snapshot.meta.last_log_id.as_ref());
        let (store, config) = (self.contents.clone(), received.state.config().clone());
        // What is staged counts as absent, and is fetched again with the same bytes: rare, and harmless.
        let compared = blocking(move || store.compare(&config, upto, Since::default())).await?;
        let compared = compared.map_err(|e| Status::internal(format!("{}: {e}", self.contents.file())))?;
        let mut missing = VecDeque::from(compared.missing);
        if missing.is_empty() {
            return Ok(());
        }
        tracing::info!("fetching {} contents that the snapshot relies on", missing.len());
        let mut error =
            Status::unavailable("no member is known that could have the contents of the snapshot");
        for (member, node) in self.sources(received) {
            match self.fetch_from(member, &node, &mut missing).await {
                Ok(()) => return self.contents.sync().await.map_err(|e| Status::internal(e.to_string())),
                Err(status) => {
                    let what =
                        format!("{} contents from {}: {}", missing.len(), node.address, status.message());
                    tracing::warn!("did not get {what}");
                    error = Status::new(status.code(), what);
                }
            }
        }
        Err(error)
    }

    /// All other members of the snapshot's membership and of the present one, the sender first.
    fn sources(&self, received: &Received) -> Vec<(u64, Node)> {
        let own = self.metrics(|m| m.membership_config.clone());
        let nodes = received.snapshot.meta.last_membership.nodes().chain(own.nodes());
        let mut sources: Vec<(u64, Node)> =
            nodes.filter(|(id, _)| **id != self.me.id).map(|(id, node)| (*id, node.clone())).collect();
        sources.sort_by_key(|(id, _)| (*id != received.from, *id));
        sources.dedup();
        sources
    }

    /// Takes from `missing` what was got.
    async fn fetch_from(&self, member: u64, node: &Node, missing: &mut VecDeque<u64>) -> Result<(), Status> {
        let mut client = self.peers.own_client(&node.cluster_address);
        while !missing.is_empty() {
            let asked: Vec<u64> = missing.iter().take(ASK_MAX).copied().collect();
            let request = pb::ContentsRequest { head: Some(self.me.head(member)), revisions: asked.clone() };
            let reply = tokio::time::timeout(REPLY_DEADLINE, client.contents(request)).await;
            let reply = reply.map_err(|_| Status::deadline_exceeded("no answer in time"))??.into_inner();
            if reply.rows.is_empty() || reply.rows.len() > asked.len() {
                return Err(Status::data_loss(format!("{} rows for {}", reply.rows.len(), asked.len())));
            }
            // Of a transfer that ends here the rows stay, and the next one fetches the others.
            let bytes = reply.rows.iter().map(|row| row.len()).sum();
            self.space.take(Purpose::Last, bytes).map_err(Status::resource_exhausted)?;
            let mut rows = Vec::with_capacity(reply.rows.len());
            for (revision, bytes) in asked.into_iter().map(Revision).zip(&reply.rows) {
                let row =
                    ContentRow::decode(revision, bytes).map_err(|e| Status::data_loss(e.to_string()))?;
                rows.push((revision, row));
            }
            let got = rows.len();
            self.contents.room().await.map_err(|e| Status::internal(e.to_string()))?;
            self.contents.stage(rows);
            missing.drain(..got);
        }
        Ok(())
    }

    /// Answers such a request.
    pub(super) async fn give_rows(&self, revisions: Vec<u64>) -> Result<pb::ContentsReply, Status> {
        if revisions.is_empty() || revisions.len() > ASK_MAX {
            let what = format!("{} contents in one request, from 1 to {ASK_MAX}", revisions.len());
            return Err(Status::invalid_argument(what));
        }
        let store = self.contents.clone();
        let rows = blocking(move || store.encoded(&revisions, REPLY_BYTES)).await?;
        let rows = rows.map_err(|error| match error {
            NotServed::Unknown(revision) => {
                Status::not_found(format!("content row {revision} is not stored here, or not any more"))
            }
            NotServed::Damaged(what) => {
                tracing::error!("a member asked for damaged contents: {what}");
                Status::data_loss(what)
            }
        })?;
        self.me.rows_given.fetch_add(rows.len() as u64, Ordering::Relaxed);
        Ok(pb::ContentsReply { rows })
    }
}
