//! Keys of which more than one member has a live record: hand-over (rule 13), newest registration (rule 15).

use dyad_types::{Dot, Millis, placement};

use crate::api::Event;
use crate::core::{Contest, Distro, New};
use crate::relay::{Known, Pending, Purpose};
use crate::store::{KeyId, RecState, Record};

impl Distro {
    /// Looks at a key again after a record of it came or went.
    pub(crate) fn react(&mut self, id: KeyId) {
        let own = self.own;
        let Some(entry) = self.store.entry(id) else { return };
        let contested = if entry.slot.is_some() {
            entry.records.iter().any(|r| r.log != own && (r.state.shows() || r.rare.is_some()))
        } else {
            self.stash.get(&entry.key).is_some()
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
}
