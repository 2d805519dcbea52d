//! Replication, the receiving side. A copy only changes by becoming a longer prefix of the owner's log, or by a
//! comparison with the whole log.

use std::collections::HashSet;

use dyad_types::{Dot, MemberId, Origin};

use crate::api::Event;
use crate::core::Distro;
use crate::message::{Datum, DatumState, Delta, Message};
use crate::store::{KeyId, Log, LogId, Rare, RecState, Record, Reset};

/// A reset that brought nothing for that long is given up, or begun again, in ms.
const RESET_STALLS: u64 = 2_000;

impl Distro {
    pub(crate) fn on_delta(&mut self, from: MemberId, delta: Delta) {
        let origin = delta.origin;
        if self.is_retired(origin) {
            return;
        }
        if origin.member == self.me && origin.incarnation >= self.incarnation {
            if origin.incarnation > self.incarnation || delta.head > self.own_seq() {
                self.refute();
            }
            return;
        }
        let heard = self.at.saturating_sub(delta.silence);
        let Some(id) = self.log_for(origin, heard) else { return };
        if !self.state.serves() || self.store.log(id).superseded.is_some() {
            // While loading, the member that heard the origin last is right; later, heartbeats tell. A superseded origin
            // has none any more: there the last one to hear it stays right.
            self.heard_of(id, heard);
        }
        let delta_head = delta.head;
        let accepted = self.accepts(id, &delta);
        if accepted {
            self.apply(id, delta);
        }
        let log = self.store.log(id);
        let reset = log.reset.is_some();
        if from == origin.member {
            let seq = if reset { log.progress } else { log.seq.max(log.progress) };
            self.send(from, Message::DeltaAck { origin, seq, reset });
        } else if accepted && !log.is_complete() {
            let since = log.progress;
            self.send(from, Message::Pull { origin, since, reset });
        } else if log.progress < delta_head {
            // A piece that is here already, of a log that goes on: the pull for the next piece was lost.
            self.pull(from, id, false);
        }
    }

    fn log_for(&mut self, origin: Origin, heard: u64) -> Option<LogId> {
        if let Some(id) = self.store.log_id(origin) {
            return Some(id);
        }
        if self.store.log_count() > self.limits.logs {
            return None;
        }
        let id = self.store.add_log(origin, heard);
        let newest = match self.peers.get(origin.member) {
            Some(peer) if peer.incarnation == origin.incarnation => {
                let heard = heard.max(peer.heard.unwrap_or(0));
                self.store.log_mut(id).heard = heard;
                peer.incarnation
            }
            Some(peer) => peer.incarnation,
            None if origin.member == self.me => self.incarnation,
            None => 0,
        };
        if newest > origin.incarnation {
            self.store.log_mut(id).superseded = Some(self.at);
        }
        if let Some(peer) = self.peers.get_or_add(origin.member)
            && !peer.configured
        {
            peer.unconfigured = peer.unconfigured.or(Some(self.at));
        }
        Some(id)
    }

    /// A delta is taken when it continues the copy; a reset from its beginning, or where it stopped.
    fn accepts(&mut self, id: LogId, delta: &Delta) -> bool {
        let at = self.at;
        let log = self.store.log_mut(id);
        let is_under_way = log.reset.as_ref().is_some_and(|r| at.saturating_sub(r.at) < RESET_STALLS);
        if delta.reset {
            if delta.head < log.seq {
                return false;
            }
            // Every helper begins one: only the first counts, or none would ever be complete.
            if delta.since == 0 && !is_under_way {
                log.reset = Some(Reset { seen: HashSet::new(), at });
                log.progress = 0;
                log.head = 0;
                let origin = log.origin;
                self.event(Event::Reset(origin));
                return true;
            }
            // A sender that is behind the earlier ones may list what they have already dropped.
            let continues = delta.since <= log.progress && delta.to > log.progress;
            return log.reset.is_some() && continues && delta.head >= log.head;
        }
        if log.reset.is_some() {
            if is_under_way {
                return false;
            }
            log.reset = None;
            log.progress = log.seq;
            log.head = log.seq;
        }
        delta.since <= log.progress && delta.to > log.progress
    }

    fn apply(&mut self, id: LogId, delta: Delta) {
        for datum in delta.data {
            self.merge(id, datum);
        }
        let at = self.at;
        let log = self.store.log_mut(id);
        log.progress = delta.to;
        log.head = log.head.max(delta.head);
        if let Some(reset) = &mut log.reset {
            reset.at = at;
        }
        if log.progress < log.head {
            return;
        }
        log.seq = log.progress;
        if let Some(Reset { seen, .. }) = log.reset.take() {
            self.finish_reset(id, &seen);
        }
        self.raise_floors(id, delta.floor, delta.cover_floor);
        self.reached(id);
    }

