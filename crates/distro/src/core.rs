//! The state of the core, and the functions by which it is called. Each of them first checks for a pause of the process
//! (rule 23). The rules themselves are in the other modules.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, VecDeque};
use std::sync::Arc;

use dyad_types::{ClientId, Dot, MemberId, Millis, Origin, Publication, PublicationKey};

use crate::api::{Action, BeatOutcome, Event, Input, MemberState, Outcome, Visible};
use crate::clock::Clock;
use crate::config::{Config, Limits, PAUSE_MS, Timing};
use crate::conns::Conns;
use crate::gate::Gate;
use crate::message::Message;
use crate::peers::Peers;
use crate::relay::Relays;
use crate::stash::Stash;
use crate::store::{KeyId, LogId, Rare, RecState, Record, Shown, Store, add_cover};
use crate::timers::Cap;
use crate::write::Writes;

/// While messages wait for an answer their deadlines are looked at that often, in ms.
pub(crate) const FINE_TICK: u64 = 20;

/// The AP core of one member.
#[derive(Debug)]
pub struct Distro {
    pub(crate) timing: Timing,
    pub(crate) limits: Limits,
    pub(crate) me: MemberId,
    pub(crate) incarnation: u64,
    pub(crate) state: MemberState,
    pub(crate) gate: Arc<Gate>,
    pub(crate) clock: Clock,
    /// Real and active time of this entry.
    pub(crate) now: Millis,
    pub(crate) at: u64,
    pub(crate) out: Vec<Action>,
    pub(crate) store: Store,
    pub(crate) own: LogId,
    pub(crate) lamport: u64,
    pub(crate) peers: Peers,
    /// Per member the highest retired incarnation.
    pub(crate) retired: BTreeMap<MemberId, u64>,
    pub(crate) next_ping: u64,
    pub(crate) pings: u64,
    /// When the own log's news are sent; `None` = nothing new.
    pub(crate) flush_at: Option<u64>,
    pub(crate) flushed_at: u64,
    /// Timers of held records: (active time, key).
    pub(crate) holds: BinaryHeap<Reverse<(u64, KeyId)>>,
    /// Held records, and how many wait for the cap.
    pub(crate) held: usize,
    pub(crate) cap: Cap,
    /// Timeouts stay stretched until this active time (rule 14).
    pub(crate) stretched_until: u64,
    /// Keys with more than one voucher, or a stash: (next look, key), and when each was last re-asserted.
    pub(crate) contests: BTreeSet<(u64, KeyId)>,
    pub(crate) contested: HashMap<KeyId, Contest>,
    /// The key being looked at: its own records do not contest it anew.
    pub(crate) looking: Option<KeyId>,
    pub(crate) stash: Stash,
    pub(crate) relays: Relays,
    pub(crate) writes: Writes,
    pub(crate) conns: Conns,
    pub(crate) life: Life,
    /// Covers of dropped logs that wait for an own log (rule 5).
    pub(crate) orphans: Vec<(PublicationKey, Dot)>,
    pub(crate) covers: CoverRound,
    pub(crate) health_check: bool,
    pub(crate) expire_instance: bool,
    pub(crate) next_fine: u64,
}

/// A key whose records of several origins are being settled.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Contest {
    pub(crate) due: u64,
    pub(crate) relayed: Option<u64>,
    pub(crate) asserted: Option<u64>,
}

/// Where JOINING, RESUMING and leaving stand.
#[derive(Debug, Default)]
pub(crate) struct Life {
    pub(crate) since: u64,
    pub(crate) nonce: u64,
    pub(crate) asked: Option<u64>,
    /// State after RESUMING.
    pub(crate) back_to: Option<MemberState>,
    pub(crate) drain_until: Option<u64>,
    pub(crate) left: bool,
    /// Active time since which this member is READY and hears a majority.
    pub(crate) majority_since: Option<u64>,
}

