//! The table of members: which are configured, when each was heard, and how far its copy of the own log is.

use std::collections::BTreeMap;

use dyad_types::{Dot, MemberId, Origin, placement};

use crate::api::MemberState;
use crate::message::{Digest, Heartbeat};

/// Members kept, configured or not; more are ignored.
const PEERS_MAX: usize = 128;

#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) id: MemberId,
    pub(crate) configured: bool,
    /// Active time since which it is not configured.
    pub(crate) unconfigured: Option<u64>,
    pub(crate) incarnation: u64,
    pub(crate) counter: u64,
    pub(crate) state: MemberState,
    /// Active time at which its heartbeat grew, by any way; `None` = never.
    pub(crate) heard: Option<u64>,
    /// Active time of its last own frame.
    pub(crate) direct: Option<u64>,
    /// Active time at which it last answered a question outside the stream: it is alive, its frames will come.
    pub(crate) answered: Option<u64>,
    pub(crate) stream: u64,
    /// Its copy of the own log.
    pub(crate) acked: u64,
    /// Of a reset under way: how far it is.
    pub(crate) resetting: Option<u64>,
    /// Active time of the delta in flight, and how often it was sent.
    pub(crate) in_flight: Option<(u64, u32)>,
    pub(crate) digest: Option<Digest>,
    /// Its last digest showed all that this member had at the one before (`mark`).
    pub(crate) in_step: bool,
    pub(crate) mark: Vec<Dot>,
    /// Skipped for forwards until its next ping (docs/distro.md).
    pub(crate) skip: bool,
    pub(crate) echo: Option<Vec<Dot>>,
    pub(crate) leave_acked: bool,
    pub(crate) proposed: Option<u64>,
}

impl Peer {
    fn new(id: MemberId) -> Peer {
        Peer {
            id,
            configured: false,
            unconfigured: None,
            incarnation: 0,
            counter: 0,
            state: MemberState::Joining,
            heard: None,
            direct: None,
            answered: None,
            stream: 0,
            acked: 0,
            resetting: None,
            in_flight: None,
            digest: None,
            in_step: false,
            mark: Vec::new(),
            skip: false,
            echo: None,
            leave_acked: false,
            proposed: None,
        }
    }

    pub(crate) fn origin(&self) -> Origin {
        Origin { member: self.id, incarnation: self.incarnation }
    }

    /// Its position in a log, as its last digest said.
    pub(crate) fn position(&self, origin: Origin) -> Option<u64> {
        self.digest.as_ref()?.logs.iter().find(|l| l.origin == origin).map(|l| l.seq)
    }

    /// Forgets what its last incarnation or stream had in flight.
    pub(crate) fn reset_cursor(&mut self) {
        self.acked = 0;
        self.resetting = None;
        self.in_flight = None;
        self.digest = None;
        self.echo = None;
        self.leave_acked = false;
    }

    pub(crate) fn heartbeat(&self) -> Heartbeat {
        Heartbeat { origin: self.origin(), counter: self.counter, state: self.state }
    }
}

/// What a heartbeat brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    Nothing,
    Grew,
    NewIncarnation,
}

#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) me: MemberId,
    pub(crate) me_configured: bool,
    /// Configured members, me included; some ids may be unknown.
    pub(crate) configured: usize,
    list: BTreeMap<MemberId, Peer>,
}

impl Peers {
    pub(crate) fn new(me: MemberId, configured: usize, known: &[MemberId], now: u64) -> Peers {
        let mut peers = Peers { me, me_configured: true, configured: 1, list: BTreeMap::new() };
        peers.configure(configured, known, now);
        peers
    }

    pub(crate) fn configure(&mut self, configured: usize, known: &[MemberId], now: u64) {
        self.configured = configured.max(1);
        self.me_configured = known.contains(&self.me);
        for &id in known {
            self.get_or_add(id);
        }
        for peer in self.list.values_mut() {
            peer.configured = known.contains(&peer.id);
            peer.unconfigured = if peer.configured { None } else { peer.unconfigured.or(Some(now)) };
        }
    }

    pub(crate) fn get(&self, id: MemberId) -> Option<&Peer> {
        self.list.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: MemberId) -> Option<&mut Peer> {
        self.list.get_mut(&id)
    }

    /// The peer, made if there is room.
    pub(crate) fn get_or_add(&mut self, id: MemberId) -> Option<&mut Peer> {
        if id == self.me || (self.list.len() >= PEERS_MAX && !self.list.contains_key(&id)) {
            return None;
        }
        Some(self.list.entry(id).or_insert_with(|| Peer::new(id)))
    }

    pub(crate) fn forget(&mut self, id: MemberId) {
        self.list.remove(&id);
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Peer> {
        self.list.values()
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Peer> {
        self.list.values_mut()
    }

    pub(crate) fn ids(&self) -> Vec<MemberId> {
        self.list.keys().copied().collect()
    }

    /// Alone by configuration: nobody to wait for.
    pub(crate) fn is_standalone(&self) -> bool {
        self.configured == 1 && self.list.values().all(|p| !p.configured)
    }

    /// Takes a heartbeat in (rule 7). The first one of an incarnation that comes through another member may be old: it
    /// is only the mark from which the next one grows.
    pub(crate) fn beat(&mut self, beat: Heartbeat, direct: bool, now: u64) -> Heard {
        let Some(peer) = self.get_or_add(beat.origin.member) else { return Heard::Nothing };
        if (beat.origin.incarnation, beat.counter) <= (peer.incarnation, peer.counter) {
            return Heard::Nothing;
        }
        let newer = beat.origin.incarnation > peer.incarnation;
        if newer {
            peer.reset_cursor();
        }
        peer.incarnation = beat.origin.incarnation;
        peer.counter = beat.counter;
        peer.state = beat.state;
        if direct || !newer {
            peer.heard = Some(now);
        }
        if !peer.configured && peer.unconfigured.is_none() {
            peer.unconfigured = Some(now);
        }
        if newer { Heard::NewIncarnation } else { Heard::Grew }
    }

    /// The member of the highest score among those that may be responsible (rule 7).
    pub(crate) fn responsible(&self, client: &str, me_times: bool, now: u64, within: u64) -> MemberId {
        let me = me_times.then_some(self.me);
        let others = self.list.values().filter(|p| {
            p.configured && p.state.times() && p.heard.is_some_and(|at| now.saturating_sub(at) <= within)
        });
        placement::responsible(client, others.map(|p| p.id).chain(me)).unwrap_or(self.me)
    }
}
