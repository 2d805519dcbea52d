//! Registrations and deregistrations (rules 8 and 9), which are accepted here or, one hop away, at the responsible member.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use dyad_types::{Dot, MemberId, Publication, PublicationKey};

use crate::api::{Event, Outcome};
use crate::codec::size;
use crate::core::{Distro, New};
use crate::message::{Forward, Message};
use crate::store::RecState;

/// A forward overtaken by that many pings of its sender is stale: the client has been answered otherwise.
pub(crate) const STALE_PINGS: u64 = 2;

#[derive(Debug)]
struct Forwarded {
    req: u64,
    key: PublicationKey,
    publication: Option<Arc<Publication>>,
    to: MemberId,
    deadline: u64,
}

/// Client writes that wait for a peer.
#[derive(Debug, Default)]
pub(crate) struct Writes {
    forwards: BTreeMap<u64, Forwarded>,
    /// Accepted elsewhere: the position that the own copy must reach before the client is answered.
    copies: Vec<(Forwarded, Dot)>,
    /// Accepted here: (own seq that a peer must have, deadline, request), in order.
    acks: VecDeque<(u64, u64, u64)>,
    next: u64,
    /// Forwarded writes that were accepted, but did not reach the own copy in time.
    pub(crate) late_copies: u64,
}

impl Writes {
    pub(crate) fn is_idle(&self) -> bool {
        self.forwards.is_empty() && self.copies.is_empty() && self.acks.is_empty()
    }

    fn len(&self) -> usize {
        self.forwards.len() + self.copies.len() + self.acks.len()
    }
}

impl Distro {
    /// A client's write; `None` is a deregistration.
    pub(crate) fn write(&mut self, req: u64, key: PublicationKey, publication: Option<Arc<Publication>>) {
        if !self.serves() {
            return self.reply(req, Outcome::Unavailable);
        }
        if !size::is_sendable(&key, publication.as_deref()) {
            // Nothing can be registered under a key that is too long: a deregistration of it is done.
            let outcome = if publication.is_some() { Outcome::TooLong } else { Outcome::Done };
            return self.reply(req, outcome);
        }
        if publication.is_some() && self.conns.refuses(&key.client) {
            return self.reply(req, Outcome::Unavailable);
        }
        let to = self.responsible(&key.client);
        let skip = self.peers.get(to).is_none_or(|p| p.skip);
        if !key.client.is_beat() || to == self.me || skip || self.writes.len() >= self.limits.waiting {
            return self.accept_and_reply(req, &key, publication);
        }
        self.writes.next += 1;
        let id = self.writes.next;
        let known = match &publication {
            Some(_) => Vec::new(),
            None => self.dots(&key),
        };
        let counter = self.pings;
        let forward = Forward { req: id, counter, key: key.clone(), publication: publication.clone(), known };
        self.send(to, Message::Forward(forward));
        let deadline = self.at + self.timing.forward;
        self.writes.forwards.insert(id, Forwarded { req, key, publication, to, deadline });
    }

    /// The registrations of a key that any log here vouches for.
    pub(crate) fn dots(&self, key: &PublicationKey) -> Vec<Dot> {
        let Some(entry) = self.store.find(key).and_then(|id| self.store.entry(id)) else { return Vec::new() };
        entry.records.iter().filter(|r| r.state != RecState::Gone).map(|r| r.dot).collect()
    }

    fn accept_and_reply(&mut self, req: u64, key: &PublicationKey, publication: Option<Arc<Publication>>) {
        let at = self.accept(key, publication, &[]);
        let within_reach = || {
            self.peers.iter().filter(|p| {
                p.configured
                    && !p.skip
                    && p.heard.is_some_and(|heard| self.at.saturating_sub(heard) <= self.timing.heard)
            })
        };
        // Without a peer to acknowledge it, waiting would protect nothing. One that has the position already, since the
        // write changed nothing, will not acknowledge it again.
        let waits = within_reach().next().is_some() && !within_reach().any(|p| p.acked >= at.seq);
        if !waits || self.writes.len() >= self.limits.waiting {
            return self.reply(req, Outcome::Done);
        }
        self.writes.acks.push_back((at.seq, self.at + self.timing.write_ack, req));
    }

    fn accept(&mut self, key: &PublicationKey, publication: Option<Arc<Publication>>, known: &[Dot]) -> Dot {
        self.stash.remove(key);
        match publication {
            Some(publication) => self.accept_register(key, publication),
            None => self.accept_deregister(key, known),
        }
    }

    /// Rule 8: same value, healthy, uncovered and no other registration in sight: only a refresh; else a new dot.
    fn accept_register(&mut self, key: &PublicationKey, publication: Arc<Publication>) -> Dot {
        let id = self.store.intern(key);
        let now = self.now;
        let own = self.own;
        let same = self.store.entry(id).and_then(|entry| {
            let record = entry.record(own)?;
            let same = record.state == RecState::Live
                && record.publication.as_ref() == Some(&publication)
                && !entry.is_covered(record.dot)
                && entry.visible().all(|r| r.dot == record.dot);
            same.then_some(record.seq)
        });
        self.hold(id, now);
        match same {
            Some(seq) => Dot { origin: self.origin(), seq },
            None => {
                let reg = now.0 as i64;
                self.conn_registered(&key.client);
                self.append(
                    id,
                    New { state: RecState::Live, publication: Some(publication), reg, ..New::default() },
                )
            }
        }
    }