/// The two rounds that allow covers to be dropped.
#[derive(Debug, Default)]
pub(crate) struct CoverRound {
    /// (active time, own seq) marks, oldest first.
    pub(crate) marks: VecDeque<(u64, u64)>,
    /// The own seq that everybody must have, then the positions that everybody must have.
    pub(crate) seq: u64,
    pub(crate) vector: Option<Vec<Dot>>,
    pub(crate) later: BTreeMap<MemberId, Vec<Dot>>,
}

impl Distro {
    /// A core at its start. A standalone core is READY at once; any other core is JOINING until it has loaded (rule 20).
    pub fn new(config: Config, now: Millis) -> Distro {
        let origin = Origin { member: config.me, incarnation: config.incarnation };
        let at = now.0;
        let mut store = Store::default();
        let own = store.add_log(origin, at);
        let peers = Peers::new(config.me, config.configured, &config.known, at);
        let standalone = peers.is_standalone();
        let state = if standalone { MemberState::Ready } else { MemberState::Joining };
        let gate = Arc::new(Gate::default());
        gate.enter(now);
        gate.set_serving(state.serves());
        Distro {
            me: config.me,
            incarnation: config.incarnation,
            state,
            gate,
            clock: Clock::default(),
            now,
            at,
            out: Vec::new(),
            store,
            own,
            lamport: 0,
            peers,
            retired: BTreeMap::new(),
            next_ping: at,
            pings: 0,
            flush_at: None,
            flushed_at: 0,
            holds: BinaryHeap::new(),
            held: 0,
            cap: Cap::default(),
            contests: BTreeSet::new(),
            contested: HashMap::new(),
            looking: None,
            stretched_until: 0,
            stash: Stash::default(),
            relays: Relays::default(),
            writes: Writes::default(),
            conns: Conns::default(),
            life: Life { since: at, nonce: config.incarnation << 20, ..Life::default() },
            orphans: Vec::new(),
            covers: CoverRound::default(),
            health_check: true,
            expire_instance: true,
            next_fine: at,
            timing: config.timing,
            limits: config.limits,
        }
    }

    /// Handles one input. The shell has to carry out the returned actions in their order.
    pub fn handle(&mut self, input: Input, now: Millis) -> Vec<Action> {
        self.enter(now);
        match input {
            Input::Register { req, key, publication } => self.write(req, key, Some(publication)),
            Input::Deregister { req, key } => self.write(req, key, None),
            Input::Message { from, stream, message } => self.message(from, stream, message),
            Input::Members { configured, known } => self.set_members(configured, &known),
            Input::Retired(origins) => origins.into_iter().for_each(|origin| self.retire(origin)),
            Input::Answered(peer) => {
                let at = self.at;
                if let Some(peer) = self.peers.get_mut(peer) {
                    peer.answered = Some(at);
                }
            }
            Input::StreamDown(peer) => self.stream_down(peer),
            Input::Ended { client, ending } => self.ended(&client, ending),
            Input::Probed { client, alive } => self.probed(&client, alive),
            Input::Leave => self.leave(),
            Input::Switches { health_check, expire_instance } => {
                self.health_check = health_check;
                self.expire_instance = expire_instance;
            }
        }
        self.run_contests();
        std::mem::take(&mut self.out)
    }

    /// Handles a heartbeat of an HTTP client whose slot could not take it (rule 10).
    pub fn beat(&mut self, key: &PublicationKey, now: Millis) -> (BeatOutcome, Vec<Action>) {
        self.enter(now);
        let outcome = self.take_beat(key);
        (outcome, std::mem::take(&mut self.out))
    }

    /// Does everything that is due at `now`.
    pub fn on_timeout(&mut self, now: Millis) -> Vec<Action> {
        self.enter(now);
        if self.at >= self.next_ping {
            self.next_ping = self.at + self.timing.ping;
            self.tick();
        }
        if self.at >= self.next_fine {
            self.next_fine = self.at + FINE_TICK;
            self.run_relays();
            self.run_writes();
        }
        self.run_holds();
        self.run_conns();
        self.run_contests();
        self.run_retries();
        if self.flush_at.is_some_and(|at| self.at >= at) {
            self.flush();
        }
        std::mem::take(&mut self.out)
    }

