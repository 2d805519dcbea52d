//! The shell around the Distro core: one mutex, one timer task, and the registry that the core's changes go into.
//!
//! A request locks the core, hands it the input and the time, carries out the returned actions, and unlocks it. Changes
//! go into the registry under the same lock, so the registry sees them in the order in which the core decided them.
//! Nothing waits while the lock is held: a message to a peer is a `try_send` into a bounded queue, and an answer goes
//! through a oneshot channel.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dyad_distro::{
    Action, BeatOutcome as Heard, Distro, Ending as End, Event, Gate, Input, MemberState, Message, Outcome,
    codec,
};
use dyad_naming::ports::{BeatOutcome, BoxFuture, Ending, Ephemeral, EphemeralError};
use dyad_naming::registry::{InstanceChange, Registry, VisiblePublication};
use dyad_types::{ClientId, MemberId, Millis, Origin, Publication, PublicationKey};
use parking_lot::Mutex;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Requests waiting for a forward's answer or a peer's acknowledgement. Each waits 200-800 ms at most, so this is far
/// above what a member can take in; beyond it clients get 503 and try the next member.
const PENDING_MAX: usize = 65_536;
/// The core answers every request by its own timers within about a second; this is the last resort.
const REQUEST_DEADLINE: Duration = Duration::from_secs(3);

/// What the shell needs from the server. It is called while the core is locked, so nothing here may block for long.
pub trait Host: Send + Sync + fmt::Debug + 'static {
    /// Monotonic time. At the start of the process it is [`dyad_distro::CLOCK_START`].
    fn now(&self) -> Millis;
    /// Writes a new incarnation to the disk before it is used. False if the disk refuses; the member must stop then.
    fn persist_incarnation(&self, incarnation: u64) -> bool;
    /// Asks the CP half to retire an origin. It must not wait for the result.
    fn propose_retire(&self, origin: Origin);
    /// Hears of instances that appeared, changed or were removed.
    fn changed(&self, changes: &[InstanceChange]);
    /// Asks the client of this connection whether it is alive. The answer goes to [`Ephemeral::probed`] later, not
    /// during this call.
    fn probe(&self, client: &ClientId);
    /// Hears of events of the protocol, for the log and the metrics.
    fn event(&self, event: &Event);
}

/// The AP half of a member.
#[derive(Debug)]
pub struct Ap {
    me: MemberId,
    core: Mutex<Core>,
    gate: Arc<Gate>,
    registry: Arc<Registry>,
    host: Arc<dyn Host>,
    requests: AtomicU64,
    dropped: AtomicU64,
    /// The moment at which the timer task will run. An earlier deadline wakes it.
    armed: AtomicU64,
    wake: Notify,
    /// The state in the form in which `admit` reads it, without the lock inside the watch channel.
    admits: AtomicU8,
    /// False until the CP half has caught up, or the wait for it has ended. A restarted member must not answer without
    /// the persistent instances that it acknowledged.
    open: AtomicBool,
    state: watch::Sender<MemberState>,
    left: watch::Sender<bool>,
}

#[derive(Debug)]
struct Core {
    distro: Distro,
    pending: HashMap<u64, oneshot::Sender<Outcome>>,
    peers: HashMap<MemberId, mpsc::Sender<Message>>,
}

impl Ap {
    pub fn new(me: MemberId, distro: Distro, registry: Arc<Registry>, host: Arc<dyn Host>) -> Arc<Ap> {
        let gate = distro.gate();
        let distro_state = distro.state();
        let state = watch::channel(distro_state).0;
        Arc::new(Ap {
            me,
            core: Mutex::new(Core { distro, pending: HashMap::new(), peers: HashMap::new() }),
            gate,
            registry,
            host,
            requests: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            armed: AtomicU64::new(u64::MAX),
            wake: Notify::new(),
            open: AtomicBool::new(false),
            admits: AtomicU8::new(admits(distro_state)),
            state,
            left: watch::channel(false).0,
        })
    }

    pub fn me(&self) -> MemberId {
        self.me
    }

    pub fn incarnation(&self) -> u64 {
        self.core.lock().distro.origin().incarnation
    }

    pub fn state(&self) -> MemberState {
        *self.state.borrow()
    }

    /// Says that the CP half is ready, so that naming requests may be answered from now on.
    pub fn open(&self) {
        self.open.store(true, Ordering::Release);
    }

    /// Whether this member answers all naming requests. The readiness check answers this.
    pub fn is_ready(&self) -> bool {
        self.open.load(Ordering::Acquire) && self.admits.load(Ordering::Acquire) == ADMITS_ALL
    }

