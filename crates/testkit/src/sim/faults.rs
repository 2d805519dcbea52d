//! The faults: kills, lost disks, leaving, pauses, cuts, membership changes, lost records.

use dyad_distro::Input;
use dyad_types::MemberId;

use super::clients::Wish;
use super::world::{Ev, World};

#[derive(Clone, Copy, Debug)]
pub(super) enum Fault {
    Next,
    Kill,
    Leave,
    Restart { node: usize, life: u64, lost_disk: bool },
    Pause,
    Resume { node: usize, life: u64 },
    Freeze,
    Thaw,
    Cut,
    Heal(u64),
    Remove,
    Add(usize),
    LoseRecord,
    MassDeath,
    Calm,
}

/// A lost record must be found and mended within that, in ms.
pub(super) const REPAIR_WITHIN: u64 = 8_000;
/// A member that ran for that long between two pauses has told the others what it knows, in ms.
const SETTLED: u64 = 5_000;
/// Faults that are never drawn at the same time as a freeze.
const FREEZE_MARGIN: u64 = 2_600;

impl World {
    pub(super) fn plan_faults(&mut self) {
        let at = self.rng.range(6_000, 14_000);
        self.at(at, Ev::Fault(Fault::Next));
        self.at(self.plan.chaos, Ev::Fault(Fault::Calm));
        if self.plan.mass_death > 0 {
            let at = self.rng.range(self.plan.chaos / 2, self.plan.chaos);
            self.at(at, Ev::Fault(Fault::MassDeath));
        }
        if self.plan.pause && self.rng.chance(250) {
            let at = self.rng.range(20_000, 60_000);
            self.at(at, Ev::Fault(Fault::Freeze));
        }
    }

    pub(super) fn fault(&mut self, fault: Fault) {
        let calm = self.now >= self.plan.chaos;
        match fault {
            Fault::Calm => self.calm(),
            Fault::Restart { node, life, lost_disk } => self.restart(node, life, lost_disk),
            Fault::Resume { node, life } => self.resume(node, life),
            Fault::Thaw => self.thaw(),
            Fault::Heal(number) => self.heal(number),
            Fault::Add(node) => self.add(node),
            _ if calm || self.freeze_from.is_some() && !matches!(fault, Fault::Next) => {}
            Fault::Next => self.next_fault(),
            Fault::Kill => self.kill(),
            Fault::Leave => self.leave(),
            Fault::Pause => self.pause(),
            Fault::Freeze => self.freeze(),
            Fault::Cut => self.cut(),
            Fault::Remove => self.remove(),
            Fault::LoseRecord => self.lose_record(),
            Fault::MassDeath => self.mass_death(),
        }
    }

    fn next_fault(&mut self) {
        let plan = &self.plan;
        let mut kinds = Vec::new();
        if plan.kill {
            kinds.extend([Fault::Kill, Fault::Kill, Fault::Leave]);
        }
        if plan.pause {
            kinds.extend([Fault::Pause, Fault::Pause]);
        }
        if plan.cut {
            kinds.extend([Fault::Cut, Fault::Cut, Fault::Cut]);
        }
        if plan.member {
            kinds.push(Fault::Remove);
        }
        if plan.corrupt {
            kinds.push(Fault::LoseRecord);
        }
        let after = self.rng.range(2_000, 16_000);
        self.at(self.now + after, Ev::Fault(Fault::Next));
        if !kinds.is_empty() && self.freeze_from.is_none() {
            let kind = kinds[self.rng.below(kinds.len())];
            self.fault(kind);
        }
    }

    /// Members that run, are configured and not about to stop.
    fn running(&self) -> Vec<usize> {
        let runs = |&i: &usize| {
            let n = &self.nodes[i];
            n.core.is_some() && !n.paused && n.configured && !n.leaving
        };
        (0..self.nodes.len()).filter(runs).collect()
    }

    /// A running member, if a majority stays without it.
    fn victim(&mut self) -> Option<usize> {
        let running = self.running();
        let down = self.nodes.len() - running.len();
        if (down + 1) * 2 >= self.nodes.len() {
            return None;
        }
        let at = self.rng.below(running.len());
        Some(running[at])
    }

