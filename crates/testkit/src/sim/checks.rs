//! The invariants. H1 to H5 are those of the rules (what clients see), I1 to I6 those of the design.

use std::collections::BTreeMap;

use super::clients::{Answered, Wish};
use super::faults::REPAIR_WITHIN;
use super::world::{World, version};

/// A beat answered that long ago counts (H1), in ms.
const BEAT_COUNTS: std::ops::RangeInclusive<u64> = 5_000..=12_000;
/// A deregistration must be known to every connected member within that (I2), in ms.
const DEREGISTERED_WITHIN: u64 = 8_000;
/// Holders are looked at that long after the chaos, and must be one within the other time (I5), in ms.
const SETTLES_AFTER: u64 = 15_000;
const SETTLES_WITHIN: u64 = 8_000;
/// A client without beats for that long does not come back (H5), in ms.
const DEAD_AFTER: u64 = 45_000;
/// A refuting member keeps records with a real beat this young (rule 22), in ms.
const REFUTE_BEAT: u64 = 15_000;

impl World {
    pub(super) fn check(&mut self) {
        self.note_cuts();
        self.note_repairs();
        if self.freeze_from.is_some() {
            return;
        }
        for client in 0..self.clients.len() {
            match self.clients[client].wish {
                Wish::Up => self.check_alive(client),
                Wish::Down => self.check_deregistered(client),
                Wish::Dead => self.check_dead(client),
            }
        }
        self.check_sdks();
        self.check_cap();
        if self.now > self.plan.chaos + SETTLES_AFTER {
            self.note_holders();
        }
    }

    /// I5 is about what lasts: a hand-over has two holders for a moment.
    fn note_holders(&mut self) {
        for client in &mut self.clients {
            let holders =
                self.nodes.iter().filter_map(|n| n.core.as_ref()).filter(|c| c.holds(&client.key)).count();
            client.unsettled =
                if holders == 1 { None } else { client.unsettled.or(Some((self.now, holders))) };
        }
    }

    /// Only the owner's hash shows that a copy lacks a record, and only the owner's word replaces the copy: the time for it
    /// begins when the two can talk.
    fn note_repairs(&mut self) {
        let now = self.now;
        if self.nodes.iter().all(|n| n.whole_at <= now) {
            self.damaged.clear();
        }
        for node in 0..self.nodes.len() {
            let silent = |&owner: &usize| {
                let o = &self.nodes[owner];
                owner != node
                    && (self.cut[owner][node] || self.cut[node][owner] || o.paused || o.core.is_none())
            };
            if self.nodes[node].whole_at > now && self.damaged.iter().any(silent) {
                self.nodes[node].whole_at = now + REPAIR_WITHIN;
            }
        }
    }

