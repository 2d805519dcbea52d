//! The timers of held records (rules 14 and 26). A heartbeat moves no timer: when a timer fires, the slot says when the
//! last heartbeat was, and the timer is set again.

use std::cmp::Reverse;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use dyad_types::instance::{BEAT_TIMEOUT_MS, DELETE_TIMEOUT_MS};
use dyad_types::{BeatSlot, Dot, Millis, placement};

use crate::api::Event;
use crate::core::{Distro, New};
use crate::store::{KeyId, RecState, Record};

/// While timeouts are stretched or switched off, an overdue record is looked at again after that, in ms.
const LOOK_AGAIN: u64 = 1_000;
/// Nacos looks for overdue instances that often, in ms; used while its switches keep overdue records alive.
const SWITCHED_OFF: u64 = 5_000;

/// Removals of the last window, and the records that wait for the next one (rule 26).
#[derive(Debug, Default)]
pub(crate) struct Cap {
    removed: VecDeque<(u64, usize)>,
    in_window: usize,
    /// (active time of the last beat, key): oldest first.
    pub(crate) delayed: BTreeSet<(u64, KeyId)>,
}

impl Cap {
    /// Takes one removal if the window has room.
    fn take(&mut self, at: u64, window: u64, most: impl Fn(usize) -> usize) -> bool {
        while let Some(&(when, count)) = self.removed.front()
            && when + window <= at
        {
            self.removed.pop_front();
            self.in_window -= count;
        }
        if self.in_window >= most(self.in_window) {
            return false;
        }
        self.in_window += 1;
        match self.removed.back_mut() {
            Some((when, count)) if *when == at => *count += 1,
            _ => self.removed.push_back((at, 1)),
        }
        true
    }
}

/// Timeouts of a held record in ms: unhealthy, removed.
fn timeouts(record: &Record) -> (u64, u64) {
    match record.publication.as_ref().and_then(|p| p.instances().first()) {
        Some(instance) => (instance.unhealthy_after_ms(), instance.removed_after_ms()),
        None => (BEAT_TIMEOUT_MS, DELETE_TIMEOUT_MS),
    }
}

impl Distro {
    /// Makes the key held with this last beat; the caller appends the record.
    pub(crate) fn hold(&mut self, id: KeyId, last: Millis) {
        let Some(entry) = self.store.entry_mut(id) else { return };
        if !entry.key.client.is_beat() {
            return;
        }
        match &entry.slot {
            Some(slot) => slot.set_last(last.max(slot.last())),
            None => {
                entry.slot = Some(Arc::new(BeatSlot::new(last)));
                self.held += 1;
            }
        }
    }

    /// Brings slot and timer in line with the own record.
    pub(crate) fn hold_follows(&mut self, id: KeyId) {
        let own = self.own;
        let Some(entry) = self.store.entry_mut(id) else { return };
        let state = entry.record(own).map_or(RecState::Gone, |r| r.state);
        let Some(slot) = &entry.slot else { return };
        slot.set_open(state == RecState::Live);
        if state.is_live() {
            self.arm(id, 0);
        } else {
            self.release_hold(id);
        }
    }

    pub(crate) fn release_hold(&mut self, id: KeyId) {
        if let Some(entry) = self.store.entry_mut(id)
            && let Some(slot) = entry.slot.take()
        {
            slot.set_open(false);
            self.held -= 1;
        }
    }

    /// Sets the timer of a held record, not before `least`.
    fn arm(&mut self, id: KeyId, least: u64) {
        let own = self.own;
        let Some(entry) = self.store.entry(id) else { return };
        let (Some(slot), Some(record)) = (&entry.slot, entry.record(own)) else { return };
        let (beat, delete) = timeouts(record);
        let wait = if record.state == RecState::Live { beat.min(delete) } else { delete };
        let due = (self.clock.active(slot.last()) + wait).max(least).max(1);
        if entry.armed != 0 && entry.armed <= due {
            return;
        }
        if let Some(entry) = self.store.entry_mut(id) {
            entry.armed = due;
            self.holds.push(Reverse((due, id)));
        }
    }

    pub(crate) fn run_holds(&mut self) {
        while let Some(&Reverse((due, id))) = self.holds.peek()
            && due <= self.at
        {
            self.holds.pop();
            match self.store.entry_mut(id) {
                Some(entry) if entry.armed == due => entry.armed = 0,
                _ => continue,
            }
            self.hold_due(id);
        }
        if self.holds.capacity() > 4 * (self.holds.len() + 256) {
            self.holds.shrink_to(2 * self.holds.len());
        }
    }

