//! What `dyad cluster status` and the metrics show of the core.

use dyad_types::{Dot, MemberId, Origin, PublicationKey};

use crate::api::MemberState;
use crate::core::Distro;

/// The state of the core, for operators.
#[derive(Clone, Debug)]
pub struct Status {
    pub me: MemberId,
    pub incarnation: u64,
    pub state: MemberState,
    /// The number of live records that this member times.
    pub held: usize,
    /// The number of keys that have a record.
    pub keys: usize,
    /// The number of records whose removal the cap delays (rule 26).
    pub delayed_removals: usize,
    pub logs: Vec<LogStatus>,
    pub peers: Vec<PeerStatus>,
    pub retired: Vec<Origin>,
    /// The number of forwarded writes that were accepted but did not reach the own copy in time (rule 8).
    pub late_copies: u64,
    pub relays_waiting: usize,
    pub stashed: usize,
}

/// The log of one origin, as this member has it.
#[derive(Clone, Debug)]
pub struct LogStatus {
    pub origin: Origin,
    pub own: bool,
    pub seq: u64,
    pub live: u64,
    pub hash: u128,
    pub complete: bool,
    pub superseded: bool,
}

/// One peer, as this member sees it.
#[derive(Clone, Debug)]
pub struct PeerStatus {
    pub member: MemberId,
    pub configured: bool,
    pub state: MemberState,
    pub incarnation: u64,
    /// Milliseconds since its heartbeat counter last grew, directly or as told by others. `None` if it was never heard.
    pub heard_ago: Option<u64>,
    /// Milliseconds since its last message to this member.
    pub answered_ago: Option<u64>,
    /// Whether it was not heard for 10 s.
    pub down: bool,
    /// The number of positions by which its copy of the own log is behind.
    pub behind: u64,
    /// Whether its last digest has everything that this member had one digest earlier, and the same records at equal positions.
    pub digest_equal: bool,
}

impl Distro {
    pub fn status(&self) -> Status {
        let logs = self.store.logs().map(|(id, log)| LogStatus {
            origin: log.origin,
            own: id == self.own,
            seq: log.seq,
            live: log.live,
            hash: log.hash,
            complete: log.is_complete(),
            superseded: log.superseded.is_some(),
        });
        let retired = self.retired.iter().map(|(&member, &incarnation)| Origin { member, incarnation });
        Status {
            me: self.me,
            incarnation: self.incarnation,
            state: self.state,
            held: self.held,
            keys: self.store.len(),
            delayed_removals: self.cap.delayed.len(),
            logs: logs.collect(),
            peers: self.peer_status(),
            retired: retired.collect(),
            late_copies: self.writes.late_copies,
            relays_waiting: self.relays.len(),
            stashed: self.stash.len(),
        }
    }

    fn peer_status(&self) -> Vec<PeerStatus> {
        let seq = self.own_seq();
        let ago = |at: Option<u64>| at.map(|at| self.at.saturating_sub(at));
        let status = |p: &crate::peers::Peer| PeerStatus {
            member: p.id,
            configured: p.configured,
            state: p.state,
            incarnation: p.incarnation,
            heard_ago: ago(p.heard),
            answered_ago: ago(p.direct),
            down: ago(p.heard).is_none_or(|ms| ms > self.timing.down),
            behind: seq.saturating_sub(p.acked),
            digest_equal: p.in_step,
        };
        self.peers.iter().map(status).collect()
    }

    /// Whether this member times the key.
    pub fn holds(&self, key: &PublicationKey) -> bool {
        self.store.find(key).and_then(|id| self.store.entry(id)).is_some_and(|e| e.slot.is_some())
    }

    /// The registrations of a key that any log here has and that are not deregistered.
    pub fn vouched(&self, key: &PublicationKey) -> Vec<Dot> {
        let entry = self.store.find(key).and_then(|id| self.store.entry(id));
        entry.map_or(Vec::new(), |e| e.visible().map(|r| r.dot).collect())
    }

    /// The registrations of a key that this member could still give to others: those that any log here has, and the
    /// stashed one (rule 16).
    pub fn remembered(&self, key: &PublicationKey) -> Vec<Dot> {
        let stashed = self.stash.get(key).map(|s| s.known.dot);
        self.vouched(key).into_iter().chain(stashed).collect()
    }

    /// What the deregistrations that are known here end: the newest dot for each origin and log.
    pub fn deregistered(&self, key: &PublicationKey) -> Vec<Dot> {
        let entry = self.store.find(key).and_then(|id| self.store.entry(id));
        entry.map_or(Vec::new(), |e| e.records.iter().flat_map(|r| r.covers().iter().copied()).collect())
    }

    /// Whether any log here has a deregistration of the dot.
    pub fn is_deregistered(&self, key: &PublicationKey, dot: Dot) -> bool {
        self.store.find(key).and_then(|id| self.store.entry(id)).is_some_and(|e| e.is_covered(dot))
    }

    /// The keys that this member knows, whether they are visible or not.
    pub fn keys(&self) -> impl Iterator<Item = &PublicationKey> {
        self.store.entries().map(|e| &e.key)
    }

    /// Loses the newest copied record of a member that is heard, as a fault of the memory or of the program might. The
    /// comparison of hashes must find it. Gives the owner of the log. For the simulator only.
    #[doc(hidden)]
    pub fn lose_a_copy(&mut self) -> Option<MemberId> {
        let copies = self.store.logs().filter(|(id, log)| {
            let heard = self.at.saturating_sub(log.heard) <= self.timing.heard;
            *id != self.own && log.is_complete() && heard && log.superseded.is_none() && log.doomed.is_none()
        });
        let found = copies.into_iter().find_map(|(id, log)| {
            let live = |key: &&u32| {
                self.store.entry(**key).and_then(|e| e.record(id)).is_some_and(|r| r.state.is_live())
            };
            log.by_seq.values().rev().find(live).map(|&key| (id, key))
        });
        let (log, key) = found?;
        self.drop_record(key, log);
        Some(self.store.log(log).origin.member)
    }
}
