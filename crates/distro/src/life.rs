//! The life of a member (rules 20 to 25): loading, pauses, refutation and retirement.

use dyad_types::instance::BEAT_TIMEOUT_MS;
use dyad_types::{Dot, MemberId, Millis, Origin};

use crate::api::{Action, Event, MemberState};
use crate::core::{CoverRound, Distro, New};
use crate::message::Message;
use crate::relay::Known;
use crate::store::{KeyId, Log, LogId, RecState, Record, covers};

/// The records of a doomed log are claimed that long before it is dropped, in ms: the others have the claims by then.
const CLAIM_BEFORE: u64 = 1_000;

impl Distro {
    /// What is due every ping interval.
    pub(crate) fn tick(&mut self) {
        self.join_progress();
        self.send_pings();
        self.soften();
        self.factor();
        self.claim_doomed();
        self.drop_doomed(None);
        self.run_delayed();
        self.stash.sweep(self.at.saturating_sub(self.timing.stash));
        self.propose_retirements();
        self.leave_progress();
        if !self.peers.is_standalone() && self.serves() {
            self.collect();
        }
    }

    /// Rule 24: records of an origin that was not heard for 15 s count as unhealthy here.
    fn soften(&mut self) {
        let quiet: Vec<LogId> = self
            .store
            .logs()
            .filter(|(id, log)| *id != self.own && self.at.saturating_sub(log.heard) > self.timing.heard)
            .map(|(id, _)| id)
            .collect();
        for &id in &quiet {
            self.store.log_mut(id).quiet = true;
        }
        let silent: Vec<LogId> = self
            .store
            .logs()
            .filter(|(id, log)| *id != self.own && !log.soft)
            .filter(|(_, log)| self.at.saturating_sub(log.heard) > self.timing.soft_unhealthy)
            .map(|(id, _)| id)
            .collect();
        silent.into_iter().for_each(|id| self.set_soft(id, true));
    }

    pub(crate) fn set_soft(&mut self, id: LogId, soft: bool) {
        let keys: Vec<KeyId> = self.store.log(id).by_seq.values().copied().collect();
        let before: Vec<_> = keys.into_iter().map(|key| (key, self.store.shown(key))).collect();
        self.store.log_mut(id).soft = soft;
        for (id, before) in before {
            if let Some(key) = self.key(id) {
                self.changed(key, id, before);
            }
        }
    }

    // ---- JOINING and RESUMING (rule 20) ----

    fn start_loading(&mut self, state: MemberState) {
        self.life.since = self.at;
        self.life.nonce += 1;
        self.life.asked = None;
        for peer in self.peers.iter_mut() {
            peer.echo = None;
        }
        self.set_state(state);
    }

    fn join_progress(&mut self) {
        if !matches!(self.state, MemberState::Joining | MemberState::Alone | MemberState::Resuming) {
            return;
        }
        if self.is_draining() {
            return;
        }
        if self.is_loaded() {
            return self.become_ready();
        }
        let waited = self.at.saturating_sub(self.life.since);
        match self.state {
            MemberState::Resuming if waited >= self.timing.resume => {
                let back = self.life.back_to.take().unwrap_or(MemberState::Alone);
                self.set_state(back);
            }
            MemberState::Joining if waited >= self.timing.alone => {
                self.set_state(MemberState::Alone);
                self.settle_orphans();
            }
            _ => {}
        }
        let nonce = self.life.nonce;
        for to in self.peers.ids() {
            if self.peers.get(to).is_some_and(|p| p.configured && p.echo.is_none()) {
                self.send(to, Message::Join { nonce });
            }
        }
    }

    /// Every peer heard in the last 3 s, by its frames or by an answer outside them, has echoed, what it had then is here,
    /// and one of them serves, or all of us are starting and we are a majority.
    fn is_loaded(&self) -> bool {
        if self.peers.is_standalone() {
            return true;
        }
        let waited = self.at.saturating_sub(self.life.since);
        if self.state == MemberState::Joining && waited < self.timing.join_least {
            return false;
        }
        let heard: Vec<_> = self
            .peers
            .iter()
            .filter(|p| p.configured)
            .filter(|p| {
                p.direct.max(p.answered).is_some_and(|at| self.at.saturating_sub(at) <= self.timing.heard)
            })
            .collect();
        let is_here =
            |dot: &Dot| self.is_retired(dot.origin) || dot.origin == self.origin() || self.has_reached(*dot);
        let covered = heard.iter().all(|p| p.echo.as_ref().is_some_and(|v| v.iter().all(is_here)));
        let one_serves = heard.iter().any(|p| matches!(p.state, MemberState::Ready | MemberState::Resuming));
        covered && (one_serves || (heard.len() + 1) * 2 > self.peers.configured)
    }