    /// Rule 14's factor as a fraction: timeouts stretch while a configured member is silent and not retired, and for a
    /// few seconds more, in which the records of the other side arrive.
    pub(crate) fn factor(&mut self) -> (u64, u64) {
        let silent = |at: Option<u64>| at.is_none_or(|at| self.at.saturating_sub(at) > self.timing.heard);
        let configured = || self.peers.iter().filter(|p| p.configured);
        let missing =
            configured().any(|p| silent(p.heard) && p.incarnation > 0 && !self.is_retired(p.origin()));
        if missing {
            self.stretched_until = self.at + self.timing.stretch_after;
        } else if self.at >= self.stretched_until {
            return (1, 1);
        }
        let heard = 1 + configured().filter(|p| !silent(p.heard)).count();
        (2 * self.peers.configured as u64, heard as u64)
    }

    fn hold_due(&mut self, id: KeyId) {
        let own = self.own;
        let Some(entry) = self.store.entry(id) else { return };
        let (Some(slot), Some(record)) = (entry.slot.clone(), entry.record(own)) else { return };
        if !self.health_check {
            return self.arm(id, self.at + SWITCHED_OFF);
        }
        let ((beat, delete), is_live) = (timeouts(record), record.state == RecState::Live);
        let (num, den) = self.factor();
        let last = self.clock.active(slot.last());
        let idle = self.at.saturating_sub(last);
        let is_over = |timeout: u64| idle * den >= timeout * num;
        if is_over(delete) {
            if !self.expire_instance {
                return self.arm(id, self.at + SWITCHED_OFF);
            }
            if self.cap_allows() {
                return self.expire(id);
            }
            self.cap.delayed.insert((last, id));
        }
        if is_over(beat) && is_live {
            self.unhealthy(id);
        }
        if !is_over(delete) {
            let state = self.store.entry(id).and_then(|e| e.record(own)).map(|r| r.state);
            let wait = if state == Some(RecState::Live) { beat.min(delete) } else { delete };
            self.arm(id, if idle >= wait { self.at + LOOK_AGAIN } else { 0 });
        }
    }

    fn cap_allows(&mut self) -> bool {
        let (held, least, percent) = (self.held, self.limits.cap_least, self.limits.cap_percent);
        let most = |removed: usize| least.max((held + removed) * percent / 100);
        self.cap.take(self.at, self.timing.cap_window, most)
    }

    /// Removals that waited for the cap, oldest last beat first.
    pub(crate) fn run_delayed(&mut self) {
        while let Some(&(last, id)) = self.cap.delayed.first() {
            let present = self.store.entry(id).and_then(|e| e.slot.as_ref()).map(|s| s.last());
            if present.is_none_or(|present| self.clock.active(present) != last) {
                self.cap.delayed.pop_first();
                self.arm(id, 0);
                continue;
            }
            if !self.expire_instance || !self.health_check || !self.cap_allows() {
                break;
            }
            self.cap.delayed.pop_first();
            self.expire(id);
        }
        if !self.cap.delayed.is_empty() {
            self.event(Event::RemovalsDelayed(self.cap.delayed.len()));
        }
    }

    /// Rule 14: silent yield, or unhealthy.
    fn unhealthy(&mut self, id: KeyId) {
        let own = self.own;
        let Some(entry) = self.store.entry(id) else { return };
        let Some(record) = entry.record(own).cloned() else { return };
        let client = entry.key.client.as_str();
        let mine = placement::score(self.me, client);
        let better = entry.visible().find_map(|other| {
            let log = self.store.log(other.log);
            let heard = self.at.saturating_sub(log.heard) <= self.timing.heard;
            let above = placement::score(log.origin.member, client) > mine;
            (other.log != own && other.state == RecState::Live && heard && above)
                .then_some(Dot { origin: log.origin, seq: other.seq })
        });
        let Record { publication, dot, reg, .. } = record;
        if let Some(to) = better {
            self.stash(id);
            let new = New {
                state: RecState::Yield,
                publication,
                dot: Some(dot),
                reg,
                to: Some(to),
                covers: vec![],
            };
            self.append(id, new);
        } else {
            if let Some(key) = self.key(id) {
                self.event(Event::Unhealthy(key));
            }
            self.append(
                id,
                New { state: RecState::Unhealthy, publication, dot: Some(dot), reg, ..New::default() },
            );
        }
    }

    fn expire(&mut self, id: KeyId) {
        if let Some(key) = self.key(id) {
            self.event(Event::Expired(key));
        }
        self.stash(id);
        self.append(id, New::default());
    }
}