    /// Drops what the whole log does not have any more. What is newer than that log came from a member that had more of
    /// it, and stays.
    fn finish_reset(&mut self, id: LogId, seen: &HashSet<KeyId>) {
        let log = self.store.log(id);
        let stale: Vec<KeyId> =
            log.by_seq.range(..=log.seq).map(|(_, key)| *key).filter(|key| !seen.contains(key)).collect();
        for key in stale {
            self.drop_record(key, id);
        }
    }

    /// Takes a record out and tells what changed.
    pub(crate) fn drop_record(&mut self, id: KeyId, log: LogId) {
        let Some(key) = self.key(id) else { return };
        let before = self.store.shown(id);
        self.store.take(id, log);
        self.changed(key, id, before);
        self.react(id);
        self.store.release(id);
    }

    /// The copy of a log has grown: Yields to it settle, waiting writes are answered.
    fn reached(&mut self, id: LogId) {
        let Log { origin, seq, .. } = *self.store.log(id);
        self.drop_doomed(Some(origin.member));
        if !self.store.log(id).quiet {
            // A Yield to an origin that is not heard here now counts on: the one that gave the record up has heard it.
            self.settle_yields(origin, seq);
        }
        self.run_write_copies();
    }

    pub(crate) fn settle_yields(&mut self, origin: Origin, reached: u64) {
        for id in self.store.yields_to(origin, reached) {
            let Some(key) = self.key(id) else { continue };
            let before = self.store.shown(id);
            self.store.settle(id, origin, reached);
            self.changed(key, id, before);
            self.react(id);
        }
    }

    /// This member's estimate of when a registration was made: the first value wins (rule 6).
    pub(crate) fn registered(&self, id: KeyId, dot: Dot, age: u64) -> i64 {
        let known = self.store.entry(id).and_then(|e| e.records.iter().find(|r| r.dot == dot));
        known.map_or(self.now.0 as i64 - i64::try_from(age).unwrap_or(i64::MAX / 2), |r| r.reg)
    }

    /// A log has one writer, so of two records of a key the one with the higher position is the newer one, in a reset from
    /// a member that is behind too.
    fn merge(&mut self, log: LogId, datum: Datum) {
        let id = self.store.intern(&datum.key);
        if let Some(Reset { seen, .. }) = &mut self.store.log_mut(log).reset {
            seen.insert(id);
        }
        let entry = self.store.entry(id);
        if let Some(present) = entry.and_then(|e| e.record(log))
            && (present.seq > datum.seq || present.seq == datum.seq && same(present, &datum))
        {
            return;
        }
        self.lamport = self.lamport.max(datum.lamport);
        if matches!(datum.state, DatumState::Gone) {
            self.stash_expired(id, log, &datum.covers);
        }
        let covers = datum.covers;
        let (state, value, to) = match datum.state {
            DatumState::Live { value, healthy: true } => (RecState::Live, Some(value), None),
            DatumState::Live { value, healthy: false } => (RecState::Unhealthy, Some(value), None),
            DatumState::Gone => (RecState::Gone, None, None),
            DatumState::Yield { value, to } if self.is_retired(to.origin) => {
                (RecState::Settled, Some(value), Some(to))
            }
            DatumState::Yield { value, to } => (RecState::Yield, Some(value), Some(to)),
        };
        let (publication, dot, reg) = match value {
            Some(v) => (Some(v.publication), v.dot, self.registered(id, v.dot, v.age)),
            None => (None, Dot::default(), 0),
        };
        let rare = (!covers.is_empty() || to.is_some())
            .then(|| Box::new(Rare { covers, to: to.unwrap_or_default() }));
        let before = self.store.shown(id);
        let (seq, lamport) = (datum.seq, datum.lamport);
        let published = publication.clone();
        self.store.put(id, Record { log, state, seq, lamport, publication, dot, reg, rare });
        self.changed(datum.key, id, before);
        if let Some(publication) = published
            && self.store.entry(id).and_then(|e| e.record(log)).is_some_and(|r| r.state.shows())
        {
            let is_foreign = self.store.log(log).origin.member != self.me;
            self.meets(id, publication.instances(), is_foreign);
        }
        self.react(id);
    }
}

/// The same record content.
fn same(present: &Record, datum: &Datum) -> bool {
    match &datum.state {
        DatumState::Live { value, healthy } => {
            present.state == (if *healthy { RecState::Live } else { RecState::Unhealthy })
                && present.dot == value.dot
                && present.publication.as_ref() == Some(&value.publication)
        }
        DatumState::Gone => present.state == RecState::Gone,
        DatumState::Yield { .. } => matches!(present.state, RecState::Yield | RecState::Settled),
    }
}
