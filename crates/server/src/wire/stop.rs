//! The end of a server: first the peers take over, then the ports close, and then the stores.

use std::sync::Arc;
use std::time::Duration;

use dyad_cli::{Exit, Failure};
use dyad_grpc::Drain;
use dyad_http::Drained;
use tokio::signal::unix::{SignalKind, signal as listen};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::members::{begin_drain, others};
use super::parts::Parts;

/// How long the gRPC clients may take to go to other members.
const DRAIN: Duration = Duration::from_secs(4);
/// How long peers may take to claim this member's records.
const LEAVE: Duration = Duration::from_millis(2_200);
const TRANSFER: Duration = Duration::from_secs(1);
/// How long background tasks may take to end.
const TASKS: Duration = Duration::from_secs(2);

/// Waits for SIGTERM or SIGINT.
///
/// # Errors
/// When the process cannot listen for signals.
pub(crate) async fn signal() -> Result<&'static str, Failure> {
    let failed =
        |error: std::io::Error| Failure::new(Exit::Disk, format!("cannot wait for a signal: {error}"));
    let mut term = listen(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = listen(SignalKind::interrupt()).map_err(failed)?;
    tokio::select! {
        _ = term.recv() => Ok("SIGTERM"),
        _ = interrupt.recv() => Ok("SIGINT"),
    }
}

/// Sends the gRPC clients to the other members that serve; without one they stay.
async fn drain(parts: &Arc<Parts>) -> Drain {
    match others(parts) {
        others if others.is_empty() => Drain { asked: 0, left: parts.connections.len() },
        others => {
            begin_drain(parts);
            parts.connections.drain(&others, DRAIN).await
        }
    }
}

/// Leaves, drains and closes; says whether everything ended by itself. A second signal ends the process at once.
pub(crate) async fn graceful(
    parts: &Arc<Parts>,
    why: &str,
    quit: CancellationToken,
    serving: JoinHandle<Result<Drained, Failure>>,
) {
    tracing::info!("{why}: leaving");
    let work = async {
        let drained = drain(parts).await;
        let claimed = parts.directory.is_none() || parts.ap.leave(LEAVE).await;
        let transferred = tokio::time::timeout(TRANSFER, parts.raft.transfer_leader()).await.is_ok();
        quit.cancel();
        let cut = serving.await.ok().and_then(Result::ok).map_or(usize::MAX, |drained| drained.cut);
        parts.raft.shutdown().await;
        parts.stop.cancel();
        parts.tasks.close();
        let ended = tokio::time::timeout(TASKS, parts.tasks.wait()).await.is_ok();
        let graceful = claimed && transferred && cut == 0 && ended;
        let clients_left = drained.left;
        tracing::info!(graceful, claimed, transferred, connections_cut = cut, clients_left, "stopped");
    };
    tokio::select! {
        () = work => {}
        _ = signal() => tracing::warn!("a second signal: stopped at once"),
    }
}