    fn become_ready(&mut self) {
        self.life.back_to = None;
        self.set_state(MemberState::Ready);
        self.settle_orphans();
    }

    pub(crate) fn on_echo(&mut self, from: MemberId, nonce: u64, state: MemberState, vector: Vec<Dot>) {
        if nonce != self.life.nonce {
            return;
        }
        for &dot in &vector {
            let known = self.is_retired(dot.origin) || dot.origin == self.origin() || self.has_reached(dot);
            if !known {
                let since = self.store.log_id(dot.origin).map_or(0, |id| self.store.log(id).progress);
                self.send(from, Message::Pull { origin: dot.origin, since, reset: false });
            }
        }
        if let Some(peer) = self.peers.get_mut(from) {
            peer.state = state;
            peer.echo.get_or_insert(vector);
        }
    }

    // ---- pauses (rule 23) ----

    /// The clock has already moved every deadline by the gap.
    pub(crate) fn paused(&mut self, gap: u64) {
        self.event(Event::Paused(gap));
        self.relays.clear();
        self.fail_writes();
        let at = self.at;
        self.store.logs_mut().for_each(|log| log.heard_since = at);
        self.life.drain_until = Some(self.at + self.timing.drain);
        match self.state {
            MemberState::Ready | MemberState::Alone => {
                self.life.back_to = Some(self.state);
                self.start_loading(MemberState::Resuming);
            }
            MemberState::Joining | MemberState::Resuming => self.start_loading(self.state),
            MemberState::Leaving | MemberState::Removed => {}
        }
        self.gate.set_serving(false);
    }

    /// What was buffered is gone: loading begins.
    pub(crate) fn drained(&mut self) {
        self.life.since = self.at;
        self.gate.set_serving(self.serves());
        if self.peers.is_standalone() && self.state == MemberState::Resuming {
            self.become_ready();
        }
    }

    // ---- retirement (rules 5, 22 and 25) ----

    /// Every incarnation of the member up to this one is gone.
    pub(crate) fn retire(&mut self, origin: Origin) {
        if self.is_retired(origin) {
            return;
        }
        self.retired.insert(origin.member, origin.incarnation);
        let mine = origin.member == self.me;
        if mine && origin.incarnation >= self.incarnation {
            self.refute();
        }
        let logs: Vec<LogId> = self
            .store
            .logs()
            .filter(|(id, log)| *id != self.own && self.is_retired(log.origin))
            .map(|(id, _)| id)
            .collect();
        for id in logs {
            self.doom(id);
        }
        // A log that is here settles the Yields to it when it goes; one that never came does not.
        for awaited in self.store.awaited() {
            if self.is_retired(awaited) {
                self.settle_yields(awaited, u64::MAX);
            }
        }
        let unknown =
            self.peers.get(origin.member).is_some_and(|p| !p.configured && p.unconfigured.is_some());
        if unknown && self.peers.get(origin.member).is_some_and(|p| p.incarnation <= origin.incarnation) {
            self.peers.forget(origin.member);
        }
    }

    /// A retired log whose member was heard here not long ago is that of a member that comes out of a partition and is
    /// about to refute: its records stay in view until the next incarnation's log is here, for a few seconds at most.
    fn doom(&mut self, id: LogId) {
        let (at, wait) = (self.at, self.timing.refute_wait);
        let until = at + wait;
        // The proposer saw every record of a leaver claimed; the claims may not be here yet.
        let left_over = self.store.log(id).left && self.is_left_over(id);
        let log = self.store.log_mut(id);
        // The ping that tells of the next incarnation may come with the retirement, and before that incarnation's log.
        let long_superseded = log.superseded.is_some_and(|since| at.saturating_sub(since) >= wait);
        if log.soft || long_superseded || left_over {
            self.drop_log(id);
        } else if log.doomed.is_none() {
            log.doomed = Some(until);
        }
    }

    /// A member that was retired while it lived and is out of reach again, or has died since, does not refute here. Before its
    /// log goes, its records are claimed as those of a leaver are; the last beat that it can have had is when it was heard.
    fn claim_doomed(&mut self) {
        if !self.serves() || !self.state.times() {
            return;
        }
        let due: Vec<LogId> = self
            .store
            .logs()
            .filter(|(_, log)| log.doomed.is_some_and(|until| until <= self.at + CLAIM_BEFORE))
            .map(|(id, _)| id)
            .collect();
        for id in due {
            let member = self.store.log(id).origin.member;
            let Some(last) = self.vouched_until(id) else { continue };
            let keys: Vec<KeyId> = self.store.log(id).by_seq.values().copied().collect();
            let records = keys.into_iter().filter(|&key| self.claim(key, id, last)).count();
            if records > 0 {
                self.event(Event::Claimed { from: member, records });
            }
        }
    }

