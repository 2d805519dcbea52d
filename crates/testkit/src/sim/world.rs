//! The event loop: members with their clocks, and what reaches them when.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

use dyad_distro::{CLOCK_START, Config, Distro, Input, MemberState, Message, Visible};
use dyad_types::{ClientId, MemberId, Millis, PublicationKey};

use super::actions::brief;
use super::clients::{Client, Op};
use super::faults::Fault;
use super::names::Names;
use super::outcome::{Run, Violation};
use super::profile::{Plan, Profile};
use super::raft::Entry;
use super::rng::Rng;
use super::sdk::{SdkEv, Sdks};

/// Frames and requests kept for a paused member; a socket buffer would not hold more.
const BACKLOG_MAX: usize = 4_000;
/// A run has some 20,000 events; more than this is a loop of messages.
const EVENTS_MAX: u64 = 400_000;
/// Between two looks at the invariants, in ms.
pub(super) const CHECK_EVERY: u64 = 500;

#[derive(Debug)]
pub(super) enum Ev {
    Wake { node: usize, life: u64 },
    Net { from: usize, from_id: MemberId, to: usize, stream: u64, message: Box<Message> },
    Client { client: usize, turn: u64 },
    Request { client: usize, req: u64, node: usize, op: Op },
    Response { client: usize, req: u64, node: usize, life: u64, reply: Reply },
    Fault(Fault),
    Sdk(SdkEv),
    Check,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reply {
    Ok,
    Unknown,
    Unavailable,
    /// The connection was refused, or nothing came in time.
    NoAnswer,
}

pub(super) struct Node {
    pub id: MemberId,
    pub incarnation: u64,
    pub core: Option<Distro>,
    /// Counts starts of this slot's process.
    pub life: u64,
    pub started: u64,
    pub paused: bool,
    pub backlog: Vec<Ev>,
    /// Unfrozen time of the last end of a pause of its own; the end of time while one lasts.
    pub pause_end: u64,
    pub configured: bool,
    pub leaving: bool,
    /// Until then it may lack a record (fault).
    pub whole_at: u64,
    pub woken: u64,
    /// What its registry shows, fed by `Changed` only.
    pub view: HashMap<usize, Visible>,
    /// The same of clients with a connection, by link.
    pub sdk: HashMap<usize, Visible>,
    /// The further services that it shows of clients with many.
    pub further: HashSet<PublicationKey>,
    /// Unfrozen time at which its process was stopped last, for a while or for good.
    pub stopped: u64,
    pub ready_since: u64,
    pub raft_seen: usize,
    /// Removals by timeout: unfrozen time of each.
    pub expired: Vec<u64>,
    /// (time, held) at each check of the last 60 s.
    pub held: Vec<(u64, usize)>,
    /// Streams to other slots: number and time of the last frame.
    pub streams: Vec<(u64, u64)>,
}

pub(super) struct World {
    pub plan: Plan,
    pub names: Names,
    pub rng: Rng,
    pub now: u64,
    pub frozen: u64,
    pub freeze_from: Option<u64>,
    queue: BinaryHeap<Reverse<(u64, u64, usize)>>,
    slab: Vec<Option<Ev>>,
    free: Vec<usize>,
    order: u64,
    pub nodes: Vec<Node>,
    pub clients: Vec<Client>,
    pub sdk: Sdks,
    pub by_client: HashMap<ClientId, usize>,
    /// Frames from a to b are lost.
    pub cut: Vec<Vec<bool>>,
    /// Unfrozen time at which the pair was last cut in either way.
    pub last_cut: Vec<Vec<u64>>,
    pub loss: u64,
    /// Slots whose log lost a record in somebody's copy.
    pub damaged: Vec<usize>,
    pub raft: Vec<Entry>,
    pub next_member: u64,
    pub run: Run,
    pub trace: bool,
    pub deadline: u64,
    /// Requests: number -> (client, node, life).
    pub requests: HashMap<u64, (usize, usize, u64)>,
}

impl World {
    pub(super) fn new(profile: Profile, seed: u64, trace: bool) -> World {
        let plan = profile.plan();
        let names = Names::of(seed);
        let mut rng = Rng::new(seed.wrapping_mul(0x1_0000_01B3) ^ profile as u64);
        let members = plan.members;
        let loss = if plan.loss && rng.chance(500) { rng.range(20, 290) } else { 0 };
        let nodes = (0..members).map(|i| Node::new(MemberId(i as u64 + 1), members)).collect();
        let clients: Vec<Client> =
            (0..plan.clients).map(|i| Client::new(i, names, &mut rng, members)).collect();
        let by_client = clients.iter().map(|c| (c.key.client.clone(), c.index)).collect();
        let deadline = plan.chaos + plan.quiet;
        let sdk = Sdks::new(plan.sdks, seed.wrapping_mul(0x1_0000_01B3) ^ profile as u64);
        World {
            rng,
            now: 0,
            frozen: 0,
            freeze_from: None,
            queue: BinaryHeap::new(),
            slab: Vec::new(),
            free: Vec::new(),
            order: 0,
            nodes,
            clients,
            sdk,
            by_client,
            cut: vec![vec![false; members]; members],
            last_cut: vec![vec![0; members]; members],
            loss,
            damaged: Vec::new(),
            raft: Vec::new(),
            next_member: members as u64 + 1,
            run: Run::default(),
            trace,
            deadline,
            requests: HashMap::new(),
            names,
            plan,
        }
    }

