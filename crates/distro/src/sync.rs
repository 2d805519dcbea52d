//! Replication, the sending side (Nacos's `TaskDispatcher`, `DataSyncer` and checksum verification). The owner of a log
//! pushes what is new; digests find what is missing.

use dyad_types::{Dot, MemberId, Origin};

use crate::api::Event;
use crate::codec::size::{self, Room};
use crate::core::Distro;
use crate::message::{Datum, DatumState, Delta, Digest, Heartbeat, LogDigest, Message, Ping};
use crate::peers::Heard;
use crate::store::{KeyId, Log, LogId, RecState};

/// Retirements that a digest repeats. Raft tells of all; a digest only does so earlier.
const RETIRED_SENT: usize = 4_096;
/// A copy asks for the same origin at most that often, in ms.
const PULL_EVERY: u64 = 400;

impl Distro {
    /// Positions of all logs.
    pub(crate) fn vector(&self) -> Vec<Dot> {
        let kept = self.store.logs().filter(|(_, log)| log.doomed.is_none());
        kept.map(|(_, log)| Dot { origin: log.origin, seq: log.seq }).collect()
    }

    pub(crate) fn digest(&self) -> Digest {
        let kept = self.store.logs().filter(|(_, log)| log.doomed.is_none());
        let logs = kept.map(|(_, log)| LogDigest {
            origin: log.origin,
            seq: log.seq,
            live: log.live,
            hash: log.hash,
            complete: log.is_complete(),
            floor: log.floor,
            cover_floor: log.cover_floor,
        });
        let retired = self.retired.iter().map(|(&member, &incarnation)| Origin { member, incarnation });
        Digest { logs: logs.collect(), retired: retired.take(RETIRED_SENT).collect() }
    }

    /// One ping to every peer (rule 7); every second one, and each one to a peer that differs, has the digest.
    pub(crate) fn send_pings(&mut self) {
        self.pings += 1;
        let me = Heartbeat { origin: self.origin(), counter: self.pings, state: self.state };
        let table: Vec<Heartbeat> =
            self.peers.iter().filter(|p| p.heard.is_some()).map(|p| p.heartbeat()).collect();
        let digest = self.digest();
        let even = self.pings.is_multiple_of(2);
        let targets: Vec<(MemberId, bool)> = self
            .peers
            .iter()
            .filter(|p| p.configured || p.heard.is_some())
            .map(|p| (p.id, even || p.digest.as_ref().is_none_or(|theirs| differs(theirs, &digest))))
            .collect();
        for (to, full) in targets {
            let table = table.iter().filter(|beat| beat.origin.member != to).copied().collect();
            let ping = Ping { me, table, digest: full.then(|| digest.clone()) };
            self.send(to, Message::Ping(ping));
        }
    }

    /// A ping out of turn to a peer that was silent: after a partition hearing must not lag behind the records.
    pub(crate) fn greet(&mut self, to: MemberId) {
        let me = Heartbeat { origin: self.origin(), counter: self.pings, state: self.state };
        let others = self.peers.iter().filter(|p| p.heard.is_some() && p.id != to);
        let table = others.map(|p| p.heartbeat()).collect();
        let ping = Ping { me, table, digest: Some(self.digest()) };
        self.send(to, Message::Ping(ping));
    }

    pub(crate) fn on_ping(&mut self, from: MemberId, ping: Ping) {
        if ping.me.origin.member != from {
            return;
        }
        self.heard(ping.me, true);
        for &beat in &ping.table {
            self.heard(beat, false);
        }
        if let Some(peer) = self.peers.get_mut(from) {
            peer.skip = false;
        }
        if let Some(digest) = ping.digest {
            self.on_digest(from, digest);
        }
    }

    fn heard(&mut self, beat: Heartbeat, direct: bool) {
        let origin = beat.origin;
        if origin.member == self.me {
            return;
        }
        let heard = self.peers.beat(beat, direct, self.at);
        if heard == Heard::Nothing {
            return;
        }
        if let Some(id) = self.store.log_id(origin)
            && (direct || heard == Heard::Grew)
        {
            self.heard_of(id, self.at);
        }
        if heard == Heard::NewIncarnation {
            self.supersede(origin);
        }
    }