    /// Up to when another origin's healthy records say that their clients were beating: when it was heard last, if it had been
    /// heard for so long that it had ended those which were not. One that stood still says nothing when it is back.
    fn vouched_until(&self, id: LogId) -> Option<Millis> {
        let Log { origin, heard, heard_since, .. } = *self.store.log(id);
        let steady = heard.saturating_sub(heard_since) >= BEAT_TIMEOUT_MS;
        (origin.member != self.me && steady).then(|| self.clock.real(heard))
    }

    /// Drops the doomed logs that are due, and those of a member whose newer log is here.
    pub(crate) fn drop_doomed(&mut self, refuted: Option<MemberId>) {
        let due: Vec<LogId> = self
            .store
            .logs()
            .filter(|(_, l)| l.doomed.is_some_and(|at| at <= self.at || refuted == Some(l.origin.member)))
            .map(|(id, _)| id)
            .collect();
        due.into_iter().for_each(|id| self.drop_log(id));
    }

    /// Drops a retired log; covers that no other log has go into the own one first (rule 5). Where this member holds the
    /// key too, what the origin vouched for while it was heard counts as a beat then: it may have got the client's last
    /// ones, and have left without reaching this member.
    fn drop_log(&mut self, id: LogId) {
        let origin = self.store.log(id).origin;
        let vouched = self.vouched_until(id);
        let keys: Vec<KeyId> = self.store.log(id).by_seq.values().copied().collect();
        self.event(Event::Retired { origin, records: keys.len() });
        for key in keys {
            self.stash_copy(key, id);
            let Some(entry) = self.store.entry(key) else { continue };
            let vouches = |r: &Record| r.log == id && r.state == RecState::Live;
            if let Some(until) = vouched
                && entry.visible().any(vouches)
            {
                self.refresh(key, until);
            }
            let Some(entry) = self.store.entry(key) else { continue };
            let Some(record) = entry.record(id) else { continue };
            let others = || entry.records.iter().filter(|r| r.log != id);
            let only_here: Vec<Dot> = record
                .covers()
                .iter()
                .filter(|&&dot| !others().any(|r| covers(r.covers(), dot)))
                .copied()
                .collect();
            self.keep_covers(key, only_here);
            self.drop_record(key, id);
        }
        self.settle_yields(origin, u64::MAX);
        self.store.remove_log(id);
    }

    fn keep_covers(&mut self, id: KeyId, dots: Vec<Dot>) {
        if dots.is_empty() {
            return;
        }
        if self.state == MemberState::Joining {
            if let Some(key) = self.key(id) {
                self.orphans.extend(dots.into_iter().map(|dot| (key.clone(), dot)));
            }
            return;
        }
        self.append_covers(id, dots);
    }

    /// The own record of the key, or a tombstone, with these covers.
    fn append_covers(&mut self, id: KeyId, dots: Vec<Dot>) {
        let own = self.own;
        let record = self.store.entry(id).and_then(|e| e.record(own)).cloned();
        let new = match record {
            Some(r) if r.state != RecState::Gone && !covers(&dots, r.dot) => New {
                // Settled stays so: its target was reached or retired, and nothing would settle it again.
                state: r.state,
                to: r.rare.as_ref().map(|rare| rare.to).filter(|to| to.seq > 0),
                publication: r.publication,
                dot: Some(r.dot),
                reg: r.reg,
                covers: dots,
            },
            _ => New { covers: dots, ..New::default() },
        };
        self.append(id, new);
    }

    /// Covers that were kept while there was no own log.
    fn settle_orphans(&mut self) {
        for (key, dot) in std::mem::take(&mut self.orphans) {
            let id = self.store.intern(&key);
            if !self.store.entry(id).is_some_and(|e| e.is_covered(dot)) {
                self.append_covers(id, vec![dot]);
            }
            self.store.release(id);
        }
    }

