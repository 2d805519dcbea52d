//! The clients: each beats every 5 s, moves between members, changes its attributes, deregisters and dies.

use std::collections::VecDeque;

use dyad_distro::{BeatOutcome, Input};
use dyad_types::{ClientId, Dot, Publication, PublicationKey};

use super::names::Names;
use super::rng::Rng;
use super::world::{Ev, Reply, World};

const BEAT_EVERY: u64 = 5_000;
const REQUEST_TIMEOUT: u64 = 3_000;
/// Clients are still for that long before the end, so that nothing is on its way when the members are compared.
const STOPS_BEFORE: u64 = 2_500;
/// An unanswered beat or registration is tried at that many members before the client waits.
const TRIES: u32 = 5;
/// Weights carry the version of a client's attributes; a weight ends at 10,000.
const VERSION_MAX: u64 = 9_999;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Op {
    Beat,
    Register(u64),
    Deregister,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    /// Wants to be registered.
    Up,
    /// Deregistering, or deregistered.
    Down,
    Dead,
}

/// A beat that was answered: when (unfrozen), by which slot's which process.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    pub at: u64,
    pub node: usize,
    pub life: u64,
    /// Simulated time, in which a stop of all members counts.
    pub real: u64,
}

#[derive(Debug)]
pub(super) struct Client {
    pub index: usize,
    pub key: PublicationKey,
    pub wish: Wish,
    pub registered: bool,
    pub version: u64,
    /// The oldest version that a query may still show: newer ones were sent, but not answered.
    pub answered_version: u64,
    pub member: usize,
    turn: u64,
    tries: u32,
    /// The request under way, and what to do when it fails.
    open: Option<(u64, Op)>,
    pub beats: VecDeque<Answered>,
    /// Simulated time of the end (deregistered or dead).
    pub ended: u64,
    /// Of an answered deregistration: the dots that must never be seen again, and where their end is known.
    pub strict: Option<Vec<Dot>>,
    pub knew_end: Vec<Option<u64>>,
    /// It was deregistered once.
    pub deregistered: bool,
    /// When a registration was last sent.
    pub last_register: u64,
    /// A member that alone knew the newest attributes died.
    pub lost: bool,
    /// Since when it has not exactly one holder, and how many then.
    pub unsettled: Option<(u64, usize)>,
    /// Per slot: process in which the dead client was seen to be invisible.
    pub seen_gone: Vec<Option<u64>>,
}

impl Client {
    pub(super) fn new(index: usize, names: Names, rng: &mut Rng, members: usize) -> Client {
        let client = ClientId::beat(&names.ip(format!("10.0.0.{index}")), 8080);
        Client {
            index,
            key: PublicationKey { service: names.service(index), client },
            wish: Wish::Up,
            registered: false,
            version: 1,
            answered_version: 0,
            member: rng.below(members),
            turn: 0,
            tries: 0,
            open: None,
            beats: VecDeque::new(),
            ended: 0,
            strict: None,
            knew_end: vec![None; members],
            deregistered: false,
            last_register: 0,
            lost: false,
            unsettled: None,
            seen_gone: vec![None; members],
        }
    }

    fn publication(&self, names: Names, version: u64) -> std::sync::Arc<Publication> {
        let ip = format!("10.0.0.{}", self.index);
        Publication::one(names.instance(ip, 8080, version.min(VERSION_MAX)))
    }
}

impl World {
    /// The client's timer: it decides what to do next.
    pub(super) fn client_turn(&mut self, client: usize, turn: u64) {
        let chaos = self.now < self.plan.chaos.saturating_sub(3_000);
        let c = &mut self.clients[client];
        if turn != c.turn || c.wish == Wish::Dead || self.now + STOPS_BEFORE > self.deadline {
            return;
        }
        if let Some((_, op)) = c.open.take() {
            return self.next_member(client, op);
        }
        c.tries = 0;
        if c.wish == Wish::Down {
            c.wish = Wish::Up;
            c.version += 1;
            let version = c.version;
            self.log(|| format!("c{client} comes back with v{version}"));
            return self.ask(client, Op::Register(version));
        }
        if !c.registered {
            let version = c.version;
            return self.ask(client, Op::Register(version));
        }
        if !chaos {
            return self.beat(client);
        }
        match self.rng.range(0, 1_000) {
            0..30 => {
                self.count("change");
                let c = &mut self.clients[client];
                c.version += 1;
                let version = c.version;
                self.ask(client, Op::Register(version));
            }
            30..55 => {
                let c = &mut self.clients[client];
                c.wish = Wish::Down;
                c.beats.clear();
                self.ask(client, Op::Deregister);
            }
            55..65 if self.now < self.plan.chaos / 3 * 2 && self.plan.mass_death == 0 => self.die(client),
            _ => self.beat(client),
        }
    }

    pub(super) fn die(&mut self, client: usize) {
        self.count("death");
        self.log(|| format!("c{client} dies"));
        let now = self.now;
        let c = &mut self.clients[client];
        c.wish = Wish::Dead;
        c.beats.clear();
        c.ended = now;
        c.open = None;
    }

    fn beat(&mut self, client: usize) {
        if self.rng.chance(300) {
            self.clients[client].member = self.rng.below(self.nodes.len());
        }
        self.ask(client, Op::Beat);
    }

    fn next_member(&mut self, client: usize, op: Op) {
        let members = self.nodes.len();
        let now = self.now;
        let c = &mut self.clients[client];
        c.tries += 1;
        c.member = (c.member + 1) % members;
        if c.tries.is_multiple_of(TRIES) {
            c.open = Some((0, op));
            c.turn += 1;
            let turn = c.turn;
            return self.at(now + 1_000, Ev::Client { client, turn });
        }
        self.ask(client, op);
    }

