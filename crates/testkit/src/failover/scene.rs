//! The stage of the failover test: members that are up, a workload that runs, and the questions that phases ask again
//! and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::task::JoinSet;

use super::report::{Limits, Phase};
use crate::fleet::{Fleet, POLL};
use crate::load::{
    BEAT_INTERVAL, Beater, Churner, Configs, EPHEMERAL_TIMEOUT, Expected, Kind, PERSISTENT_TIMEOUT,
    ProbeTarget, World, ephemeral_instances, persistent_instances, read_all,
};
use crate::nacos::{self, Instance};

/// Steady instances of each kind.
const STEADY: usize = 300;
/// Instances whose clients die with a member.
const DOOMED: usize = 30;
/// Longest wait for everything to be in place before the first phase.
const SET_MAX: Duration = Duration::from_secs(30);
/// Between two questions that cost a process each.
const STATUS_POLL: Duration = Duration::from_millis(150);
/// Longest phase.
const PHASE_MAX: Duration = Duration::from_secs(60);

/// Members and workload.
pub(super) struct Scene<'a> {
    pub(super) fleet: &'a mut Fleet,
    pub(super) world: Arc<World>,
    pub(super) churner: Arc<Churner>,
    pub(super) configs: Arc<Configs>,
    steady: Arc<Expected>,
    persistent: Vec<Instance>,
    parts: JoinSet<()>,
}

