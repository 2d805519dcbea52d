//! The raft model: a proposal of a member that reaches a majority is committed; members apply it a little later.

use dyad_distro::Input;
use dyad_types::{MemberId, Origin};

use super::world::World;

/// An entry of the raft model.
#[derive(Clone, Debug)]
pub(super) enum Entry {
    Retire(Origin),
    Members(Vec<MemberId>),
}

impl World {
    pub(super) fn members(&self) -> Vec<MemberId> {
        self.nodes.iter().filter(|n| n.configured).map(|n| n.id).collect()
    }

    fn reaches_majority(&self, node: usize) -> bool {
        let reachable = |other: usize| {
            let n = &self.nodes[other];
            n.configured
                && n.core.is_some()
                && !n.paused
                && (other == node || (!self.cut[node][other] && !self.cut[other][node]))
        };
        let count = (0..self.nodes.len()).filter(|&other| reachable(other)).count();
        count * 2 > self.nodes.iter().filter(|n| n.configured).count()
    }

    pub(super) fn propose(&mut self, node: usize, origin: Origin) {
        let known = self.raft.iter().any(|e| {
            matches!(e, Entry::Retire(o) if o.member == origin.member && o.incarnation >= origin.incarnation)
        });
        if !known && self.reaches_majority(node) {
            self.log(|| format!("m{node} retires {origin:?}"));
            self.raft.push(Entry::Retire(origin));
        }
    }

    pub(super) fn raft_tick(&mut self) {
        for node in 0..self.nodes.len() {
            let n = &self.nodes[node];
            if n.core.is_some() && !n.paused && self.rng.chance(700) && self.reaches_majority(node) {
                match n.raft_seen {
                    0 => self.raft_install(node),
                    _ => self.raft_apply(node),
                }
            }
        }
    }

    /// A start: the state on the disk, and what a majority can tell beyond it, as one state and not as its history.
    pub(super) fn raft_install(&mut self, node: usize) {
        let known = if self.reaches_majority(node) { self.raft.len() } else { self.nodes[node].raft_seen };
        self.nodes[node].raft_seen = known;
        let mut retired = Vec::new();
        let mut members = None;
        for entry in &self.raft[..known] {
            match entry {
                Entry::Retire(origin) => retired.push(*origin),
                Entry::Members(ids) => members = Some(ids.clone()),
            }
        }
        if let Some(known) = members {
            self.input(node, Input::Members { configured: known.len(), known });
        }
        if !retired.is_empty() {
            self.input(node, Input::Retired(retired));
        }
    }

    fn raft_apply(&mut self, node: usize) {
        while self.nodes[node].raft_seen < self.raft.len() {
            let entry = self.raft[self.nodes[node].raft_seen].clone();
            self.nodes[node].raft_seen += 1;
            match entry {
                Entry::Retire(origin) => self.input(node, Input::Retired(vec![origin])),
                Entry::Members(known) => self.input(node, Input::Members { configured: known.len(), known }),
            }
        }
    }

    /// The configured members as they are now, as a committed entry.
    pub(super) fn commit_members(&mut self) {
        let members = self.members();
        self.raft.push(Entry::Members(members));
    }
}
