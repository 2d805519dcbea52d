//! Keys of which more than one member has a live record: hand-over (rule 13), newest registration (rule 15), stash (rule 16).

use dyad_types::{Dot, Millis, PublicationKey, placement};

use crate::api::Event;
use crate::core::{Contest, Distro, New, Stashed};
use crate::relay::{Known, Pending, Purpose};
use crate::store::{KeyId, LogId, RecState, Record, covers};

impl Distro {
    /// Looks at a key again after a record of it came or went.
    pub(crate) fn react(&mut self, id: KeyId) {
        let own = self.own;
        let Some(entry) = self.store.entry(id) else { return };
        let contested = if entry.slot.is_some() {
            entry.records.iter().any(|r| r.log != own && (r.state.shows() || r.rare.is_some()))
        } else {
            !self.stash.is_empty() && self.stash.contains_key(&entry.key)
        };
        if contested {
            self.contest(id, self.at);
        }
    }

    fn contest(&mut self, id: KeyId, due: u64) {
        if self.looking == Some(id) {
            return;
        }
        let contest = self.contested.entry(id).or_default();
        if self.contests.contains(&(contest.due, id)) {
            if contest.due <= due {
                return;
            }
            self.contests.remove(&(contest.due, id));
        }
        contest.due = due;
        self.contests.insert((due, id));
    }

    pub(crate) fn run_contests(&mut self) {
        while let Some(&(due, id)) = self.contests.first()
            && due <= self.at
        {
            self.contests.pop_first();
            let Some(mut contest) = self.contested.remove(&id) else { continue };
            self.looking = Some(id);
            let after = self.look(id, &mut contest);
            self.looking = None;
            if let Some(after) = after {
                contest.due = self.at + after;
                self.contested.insert(id, contest);
                self.contests.insert((contest.due, id));
            }
        }
    }

    /// Settles what can be settled; gives the time until the next look, `None` when nothing is contested.
    fn look(&mut self, id: KeyId, contest: &mut Contest) -> Option<u64> {
        let entry = self.store.entry(id)?;
        let Some(slot) = &entry.slot else { return self.look_stash(id) };
        let last = slot.last();
        let own = entry.record(self.own)?;
        if entry.is_covered(own.dot) {
            self.end_covered(id, last);
            return None;
        }
        let others: Vec<Record> = entry.visible().filter(|r| r.log != self.own).cloned().collect();
        if others.is_empty() {
            return None;
        }
        self.newest_wins(id, &others, contest);
        self.offer(id, &others, last, contest);
        Some(self.timing.hand_over)
    }

    /// Rule 14: the own registration was deregistered; another one may live on.
    fn end_covered(&mut self, id: KeyId, last: Millis) {
        self.append(id, New::default());
        let Some(entry) = self.store.entry(id) else { return };
        if let Some(known) = entry.newest().and_then(Known::of) {
            let key = entry.key.clone();
            let beat =
                Pending { key, beat: last, known: Some(known), purpose: Purpose::Beat, to: None, attempt: 0 };
            if self.now.since(last) < self.timing.refute_beat {
                self.relay(beat);
            }
        }
    }

    /// Rule 15.
    fn newest_wins(&mut self, id: KeyId, others: &[Record], contest: &mut Contest) {
        let Some(newest) = others.iter().max_by_key(|r| r.reg) else { return };
        if Known::of(newest).is_some_and(|known| self.take_if_newer(id, known)) {
            return;
        }
        let own = self.own;
        let Some(record) = self.store.entry(id).and_then(|e| e.record(own)) else { return };
        let (state, dot, reg, publication) =
            (record.state, record.dot, record.reg, record.publication.clone());
        let above = others.iter().any(|r| r.dot != dot && r.lamport >= record.lamport);
        let recently = contest.asserted.is_some_and(|at| self.at.saturating_sub(at) < self.timing.reassert);
        if above && !recently {
            contest.asserted = Some(self.at);
            self.append(id, New { state, publication, dot: Some(dot), reg, ..New::default() });
        }
    }

