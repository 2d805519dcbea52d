//! Heartbeats (rules 10 to 12), and the relay that hand-over and stash use (rules 13 and 16). Within 2 s after a
//! heartbeat was answered, a member whose record this member sees holds the key, or this member holds it itself.

use std::collections::BTreeMap;
use std::iter::Peekable;
use std::sync::Arc;

use dyad_types::{Dot, MemberId, Millis, Publication, PublicationKey};

use crate::api::{BeatOutcome, Event};
use crate::codec::size::{self, Room};
use crate::core::{Distro, New};
use crate::message::{Message, Relay, RelayedBeat, Value};
use crate::store::{KeyId, RecState, Record};

/// A registration as this member knew it.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) publication: Arc<Publication>,
    pub(crate) dot: Dot,
    pub(crate) reg: i64,
}

impl Known {
    pub(crate) fn of(record: &Record) -> Option<Known> {
        Some(Known { publication: record.publication.clone()?, dot: record.dot, reg: record.reg })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// An answered beat: this member adopts if nobody else holds it.
    Beat,
    /// A hand-over: the own record ends when the responsible member has it.
    HandOver,
    /// A stashed registration, for the holder of an older one.
    Stash,
}

#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) key: PublicationKey,
    pub(crate) beat: Millis,
    /// What the answer was based on.
    pub(crate) known: Option<Known>,
    pub(crate) purpose: Purpose,
    /// A given receiver instead of the responsible member.
    pub(crate) to: Option<MemberId>,
    pub(crate) attempt: u32,
}

#[derive(Debug)]
struct Batch {
    deadline: u64,
    beats: Vec<Pending>,
}

#[derive(Debug, Default)]
pub(crate) struct Relays {
    queue: Vec<Pending>,
    due: u64,
    batches: BTreeMap<u64, Batch>,
    /// Acked: (beat, position that the own copy must reach, deadline).
    copies: Vec<(Pending, Dot, u64)>,
    in_batches: usize,
    next: u64,
}

impl Relays {
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.batches.is_empty() && self.copies.is_empty()
    }

    pub(crate) fn len(&self) -> usize {
        self.queue.len() + self.copies.len() + self.in_batches
    }

    /// Drops everything under way (rule 23).
    pub(crate) fn clear(&mut self) {
        *self = Relays { next: self.next, ..Relays::default() };
    }
}

impl Distro {
    /// Rule 10.
    pub(crate) fn take_beat(&mut self, key: &PublicationKey) -> BeatOutcome {
        if !self.serves() {
            return BeatOutcome::Unavailable;
        }
        let Some(id) = self.store.find(key) else { return BeatOutcome::Unknown };
        let now = self.now;
        if self.refresh(id, now) {
            return BeatOutcome::Known;
        }
        let Some(known) = self.store.entry(id).and_then(|e| e.newest()).and_then(Known::of) else {
            return BeatOutcome::Unknown;
        };
        let to = self.responsible(&key.client);
        if to == self.me || !key.client.is_beat() || self.relays.len() >= self.limits.relays {
            self.adopt(id, known, now);
        } else {
            let key = key.clone();
            self.relay(Pending {
                key,
                beat: now,
                known: Some(known),
                purpose: Purpose::Beat,
                to: None,
                attempt: 0,
            });
        }
        BeatOutcome::Known
    }

    /// Notes a beat of a held, uncovered record. False when it is not held.
    pub(crate) fn refresh(&mut self, id: KeyId, beat: Millis) -> bool {
        let own = self.own;
        let Some(entry) = self.store.entry(id) else { return false };
        let (Some(slot), Some(record)) = (&entry.slot, entry.record(own)) else { return false };
        if !record.state.is_live() || entry.is_covered(record.dot) {
            return false;
        }
        slot.set_last(beat.max(slot.last()));
        if record.state == RecState::Unhealthy && self.is_fresh(id) {
            let Some(Known { publication, dot, reg }) = Known::of(record) else { return false };
            let key = entry.key.clone();
            self.event(Event::Recovered(key));
            let publication = Some(publication);
            self.append(
                id,
                New { state: RecState::Live, publication, dot: Some(dot), reg, ..New::default() },
            );
        }
        true
    }

    /// The last beat is younger than the beat timeout.
    fn is_fresh(&self, id: KeyId) -> bool {
        let Some(entry) = self.store.entry(id) else { return false };
        let Some(slot) = &entry.slot else { return false };
        let timeout = entry
            .record(self.own)
            .and_then(|r| r.publication.as_ref())
            .and_then(|p| p.instances().first())
            .map_or(0, |i| i.unhealthy_after_ms());
        self.at.saturating_sub(self.clock.active(slot.last())) < timeout
    }

