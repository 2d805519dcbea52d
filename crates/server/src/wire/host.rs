//! What the cores and shells need from the process: durable incarnations, retirements, log lines and channels.

use dyad_state::ClusterCommand;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use dyad_cli::{Exit, Failure};
use dyad_cluster::{ClusterIdentity, Dialer};
use dyad_distro::Event;
use dyad_naming::ports::{BoxFuture, Connections};
use dyad_naming::registry::InstanceChange;
use dyad_raft::RaftHandle;
use dyad_state::ports::Propose;
use dyad_types::{ClientId, Millis, Origin};
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tonic::transport::{Channel, Endpoint};

use super::clock::monotonic;
use super::log;
use crate::identity::Identity;
use crate::telemetry::Lines;

/// Retirements waiting to be proposed; the core repeats what is dropped.
const RETIRE_MAX: usize = 64;

/// What happened in the AP protocol since the start.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) hash_mismatches: AtomicU64,
    pub(crate) expired: AtomicU64,
    pub(crate) adopted: AtomicU64,
    pub(crate) handed_over: AtomicU64,
    pub(crate) retired: AtomicU64,
    pub(crate) refuted: AtomicU64,
    pub(crate) resets: AtomicU64,
}

/// The process as the Distro shell sees it.
#[derive(Debug)]
pub(crate) struct Host {
    identity: Mutex<Identity>,
    lines: Arc<Lines>,
    counters: Arc<Counters>,
    retire: mpsc::Sender<Origin>,
    fatal: watch::Sender<Option<Failure>>,
    /// The SDK front end, which comes after the core.
    connections: OnceLock<Arc<dyn Connections>>,
}

/// Completes when the process must end.
pub(crate) struct Fatal {
    host: watch::Receiver<Option<Failure>>,
    raft: Arc<RaftHandle>,
}

impl Host {
    pub(crate) fn new(
        identity: Identity,
        lines: Arc<Lines>,
        counters: Arc<Counters>,
        raft: Arc<RaftHandle>,
    ) -> (Arc<Host>, Fatal) {
        let (retire, mut retiring) = mpsc::channel(RETIRE_MAX);
        let (fatal, failed) = watch::channel(None);
        let propose = raft.clone();
        // Ends with the sender, which lives as long as the core.
        tokio::spawn(async move {
            while let Some(origin) = retiring.recv().await {
                if let Err(error) = propose.propose(ClusterCommand::Retire { origin }.into()).await {
                    tracing::debug!(%origin, %error, "a retirement was not written; the core proposes it again");
                }
            }
        });
        let identity = Mutex::new(identity);
        let host = Host { identity, lines, counters, retire, fatal, connections: OnceLock::new() };
        (Arc::new(host), Fatal { host: failed, raft })
    }

    /// Ends the process with this failure.
    pub(crate) fn fail(&self, failure: Failure) {
        self.fatal.send_replace(Some(failure));
    }

    /// The front end whose connections publish here; only the first one counts. Without it there are none to probe.
    pub(crate) fn set_connections(&self, connections: Arc<dyn Connections>) {
        let _ = self.connections.set(connections);
    }
}

impl dyad_cluster::Host for Host {
    fn now(&self) -> Millis {
        monotonic()
    }

    fn persist_incarnation(&self, incarnation: u64) -> bool {
        match self.identity.lock().persist(incarnation) {
            Ok(()) => true,
            Err(failure) => {
                self.fail(failure);
                false
            }
        }
    }

    fn propose_retire(&self, origin: Origin) {
        // Full: the core proposes again while the reason lasts.
        let _ = self.retire.try_send(origin);
    }

    fn changed(&self, changes: &[InstanceChange]) {
        log::changes(&self.lines, changes);
    }

    fn probe(&self, client: &ClientId) {
        if let Some(connections) = self.connections.get() {
            connections.probe(client);
        }
    }

    fn event(&self, event: &Event) {
        let counters = &self.counters;
        let counter = match event {
            Event::HashMismatch(_) => Some(&counters.hash_mismatches),
            Event::Expired(_) => Some(&counters.expired),
            Event::Adopted(_) => Some(&counters.adopted),
            Event::HandedOver { .. } => Some(&counters.handed_over),
            Event::Retired { .. } => Some(&counters.retired),
            Event::Refuted { .. } => Some(&counters.refuted),
            Event::Reset(_) => Some(&counters.resets),
            _ => None,
        };
        if let Some(counter) = counter {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        log::event(&self.lines, event);
    }
}

impl Fatal {
    pub(crate) async fn wait(mut self) -> Failure {
        let mut stopped = self.raft.on_fatal();
        let raft = async {
            match stopped.wait_for(Option::is_some).await.map(|fatal| fatal.clone()) {
                Ok(Some(fatal)) => failure(fatal.exit_code(), fatal.to_string()),
                // The slot lives as long as the handle.
                Ok(None) | Err(_) => std::future::pending().await,
            }
        };
        let host = async {
            match self.host.wait_for(Option::is_some).await {
                Ok(found) => found.clone().unwrap_or_else(|| Failure::new(Exit::Disk, "stopped")),
                // The host lives as long as the core, which outlives this.
                Err(_) => std::future::pending().await,
            }
        };
        tokio::select! {
            failure = raft => failure,
            failure = host => failure,
        }
    }
}

/// An error of the raft crate with its exit code.
pub(crate) fn failure(code: u8, message: String) -> Failure {
    let exit = match code {
        3 => Exit::InUse,
        4 => Exit::Corrupt,
        _ => Exit::Disk,
    };
    Failure::new(exit, message)
}

/// Channels for raft, from the members' TLS.
#[derive(Debug)]
pub(crate) struct RaftDial(pub(crate) Dialer);

impl dyad_raft::Dial for RaftDial {
    fn channel(&self, cluster_address: &str) -> Channel {
        self.0.channel(cluster_address).unwrap_or_else(|error| {
            tracing::error!(%error, cluster_address, "not an address");
            nowhere()
        })
    }
}

/// Standalone: there is nobody to dial.
#[derive(Debug)]
pub(crate) struct NoDial;

impl dyad_raft::Dial for NoDial {
    fn channel(&self, _cluster_address: &str) -> Channel {
        nowhere()
    }
}

/// A channel on which every call fails: port 0 cannot be connected to.
fn nowhere() -> Channel {
    Endpoint::from_static("http://127.0.0.1:0").connect_lazy()
}

/// The raft cluster's id, for Hello.
#[derive(Debug)]
pub(crate) struct RaftIdentity(pub(crate) Arc<RaftHandle>);

impl ClusterIdentity for RaftIdentity {
    fn cluster_id(&self) -> BoxFuture<'_, Option<u128>> {
        Box::pin(self.0.cluster_id())
    }
}