    pub fn subscribe(&self) -> watch::Receiver<MemberState> {
        self.state.subscribe()
    }

    /// The number of messages that were dropped because the queue of a peer was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// The number of requests that wait for an answer, and its limit.
    pub fn pending(&self) -> (usize, usize) {
        (self.core.lock().pending.len(), PENDING_MAX)
    }

    /// Reads the core, for the status and the metrics.
    pub fn inspect<T>(&self, read: impl FnOnce(&Distro, Millis) -> T) -> T {
        read(&self.core.lock().distro, self.host.now())
    }

    /// Gives the core an input to which nobody waits for an answer.
    pub fn input(&self, input: Input) {
        let mut core = self.core.lock();
        self.step(&mut core, input, None);
    }

    /// A frame from a peer's stream.
    pub(crate) fn receive(&self, from: MemberId, stream: u64, frame: Bytes) -> Result<(), Status> {
        let message = codec::decode(&frame).map_err(|error| {
            Status::invalid_argument(format!("a frame from {from} does not decode: {error}"))
        })?;
        self.input(Input::Message { from, stream, message });
        Ok(())
    }

    pub(crate) fn peer_up(&self, peer: MemberId, queue: mpsc::Sender<Message>) {
        self.core.lock().peers.insert(peer, queue);
    }

    /// The stream of this queue is down. A newer one, to another address of the peer, may be up already.
    pub(crate) fn peer_down(&self, peer: MemberId, queue: &mpsc::Sender<Message>) {
        let mut core = self.core.lock();
        if !core.peers.get(&peer).is_some_and(|up| up.same_channel(queue)) {
            return;
        }
        core.peers.remove(&peer);
        self.step(&mut core, Input::StreamDown(peer), None);
    }