    /// Rule 13: the responsible member is offered the last beat; nothing is given up on sight. It is also asked when
    /// another live member vouches for the key, so that two holders find each other through it.
    fn offer(&mut self, id: KeyId, others: &[Record], last: Millis, contest: &mut Contest) {
        let own = self.own;
        let Some(entry) = self.store.entry(id) else { return };
        let key = entry.key.clone();
        let to = self.responsible(&key.client);
        let recently = contest.relayed.is_some_and(|at| self.at.saturating_sub(at) < self.timing.hand_over);
        if to == self.me || recently {
            return;
        }
        let live = |r: &Record| {
            let log = self.store.log(r.log);
            let heard = self.at.saturating_sub(log.heard) <= self.timing.heard;
            r.state == RecState::Live && heard && log.superseded.is_none()
        };
        let takes = others.iter().any(|r| live(r) && self.store.log(r.log).origin.member == to);
        let fresh = entry.record(own).is_some_and(|r| r.state == RecState::Live);
        if !(takes || fresh && others.iter().any(live)) {
            return;
        }
        let known = entry.record(own).and_then(Known::of);
        contest.relayed = Some(self.at);
        self.relay(Pending { key, beat: last, known, purpose: Purpose::HandOver, to: None, attempt: 1 });
    }

    /// Rule 13: the responsible member has the registration that was offered, or a newer one, and the last beat. A
    /// registration that came here since is not given up.
    pub(crate) fn hand_over(&mut self, id: KeyId, to: Dot, offered: Dot, beat: Millis) {
        let own = self.own;
        let Some(entry) = self.store.entry(id) else { return };
        let (Some(slot), Some(record)) = (&entry.slot, entry.record(own)) else { return };
        let client = entry.key.client.as_str();
        let above = placement::score(to.origin.member, client) > placement::score(self.me, client);
        if !record.state.is_live() || !above || record.dot != offered || slot.last() > beat {
            return;
        }
        let key = entry.key.clone();
        let (dot, reg, publication) = (record.dot, record.reg, record.publication.clone());
        self.event(Event::HandedOver { key, to: to.origin.member });
        let new =
            New { state: RecState::Yield, publication, dot: Some(dot), reg, to: Some(to), covers: vec![] };
        self.append(id, new);
    }

    /// Rule 16: keeps what is given up without knowing that somebody has something newer.
    pub(crate) fn stash(&mut self, id: KeyId) {
        if self.peers.is_standalone() {
            return;
        }
        let own = self.own;
        if let Some(record) = self.store.entry(id).and_then(|e| e.record(own)).cloned() {
            self.stash_record(id, &record);
        }
    }

    /// Rule 16 for a copy: a retired log is dropped here, and with it the only record here of the newest registration. The
    /// members that retired it may never have seen that record and show an older one. Nothing comes back by it: the beat
    /// is unknown here, so it counts as old and makes nobody a holder (rule 12), and a covered dot is never given.
    pub(crate) fn stash_copy(&mut self, id: KeyId, log: LogId) {
        let Some(entry) = self.store.entry(id).filter(|e| e.key.client.is_beat() && e.slot.is_none()) else {
            return;
        };
        let Some(newest) = entry.newest().filter(|r| r.log == log) else { return };
        let elsewhere = entry.visible().any(|r| r.log != log && r.dot == newest.dot);
        let stashed = self.stash.get(&entry.key).is_some_and(|s| s.reg >= newest.reg);
        if elsewhere || stashed {
            return;
        }
        let (key, known) = (entry.key.clone(), Known::of(newest));
        if let Some(known) = known {
            self.keep_aside(key, known, Millis(0));
        }
    }