    /// Rule 9: Gone that covers every registration known of the key.
    fn accept_deregister(&mut self, key: &PublicationKey, known: &[Dot]) -> Dot {
        let mut covers = self.dots(key);
        covers.extend_from_slice(known);
        if covers.is_empty() {
            return Dot { origin: self.origin(), seq: self.own_seq() };
        }
        let id = self.store.intern(key);
        self.append(id, New { covers, ..New::default() })
    }

    /// One hop only: accepted if this member serves (rule 8).
    pub(crate) fn on_forward(&mut self, from: MemberId, forward: Forward) {
        if !self.serves() || self.is_stale(from, forward.counter) {
            return;
        }
        if !size::is_sendable(&forward.key, forward.publication.as_deref()) {
            return self.send(from, Message::ForwardAck { req: forward.req, at: None });
        }
        let at = self.accept(&forward.key, forward.publication, &forward.known);
        self.push(from);
        self.send(from, Message::ForwardAck { req: forward.req, at: Some(at) });
    }

    /// Overtaken by later pings of its sender.
    pub(crate) fn is_stale(&self, from: MemberId, counter: u64) -> bool {
        self.peers.get(from).is_some_and(|p| p.counter >= counter.saturating_add(STALE_PINGS))
    }

    pub(crate) fn on_forward_ack(&mut self, from: MemberId, req: u64, at: Option<Dot>) {
        match self.writes.forwards.get(&req) {
            Some(forwarded) if forwarded.to == from => {}
            _ => return,
        }
        let Some(forwarded) = self.writes.forwards.remove(&req) else { return };
        match at {
            Some(at) => {
                let deadline = self.at + self.timing.forward_copy;
                self.writes.copies.push((Forwarded { deadline, ..forwarded }, at));
                self.run_write_copies();
            }
            None => self.accept_and_reply(forwarded.req, &forwarded.key, forwarded.publication),
        }
    }

    /// True when the own copy of the position's log reaches it.
    pub(crate) fn has_reached(&self, position: Dot) -> bool {
        position.seq == 0
            || self.store.log_id(position.origin).is_some_and(|log| self.store.log(log).seq >= position.seq)
    }

    pub(crate) fn run_write_copies(&mut self) {
        let mut i = 0;
        while i < self.writes.copies.len() {
            let (forwarded, position) = &self.writes.copies[i];
            let reached = self.has_reached(*position);
            if !reached && self.at < forwarded.deadline {
                i += 1;
                continue;
            }
            let (forwarded, _) = self.writes.copies.swap_remove(i);
            if reached {
                self.reply(forwarded.req, Outcome::Done);
            } else {
                self.writes.late_copies += 1;
                self.forward_failed(forwarded);
            }
        }
    }

    /// A peer has the own log up to `seq`.
    pub(crate) fn write_acked(&mut self, seq: u64) {
        while let Some(&(needed, _, req)) = self.writes.acks.front()
            && needed <= seq
        {
            self.writes.acks.pop_front();
            self.reply(req, Outcome::Done);
        }
    }

    pub(crate) fn run_writes(&mut self) {
        self.run_write_copies();
        while let Some(&(_, deadline, req)) = self.writes.acks.front()
            && self.at >= deadline
        {
            self.writes.acks.pop_front();
            self.reply(req, Outcome::Done);
        }
        let late: Vec<u64> =
            self.writes.forwards.iter().filter(|(_, f)| self.at >= f.deadline).map(|(&id, _)| id).collect();
        for id in late {
            let Some(forwarded) = self.writes.forwards.remove(&id) else { continue };
            if let Some(peer) = self.peers.get_mut(forwarded.to) {
                peer.skip = true;
            }
            self.forward_failed(forwarded);
        }
    }

    /// The responsible member did not take the write, or cannot show it here: this member accepts it.
    fn forward_failed(&mut self, forwarded: Forwarded) {
        self.event(Event::ForwardFailed(forwarded.to));
        self.accept_and_reply(forwarded.req, &forwarded.key, forwarded.publication);
    }

    /// The stream to a peer broke: what was in flight is sent again after its next ping; until then a forward to it would
    /// only wait.
    pub(crate) fn stream_down(&mut self, id: MemberId) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.in_flight = None;
        peer.resetting = None;
        peer.skip = true;
        let lost: Vec<u64> =
            self.writes.forwards.iter().filter(|(_, f)| f.to == id).map(|(&req, _)| req).collect();
        for req in lost {
            let Some(forwarded) = self.writes.forwards.remove(&req) else { continue };
            self.forward_failed(forwarded);
        }
    }

    /// After a pause every waiting client gets 503 (rule 23).
    pub(crate) fn fail_writes(&mut self) {
        let writes = std::mem::take(&mut self.writes);
        let forwards = writes.forwards.into_values().map(|f| f.req);
        let copies = writes.copies.into_iter().map(|(f, _)| f.req);
        let acks = writes.acks.into_iter().map(|(.., req)| req);
        for req in forwards.chain(copies).chain(acks) {
            self.reply(req, Outcome::Unavailable);
        }
        self.writes.next = writes.next;
        self.writes.late_copies = writes.late_copies;
    }
}