    /// Runs the timers of the core until `stop`.
    pub async fn run_timers(self: Arc<Self>, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let now = self.host.now();
            let due = self.core.lock().distro.next_timeout();
            self.armed.store(due.map_or(u64::MAX, |at| at.0), Ordering::Release);
            let wait = due.map_or(Duration::from_secs(1), |at| Duration::from_millis(at.since(now)));
            if wait.is_zero() {
                let mut core = self.core.lock();
                let actions = core.distro.on_timeout(self.host.now());
                self.carry_out(&mut core, actions, None);
                continue;
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.wake.notified() => {}
                () = stop.cancelled() => {}
            }
        }
    }

    /// Leaves the cluster in order: first the peers claim the records of this member. True if all of them did so within
    /// `deadline`.
    pub async fn leave(&self, deadline: Duration) -> bool {
        let mut left = self.left.subscribe();
        self.input(Input::Leave);
        tokio::time::timeout(deadline, left.wait_for(|&left| left)).await.is_ok_and(|r| r.is_ok())
    }

    fn step(&self, core: &mut Core, input: Input, mine: Option<u64>) -> Option<Outcome> {
        let actions = core.distro.handle(input, self.host.now());
        self.carry_out(core, actions, mine)
    }

    /// Carries out actions in their order. The outcome of request `mine`, when it is among them, is returned rather
    /// than sent through a channel.
    fn carry_out(&self, core: &mut Core, actions: Vec<Action>, mine: Option<u64>) -> Option<Outcome> {
        let mut answer = None;
        for action in actions {
            match action {
                Action::Reply { req, outcome } if Some(req) == mine => answer = Some(outcome),
                Action::Reply { req, outcome } => {
                    if let Some(waiting) = core.pending.remove(&req) {
                        // The request may have been given up: then nobody listens, and nothing is lost.
                        let _ = waiting.send(outcome);
                    }
                }
                Action::Send { to, message } => self.send(core, to, message),
                Action::Changed { key, visible } => self.change(&key, visible),
                Action::Probe(client) => self.host.probe(&client),
                Action::ProposeRetire(origin) => self.host.propose_retire(origin),
                Action::PersistIncarnation(incarnation) => {
                    if !self.host.persist_incarnation(incarnation) {
                        // The later actions would use an incarnation that a crash could forget.
                        return answer;
                    }
                }
                Action::State(state) => {
                    self.admits.store(admits(state), Ordering::Release);
                    self.state.send_replace(state);
                }
                Action::Left => {
                    self.left.send_replace(true);
                }
                Action::Event(event) => self.host.event(&event),
            }
        }
        self.rearm(core);
        answer
    }

    fn send(&self, core: &Core, to: MemberId, message: Message) {
        let sent = core.peers.get(&to).is_some_and(|queue| queue.try_send(message).is_ok());
        if !sent {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn change(&self, key: &PublicationKey, visible: Option<dyad_distro::Visible>) {
        let visible = visible.map(|v| VisiblePublication {
            publication: v.publication,
            healthy: v.healthy,
            rank: v.rank,
            slot: v.slot,
        });
        let changes = self.registry.set_publication(key, visible, self.host.now());
        if !changes.is_empty() {
            self.host.changed(&changes);
        }
    }

    /// Wakes the timer task when the core now has an earlier deadline than the armed one.
    fn rearm(&self, core: &Core) {
        let next = core.distro.next_timeout().map_or(u64::MAX, |at| at.0);
        if next < self.armed.load(Ordering::Acquire) {
            self.armed.store(next, Ordering::Release);
            self.wake.notify_one();
        }
    }

    /// Gives the core a request and waits for its answer, which most often is already among the actions.
    async fn request(&self, make: impl FnOnce(u64) -> Input) -> Result<(), EphemeralError> {
        let req = self.requests.fetch_add(1, Ordering::Relaxed);
        let answer = {
            let mut core = self.core.lock();
            if core.pending.len() >= PENDING_MAX {
                return Err(EphemeralError::Busy(PENDING_MAX));
            }
            match self.step(&mut core, make(req), Some(req)) {
                Some(outcome) => return outcome_result(outcome),
                None => {
                    let (sender, receiver) = oneshot::channel();
                    core.pending.insert(req, sender);
                    receiver
                }
            }
        };
        match tokio::time::timeout(REQUEST_DEADLINE, answer).await {
            Ok(Ok(outcome)) => outcome_result(outcome),
            Ok(Err(_)) | Err(_) => {
                self.core.lock().pending.remove(&req);
                Err(EphemeralError::Starting)
            }
        }
    }
}

fn outcome_result(outcome: Outcome) -> Result<(), EphemeralError> {
    match outcome {
        Outcome::Done => Ok(()),
        Outcome::Unavailable => Err(EphemeralError::Starting),
        Outcome::TooLong => Err(EphemeralError::TooLong),
    }
}

impl Ephemeral for Ap {
    fn register(
        &self,
        key: PublicationKey,
        publication: Arc<Publication>,
    ) -> BoxFuture<'_, Result<(), EphemeralError>> {
        Box::pin(self.request(move |req| Input::Register { req, key, publication }))
    }

    fn deregister(&self, key: PublicationKey) -> BoxFuture<'_, Result<(), EphemeralError>> {
        Box::pin(self.request(move |req| Input::Deregister { req, key }))
    }

    fn beat(&self, key: &PublicationKey) -> Result<BeatOutcome, EphemeralError> {
        let mut core = self.core.lock();
        let (result, actions) = core.distro.beat(key, self.host.now());
        self.carry_out(&mut core, actions, None);
        match result {
            Heard::Known => Ok(BeatOutcome::Known),
            Heard::Unknown => Ok(BeatOutcome::Unknown),
            Heard::Unavailable => Err(EphemeralError::Starting),
        }
    }

    fn admit(&self, known: bool) -> Result<(), EphemeralError> {
        let now = self.host.now();
        if !self.gate.is_open(now) {
            // The process was stopped, or does not serve: the core decides what that means before anything is answered.
            let mut core = self.core.lock();
            let actions = core.distro.on_timeout(now);
            self.carry_out(&mut core, actions, None);
        }
        if !self.open.load(Ordering::Acquire) {
            return Err(EphemeralError::Starting);
        }
        match self.admits.load(Ordering::Acquire) {
            ADMITS_ALL => Ok(()),
            ADMITS_KNOWN if known => Ok(()),
            _ => Err(EphemeralError::Starting),
        }
    }

    fn ended(&self, client: &ClientId, ending: Ending) {
        let ending = match ending {
            Ending::Orderly => End::Orderly,
            Ending::Abnormal => End::Abnormal,
        };
        self.input(Input::Ended { client: client.clone(), ending });
    }

    fn probed(&self, client: &ClientId, alive: bool) {
        self.input(Input::Probed { client: client.clone(), alive });
    }
}

const ADMITS_NONE: u8 = 0;
const ADMITS_KNOWN: u8 = 1;
const ADMITS_ALL: u8 = 2;

/// Rule 20: a member that is alone answers for what it knows and refuses the rest.
fn admits(state: MemberState) -> u8 {
    match state {
        MemberState::Ready | MemberState::Leaving => ADMITS_ALL,
        MemberState::Alone => ADMITS_KNOWN,
        MemberState::Joining | MemberState::Resuming | MemberState::Removed => ADMITS_NONE,
    }
}