    /// Older incarnations of the member are superseded from now on (rule 25).
    pub(crate) fn supersede(&mut self, newest: Origin) {
        let older: Vec<LogId> = self
            .store
            .logs()
            .filter(|(_, l)| l.origin.member == newest.member && l.origin.incarnation < newest.incarnation)
            .map(|(id, _)| id)
            .collect();
        for id in older {
            let log = self.store.log_mut(id);
            log.superseded = log.superseded.or(Some(self.at));
        }
    }

    pub(crate) fn heard_of(&mut self, id: LogId, at: u64) {
        let log = self.store.log_mut(id);
        if at.saturating_sub(log.heard) > self.timing.heard {
            log.heard_since = at;
        }
        log.heard = log.heard.max(at);
        if log.quiet && self.at.saturating_sub(log.heard) <= self.timing.heard {
            log.quiet = false;
            if !log.soft {
                let Log { origin, seq, .. } = *log;
                self.settle_yields(origin, seq);
            }
        }
        let log = self.store.log_mut(id);
        if log.soft && self.at.saturating_sub(log.heard) <= self.timing.soft_unhealthy {
            self.set_soft(id, false);
            let Log { origin, seq, .. } = *self.store.log(id);
            self.settle_yields(origin, seq);
        }
    }

    fn on_digest(&mut self, from: MemberId, digest: Digest) {
        for &origin in &digest.retired {
            if !self.is_retired(origin) {
                self.retire(origin);
            }
        }
        for theirs in &digest.logs {
            self.compare(from, theirs);
        }
        self.help(from, &digest);
        let vector = digest.logs.iter().map(|l| Dot { origin: l.origin, seq: l.seq }).collect();
        self.cover_round_digest(from, vector);
        let mine = self.digest();
        if let Some(peer) = self.peers.get_mut(from) {
            peer.in_step = in_step(&peer.mark, &mine.logs, &digest.logs);
            peer.mark = mine.logs.iter().map(|l| Dot { origin: l.origin, seq: l.seq }).collect();
            peer.digest = Some(digest);
        }
    }

    fn compare(&mut self, from: MemberId, theirs: &LogDigest) {
        let origin = theirs.origin;
        if self.is_retired(origin) {
            return;
        }
        if origin.member == self.me && origin.incarnation >= self.incarnation {
            if origin.incarnation > self.incarnation || theirs.seq > self.own_seq() {
                return self.refute();
            }
            if let Some(peer) = self.peers.get_mut(from) {
                peer.acked = peer.acked.max(theirs.seq);
            }
            return self.write_acked(theirs.seq);
        }
        if theirs.seq == 0 {
            return;
        }
        let Some(id) = self.store.log_id(origin) else {
            return self.send(from, Message::Pull { origin, since: 0, reset: false });
        };
        self.raise_floors(id, theirs.floor, theirs.cover_floor);
        let loading = !self.state.serves();
        let log = self.store.log_mut(id);
        if theirs.seq > log.seq {
            let again = log.target > log.seq;
            log.target = log.target.max(theirs.seq);
            if again || loading {
                self.pull(from, id, false);
            }
        } else if from == origin.member && self.hash_differs(id, theirs) {
            self.event(Event::HashMismatch(origin));
            self.pull(from, id, true);
        }
    }

    /// Only the owner's hash counts, at the same position, of a complete copy.
    fn hash_differs(&self, id: LogId, theirs: &LogDigest) -> bool {
        let log = self.store.log(id);
        theirs.seq == log.seq
            && theirs.complete
            && log.is_complete()
            && (theirs.live, theirs.hash) != (log.live, log.hash)
    }

    /// Sends a piece of what a peer lacks and did not get since its last digest, although it is not ours.
    fn help(&mut self, to: MemberId, theirs: &Digest) {
        let position = |d: &Digest, origin| d.logs.iter().find(|l| l.origin == origin).map_or(0, |l| l.seq);
        let Some(before) = self.peers.get(to).and_then(|p| p.digest.as_ref()) else { return };
        let behind: Vec<(LogId, u64)> = self
            .store
            .logs()
            .filter(|(id, log)| *id != self.own && log.is_complete() && log.doomed.is_none())
            .filter_map(|(id, log)| {
                let has = position(theirs, log.origin);
                let known = theirs
                    .retired
                    .iter()
                    .any(|r| r.member == log.origin.member && r.incarnation >= log.origin.incarnation);
                let stuck = has < log.seq && has == position(before, log.origin);
                (stuck && !known && log.origin.member != to).then_some((id, has))
            })
            .collect();
        for (id, since) in behind {
            self.serve(to, id, since, false);
        }
    }