    pub(super) fn run(mut self) -> Run {
        for node in 0..self.nodes.len() {
            self.start(node);
        }
        for client in 0..self.clients.len() {
            let at = self.rng.range(2_500, 8_000);
            self.at(at, Ev::Client { client, turn: 0 });
        }
        self.start_sdks();
        self.plan_faults();
        self.at(CHECK_EVERY, Ev::Check);
        while let Some(Reverse((at, _, slot))) = self.queue.pop() {
            if at > self.deadline || self.run.violation.is_some() {
                break;
            }
            self.now = at;
            self.run.events += 1;
            if self.run.events > EVENTS_MAX {
                self.violate("I7", "the members talk without end".to_string());
                break;
            }
            let Some(event) = self.slab[slot].take() else { continue };
            self.free.push(slot);
            self.dispatch(event);
        }
        if self.run.violation.is_none() {
            self.final_checks();
        }
        self.run
    }

    pub(super) fn at(&mut self, at: u64, event: Ev) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slab.push(None);
            self.slab.len() - 1
        });
        self.slab[slot] = Some(event);
        self.order += 1;
        self.queue.push(Reverse((at, self.order, slot)));
    }

    /// Time that does not pass while all members are stopped.
    pub(super) fn unfrozen(&self) -> u64 {
        self.freeze_from.unwrap_or(self.now) - self.frozen
    }

    pub(super) fn count(&mut self, name: &'static str) {
        *self.run.counts.entry(name).or_insert(0) += 1;
    }

    pub(super) fn log(&mut self, line: impl FnOnce() -> String) {
        if self.trace {
            let line = line();
            self.run.trace.push(format!("{:>7} {line}", self.now));
        }
    }

    pub(super) fn violate(&mut self, invariant: &'static str, detail: String) {
        if self.run.violation.is_none() {
            self.log(|| format!("VIOLATION {invariant}: {detail}"));
            self.run.violation = Some(Violation { invariant, at: self.now, detail });
        }
    }

    fn dispatch(&mut self, event: Ev) {
        match event {
            Ev::Client { client, turn } => self.client_turn(client, turn),
            Ev::Response { client, req, node, life, reply } => {
                self.client_reply(client, req, node, life, reply)
            }
            Ev::Fault(fault) => self.fault(fault),
            Ev::Sdk(event) => self.sdk_event(event),
            Ev::Check => {
                self.raft_tick();
                self.check();
                self.at(self.now + CHECK_EVERY, Ev::Check);
            }
            Ev::Wake { node, life } => {
                let n = &self.nodes[node];
                if n.life == life && !n.paused && n.core.is_some() && n.woken == self.now {
                    self.wake(node);
                }
            }
            Ev::Net { to, .. } => self.deliver_to(to, event),
            Ev::Request { node, .. } => self.deliver_to(node, event),
        }
    }

    pub(super) fn deliver_to(&mut self, to: usize, event: Ev) {
        let node = &mut self.nodes[to];
        if node.core.is_none() {
            if let Ev::Request { client, req, .. } = event {
                let life = node.life;
                self.at(self.now + 2, Ev::Response { client, req, node: to, life, reply: Reply::NoAnswer });
            }
            return;
        }
        if node.paused {
            if node.backlog.len() < BACKLOG_MAX {
                node.backlog.push(event);
            }
            return;
        }
        match event {
            Ev::Net { from, from_id, to, stream, message }
                if self.nodes[from].id == from_id || stream > 0 =>
            {
                self.input(to, Input::Message { from: from_id, stream, message: *message });
            }
            Ev::Request { client, req, node, op } => self.request(client, req, node, op),
            Ev::Sdk(event) => self.sdk_arrives(event),
            _ => {}
        }
    }

    /// Answers requests: it does not when it has just come out of a pause, whether it has noticed that or not.
    pub(super) fn serves(&self, node: usize) -> bool {
        let n = &self.nodes[node];
        n.is_ready() && n.core.as_ref().is_some_and(|c| c.gate().is_open(self.clock(node)))
    }

    pub(super) fn clock(&self, node: usize) -> Millis {
        CLOCK_START + (self.now - self.nodes[node].started)
    }

    pub(super) fn start(&mut self, node: usize) {
        let known = self.members();
        let now = self.now;
        let n = &mut self.nodes[node];
        n.incarnation += 1;
        n.life += 1;
        n.started = now;
        n.paused = false;
        n.leaving = false;
        n.view.clear();
        n.sdk.clear();
        n.further.clear();
        n.backlog.clear();
        n.ready_since = u64::MAX;
        n.streams.iter_mut().for_each(|s| s.0 += 1);
        n.pause_end = 0;
        if let Some(from) = self.freeze_from {
            // While the others stand still it runs on, and their silence is real to it: earlier beats say nothing here.
            n.pause_end = from - self.frozen;
        }
        let mut config = Config::cluster(n.id, n.incarnation, known.len(), known);
        config.timing.gc_silent = 25_000;
        config.timing.cover_keep = 55_000;
        config.timing.stash = 45_000;
        if !self.names.long {
            // Else messages end where their bytes do.
            config.limits.delta_records = 6;
        }
        config.limits.cap_least = self.plan.cap_least;
        n.core = Some(Distro::new(config, CLOCK_START));
        n.woken = 0;
        let incarnation = n.incarnation;
        self.log(|| format!("start m{node} incarnation {incarnation}"));
        self.raft_install(node);
        self.wake(node);
    }

    pub(super) fn stop(&mut self, node: usize) {
        self.sdk_stop(node);
        self.nodes[node].stopped = self.unfrozen();
        self.nodes[node].sdk.clear();
        self.nodes[node].further.clear();
        self.nodes[node].core = None;
        self.nodes[node].view.clear();
        self.nodes[node].backlog.clear();
        self.nodes[node].life += 1;
        let open: Vec<u64> = self.requests.iter().filter(|(_, r)| r.1 == node).map(|(&req, _)| req).collect();
        let mut open = open;
        open.sort_unstable();
        for req in open {
            if let Some((client, node, life)) = self.requests.remove(&req) {
                self.at(self.now + 2, Ev::Response { client, req, node, life, reply: Reply::NoAnswer });
            }
        }
    }

    fn wake(&mut self, node: usize) {
        let now = self.clock(node);
        let Some(core) = &mut self.nodes[node].core else { return };
        let actions = core.on_timeout(now);
        self.nodes[node].woken = u64::MAX;
        self.actions(node, actions);
    }

    pub(super) fn input(&mut self, node: usize, input: Input) {
        let now = self.clock(node);
        if self.trace
            && let Input::Message { from, message, .. } = &input
            && !matches!(message, Message::Ping(_))
        {
            let line = format!("m{node} <- {}: {}", from.0, brief(message));
            self.log(|| line);
        }
        let Some(core) = &mut self.nodes[node].core else { return };
        let actions = core.handle(input, now);
        self.actions(node, actions);
    }
}

impl Node {
    pub(super) fn new(id: MemberId, members: usize) -> Node {
        Node {
            id,
            incarnation: 0,
            core: None,
            life: 0,
            started: 0,
            paused: false,
            backlog: Vec::new(),
            pause_end: 0,
            configured: true,
            leaving: false,
            whole_at: 0,
            woken: 0,
            view: HashMap::new(),
            sdk: HashMap::new(),
            further: HashSet::new(),
            stopped: 0,
            ready_since: u64::MAX,
            raft_seen: 0,
            expired: Vec::new(),
            held: Vec::new(),
            streams: vec![(0, 0); members],
        }
    }

    pub(super) fn is_ready(&self) -> bool {
        self.configured && !self.paused && self.core.as_ref().is_some_and(|c| c.state() == MemberState::Ready)
    }
}

/// The version that a client put into its instance's weight.
pub(super) fn version(visible: &Visible) -> u64 {
    visible.publication.instances().first().map_or(0, |i| i.weight as u64)
}
