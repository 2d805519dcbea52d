//! What a leader does by itself: it founds the identity of the cluster, finishes changes of the membership that are
//! half done, and raises the level of the state. This file also watches for the end of openraft.

use dyad_state::ClusterCommand;
use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use openraft::async_runtime::WatchReceiver;
use tokio::time::Instant;

use crate::error::Fatal;
use crate::handle::Inner;

/// How often a leader looks again; it also looks at each change of leader or membership.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// A leader that must not lead hands over at most so often: the next one may have to as well.
const HAND_OVER_AGAIN: Duration = Duration::from_secs(10);

pub(crate) async fn run(inner: Arc<Inner>) {
    let mut metrics = inner.raft.server_metrics();
    let mut handed_over: Option<Instant> = None;
    loop {
        let leads = metrics.borrow_and_update().state == ServerState::Leader;
        inner.peers.moved(inner.membership().nodes());
        let votes = inner.membership().voter_ids().any(|id| id == inner.me.id);
        if leads && (inner.barred().is_some() || !votes) {
            // Its list is wrong, and that of the next leader may be right; or it has lost its vote just when it was elected.
            if handed_over.is_none_or(|at| at.elapsed() >= HAND_OVER_AGAIN)
                && let Ok(_turn) = inner.changing.try_lock()
            {
                inner.transfer_to(None).await;
                handed_over = Some(Instant::now());
            }
        } else if leads {
            found(&inner).await;
            inner.finish_joint().await;
            inner.finish_joins().await;
            inner.raise_level().await;
        }
        inner.note_whole().await;
        let changed = tokio::time::timeout(LOOK_AGAIN, metrics.changed()).await;
        if matches!(changed, Ok(Err(_))) {
            return;
        }
    }
}

/// Any leader may do it: the member that initialized the cluster may have died before it could.
async fn found(inner: &Inner) {
    if inner.me.applied.cluster_id.read().is_some() {
        return;
    }
    let cluster_id = rand::random::<u128>().max(1);
    if let Err(error) = inner.propose(ClusterCommand::Found { cluster_id }.into()).await {
        tracing::debug!("the cluster has no identity yet: {error}");
    }
}

/// Reports openraft's end, unless it was asked to end.
pub(crate) async fn watch(inner: Arc<Inner>) {
    let mut metrics = inner.raft.metrics();
    loop {
        let ended = metrics.borrow_and_update().running_state.clone().err();
        if let Some(error) = ended {
            if !inner.stopping() {
                inner.fatal.set(Fatal::Raft(error.to_string()));
            }
            return;
        }
        if metrics.changed().await.is_err() {
            return;
        }
    }
}