    fn ask(&mut self, client: usize, op: Op) {
        let now = self.now;
        let c = &mut self.clients[client];
        c.turn += 1;
        let (turn, node) = (c.turn, c.member);
        let req = (client as u64) << 32 | turn;
        c.open = Some((req, op));
        if let Op::Register(_) = op {
            c.strict = None;
            c.last_register = now;
            c.knew_end.iter_mut().for_each(|k| *k = None);
        }
        let delay = self.rng.range(1, 8);
        self.at(now + delay, Ev::Request { client, req, node, op });
        self.at(now + REQUEST_TIMEOUT, Ev::Client { client, turn });
    }

    /// A request arrives at a member that runs.
    pub(super) fn request(&mut self, client: usize, req: u64, node: usize, op: Op) {
        let key = self.clients[client].key.clone();
        let life = self.nodes[node].life;
        self.requests.insert(req, (client, node, life));
        match op {
            Op::Register(version) => {
                let publication = self.clients[client].publication(self.names, version);
                self.input(node, Input::Register { req, key, publication });
            }
            Op::Deregister => self.input(node, Input::Deregister { req, key }),
            Op::Beat => {
                let now = self.clock(node);
                let slot = self.nodes[node].view.get(&client).and_then(|v| v.slot.clone());
                let Some(core) = &mut self.nodes[node].core else { return };
                if core.gate().is_open(now) && slot.is_some_and(|slot| slot.beat(now)) {
                    self.count("lock-free beat");
                    return self.respond(req, Reply::Ok);
                }
                let (outcome, actions) = core.beat(&key, now);
                self.actions(node, actions);
                self.respond(
                    req,
                    match outcome {
                        BeatOutcome::Known => Reply::Ok,
                        BeatOutcome::Unknown => Reply::Unknown,
                        BeatOutcome::Unavailable => Reply::Unavailable,
                    },
                );
            }
        }
    }

    pub(super) fn respond(&mut self, req: u64, reply: Reply) {
        if self.sdk_responds(req, reply) {
            return;
        }
        let Some((client, node, life)) = self.requests.remove(&req) else { return };
        let delay = self.rng.range(1, 8);
        self.at(self.now + delay, Ev::Response { client, req, node, life, reply });
    }

    pub(super) fn client_reply(&mut self, client: usize, req: u64, node: usize, life: u64, reply: Reply) {
        let Some((open, op)) = self.clients[client].open else { return };
        if open != req || self.clients[client].wish == Wish::Dead {
            return;
        }
        self.log(|| format!("c{client} {op:?} at m{node}: {reply:?}"));
        self.clients[client].open = None;
        match (op, reply) {
            (_, Reply::Unavailable | Reply::NoAnswer) => return self.next_member(client, op),
            (Op::Beat, Reply::Unknown) => {
                self.check_unknown(client, node);
                let version = self.clients[client].version;
                return self.ask(client, Op::Register(version));
            }
            (Op::Beat, _) => self.answered(client, node, life),
            (Op::Register(version), _) => {
                self.count("register");
                // A member that died with its answer on the way may have been the only one that knew (limit 1).
                let lives_on = self.nodes[node].life == life;
                let c = &mut self.clients[client];
                c.registered = true;
                if lives_on {
                    c.lost = false;
                }
                c.answered_version = version;
                c.beats.clear();
                self.answered(client, node, life);
            }
            (Op::Deregister, _) => self.deregistered(client, node),
        }
        let c = &mut self.clients[client];
        c.turn += 1;
        let turn = c.turn;
        let wait = match c.wish {
            Wish::Down => self.rng.range(8_000, 60_000),
            _ => BEAT_EVERY - 20 + self.rng.range(0, 40),
        };
        if self.clients[client].wish == Wish::Up || self.now + wait < self.plan.chaos.saturating_sub(3_000) {
            self.at(self.now + wait, Ev::Client { client, turn });
        }
    }

    fn answered(&mut self, client: usize, node: usize, life: u64) {
        if !self.nodes[node].configured {
            // It has been removed and does not know yet; what it vouches for ends with it.
            return;
        }
        let at = self.unfrozen();
        let c = &self.clients[client];
        let seen = self.nodes[node].view.get(&client).map(super::world::version);
        if c.deregistered && seen != Some(c.answered_version) {
            // Answered on a registration that was deregistered where this member could not hear it (limit 2).
            return;
        }
        let beats = &mut self.clients[client].beats;
        beats.push_back(Answered { at, node, life, real: self.now });
        while beats.len() > 5 {
            beats.pop_front();
        }
    }

    fn deregistered(&mut self, client: usize, node: usize) {
        self.count("deregister");
        let key = self.clients[client].key.clone();
        let quiet = self.now.saturating_sub(self.clients[client].last_register) > 6_000;
        let mut dots: Vec<Dot> =
            self.nodes.iter().flat_map(|n| n.core.iter()).flat_map(|c| c.remembered(&key)).collect();
        // What this deregistration has ended already is in nobody's view any more. A member must know that end as well
        // before it is judged: one that has merely forgotten an earlier registration knows nothing of this one's end.
        dots.extend(self.nodes[node].core.iter().flat_map(|c| c.deregistered(&key)));
        dots.sort_unstable();
        dots.dedup();
        let covered =
            self.nodes[node].core.as_ref().is_some_and(|c| dots.iter().all(|&d| c.is_deregistered(&key, d)));
        let now = self.now;
        let c = &mut self.clients[client];
        c.registered = false;
        c.deregistered = true;
        c.ended = now;
        c.beats.clear();
        c.strict = (covered && quiet).then_some(dots);
        c.seen_gone.iter_mut().for_each(|k| *k = None);
    }
}