    /// The time at which [`Distro::on_timeout`] has to be called next. It is never further away than one ping, so that
    /// a pause is noticed.
    pub fn next_timeout(&self) -> Option<Millis> {
        let mut next = self.next_ping;
        if let Some(at) = self.flush_at {
            next = next.min(at);
        }
        if let Some(Reverse((at, _))) = self.holds.peek() {
            next = next.min(*at);
        }
        if let Some((at, _)) = self.contests.first() {
            next = next.min(*at);
        }
        if let Some(at) = self.conns.next() {
            next = next.min(at);
        }
        if let Some(at) = self.next_retry() {
            next = next.min(at);
        }
        if !self.relays.is_idle() || !self.writes.is_idle() {
            next = next.min(self.next_fine);
        }
        Some(self.clock.real(next))
    }

    /// What the code that takes heartbeats without a lock has to look at.
    pub fn gate(&self) -> Arc<Gate> {
        self.gate.clone()
    }

    pub fn state(&self) -> MemberState {
        self.state
    }

    pub fn me(&self) -> MemberId {
        self.me
    }

    /// The present origin of this member.
    pub fn origin(&self) -> Origin {
        Origin { member: self.me, incarnation: self.incarnation }
    }

    /// The member that times this client (rule 7).
    pub fn responsible(&self, client: &ClientId) -> MemberId {
        self.peers.responsible(client.as_str(), self.state.times(), self.at, self.timing.heard)
    }

    /// What a query sees of a key.
    pub fn visible(&self, key: &PublicationKey) -> Option<Visible> {
        self.store.find(key).and_then(|id| self.store.shown(id)).map(Visible::from)
    }

    fn enter(&mut self, now: Millis) {
        let now = now.max(self.now);
        let gap = now.since(self.now);
        let before = self.now;
        self.now = now;
        self.gate.enter(now);
        if gap > PAUSE_MS {
            self.clock.pause(before, now);
            self.at = self.clock.active(now);
            self.paused(gap);
        }
        self.at = self.clock.active(now);
        if self.life.drain_until.is_some_and(|until| self.at >= until) {
            self.life.drain_until = None;
            self.drained();
        }
    }

    fn message(&mut self, from: MemberId, stream: u64, message: Message) {
        if from == self.me || self.is_draining() {
            return;
        }
        let (at, heard) = (self.at, self.timing.heard);
        let Some(peer) = self.peers.get_or_add(from) else { return };
        if stream < peer.stream {
            return;
        }
        let is_back = peer.direct.is_none_or(|since| at.saturating_sub(since) > heard);
        peer.stream = stream;
        peer.direct = Some(at);
        if is_back {
            self.greet(from);
        }
        match message {
            Message::Ping(ping) => self.on_ping(from, ping),
            Message::Delta(delta) => self.on_delta(from, delta),
            Message::DeltaAck { origin, seq, reset } => self.on_delta_ack(from, origin, seq, reset),
            Message::Pull { origin, since, reset } => self.on_pull(from, origin, since, reset),
            Message::Forward(forward) => self.on_forward(from, forward),
            Message::ForwardAck { req, at } => self.on_forward_ack(from, req, at),
            Message::Relay(relay) => self.on_relay(from, relay),
            Message::RelayAck { batch, held } => self.on_relay_ack(batch, held),
            Message::Join { nonce } => {
                let echo = Message::Echo { nonce, state: self.state, vector: self.vector() };
                self.send(from, echo);
            }
            Message::Echo { nonce, state, vector } => self.on_echo(from, nonce, state, vector),
            Message::Leaving { incarnation, seq } => self.on_leaving(from, incarnation, seq),
            Message::LeavingAck { incarnation } => self.on_leaving_ack(from, incarnation),
        }
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.life.drain_until.is_some()
    }