    pub(crate) fn pull(&mut self, from: MemberId, id: LogId, reset: bool) {
        let log = self.store.log_mut(id);
        if log.pulled.is_some_and(|at| self.at.saturating_sub(at) < PULL_EVERY) {
            return;
        }
        log.pulled = Some(self.at);
        let since = if reset { 0 } else { log.progress };
        let reset = reset || log.reset.is_some();
        let origin = log.origin;
        self.send(from, Message::Pull { origin, since, reset });
    }

    pub(crate) fn on_pull(&mut self, from: MemberId, origin: Origin, since: u64, reset: bool) {
        let Some(id) = self.store.log_id(origin) else { return };
        if id == self.own {
            let own = self.own_seq();
            if let Some(peer) = self.peers.get_mut(from) {
                if reset {
                    peer.resetting = Some(since);
                } else {
                    peer.acked = since.min(own);
                }
                peer.in_flight = None;
            }
            return self.push(from);
        }
        self.serve(from, id, since, reset);
    }

    /// Sends a piece of a log. A reader behind the floor gets the whole log anew.
    fn serve(&mut self, to: MemberId, id: LogId, since: u64, reset: bool) {
        let log = self.store.log(id);
        if !log.is_complete() {
            return;
        }
        let behind = !reset && since < log.floor;
        let since = if behind { 0 } else { since };
        let delta = self.delta(id, since, reset || behind);
        self.send(to, Message::Delta(delta));
    }

    fn delta(&self, id: LogId, since: u64, reset: bool) -> Delta {
        let log = self.store.log(id);
        let mut data = Vec::new();
        let mut room = Room::new(self.limits.delta_records, self.limits.message_bytes);
        let mut to = log.seq;
        for (&seq, &key) in log.by_seq.range(since.saturating_add(1)..) {
            let Some(datum) = self.datum(key, id) else { continue };
            if !room.take(size::datum(&datum)) {
                to = seq - 1;
                break;
            }
            data.push(datum);
        }
        Delta {
            origin: log.origin,
            since,
            to,
            head: log.seq,
            reset,
            floor: log.floor,
            cover_floor: log.cover_floor,
            silence: if id == self.own { 0 } else { self.at.saturating_sub(log.heard) },
            data,
        }
    }

    fn datum(&self, key: KeyId, id: LogId) -> Option<Datum> {
        let entry = self.store.entry(key)?;
        let record = entry.record(id)?;
        let value = record.publication.as_ref().map(|p| self.value(p, record.dot, record.reg));
        let state = match (record.state, value) {
            (RecState::Gone, _) | (_, None) => DatumState::Gone,
            (RecState::Yield | RecState::Settled, Some(value)) => {
                DatumState::Yield { value, to: record.rare.as_ref().map_or(Dot::default(), |r| r.to) }
            }
            (state, Some(value)) => DatumState::Live { value, healthy: state == RecState::Live },
        };
        let (key, covers) = (entry.key.clone(), record.covers().to_vec());
        Some(Datum { key, seq: record.seq, lamport: record.lamport, state, covers })
    }

    /// Sends the own log's news to every peer.
    pub(crate) fn flush(&mut self) {
        self.flush_at = None;
        self.flushed_at = self.at;
        let at = self.at;
        let heard = self.timing.heard;
        let to: Vec<MemberId> = self
            .peers
            .iter()
            .filter(|p| p.heard.is_some_and(|h| at.saturating_sub(h) <= heard))
            .map(|p| p.id)
            .collect();
        to.into_iter().for_each(|id| self.push(id));
    }

