//! Runs the schedule of probes of `naming::probe`: it dials, reports the outcomes, and proposes what changed.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dyad_naming::cp::{NamingChanges, NamingState};
use dyad_naming::probe::{self, DIAL_TIMEOUT_MS, Outcome, Probe, ProbePlan};
use dyad_state::ports::Propose;
use dyad_types::{MemberId, Millis};
use parking_lot::Mutex;
use rustix::io::Errno;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc};
use tokio_util::sync::CancellationToken;

use super::clock::monotonic;

/// Results taken in at once, so that many flips make one raft entry.
const BATCH_MAX: usize = 256;
/// The longest sleep without a look at the schedule.
const IDLE: Duration = Duration::from_secs(1);

/// The schedule and its wake-up.
#[derive(Debug)]
pub(crate) struct Probes {
    plan: Mutex<ProbePlan>,
    /// Dials at a time.
    most: usize,
    changed: Notify,
}

impl Probes {
    /// `most`: dials at a time.
    pub(crate) fn new(me: MemberId, most: usize) -> Arc<Probes> {
        Arc::new(Probes { plan: Mutex::new(ProbePlan::new(me)), most, changed: Notify::new() })
    }

    pub(crate) fn apply(&self, state: &NamingState, changes: &NamingChanges, now: Millis) {
        self.plan.lock().apply(state, changes, now);
        self.changed.notify_one();
    }

    pub(crate) fn install(&self, state: &NamingState, now: Millis) {
        self.plan.lock().install(state, now);
        self.changed.notify_one();
    }

    pub(crate) fn set_members(&self, live: &[MemberId], cluster: &[SocketAddr], now: Millis) {
        self.plan.lock().set_members(live, cluster, now);
        self.changed.notify_one();
    }

    /// Instances that this member probes now.
    pub(crate) fn probed(&self) -> usize {
        self.plan.lock().probed()
    }

    /// Probes until `stop`.
    pub(crate) async fn run(self: Arc<Self>, propose: Arc<dyn Propose>, stop: CancellationToken) {
        let (results, mut done) = mpsc::channel(self.most);
        let mut under_way = 0;
        loop {
            let now = monotonic();
            let (due, next) = {
                let mut plan = self.plan.lock();
                (plan.due(now, self.most - under_way), plan.next_timeout())
            };
            under_way += due.len();
            for probe in due {
                tokio::spawn(dial(probe, results.clone()));
            }
            // When as many are under way as may be, the next one waits for a result.
            let next = next.filter(|_| under_way < self.most);
            let wait = next.map_or(IDLE, |at| Duration::from_millis(at.since(now)).min(IDLE));
            let mut batch = Vec::new();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.changed.notified() => {}
                count = done.recv_many(&mut batch, BATCH_MAX) => {
                    under_way -= count;
                    self.finish(batch, &propose);
                }
                () = stop.cancelled() => return,
            }
        }
    }

    fn finish(&self, batch: Vec<(Probe, Option<Outcome>)>, propose: &Arc<dyn Propose>) {
        let now = monotonic();
        let changes = {
            let mut plan = self.plan.lock();
            let known = batch.into_iter().filter_map(|(probe, outcome)| Some((probe, outcome?)));
            known.flat_map(|(probe, outcome)| plan.finish(&probe.address, outcome, now)).collect()
        };
        for command in probe::commands(changes) {
            let propose = propose.clone();
            tokio::spawn(async move {
                // The schedule says it again while the state has not taken it over.
                if let Err(error) = propose.propose(command.into()).await {
                    tracing::debug!(%error, "a probed health was not written; it is tried again");
                }
            });
        }
    }
}

/// Without an outcome nothing was found out: the schedule repeats the dial later.
async fn dial(probe: Probe, results: mpsc::Sender<(Probe, Option<Outcome>)>) {
    let outcome = match probe.socket {
        Some(socket) => connect(socket).await,
        None => Some(Outcome::Failed),
    };
    // The receiver only goes when the server stops.
    let _ = results.send((probe, outcome)).await;
}

async fn connect(socket: SocketAddr) -> Option<Outcome> {
    let start = monotonic();
    let connect = TcpStream::connect(socket);
    Some(match tokio::time::timeout(Duration::from_millis(DIAL_TIMEOUT_MS), connect).await {
        Ok(Ok(_stream)) => Outcome::Connected(monotonic().since(start)),
        Ok(Err(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => Outcome::Refused,
        Ok(Err(error)) if is_ours(&error) => return None,
        Ok(Err(_)) => Outcome::Failed,
        Err(_) => Outcome::TimedOut,
    })
}

/// This process or this machine lacks something for a dial, which says nothing about the other end.
fn is_ours(error: &std::io::Error) -> bool {
    use Errno as E;
    matches!(
        Errno::from_io_error(error),
        Some(E::MFILE | E::NFILE | E::NOBUFS | E::NOMEM | E::ADDRNOTAVAIL | E::AGAIN)
    )
}
