//! Registrations that are kept aside (rule 16): what this member gave up without knowing that anybody has something newer.

use std::collections::{BTreeMap, HashMap};

use dyad_types::{Dot, Millis, PublicationKey};

use crate::core::Distro;
use crate::relay::{Known, Pending, Purpose};
use crate::store::{KeyId, LogId, Record, covers};

/// One of them.
#[derive(Clone, Debug)]
pub(crate) struct Stashed {
    pub(crate) known: Known,
    /// The client's last heartbeat, as far as this member knows it.
    last: Millis,
    /// Active time since which it is kept.
    at: u64,
    /// Active time at which a holder was given it last.
    sent: Option<u64>,
}

/// At most one registration per key.
#[derive(Debug, Default)]
pub(crate) struct Stash {
    by_key: HashMap<PublicationKey, (u64, Stashed)>,
    /// In the order in which they came. Each is in both maps or in none.
    by_age: BTreeMap<u64, PublicationKey>,
    next: u64,
}

impl Stash {
    pub(crate) fn len(&self) -> usize {
        self.by_key.len()
    }

    pub(crate) fn get(&self, key: &PublicationKey) -> Option<&Stashed> {
        if self.by_key.is_empty() {
            return None;
        }
        self.by_key.get(key).map(|(_, stashed)| stashed)
    }

    /// Keeps one in place of the former one of its key. Above `most` the one that came first goes.
    fn put(&mut self, key: PublicationKey, stashed: Stashed, most: usize) {
        self.remove(&key);
        while self.by_key.len() >= most
            && let Some((_, oldest)) = self.by_age.pop_first()
        {
            self.by_key.remove(&oldest);
        }
        self.next += 1;
        self.by_age.insert(self.next, key.clone());
        self.by_key.insert(key, (self.next, stashed));
    }

    pub(crate) fn remove(&mut self, key: &PublicationKey) -> Option<Stashed> {
        if self.by_key.is_empty() {
            return None;
        }
        let (number, stashed) = self.by_key.remove(key)?;
        self.by_age.remove(&number);
        Some(stashed)
    }

    fn sent(&mut self, key: &PublicationKey, at: u64) {
        if let Some((_, stashed)) = self.by_key.get_mut(key) {
            stashed.sent = Some(at);
        }
    }

    /// Drops those that are kept since `until` or longer.
    pub(crate) fn sweep(&mut self, until: u64) {
        while let Some(key) = self.by_age.first_entry()
            && self.by_key.get(key.get()).is_none_or(|(_, stashed)| stashed.at <= until)
        {
            self.by_key.remove(&key.remove());
        }
        if self.by_key.capacity() > 4 * (self.by_key.len() + 256) {
            self.by_key.shrink_to(2 * self.by_key.len());
        }
    }
}

impl Distro {
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
        let stashed = self.stash.get(&entry.key).is_some_and(|s| s.known.reg >= newest.reg);
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
        self.stash.put(key, Stashed { known, last, at: self.at, sent: None }, self.limits.stash);
    }

    /// Rule 16 when the holder is this member itself: what it kept aside, if that is newer than `known` and not ended.
    pub(crate) fn or_stashed(&mut self, id: KeyId, known: Known) -> Known {
        let Some(entry) = self.store.entry(id) else { return known };
        let newer = |s: &Stashed| s.known.reg > known.reg && !entry.is_covered(s.known.dot);
        if !self.stash.get(&entry.key).is_some_and(newer) {
            return known;
        }
        self.stash.remove(&entry.key).map_or(known, |stashed| stashed.known)
    }

    /// Rule 16: an older registration is visible again; its holder gets the newer one.
    pub(crate) fn look_stash(&mut self, id: KeyId) -> Option<u64> {
        let entry = self.store.entry(id)?;
        let stashed = self.stash.get(&entry.key)?.clone();
        let key = entry.key.clone();
        let Known { dot, reg, .. } = stashed.known;
        if entry.is_covered(dot) {
            self.stash.remove(&key);
            return None;
        }
        // A Yield that waits for its successor's record says nothing: it may have been made, silently, to an older registration.
        let newest = entry.visible().filter(|r| r.state.is_live()).max_by_key(|r| r.reg)?;
        if newest.dot == dot || newest.reg >= reg {
            self.stash.remove(&key);
            return None;
        }
        let top = entry.visible().max_by_key(|r| (r.lamport, self.store.log(r.log).origin))?;
        let to = self.store.log(top.log).origin.member;
        let recently = stashed.sent.is_some_and(|at| self.at.saturating_sub(at) < self.timing.reassert);
        if to != self.me && !recently {
            self.stash.sent(&key, self.at);
            let (known, beat) = (Some(stashed.known), stashed.last);
            self.relay(Pending { key, beat, known, purpose: Purpose::Stash, to: Some(to), attempt: 1 });
        }
        Some(self.timing.reassert)
    }
}