impl<'a> Scene<'a> {
    /// Starts the first members and the workload, and waits until every reader would be content.
    pub(super) async fn set(fleet: &'a mut Fleet, first: &[usize]) -> Result<Scene<'a>> {
        fleet.start(first).await?;
        for &at in first {
            let took = fleet.ready(at).await?;
            eprintln!("member {} at {} is ready after {took:?}", at + 1, fleet.members[at].http.address());
        }
        let target = ProbeTarget::listen(fleet.dialable_ip().await?, STEADY).await?;
        let ephemeral = ephemeral_instances("fo-e", STEADY);
        let persistent = persistent_instances("fo-p", &target);
        let churner = Churner::new("fo-churn", target.addresses);
        let both: Vec<Instance> = ephemeral.iter().chain(&persistent).cloned().collect();
        let steady = Arc::new(Expected::new(&both, churner.services()));
        let world = World::new(fleet.members.clone());
        let configs = Configs::new("fo-config", fleet.members.len());
        let mut scene = Scene { fleet, world, churner, configs, steady, persistent, parts: JoinSet::new() };
        scene.register_persistent().await?;
        for (number, instance) in ephemeral.into_iter().enumerate() {
            scene.client(instance, number, STEADY, Arc::default());
        }
        let complete = scene.until_complete(SET_MAX).await;
        complete.context("the steady instances are not on all members")?;
        scene.world.ephemeral_required.store(true, Ordering::SeqCst);
        for at in 0..scene.fleet.members.len() {
            scene.parts.spawn(read_all(scene.world.clone(), at, scene.steady.clone()));
        }
        let churning = scene.churner.clone().run(scene.world.clone());
        scene.parts.spawn(churning);
        for part in scene.configs.run(&scene.world) {
            scene.parts.spawn(part);
        }
        tokio::time::sleep(BEAT_INTERVAL).await;
        Ok(scene)
    }

    /// Ends the workload.
    pub(super) async fn end(mut self) {
        self.world.stop();
        self.parts.abort_all();
        while self.parts.join_next().await.is_some() {}
    }

    fn client(&mut self, instance: Instance, number: usize, of: usize, dead: Arc<AtomicBool>) {
        let offset = BEAT_INTERVAL * u32::try_from(number).unwrap_or(0) / u32::try_from(of).unwrap_or(1);
        self.parts.spawn(Beater { instance, number, dead }.run(self.world.clone(), offset));
    }

    async fn register_persistent(&self) -> Result<()> {
        let until = Instant::now() + SET_MAX;
        let up = self.fleet.up();
        for (number, instance) in self.persistent.iter().enumerate() {
            while self
                .world
                .write(up[number % up.len()], Kind::RegisterPersistent, &instance.register())
                .await
                .is_err()
            {
                if Instant::now() > until {
                    bail!("persistent instances cannot be registered");
                }
                tokio::time::sleep(POLL).await;
            }
        }
        Ok(())
    }

    /// Adds clients that will die; the returned flag is their death.
    pub(super) fn doom(&mut self) -> (Vec<Instance>, Arc<AtomicBool>) {
        let dead = Arc::new(AtomicBool::new(false));
        let doomed = ephemeral_instances("fo-doomed", DOOMED);
        for (number, instance) in doomed.iter().cloned().enumerate() {
            self.client(instance, number, DOOMED, dead.clone());
        }
        (doomed, dead)
    }

    /// Waits until each member that is up lists every steady instance as healthy: the time it took.
    pub(super) async fn until_complete(&self, within: Duration) -> Option<Duration> {
        let began = Instant::now();
        while began.elapsed() <= within {
            if self.is_complete().await {
                return Some(began.elapsed());
            }
            tokio::time::sleep(POLL).await;
        }
        None
    }

    async fn is_complete(&self) -> bool {
        for at in self.fleet.up() {
            for (name, _) in self.steady.services() {
                let answer = self.fleet.members[at].http.call(&nacos::list(name), EPHEMERAL_TIMEOUT).await;
                let seen = answer.ok().filter(|answer| answer.status == 200);
                let seen = seen.and_then(|answer| self.steady.compare(name, &answer.body).ok());
                if !seen.is_some_and(|seen| seen.absent.is_empty() && seen.unhealthy.is_empty()) {
                    return false;
                }
            }
        }
        true
    }

    /// How many of `instances` the member shows; None if it cannot be read.
    pub(super) async fn shown(&self, at: usize, instances: &[Instance]) -> Option<Vec<Instance>> {
        let mut names: Vec<&str> = instances.iter().map(|instance| instance.service.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        let mut shown = Vec::new();
        for name in names {
            let answer =
                self.fleet.members[at].http.call(&nacos::list(name), PERSISTENT_TIMEOUT).await.ok()?;
            let listing = nacos::Listing::parse(&answer.body).ok().filter(|_| answer.status == 200)?;
            let of_service = instances.iter().filter(|instance| instance.service == name);
            shown.extend(of_service.filter(|instance| listing.shows(instance)).cloned());
        }
        Some(shown)
    }

    /// Restarts members and waits for (d): ready, then digests equal everywhere.
    pub(super) async fn restart(&mut self, which: &[usize], phase: &mut Phase) -> Result<()> {
        self.fleet.start(which).await?;
        for &at in which {
            let took = self.fleet.ready(at).await?;
            phase.note_ready(took);
        }
        phase.promise_within("(d) a restarted member ready", phase.ready, Limits::READY);
        self.digests(phase).await;
        Ok(())
    }

    /// Waits until every member has said that its digests equal those of all others.
    pub(super) async fn digests(&self, phase: &mut Phase) {
        const PATIENCE: Duration = Duration::from_secs(15);
        let began = Instant::now();
        let mut open = self.fleet.up();
        let peers = open.len() - 1;
        while !open.is_empty() && began.elapsed() < PATIENCE {
            let mut still = Vec::new();
            for at in open {
                let equal = self.fleet.status(at).await.is_some_and(|status| status.digests_equal(peers));
                if !equal {
                    still.push(at);
                }
            }
            open = still;
            if !open.is_empty() {
                tokio::time::sleep(STATUS_POLL).await;
            }
        }
        let took = open.is_empty().then(|| began.elapsed());
        phase.digests = phase.digests.max(took);
        phase.promise_within("(d) digests equal after readiness", took, Limits::DIGESTS);
    }

    /// Waits until `from` is long enough ago that the phase is valid.
    pub(super) async fn until_valid(&self, from: Instant) {
        while from.elapsed() < PHASE_MAX {
            let (ephemeral, persistent) = self.world.tally.acknowledged(from);
            if ephemeral >= Limits::EPHEMERAL_WRITES_MIN && persistent >= Limits::PERSISTENT_WRITES_MIN {
                return;
            }
            tokio::time::sleep(POLL * 5).await;
        }
    }

    /// (e), and after every phase: acknowledged persistent instances are there, deregistered ones are not.
    pub(super) async fn persistent_truth(&self, phase: &mut Phase) {
        // Members that do not answer the client apply a little later.
        const SETTLED: Duration = Duration::from_secs(2);
        for at in self.fleet.up() {
            let must = self.churner.acknowledged();
            let Some(shown) = self.shown(at, &must).await else {
                phase.promise(false, || format!("member {} cannot be read after the phase", at + 1));
                continue;
            };
            // What the churner began to deregister meanwhile may be gone.
            let now = self.churner.acknowledged();
            let lost: Vec<&Instance> =
                must.iter().filter(|instance| !shown.contains(instance) && now.contains(instance)).collect();
            phase.promise(lost.is_empty(), || {
                format!(
                    "(e) member {} lost {} acknowledged persistent instances, {:?}",
                    at + 1,
                    lost.len(),
                    lost[0]
                )
            });
            let gone = self.churner.gone(SETTLED);
            let ghosts = self.shown(at, &gone).await.unwrap_or_default();
            let still = self.churner.gone(SETTLED);
            let ghosts: Vec<&Instance> = ghosts.iter().filter(|ghost| still.contains(ghost)).collect();
            phase.promise(ghosts.is_empty(), || {
                format!(
                    "member {} shows {} deregistered persistent instances, {:?}",
                    at + 1,
                    ghosts.len(),
                    ghosts[0]
                )
            });
        }
    }

    /// After every phase: each member shows the last acknowledged version of each configuration, or a later one.
    pub(super) async fn config_truth(&self, phase: &mut Phase) {
        const PATIENCE: Duration = Duration::from_secs(2);
        let must = self.configs.acknowledged();
        let began = Instant::now();
        for at in self.fleet.up() {
            let mut lost = self.configs.lost(&self.fleet.members[at], &must).await;
            // Members that do not answer the client apply a little later.
            while lost.as_ref().is_none_or(|lost| !lost.is_empty()) && began.elapsed() < PATIENCE {
                tokio::time::sleep(POLL).await;
                lost = self.configs.lost(&self.fleet.members[at], &must).await;
            }
            phase.promise(lost.as_ref().is_some_and(Vec::is_empty), || {
                format!("member {} lost acknowledged configurations: {lost:?}", at + 1)
            });
        }
    }

    /// Waits for a leader that a member names: which one it is.
    pub(super) async fn leader(&self) -> Result<usize> {
        let began = Instant::now();
        while began.elapsed() < SET_MAX {
            if let Some(leader) = self.fleet.leader().await {
                return Ok(leader);
            }
            tokio::time::sleep(STATUS_POLL).await;
        }
        bail!("no member says that it leads")
    }
}
