//! Dropping tombstones and covers. Tombstones are dropped when every reader has them. Covers are dropped when nobody
//! can hold a record of the covered dots any more, which two rounds make sure of.

use dyad_types::{Dot, MemberId, Origin};

use crate::core::Distro;
use crate::peers::Peer;
use crate::store::{KeyId, LogId, RecState};

/// Between two marks of (time, own seq), in ms.
const MARK_EVERY: u64 = 10_000;

impl Distro {
    /// Members whose copy must have something before it may be dropped. One that is silent and retired, or silent for
    /// an hour, gets a reset when it comes back and refutes first.
    fn required(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().filter(|p| {
            let silence = p.heard.map_or(u64::MAX, |at| self.at.saturating_sub(at));
            let gone = silence > self.timing.heard && self.is_retired(p.origin());
            p.configured && p.incarnation > 0 && !gone && silence <= self.timing.gc_silent
        })
    }

    /// Nobody else has a log here: the own tombstone is not needed (standalone).
    pub(crate) fn collect_standalone(&mut self, id: KeyId) {
        let own = self.own;
        let gone =
            self.store.entry(id).and_then(|e| e.record(own)).is_some_and(|r| r.state == RecState::Gone);
        if gone {
            self.store.remove(id, own);
        }
        let log = self.store.log_mut(own);
        log.floor = log.seq;
        log.cover_floor = log.seq;
    }

    pub(crate) fn collect(&mut self) {
        self.raise_own_floor();
        self.cover_round();
    }

    fn raise_own_floor(&mut self) {
        let seq = self.own_seq();
        let acked = self.required().map(|p| p.acked).min().unwrap_or(seq);
        let log = self.store.log(self.own);
        if acked <= log.floor {
            return;
        }
        let mut floor = acked;
        for (&seq, &id) in log.ended.range(log.floor + 1..=acked) {
            if !self.is_settled_everywhere(id) {
                floor = seq - 1;
                break;
            }
        }
        let cover_floor = log.cover_floor;
        self.raise_floors(self.own, floor, cover_floor);
    }

    /// Every required member has the record that a Yield points to.
    fn is_settled_everywhere(&self, id: KeyId) -> bool {
        let Some(record) = self.store.entry(id).and_then(|e| e.record(self.own)) else { return true };
        let to = match (record.state, &record.rare) {
            (RecState::Gone, _) | (_, None) => return true,
            (_, Some(rare)) => rare.to,
        };
        self.is_retired(to.origin)
            || (record.state == RecState::Settled
                && self.required().all(|p| {
                    p.id == to.origin.member || p.position(to.origin).is_some_and(|seq| seq >= to.seq)
                }))
    }

    /// Takes the owner's floors over, as far as the copy has got.
    pub(crate) fn raise_floors(&mut self, id: LogId, floor: u64, cover_floor: u64) {
        let log = self.store.log_mut(id);
        if !log.is_complete() {
            return;
        }
        let covers: Vec<KeyId> = if cover_floor > log.cover_floor && cover_floor <= log.seq {
            log.cover_floor = cover_floor;
            log.covering.range(..=cover_floor).map(|(_, &key)| key).collect()
        } else {
            Vec::new()
        };
        let ended: Vec<KeyId> = if floor > log.floor && floor <= log.seq {
            let from = log.floor + 1;
            log.floor = floor;
            log.ended.range(from..=floor).map(|(_, &key)| key).collect()
        } else {
            Vec::new()
        };
        covers.into_iter().for_each(|key| self.store.strip(key, id));
        for key in ended {
            let record = self.store.entry(key).and_then(|e| e.record(id));
            let droppable = record.is_some_and(|r| {
                matches!(r.state, RecState::Gone | RecState::Settled) && r.covers().is_empty()
            });
            if droppable {
                self.store.remove(key, id);
            }
        }
    }

    /// First round: everybody has the covers up to S. Second: everybody has what anybody had then.
    fn cover_round(&mut self) {
        let seq = self.own_seq();
        if self.covers.marks.back().is_none_or(|&(at, _)| self.at >= at + MARK_EVERY) {
            self.covers.marks.push_back((self.at, seq));
        }
        let log = self.store.log(self.own);
        if log.covering.is_empty() {
            while self.covers.marks.len() > 1 {
                self.covers.marks.pop_front();
            }
            return;
        }
        if self.covers.seq <= log.cover_floor {
            while let Some(&(at, mark)) = self.covers.marks.front()
                && at + self.timing.cover_keep <= self.at
            {
                self.covers.marks.pop_front();
                self.covers.seq = mark;
            }
            self.covers.vector = None;
            self.covers.later.clear();
            return;
        }
        let (from, required): (u64, Vec<MemberId>) =
            (self.covers.seq, self.required().map(|p| p.id).collect());
        if self.covers.vector.is_none() {
            if required.iter().all(|id| self.covers.later.contains_key(id)) {
                let all = self.covers.later.values().flatten().copied().chain(self.vector());
                self.covers.vector = Some(all.collect());
            }
            return;
        }
        let everywhere = self.covers.vector.iter().flatten().all(|&dot| {
            self.is_retired(dot.origin)
                || (self.has_reached(dot)
                    && self.required().all(|p| p.position(dot.origin).is_some_and(|seq| seq >= dot.seq)))
        });
        if everywhere {
            let floor = self.store.log(self.own).floor;
            self.raise_floors(self.own, floor, from);
        }
    }

    /// Notes the positions of a member that has the covers of the round.
    pub(crate) fn cover_round_digest(&mut self, from: MemberId, vector: Vec<Dot>) {
        let own: Origin = self.origin();
        let running = self.covers.seq > self.store.log(self.own).cover_floor && self.covers.vector.is_none();
        if running && vector.iter().any(|d| d.origin == own && d.seq >= self.covers.seq) {
            self.covers.later.insert(from, vector);
        }
    }
}