    fn kill(&mut self) {
        let Some(node) = self.victim() else { return };
        self.count("kill");
        self.log(|| format!("kill m{node}"));
        self.mark_losses(node);
        self.stop(node);
        self.plan_restart(node);
    }

    fn plan_restart(&mut self, node: usize) {
        let lost_disk = self.rng.chance(250);
        let after = match self.rng.below(3) {
            0 => self.rng.range(300, 2_500),
            1 => self.rng.range(2_500, 15_000),
            _ => self.rng.range(15_000, 45_000),
        };
        let life = self.nodes[node].life;
        let after = if lost_disk { after + 4_000 } else { after };
        self.at(self.now + after, Ev::Fault(Fault::Restart { node, life, lost_disk }));
    }

    fn leave(&mut self) {
        let Some(node) = self.victim() else { return };
        self.count("leave");
        self.log(|| format!("m{node} is told to leave"));
        self.nodes[node].leaving = true;
        let life = self.nodes[node].life + 1;
        self.input(node, Input::Leave);
        self.sdk_drain(node);
        let after = self.rng.range(4_000, 30_000);
        self.at(self.now + after, Ev::Fault(Fault::Restart { node, life, lost_disk: false }));
    }

    fn restart(&mut self, node: usize, life: u64, lost_disk: bool) {
        if self.nodes[node].core.is_some() || self.nodes[node].life != life {
            return;
        }
        self.count("restart");
        if lost_disk {
            self.count("lost-disk");
            self.replace(node);
        }
        self.start(node);
    }

    /// An emptied disk makes a new member: the old one is unconfigured, which ends in its retirement (rule 25).
    fn replace(&mut self, node: usize) {
        self.log(|| format!("m{node} lost its disk"));
        let n = &mut self.nodes[node];
        n.id = MemberId(self.next_member);
        n.incarnation = 0;
        n.raft_seen = 0;
        self.next_member += 1;
        self.commit_members();
    }

    fn pause(&mut self) {
        let Some(node) = self.victim() else { return };
        self.count("pause");
        let longest = if self.rng.chance(150) { 110_000 } else { 25_000 };
        let length = self.rng.range(500, longest);
        self.log(|| format!("pause m{node} for {length}"));
        self.nodes[node].paused = true;
        let at = self.unfrozen();
        let n = &mut self.nodes[node];
        if n.pause_end == 0 || n.pause_end + SETTLED < at {
            // Else nothing of it may have reached the others in between.
            n.stopped = at;
        }
        n.pause_end = u64::MAX;
        let life = self.nodes[node].life;
        self.at(self.now + length, Ev::Fault(Fault::Resume { node, life }));
    }

    fn resume(&mut self, node: usize, life: u64) {
        let at = self.unfrozen();
        let n = &mut self.nodes[node];
        if n.life != life || !n.paused || self.freeze_from.is_some() {
            return;
        }
        n.pause_end = at;
        self.run_backlog(node);
    }

    fn run_backlog(&mut self, node: usize) {
        self.log(|| format!("m{node} runs again"));
        let n = &mut self.nodes[node];
        n.paused = false;
        let backlog = std::mem::take(&mut n.backlog);
        let life = n.life;
        let now = self.now;
        for event in backlog {
            self.at(now, event);
        }
        let wake = now + self.rng.range(0, 30);
        self.nodes[node].woken = wake;
        self.at(wake, Ev::Wake { node, life });
    }

    fn freeze(&mut self) {
        self.count("freeze");
        self.log(|| "all members stop".to_string());
        let at = self.unfrozen();
        for client in &mut self.clients {
            client.beats.retain(|b| b.at + FREEZE_MARGIN <= at);
        }
        self.freeze_from = Some(self.now);
        for n in &mut self.nodes {
            n.paused = n.core.is_some();
        }
        let length = self.rng.range(20_000, 50_000);
        self.at(self.now + length, Ev::Fault(Fault::Thaw));
    }

