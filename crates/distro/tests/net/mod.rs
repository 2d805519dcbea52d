//! A few cores on one clock, wired by hand.

#![allow(
    dead_code,
    unreachable_pub,
    missing_debug_implementations,
    clippy::unwrap_used,
    reason = "each test binary uses its part"
)]

use std::collections::BTreeMap;
use std::sync::Arc;

use dyad_distro::{
    Action, BeatOutcome, CLOCK_START, Config, Distro, Event, Input, Limits, MemberState, Message, Outcome,
    codec,
};
use dyad_types::{ClientId, Instance, MemberId, Millis, Origin, Publication, PublicationKey, ServiceKey};

pub fn key(n: u16) -> PublicationKey {
    PublicationKey { service: ServiceKey::new("", "", "svc"), client: ClientId::beat("10.0.0.1", n) }
}

pub fn publication(n: u16, weight: f64) -> Arc<Publication> {
    Publication::one(Instance { weight, ..Instance::new("10.0.0.1", n) })
}

/// Cores on one clock, with links that can be taken away. Messages travel as their bytes and take 1 ms.
pub struct Net {
    pub now: Millis,
    pub cores: BTreeMap<u64, Distro>,
    pub wire: Vec<(Millis, MemberId, MemberId, Message)>,
    /// Bytes of the longest message so far.
    pub longest: usize,
    pub cut: Vec<(u64, u64)>,
    pub events: Vec<(u64, Event)>,
    pub replies: Vec<(u64, Outcome)>,
    pub proposed: Vec<Origin>,
    pub left: Vec<u64>,
    /// (time, member, connection).
    pub probes: Vec<(Millis, u64, ClientId)>,
}

impl Net {
    pub fn new(members: u64) -> Net {
        Net::with_limits(members, &Limits::default())
    }

    pub fn with_limits(members: u64, limits: &Limits) -> Net {
        let known: Vec<MemberId> = (1..=members).map(MemberId).collect();
        let core = |id| {
            let config = Config::cluster(MemberId(id), 1, known.len(), known.clone());
            Distro::new(Config { limits: limits.clone(), ..config }, CLOCK_START)
        };
        Net {
            now: CLOCK_START,
            cores: (1..=members).map(|id| (id, core(id))).collect(),
            wire: vec![],
            longest: 0,
            cut: vec![],
            events: vec![],
            replies: vec![],
            proposed: vec![],
            left: vec![],
            probes: vec![],
        }
    }

    pub fn ready(members: u64) -> Net {
        let mut net = Net::new(members);
        net.run(3_000);
        assert!(net.cores.values().all(|c| c.state() == MemberState::Ready));
        net
    }

    pub fn act(&mut self, id: u64, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Send { to, message } if !self.cut.contains(&(id, to.0)) => {
                    let frame = codec::encode(&message).unwrap();
                    self.longest = self.longest.max(frame.len());
                    let message = codec::decode(&frame).unwrap();
                    self.wire.push((self.now + 1, MemberId(id), to, message));
                }
                Action::Event(event) => self.events.push((id, event)),
                Action::Reply { req, outcome } => self.replies.push((req, outcome)),
                Action::ProposeRetire(origin) => self.proposed.push(origin),
                Action::Left => self.left.push(id),
                Action::Probe(client) => self.probes.push((self.now, id, client)),
                _ => {}
            }
        }
    }

    pub fn input(&mut self, id: u64, input: Input) {
        let actions = self.cores.get_mut(&id).unwrap().handle(input, self.now);
        self.act(id, actions);
    }

    pub fn register(&mut self, id: u64, n: u16, weight: f64) {
        self.input(id, Input::Register { req: 1, key: key(n), publication: publication(n, weight) });
    }

    pub fn beat(&mut self, id: u64, n: u16) -> BeatOutcome {
        self.beat_key(id, &key(n))
    }

    pub fn beat_key(&mut self, id: u64, key: &PublicationKey) -> BeatOutcome {
        let (outcome, actions) = self.cores.get_mut(&id).unwrap().beat(key, self.now);
        self.act(id, actions);
        outcome
    }

    pub fn run(&mut self, ms: u64) {
        let end = self.now + ms;
        while self.now < end {
            self.now = self.now + 1;
            let (due, rest): (Vec<_>, Vec<_>) =
                std::mem::take(&mut self.wire).into_iter().partition(|w| w.0 <= self.now);
            self.wire = rest;
            for (_, from, to, message) in due {
                if self.cores.contains_key(&to.0) {
                    self.input(to.0, Input::Message { from, stream: 1, message });
                }
            }
            for id in self.cores.keys().copied().collect::<Vec<_>>() {
                if self.cores[&id].next_timeout().is_some_and(|at| at <= self.now) {
                    let actions = self.cores.get_mut(&id).unwrap().on_timeout(self.now);
                    self.act(id, actions);
                }
            }
        }
    }

    /// (visible, healthy, weight) of a key at every member.
    pub fn view(&self, n: u16) -> Vec<Option<(bool, f64)>> {
        let seen = |c: &Distro| c.visible(&key(n)).map(|v| (v.healthy, v.publication.instances()[0].weight));
        self.cores.values().map(seen).collect()
    }

    pub fn holders(&self, n: u16) -> Vec<u64> {
        self.cores.iter().filter(|(_, c)| c.holds(&key(n))).map(|(&id, _)| id).collect()
    }

    pub fn owner(&self, n: u16) -> u64 {
        self.cores[&1].responsible(&key(n).client).0
    }
}