    /// The configured members do not talk to one that was removed, and it may not know that it was.
    fn note_cuts(&mut self) {
        let at = self.unfrozen();
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                let removed = !(self.nodes[from].configured && self.nodes[to].configured);
                if self.cut[from][to] || removed {
                    self.last_cut[from][to] = at;
                    self.last_cut[to][from] = at;
                }
            }
        }
    }

    /// The answering member ran on, in the same process, without a pause.
    fn still_runs(&self, beat: &Answered) -> bool {
        let n = &self.nodes[beat.node];
        n.core.is_some() && n.life == beat.life && !n.paused && n.pause_end < beat.at
    }

    fn counts(&self, beat: &Answered) -> bool {
        BEAT_COUNTS.contains(&(self.unfrozen().saturating_sub(beat.at))) && self.still_runs(beat)
    }

    /// The member serves and could talk to the answering one ever since.
    fn should_know(&self, node: usize, beat: &Answered) -> bool {
        let n = &self.nodes[node];
        self.serves(node)
            && !n.leaving
            && n.whole_at <= self.now
            && n.pause_end < beat.at
            && (node == beat.node || self.last_cut[beat.node][node] < beat.at)
            && self.nodes[beat.node].configured
    }

    /// H1: visible and healthy on every member that was connected to the one that answered the beat.
    fn check_alive(&mut self, client: usize) {
        let c = &self.clients[client];
        if c.lost {
            return;
        }
        let Some(beat) = c.beats.iter().rev().find(|b| self.counts(b)).copied() else { return };
        for node in 0..self.nodes.len() {
            if !self.should_know(node, &beat) {
                continue;
            }
            match self.nodes[node].view.get(&client) {
                Some(visible) if visible.healthy => {}
                other => {
                    let what = if other.is_some() { "unhealthy" } else { "missing" };
                    let detail = format!(
                        "c{client} is {what} at m{node}, m{} answered its beat at {}",
                        beat.node, beat.at
                    );
                    return self.violate("H1", detail);
                }
            }
        }
    }

    /// H4: no 20404 for a client whose beats were answered.
    pub(super) fn check_unknown(&mut self, client: usize, node: usize) {
        let c = &self.clients[client];
        let Some(beat) = c.beats.iter().rev().find(|b| self.counts(b)).copied() else { return };
        if !c.lost && self.should_know(node, &beat) {
            let detail = format!("c{client} got 20404 at m{node}, m{} answered at {}", beat.node, beat.at);
            self.violate("H4", detail);
        }
    }

    /// H3: a deregistration that covers every registration is not undone.
    fn check_deregistered(&mut self, client: usize) {
        let c = &self.clients[client];
        let Some(dots) = c.strict.clone() else { return };
        if c.registered {
            return;
        }
        let (key, ended) = (c.key.clone(), c.ended);
        for node in 0..self.nodes.len() {
            let n = &self.nodes[node];
            let Some(core) = n.core.as_ref().filter(|_| self.serves(node)) else { continue };
            let visible = n.view.contains_key(&client);
            let knows = !visible && dots.iter().all(|&dot| core.is_deregistered(&key, dot));
            let life = n.life;
            if knows {
                self.clients[client].knew_end[node] = Some(life);
            } else if visible
                && self.clients[client].knew_end[node] == Some(life)
                && self.now.saturating_sub(ended) > DEREGISTERED_WITHIN
            {
                return self.violate("H3", format!("c{client} is back at m{node} after its deregistration"));
            }
        }
    }

    /// H5: what was gone for a dead client does not come back. Not judged where a cut keeps part of the truth away.
    fn check_dead(&mut self, client: usize) {
        if self.plan.cut
            || self.plan.mass_death > 0
            || self.now.saturating_sub(self.clients[client].ended) < DEAD_AFTER
        {
            return;
        }
        for node in 0..self.nodes.len() {
            if !self.serves(node) {
                continue;
            }
            let n = &self.nodes[node];
            let (life, view) = (n.life, n.view.get(&client));
            let (visible, healthy) = (view.is_some(), view.is_some_and(|v| v.healthy));
            let seen = &mut self.clients[client].seen_gone[node];
            if !visible {
                *seen = Some(life);
            } else if healthy && *seen == Some(life) {
                return self.violate("H5", format!("c{client} is dead and back at m{node}"));
            }
        }
    }

    /// I6: removals by timeout within any 60 s stay below the cap.
    fn check_cap(&mut self) {
        let at = self.unfrozen();
        let (least, window) = (self.plan.cap_least, 60_000);
        let mut over = None;
        for (i, n) in self.nodes.iter_mut().enumerate() {
            let Some(core) = &n.core else {
                n.expired.clear();
                n.held.clear();
                continue;
            };
            n.held.push((at, core.status().held));
            n.held.retain(|(when, _)| when + window > at);
            n.expired.retain(|when| when + window > at);
            let most = n.held.iter().map(|(_, held)| *held).max().unwrap_or(0);
            let cap = least.max((most + n.expired.len()) / 5);
            if n.expired.len() > cap {
                over = Some(format!("m{i} removed {} of {most} in a minute", n.expired.len()));
            }
        }
        if let Some(detail) = over {
            self.violate("I6", detail);
        }
    }

    /// A member dies: what only it knew is lost, which no rule can prevent (docs/reliability.md).
    pub(super) fn mark_losses(&mut self, node: usize) {
        for client in 0..self.clients.len() {
            let key = self.clients[client].key.clone();
            let dots = |i: usize| self.nodes[i].core.as_ref().map_or(Vec::new(), |c| c.remembered(&key));
            let mine = dots(node);
            let others = || (0..self.nodes.len()).filter(|&i| i != node);
            let lost = mine.iter().any(|dot| !others().any(|i| dots(i).contains(dot)));
            if lost {
                self.clients[client].lost = true;
            }
            if let Some(strict) = &self.clients[client].strict {
                let knows = |i: usize| {
                    self.nodes[i]
                        .core
                        .as_ref()
                        .is_some_and(|c| strict.iter().all(|&d| c.is_deregistered(&key, d)))
                };
                if !others().any(knows) {
                    self.clients[client].strict = None;
                }
            }
            self.clients[client].beats.retain(|b| b.node != node);
        }
    }

    /// Rule 22: a member that finds itself retired takes only clients with a *real* beat in the last 15 s along. Beats age by
    /// unfrozen time here, so this differs only after a stop of all members, in which nobody could beat
    /// (docs/reliability.md, limit 15). The beats may have come to another member, which relayed them: those count on only if
    /// somebody still holds the client.
    pub(super) fn forget_old_beats(&mut self, node: usize) {
        let now = self.now;
        for client in &mut self.clients {
            let held = self.nodes.iter().filter_map(|n| n.core.as_ref()).any(|c| c.holds(&client.key));
            let young = |real: u64| now.saturating_sub(real) <= REFUTE_BEAT;
            client.beats.retain(|b| young(b.real) || b.node != node && held);
        }
    }

    /// After a lost record the registry follows the core again.
    pub(super) fn rebuild_view(&mut self, node: usize) {
        let clients = &self.clients;
        let n = &mut self.nodes[node];
        let Some(core) = &n.core else { return };
        n.view = clients.iter().filter_map(|c| Some((c.index, core.visible(&c.key)?))).collect();
        let links = self.sdk.links.iter().enumerate();
        n.sdk = links.filter_map(|(link, l)| Some((link, core.visible(&l.key)?))).collect();
        n.further.retain(|key| core.visible(key).is_some());
    }

    /// At the end of the quiet time: everybody agrees, with the clients too.
    pub(super) fn final_checks(&mut self) {
        for node in 0..self.nodes.len() {
            if !self.nodes[node].is_ready() {
                let state = self.nodes[node].core.as_ref().map(|c| c.state());
                return self.violate("I1", format!("m{node} is {state:?} at the end"));
            }
        }
        for client in 0..self.clients.len() {
            self.final_client(client);
        }
        for client in 0..self.sdk.clients.len() {
            self.final_sdk(client);
        }
        self.final_logs();
    }

    fn final_client(&mut self, client: usize) {
        let c = &self.clients[client];
        let alive = c.wish == Wish::Up && c.registered;
        if c.wish == Wish::Up && !c.registered {
            return;
        }
        let (key, lost) = (c.key.clone(), c.lost);
        let versions = c.answered_version..=c.version;
        for node in 0..self.nodes.len() {
            let n = &self.nodes[node];
            let Some(core) = &n.core else { continue };
            let seen = n.view.get(&client);
            let direct = core.visible(&key);
            if seen.map(|v| (version(v), v.healthy, v.rank))
                != direct.as_ref().map(|v| (version(v), v.healthy, v.rank))
            {
                return self
                    .violate("I1", format!("m{node}: the changes told of c{client} are not its view"));
            }
            let problem = match seen {
                None if alive => Some(("I1", "missing".to_string())),
                Some(v) if alive && !v.healthy => Some(("I1", "unhealthy".into())),
                Some(v) if alive && !lost && !versions.contains(&version(v)) => {
                    Some(("I9", format!("v{} instead of v{}", version(v), versions.start())))
                }
                Some(_) if c.wish == Wish::Down => Some(("I2", "visible after its deregistration".into())),
                Some(_) if c.wish == Wish::Dead => Some(("H2", "visible after its death".into())),
                _ => None,
            };
            if let Some((invariant, what)) = problem {
                return self.violate(invariant, format!("c{client} is {what} at m{node} at the end"));
            }
        }
        if let Some((since, holders)) = self.clients[client].unsettled
            && alive
            && self.now.saturating_sub(since) > SETTLES_WITHIN
        {
            self.violate("I5", format!("c{client} has {holders} holders since {since}"));
        }
    }

    fn final_logs(&mut self) {
        let mut first: Option<BTreeMap<_, _>> = None;
        for node in 0..self.nodes.len() {
            let Some(core) = &self.nodes[node].core else { continue };
            let status = core.status();
            let logs: BTreeMap<_, _> = status
                .logs
                .iter()
                .filter(|l| l.seq > 0)
                .map(|l| (l.origin, (l.seq, l.live, l.hash)))
                .collect();
            match &first {
                None => first = Some(logs),
                Some(other) if *other != logs => {
                    let detail = format!("m{node} has other logs at the end: {logs:?} than {other:?}");
                    return self.violate("I1", detail);
                }
                Some(_) => {}
            }
        }
    }
}