    /// This origin is retired, or someone has more of it than this member: a new incarnation carries the own covers and
    /// what had a real beat in the last 15 s (rule 22).
    pub(crate) fn refute(&mut self) {
        let seen =
            self.store.logs().filter(|(_, l)| l.origin.member == self.me).map(|(_, l)| l.origin.incarnation);
        let most = seen.chain([self.incarnation, self.retired.get(&self.me).copied().unwrap_or(0)]).max();
        self.incarnation = most.unwrap_or(0).saturating_add(1);
        self.out.push(Action::PersistIncarnation(self.incarnation));
        let old = self.own;
        let keys: Vec<KeyId> = self.store.log(old).by_seq.values().copied().collect();
        self.own = self.store.add_log(self.origin(), self.at);
        self.covers = CoverRound::default();
        self.peers.iter_mut().for_each(|p| p.reset_cursor());
        self.write_acked(u64::MAX);
        let (mut kept, mut stashed) = (0, 0);
        for id in keys {
            let Some(entry) = self.store.entry(id) else { continue };
            let Some(record) = entry.record(old).cloned() else { continue };
            let covered = entry.is_covered(record.dot);
            let last = entry.slot.as_ref().map(|slot| slot.last());
            let young = last.is_none_or(|last| self.now.since(last) <= self.timing.refute_beat);
            let carried = record.covers().to_vec();
            if record.state.is_live() && !covered && young {
                kept += 1;
                let Some(Known { publication, dot, reg }) = Known::of(&record) else { continue };
                let (publication, state) = (Some(publication), record.state);
                self.append(id, New { state, publication, dot: Some(dot), reg, to: None, covers: carried });
                continue;
            }
            if record.state.is_live() && !covered {
                stashed += 1;
                self.stash_record(id, &record);
            }
            let before = self.store.shown(id);
            self.release_hold(id);
            self.conn_follows(id);
            if let Some(key) = self.key(id) {
                self.changed(key, id, before);
            }
            if !carried.is_empty() {
                self.append_covers(id, carried);
            }
        }
        self.event(Event::Refuted { kept, stashed });
        let origin = self.store.log(old).origin;
        if self.is_retired(origin) {
            self.drop_log(old);
        } else {
            self.store.log_mut(old).superseded = Some(self.at);
        }
        self.next_ping = self.at;
    }

    /// A member that comes out of a partition must not take its own deafness for the silence of the others: it
    /// proposes only after it has been READY and has heard a majority for 10 s.
    fn hears_majority(&mut self) -> bool {
        let heard = |p: &&crate::peers::Peer| {
            p.configured && p.heard.is_some_and(|at| self.at.saturating_sub(at) <= self.timing.heard)
        };
        let count = 1 + self.peers.iter().filter(heard).count();
        if self.state != MemberState::Ready || count * 2 <= self.peers.configured {
            self.life.majority_since = None;
            return false;
        }
        let since = *self.life.majority_since.get_or_insert(self.at);
        self.at.saturating_sub(since) >= self.timing.down
    }

    /// Rule 25, by a READY member.
    fn propose_retirements(&mut self) {
        if !self.hears_majority() {
            return;
        }
        let long_ago =
            |since: Option<u64>, after: u64| since.is_some_and(|at| self.at.saturating_sub(at) >= after);
        let mut due = Vec::new();
        for (id, log) in self.store.logs().filter(|(id, log)| *id != self.own && log.doomed.is_none()) {
            let peer = self.peers.get(log.origin.member);
            let is_due = self.at.saturating_sub(log.heard) >= self.timing.retire_silent
                || long_ago(log.superseded, self.timing.retire_grace)
                || long_ago(peer.and_then(|p| p.unconfigured), self.timing.retire_grace)
                || (log.left && self.are_left_over(log.origin));
            if is_due && log.proposed.is_none_or(|at| self.at >= at + self.timing.propose_again) {
                due.push((Some(id), log.origin));
            }
        }
        for peer in self.peers.iter().filter(|p| p.incarnation > 0 && !self.is_retired(p.origin())) {
            let is_due =
                long_ago(peer.heard, self.timing.retire_silent) && self.store.log_id(peer.origin()).is_none();
            if is_due && peer.proposed.is_none_or(|at| self.at >= at + self.timing.propose_again) {
                due.push((None, peer.origin()));
            }
        }
        for (log, origin) in due {
            match (log, self.peers.get_mut(origin.member)) {
                (Some(id), _) => self.store.log_mut(id).proposed = Some(self.at),
                (None, Some(peer)) => peer.proposed = Some(self.at),
                (None, None) => {}
            }
            self.out.push(Action::ProposeRetire(origin));
        }
    }

    /// The configured members changed.
    pub(crate) fn set_members(&mut self, configured: usize, known: &[MemberId]) {
        self.peers.configure(configured, known, self.at);
        if !self.peers.me_configured {
            if self.state != MemberState::Leaving {
                self.life.left = false;
                self.set_state(MemberState::Removed);
            }
            return;
        }
        if self.state == MemberState::Removed {
            self.life.back_to = Some(MemberState::Alone);
            self.start_loading(MemberState::Resuming);
        }
        if self.peers.is_standalone() && matches!(self.state, MemberState::Joining | MemberState::Resuming) {
            self.become_ready();
        }
    }
}