    fn thaw(&mut self) {
        let Some(from) = self.freeze_from.take() else { return };
        self.frozen += self.now - from;
        let at = self.unfrozen();
        for node in 0..self.nodes.len() {
            if self.nodes[node].pause_end == u64::MAX {
                self.nodes[node].pause_end = at;
            }
            if self.nodes[node].paused {
                self.run_backlog(node);
            }
        }
    }

    fn cut(&mut self) {
        let members = self.nodes.len();
        let one_way = self.rng.chance(400);
        self.count(if one_way { "one-way" } else { "cut" });
        let number = self.rng.next_u64();
        let mut side = vec![false; members];
        let pair = self.rng.chance(300);
        let (a, b) = (self.rng.below(members), self.rng.below(members));
        for s in &mut side {
            *s = self.rng.chance(400);
        }
        let mut cuts = Vec::new();
        for from in 0..members {
            for to in 0..members {
                let apart =
                    if pair { (from, to) == (a, b) || (from, to) == (b, a) } else { side[from] != side[to] };
                let kept = one_way && if pair { (from, to) == (b, a) } else { side[to] };
                if from != to && apart && !kept {
                    cuts.push((from, to));
                }
            }
        }
        self.log(|| format!("cut {cuts:?}"));
        for (from, to) in cuts {
            self.cut[from][to] = true;
        }
        let length = self.rng.range(500, 50_000);
        self.at(self.now + length, Ev::Fault(Fault::Heal(number)));
    }

    /// All cuts end together: overlapping cuts make uneven partitions until then.
    fn heal(&mut self, _number: u64) {
        self.log(|| "heal".to_string());
        let at = self.unfrozen();
        for from in 0..self.nodes.len() {
            for to in 0..self.nodes.len() {
                if std::mem::take(&mut self.cut[from][to]) {
                    self.last_cut[from][to] = at;
                    self.last_cut[to][from] = at;
                }
            }
        }
    }

    fn remove(&mut self) {
        let Some(node) = self.victim() else { return };
        self.count("remove");
        self.log(|| format!("m{node} is removed"));
        self.nodes[node].configured = false;
        for client in &mut self.clients {
            client.beats.retain(|b| b.node != node);
        }
        self.commit_members();
        let after = self.rng.range(2_000, 40_000);
        self.at(self.now + after, Ev::Fault(Fault::Add(node)));
    }

    fn add(&mut self, node: usize) {
        if self.nodes[node].configured {
            return;
        }
        self.count("add");
        self.log(|| format!("m{node} is added again"));
        self.nodes[node].configured = true;
        self.commit_members();
    }

    fn lose_record(&mut self) {
        let Some(node) = self.victim() else { return };
        if let Some(owner) = self.nodes[node].core.as_mut().and_then(dyad_distro::Distro::lose_a_copy) {
            self.damaged.extend(self.nodes.iter().position(|n| n.id == owner));
            self.count("lost-record");
            self.log(|| format!("m{node} loses a record"));
            self.rebuild_view(node);
            // Others may load from the damaged copy meanwhile.
            let whole_at = self.now + REPAIR_WITHIN;
            self.nodes.iter_mut().for_each(|n| n.whole_at = whole_at);
        }
    }

    fn mass_death(&mut self) {
        for client in 0..self.clients.len() {
            if self.rng.chance(self.plan.mass_death) && self.clients[client].wish == Wish::Up {
                self.die(client);
            }
        }
        self.sdk_mass_death();
    }

    /// The end of the chaos: everything runs and is connected.
    fn calm(&mut self) {
        self.log(|| "calm".to_string());
        self.thaw();
        self.heal(0);
        self.loss = 0;
        for node in 0..self.nodes.len() {
            self.add(node);
            let (life, dead) = (self.nodes[node].life, self.nodes[node].core.is_none());
            if dead {
                self.restart(node, life, false);
            } else if self.nodes[node].paused {
                self.resume(node, life);
            }
        }
    }
}