    /// Times the record from now on; the dot stays (rule 1).
    pub(crate) fn adopt(&mut self, id: KeyId, known: Known, last: Millis) -> Dot {
        let known = self.or_stashed(id, known);
        if let Some(key) = self.key(id) {
            self.event(Event::Adopted(key));
        }
        self.hold(id, last);
        let Known { publication, dot, reg } = known;
        let publication = Some(publication);
        self.append(id, New { state: RecState::Live, publication, dot: Some(dot), reg, ..New::default() })
    }

    pub(crate) fn relay(&mut self, pending: Pending) {
        if self.relays.queue.is_empty() {
            self.relays.due = self.at + self.timing.relay_batch;
        }
        self.relays.queue.push(pending);
    }

    /// Batches, second attempts, failures.
    pub(crate) fn run_relays(&mut self) {
        let late: Vec<u64> =
            self.relays.batches.iter().filter(|(_, b)| self.at >= b.deadline).map(|(&id, _)| id).collect();
        let mut again = Vec::new();
        for id in late {
            let Some(batch) = self.relays.batches.remove(&id) else { continue };
            self.relays.in_batches -= batch.beats.len();
            for pending in batch.beats {
                if pending.attempt < 2 { again.push(pending) } else { self.relay_failed(pending) }
            }
        }
        if !self.relays.queue.is_empty() && self.at >= self.relays.due {
            again.append(&mut self.relays.queue);
        }
        if !again.is_empty() {
            self.send_relays(again);
        }
        self.run_relay_copies();
    }

    fn send_relays(&mut self, pending: Vec<Pending>) {
        let mut by_member: BTreeMap<MemberId, Vec<Pending>> = BTreeMap::new();
        for mut pending in pending {
            pending.attempt += 1;
            let to = pending.to.unwrap_or_else(|| self.responsible(&pending.key.client));
            if to == self.me {
                self.relay_failed(pending);
            } else {
                by_member.entry(to).or_default().push(pending);
            }
        }
        for (to, beats) in by_member {
            let mut beats = beats.into_iter().peekable();
            while beats.peek().is_some() {
                self.send_relay_batch(to, &mut beats);
            }
        }
    }

    /// Sends as many as fit into one message.
    fn send_relay_batch(&mut self, to: MemberId, pending: &mut Peekable<std::vec::IntoIter<Pending>>) {
        let mut room = Room::new(self.limits.relay_entries, self.limits.message_bytes);
        let (mut beats, mut wire) = (Vec::new(), Vec::new());
        while let Some(next) = pending.peek() {
            let entry = self.relayed(next);
            if !room.take(size::beat(&entry)) {
                break;
            }
            wire.push(entry);
            beats.extend(pending.next());
        }
        self.relays.next += 1;
        let batch = self.relays.next;
        let relay = Relay { batch, counter: self.pings, beats: wire };
        self.send(to, Message::Relay(relay));
        self.relays.in_batches += beats.len();
        let deadline = self.at + self.timing.relay;
        self.relays.batches.insert(batch, Batch { deadline, beats });
    }

    /// An entry on the wire: it carries a record only if this member has one of its own to give (rule 11).
    fn relayed(&self, pending: &Pending) -> RelayedBeat {
        let known = (pending.purpose != Purpose::Beat).then_some(pending.known.as_ref()).flatten();
        RelayedBeat {
            key: pending.key.clone(),
            age: self.now.since(pending.beat),
            value: known.map(|k| self.value(&k.publication, k.dot, k.reg)),
        }
    }

    pub(crate) fn value(&self, publication: &Arc<Publication>, dot: Dot, reg: i64) -> Value {
        let age = u64::try_from((self.now.0 as i64).saturating_sub(reg)).unwrap_or(0);
        Value { publication: publication.clone(), dot, age }
    }

    /// Rule 12.
    pub(crate) fn on_relay(&mut self, from: MemberId, relay: Relay) {
        if !self.serves() || !self.state.times() || self.is_stale(from, relay.counter) {
            return;
        }
        // What is beyond the limit counts as unknown, and its sender times it.
        let beats = relay.beats.into_iter().take(self.limits.relay_entries);
        let held = beats.map(|beat| self.take_relayed(beat)).collect();
        self.push(from);
        self.send(from, Message::RelayAck { batch: relay.batch, held });
    }

    fn take_relayed(&mut self, relayed: RelayedBeat) -> Option<Dot> {
        if !size::is_sendable(&relayed.key, relayed.value.as_ref().map(|v| &*v.publication)) {
            return None;
        }
        let beat = self.now.back(relayed.age);
        let id = match &relayed.value {
            Some(_) => self.store.intern(&relayed.key),
            None => self.store.find(&relayed.key)?,
        };
        let given = relayed.value.map(|value| {
            let reg = self.registered(id, value.dot, value.age);
            Known { publication: value.publication, dot: value.dot, reg }
        });
        let taken = self.take_known(id, given, beat);
        self.store.release(id);
        taken.then(|| self.own_position(id)).flatten()
    }