    /// Answers requests.
    pub(crate) fn serves(&self) -> bool {
        self.state.serves() && !self.is_draining()
    }

    pub(crate) fn send(&mut self, to: MemberId, message: Message) {
        self.out.push(Action::Send { to, message });
    }

    pub(crate) fn reply(&mut self, req: u64, outcome: Outcome) {
        self.out.push(Action::Reply { req, outcome });
    }

    pub(crate) fn event(&mut self, event: Event) {
        self.out.push(Action::Event(event));
    }

    pub(crate) fn set_state(&mut self, state: MemberState) {
        if self.state != state {
            self.state = state;
            self.gate.set_serving(self.serves());
            self.out.push(Action::State(state));
        }
    }

    pub(crate) fn own_seq(&self) -> u64 {
        self.store.log(self.own).seq
    }

    pub(crate) fn is_retired(&self, origin: Origin) -> bool {
        self.retired.get(&origin.member).is_some_and(|&inc| inc >= origin.incarnation)
    }

    pub(crate) fn key(&self, id: KeyId) -> Option<PublicationKey> {
        self.store.entry(id).map(|e| e.key.clone())
    }

    /// Tells the shell if a query now sees something else than `before`.
    pub(crate) fn changed(&mut self, key: PublicationKey, id: KeyId, before: Option<Shown>) {
        let after = self.store.shown(id);
        if before != after {
            self.out.push(Action::Changed { key, visible: after.map(Visible::from) });
        }
    }

    /// Appends to the own log and returns the position. The only writer of a log is its origin (I4).
    pub(crate) fn append(&mut self, id: KeyId, new: New) -> Dot {
        let Some(entry) = self.store.entry(id) else { return Dot::default() };
        let key = entry.key.clone();
        let before = self.store.shown(id);
        let mut covers = entry.record(self.own).map_or(Vec::new(), |r| r.covers().to_vec());
        new.covers.iter().for_each(|&dot| add_cover(&mut covers, dot));
        let seq = self.own_seq() + 1;
        self.lamport = self.lamport.saturating_add(1);
        let position = Dot { origin: self.origin(), seq };
        let rare = (!covers.is_empty() || new.to.is_some())
            .then(|| Box::new(Rare { covers, to: new.to.unwrap_or_default() }));
        let registered = new.publication.clone().filter(|_| new.dot.is_none());
        let record = Record {
            log: self.own,
            state: new.state,
            seq,
            lamport: self.lamport,
            publication: new.publication,
            dot: new.dot.unwrap_or(position),
            reg: new.reg,
            rare,
        };
        let log = self.store.log_mut(self.own);
        (log.seq, log.progress, log.head) = (seq, seq, seq);
        self.store.put(id, record);
        self.hold_follows(id);
        self.conn_follows(id);
        self.changed(key, id, before);
        if let Some(publication) = registered {
            self.meets(id, publication.instances(), false);
        }
        if self.peers.is_standalone() {
            self.collect_standalone(id);
            return position;
        }
        self.react(id);
        if self.flush_at.is_none() {
            let idle = self.at.saturating_sub(self.flushed_at) >= self.timing.flush;
            self.flush_at = Some(self.at + if idle { self.timing.flush_idle } else { self.timing.flush });
        }
        position
    }
}

/// A record to append.
#[derive(Debug, Default)]
pub(crate) struct New {
    pub(crate) state: RecState,
    pub(crate) publication: Option<Arc<Publication>>,
    /// `None`: a new registration; its dot is the position.
    pub(crate) dot: Option<Dot>,
    pub(crate) reg: i64,
    pub(crate) to: Option<Dot>,
    pub(crate) covers: Vec<Dot>,
}

impl From<Shown> for Visible {
    fn from(shown: Shown) -> Visible {
        Visible { publication: shown.publication, healthy: shown.healthy, rank: shown.rank, slot: shown.slot }
    }
}