    /// The next piece of the own log for a peer, unless one is in flight.
    pub(crate) fn push(&mut self, to: MemberId) {
        let (seq, floor, at) = (self.own_seq(), self.store.log(self.own).floor, self.at);
        let retry = self.timing.retry;
        let most = self.timing.retry_most;
        let Some(peer) = self.peers.get_mut(to) else { return };
        if peer.in_flight.is_some_and(|(sent, tries)| at < sent + retry_after(retry, most, tries)) {
            return;
        }
        if peer.resetting.is_none() && peer.acked >= seq {
            peer.in_flight = None;
            return;
        }
        if peer.resetting.is_none() && peer.acked < floor {
            peer.resetting = Some(0);
        }
        let (since, reset) = (peer.resetting.unwrap_or(peer.acked), peer.resetting.is_some());
        peer.in_flight = Some((at, peer.in_flight.map_or(1, |(_, tries)| tries + 1)));
        let delta = self.delta(self.own, since, reset);
        self.send(to, Message::Delta(delta));
    }

    /// Sends again what was not acked in time.
    pub(crate) fn run_retries(&mut self) {
        let at = self.at;
        let (retry, most, heard) = (self.timing.retry, self.timing.retry_most, self.timing.heard);
        let due: Vec<MemberId> = self
            .peers
            .iter()
            .filter(|p| p.heard.is_some_and(|h| at.saturating_sub(h) <= heard))
            .filter(|p| p.in_flight.is_some_and(|(sent, tries)| at >= sent + retry_after(retry, most, tries)))
            .map(|p| p.id)
            .collect();
        due.into_iter().for_each(|id| self.push(id));
    }

    /// When the first retry is due.
    pub(crate) fn next_retry(&self) -> Option<u64> {
        let (retry, most, heard) = (self.timing.retry, self.timing.retry_most, self.timing.heard);
        self.peers
            .iter()
            .filter(|p| p.heard.is_some_and(|h| self.at.saturating_sub(h) <= heard))
            .filter_map(|p| p.in_flight.map(|(sent, tries)| sent + retry_after(retry, most, tries)))
            .min()
    }

    pub(crate) fn on_delta_ack(&mut self, from: MemberId, origin: Origin, seq: u64, reset: bool) {
        if origin != self.origin() || seq > self.own_seq() {
            return;
        }
        let own = self.own_seq();
        let Some(peer) = self.peers.get_mut(from) else { return };
        let before = (peer.acked, peer.resetting);
        let in_flight = peer.in_flight.take();
        if reset {
            peer.resetting = Some(seq);
        } else {
            peer.resetting = None;
            peer.acked = peer.acked.max(seq);
        }
        let more = peer.resetting.is_some() || peer.acked < own;
        if more && before == (peer.acked, peer.resetting) {
            // No progress: what was sent stays in flight until its retry is due.
            peer.in_flight = in_flight;
        }
        self.write_acked(seq);
        if more && self.flush_at.is_none() {
            self.push(from);
        }
    }
}

fn differs(a: &Digest, b: &Digest) -> bool {
    let has = |d: &Digest, l: &LogDigest| d.logs.iter().any(|o| o.origin == l.origin && o.seq == l.seq);
    a.logs.len() != b.logs.len() || a.logs.iter().any(|l| !has(b, l))
}

fn retry_after(first: u64, most: u64, tries: u32) -> u64 {
    first.saturating_mul(1 << tries.saturating_sub(1).min(16)).min(most)
}

/// The peer has all that this member had at its former digest (`mark`), and where both are at one position they hold the
/// same records. On a quiet cluster that is equality; under load it allows for what is under way.
fn in_step(mark: &[Dot], mine: &[LogDigest], theirs: &[LogDigest]) -> bool {
    let find = |logs: &[LogDigest], origin| logs.iter().find(|l| l.origin == origin).copied();
    let reached = |dot: &Dot| {
        dot.seq == 0
            || find(mine, dot.origin).is_none()
            || find(theirs, dot.origin).is_some_and(|their| their.seq >= dot.seq)
    };
    let agrees = |their: &LogDigest| {
        find(mine, their.origin)
            .is_none_or(|own| own.seq != their.seq || (own.live, own.hash) == (their.live, their.hash))
    };
    mark.iter().all(reached) && theirs.iter().all(agrees)
}