    fn own_position(&self, id: KeyId) -> Option<Dot> {
        let record = self.store.entry(id)?.record(self.own)?;
        Some(Dot { origin: self.origin(), seq: record.seq })
    }

    fn take_known(&mut self, id: KeyId, given: Option<Known>, beat: Millis) -> bool {
        let Some(entry) = self.store.entry(id) else { return false };
        let given = given.filter(|k| !entry.is_covered(k.dot));
        if self.refresh(id, beat) {
            if let Some(given) = given {
                self.take_if_newer(id, given);
            }
            return true;
        }
        let Some(entry) = self.store.entry(id) else { return false };
        let visible = entry.newest().and_then(Known::of);
        let best = [visible, given].into_iter().flatten().max_by_key(|k| k.reg);
        let Some(known) = best else { return false };
        // An old beat (of a stash, rule 16) is for a holder; it makes nobody one.
        let timeout = known.publication.instances().first().map_or(0, |i| i.unhealthy_after_ms());
        if self.now.since(beat) >= timeout {
            return false;
        }
        self.adopt(id, known, beat);
        true
    }

    /// Rule 15: another registration that is newer by age replaces the own one's value and dot.
    pub(crate) fn take_if_newer(&mut self, id: KeyId, other: Known) -> bool {
        let own = self.own;
        let Some(record) = self.store.entry(id).and_then(|e| e.record(own)) else { return false };
        if record.dot == other.dot || other.reg <= record.reg {
            return false;
        }
        let state = record.state;
        // The registration was a sign of life too, and its age travelled with it.
        if let Some(slot) = self.store.entry(id).and_then(|e| e.slot.as_ref()) {
            slot.set_last(slot.last().max(Millis(u64::try_from(other.reg).unwrap_or(0)).min(self.now)));
        }
        if let Some(key) = self.key(id) {
            self.event(Event::TookNewer(key));
        }
        let Known { publication, dot, reg } = other;
        self.append(id, New { state, publication: Some(publication), dot: Some(dot), reg, ..New::default() });
        true
    }

    pub(crate) fn on_relay_ack(&mut self, batch: u64, held: Vec<Option<Dot>>) {
        let Some(batch) = self.relays.batches.remove(&batch) else { return };
        self.relays.in_batches -= batch.beats.len();
        let deadline = self.at + self.timing.relay_copy;
        let held = held.into_iter().chain(std::iter::repeat(None));
        for (pending, held) in batch.beats.into_iter().zip(held) {
            match held {
                Some(position) => self.relays.copies.push((pending, position, deadline)),
                None => self.relay_failed(pending),
            }
        }
        self.run_relay_copies();
    }

    /// An ack counts when the own copy shows the acked record, uncovered (rule 11).
    fn run_relay_copies(&mut self) {
        let mut i = 0;
        while i < self.relays.copies.len() {
            let (_, position, deadline) = &self.relays.copies[i];
            let (position, deadline) = (*position, *deadline);
            if self.has_reached(position) {
                let (pending, ..) = self.relays.copies.swap_remove(i);
                self.relay_done(pending, position);
            } else if self.at >= deadline {
                let (pending, ..) = self.relays.copies.swap_remove(i);
                self.relay_failed(pending);
            } else {
                i += 1;
            }
        }
    }

    fn relay_done(&mut self, pending: Pending, position: Dot) {
        let Some(id) = self.store.find(&pending.key) else { return self.relay_failed(pending) };
        let log = self.store.log_id(position.origin);
        let entry = self.store.entry(id);
        let shown = log.and_then(|log| entry.and_then(|e| e.visible().find(|r| r.log == log)));
        let Some(record) = shown else { return self.relay_failed(pending) };
        if pending.purpose == Purpose::HandOver
            && record.state == RecState::Live
            && let Some(offered) = &pending.known
        {
            let to = Dot { origin: position.origin, seq: record.seq };
            self.hand_over(id, to, offered.dot, pending.beat);
        }
    }

    /// Nobody else vouches for an answered beat: this member adopts what it answered on (rule 11).
    fn relay_failed(&mut self, pending: Pending) {
        if pending.purpose != Purpose::Beat || !self.serves() {
            return;
        }
        let id = self.store.intern(&pending.key);
        if !self.refresh(id, pending.beat)
            && let Some(entry) = self.store.entry(id)
        {
            let known = pending.known.filter(|k| !entry.is_covered(k.dot));
            let visible = entry.newest().and_then(Known::of);
            if let Some(known) = [known, visible].into_iter().flatten().max_by_key(|k| k.reg) {
                self.event(Event::RelayFailed(pending.key));
                self.adopt(id, known, pending.beat);
            }
        }
        self.store.release(id);
    }
}