    /// Rule 16 for a copy: its owner lets the record go without a cover of it, so no client ended it. The owner keeps it
    /// aside, and may die.
    pub(crate) fn stash_expired(&mut self, id: KeyId, log: LogId, ended: &[Dot]) {
        let record = self.store.entry(id).and_then(|e| e.record(log));
        if record.is_some_and(|r| r.state.is_live() && !covers(ended, r.dot)) {
            self.stash_copy(id, log);
        }
    }

    pub(crate) fn stash_record(&mut self, id: KeyId, record: &Record) {
        let Some(entry) = self.store.entry(id) else { return };
        let (Some(slot), Some(known)) = (&entry.slot, Known::of(record)) else { return };
        let (key, last) = (entry.key.clone(), slot.last());
        self.keep_aside(key, known, last);
    }

    fn keep_aside(&mut self, key: PublicationKey, known: Known, last: Millis) {
        let Known { publication, dot, reg } = known;
        let stashed = Stashed { publication, dot, reg, last, at: self.at, sent: None };
        while self.stash_order.len() >= self.limits.stash
            && let Some((_, oldest)) = self.stash_order.pop_front()
        {
            self.stash.remove(&oldest);
        }
        self.stash.insert(key.clone(), stashed);
        self.stash_order.push_back((self.at, key));
    }

    /// Rule 16 when the holder is this member itself: what it kept aside, if that is newer than `known` and not ended.
    pub(crate) fn or_stashed(&mut self, id: KeyId, known: Known) -> Known {
        let Some(entry) = self.store.entry(id) else { return known };
        let newer = |s: &Stashed| s.reg > known.reg && !entry.is_covered(s.dot);
        if !self.stash.get(&entry.key).is_some_and(newer) {
            return known;
        }
        let stashed = self.stash.remove(&entry.key);
        stashed.map_or(known, |s| Known { publication: s.publication, dot: s.dot, reg: s.reg })
    }

    pub(crate) fn forget_stash(&mut self, key: &PublicationKey) {
        if !self.stash.is_empty() {
            self.stash.remove(key);
        }
    }

    /// Drops what is older than 10 minutes.
    pub(crate) fn sweep_stash(&mut self) {
        while let Some((at, _)) = self.stash_order.front()
            && *at + self.timing.stash <= self.at
        {
            let Some((at, key)) = self.stash_order.pop_front() else { return };
            if self.stash.get(&key).is_some_and(|s| s.at == at) {
                self.stash.remove(&key);
            }
        }
        if self.stash.capacity() > 4 * (self.stash.len() + 256) {
            self.stash.shrink_to(2 * self.stash.len());
            self.stash_order.shrink_to(2 * self.stash_order.len());
        }
    }

    /// Rule 16: an older registration is visible again; its holder gets the newer one.
    fn look_stash(&mut self, id: KeyId) -> Option<u64> {
        let entry = self.store.entry(id)?;
        let stashed = self.stash.get(&entry.key)?.clone();
        let key = entry.key.clone();
        if entry.is_covered(stashed.dot) {
            self.stash.remove(&key);
            return None;
        }
        // A Yield that waits for its successor's record says nothing: it may have been made, silently, to an older registration.
        let newest = entry.visible().filter(|r| r.state.is_live()).max_by_key(|r| r.reg)?;
        if newest.dot == stashed.dot || newest.reg >= stashed.reg {
            self.stash.remove(&key);
            return None;
        }
        let top = entry.visible().max_by_key(|r| (r.lamport, self.store.log(r.log).origin))?;
        let to = self.store.log(top.log).origin.member;
        let recently = stashed.sent.is_some_and(|at| self.at.saturating_sub(at) < self.timing.reassert);
        if to != self.me && !recently {
            let known = Some(Known { publication: stashed.publication, dot: stashed.dot, reg: stashed.reg });
            if let Some(stashed) = self.stash.get_mut(&key) {
                stashed.sent = Some(self.at);
            }
            let beat = stashed.last;
            self.relay(Pending { key, beat, known, purpose: Purpose::Stash, to: Some(to), attempt: 1 });
        }
        Some(self.timing.reassert)
    }
}
