//! Leaving in order (rule 19): the peers claim the records of a leaving member before it goes.

use dyad_types::{MemberId, Millis, Origin};

use crate::api::{Action, Event, MemberState};
use crate::core::{Distro, New};
use crate::message::Message;
use crate::relay::Known;
use crate::store::{Entry, KeyId, Log, LogId, RecState, Record};

impl Distro {
    /// The member is silent, and each record of the log is ended or claimed by a member that is heard.
    pub(crate) fn is_left_over(&self, id: LogId) -> bool {
        let log = self.store.log(id);
        let heard = |log: LogId| self.at.saturating_sub(self.store.log(log).heard) <= self.timing.heard;
        let claims =
            |r: &Record| r.log != id && r.state == RecState::Live && (r.log == self.own || heard(r.log));
        let is_left = |e: &Entry| {
            e.visible().all(|r| r.log != id || r.state == RecState::Unhealthy) || e.visible().any(claims)
        };
        !heard(id) && log.by_seq.values().all(|&key| self.store.entry(key).is_none_or(is_left))
    }

    /// So for the log and for those of earlier incarnations, which are retired with it.
    pub(crate) fn are_left_over(&self, origin: Origin) -> bool {
        let with_it =
            |l: &Log| l.origin.member == origin.member && l.origin.incarnation <= origin.incarnation;
        self.store.logs().filter(|(_, log)| with_it(log)).all(|(id, _)| self.is_left_over(id))
    }

    pub(crate) fn leave(&mut self) {
        if self.state == MemberState::Leaving {
            return;
        }
        self.life.since = self.at;
        self.life.left = false;
        self.set_state(MemberState::Leaving);
        self.flush();
        self.leave_progress();
    }

    pub(crate) fn leave_progress(&mut self) {
        let seq = self.own_seq();
        let heard = |p: &&crate::peers::Peer| {
            p.configured && p.direct.is_some_and(|at| self.at.saturating_sub(at) <= self.timing.heard)
        };
        let finished = match self.state {
            MemberState::Leaving => {
                self.peers.iter().filter(heard).all(|p| p.leave_acked)
                    || self.at.saturating_sub(self.life.since) >= self.timing.leave
            }
            MemberState::Removed => self.peers.iter().any(|p| p.configured && p.acked >= seq),
            _ => return,
        };
        if finished {
            if !std::mem::replace(&mut self.life.left, true) {
                self.out.push(Action::Left);
            }
            return;
        }
        if self.state == MemberState::Leaving {
            let to: Vec<MemberId> =
                self.peers.iter().filter(heard).filter(|p| !p.leave_acked).map(|p| p.id).collect();
            let incarnation = self.incarnation;
            for to in to {
                self.push(to);
                self.send(to, Message::Leaving { incarnation, seq });
            }
        }
    }

    /// Takes over what this member is responsible for, without waiting for a beat.
    pub(crate) fn on_leaving(&mut self, from: MemberId, incarnation: u64, seq: u64) {
        let origin = Origin { member: from, incarnation };
        if let Some(peer) = self.peers.get_mut(from) {
            if peer.incarnation != incarnation {
                return;
            }
            peer.state = MemberState::Leaving;
        }
        if !self.serves() || !self.state.times() {
            return;
        }
        let id = match self.store.log_id(origin) {
            Some(id) if self.store.log(id).seq >= seq => id,
            None if seq == 0 => return self.send(from, Message::LeavingAck { incarnation }),
            other => {
                let since = other.map_or(0, |id| self.store.log(id).progress);
                return self.send(from, Message::Pull { origin, since, reset: false });
            }
        };
        let keys: Vec<KeyId> = self.store.log(id).by_seq.values().copied().collect();
        let mut records = 0;
        for key in keys {
            records += usize::from(self.claim(key, id, self.now));
        }
        self.store.log_mut(id).left = true;
        if records > 0 {
            self.event(Event::Claimed { from, records });
        }
        self.push(from);
        self.send(from, Message::LeavingAck { incarnation });
    }

    /// Holds a record of another member's log from now on, if this member is responsible for it.
    pub(crate) fn claim(&mut self, key: KeyId, log: LogId, last: Millis) -> bool {
        let Some(entry) = self.store.entry(key) else { return false };
        let Some(record) = entry.visible().find(|r| r.log == log && r.state.is_live()) else { return false };
        if !entry.key.client.is_beat() || self.responsible(&entry.key.client) != self.me {
            return false;
        }
        let state = record.state;
        if entry.slot.is_some() {
            // Held here too: the leaver's is the fresher one if it is healthy and this one is not.
            return state == RecState::Live && self.refresh(key, last);
        }
        let Some(known) = entry.newest().and_then(Known::of) else { return false };
        let Known { publication, dot, reg } = self.or_stashed(key, known);
        self.hold(key, last);
        let publication = Some(publication);
        self.append(key, New { state, publication, dot: Some(dot), reg, ..New::default() });
        true
    }

    pub(crate) fn on_leaving_ack(&mut self, from: MemberId, incarnation: u64) {
        if incarnation != self.incarnation {
            return;
        }
        if let Some(peer) = self.peers.get_mut(from) {
            peer.leave_acked = true;
        }
        self.leave_progress();
    }
}
