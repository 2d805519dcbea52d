//! Everything that happens to a cluster, again and again for an hour: clients of all kinds, leaders that change, members that are
//! drained, killed and replaced. What the members use must not grow once they are warm.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::phases::finish;
use super::report::{Asked, Phase};
use super::scene::Scene;
use super::usage::{Usage, Watch};
use crate::fleet::{MEMBERS, POLL, Tool};

/// One more member than usual takes the place of the one that is replaced.
pub(super) const MORE: usize = 1;
/// What is written must have an end: histories would grow for thirty days.
pub(super) const FLAGS: [&str; 2] = ["--config-history-bytes", "1MiB"];
/// One round: each event happens once in it.
const ROUND: Duration = Duration::from_secs(60);
/// Between two events of a round.
const BETWEEN: Duration = Duration::from_secs(12);
/// How long a member is drained, and how long a killed one stays away.
const DRAINED: Duration = Duration::from_secs(5);
const AWAY: Duration = Duration::from_secs(2);
/// Members that run from the beginning to the end: the growth of these is judged.
const KEPT: [usize; 2] = [0, 1];
/// The clients over gRPC: each program connects so many, works for so long, and leaves.
const GRPC_CLIENTS: &str = "50";
const GRPC_SECONDS: &str = "20";

/// Plays rounds for `length`, and judges what the members used.
pub(super) async fn play(scene: &mut Scene<'_>, length: Duration, phases: &mut Vec<Phase>) -> Result<()> {
    let from = Instant::now();
    let mut watch = Watch::new(from, length);
    let mut clients = Clients::default();
    let (mut third, mut spare) = (MEMBERS - 1, MEMBERS);
    let mut round = 0;
    while from.elapsed() < length {
        let began = Instant::now();
        let mut phase = Phase::new(&format!("round {}", round + 1));
        let drained = KEPT[round % KEPT.len()];
        step(scene, &mut watch, &mut clients, began + BETWEEN).await?;
        scene.fleet.command(drained, &["transfer-leader"]).await?;
        step(scene, &mut watch, &mut clients, began + BETWEEN * 2).await?;
        scene.fleet.command(drained, &["drain"]).await?;
        tokio::time::sleep(DRAINED).await;
        scene.fleet.command(drained, &["drain", "--off"]).await?;
        step(scene, &mut watch, &mut clients, began + BETWEEN * 3).await?;
        let killed = scene.fleet.kill(&[third]).await?;
        tokio::time::sleep_until((killed + AWAY).into()).await;
        scene.restart(&[third], &mut phase).await?;
        step(scene, &mut watch, &mut clients, began + BETWEEN * 4).await?;
        replace(scene, third, spare, &mut phase).await?;
        (third, spare) = (spare, third);
        step(scene, &mut watch, &mut clients, began + ROUND).await?;
        let asked = Asked { survivors: true, ..Asked::default() };
        let mut phase = finish(scene, phase, began, None, asked).await?;
        phase.judge_gaps(&scene.world.tally, began);
        eprintln!("{}: {} promises broken, {}", phase.name, phase.broken.len(), watch.last());
        phases.push(phase);
        round += 1;
    }
    let mut phase = finish(scene, Phase::new("growth"), Instant::now(), None, Asked::default()).await?;
    phase
        .notes
        .push(format!("{} programs of gRPC clients ended, {} with an error", clients.ended, clients.failed));
    watch.judge(&KEPT, &mut phase);
    phases.push(phase);
    Ok(())
}

/// Until then, the members are looked at and the clients over gRPC come and go.
async fn step(scene: &mut Scene<'_>, watch: &mut Watch, clients: &mut Clients, until: Instant) -> Result<()> {
    while Instant::now() < until {
        clients.tend(scene)?;
        if watch.is_due() {
            for at in scene.fleet.up() {
                watch.note(at, Usage::of(scene.fleet, at).await?);
            }
        }
        tokio::time::sleep(POLL * 10).await;
    }
    Ok(())
}

/// Another member, on an empty disk, takes the place of one.
async fn replace(scene: &mut Scene<'_>, old: usize, new: usize, phase: &mut Phase) -> Result<()> {
    let address = |at: usize| scene.fleet.members[at].http.address().to_string();
    let (leaves, comes) = (address(old), address(new));
    scene.fleet.wipe(new).await?;
    scene.fleet.use_list(new, &[KEPT[0], new])?;
    scene.fleet.start(&[new]).await?;
    // The old one's answers do not count any more. The new one has nothing yet, and only refuses until it is ready.
    scene.fleet.mark_down(old);
    scene.fleet.mark_down(new);
    let began = Instant::now();
    scene.fleet.command(KEPT[0], &["replace", &leaves, &comes]).await?;
    phase.note_ready(scene.fleet.ready(new).await?);
    phase.special = Some(began.elapsed());
    let ended = scene.fleet.terminate(old).await?;
    phase.promise(ended.code == Some(0), || format!("the replaced member ended with {:?}", ended.code));
    scene.digests(phase).await;
    Ok(())
}

/// Programs whose clients subscribe and listen over gRPC. A new one is started for each that ends.
#[derive(Default)]
struct Clients {
    running: VecDeque<Tool>,
    started: usize,
    ended: usize,
    failed: usize,
}

impl Clients {
    const KINDS: [&'static [&'static str]; 2] = [
        &["bench", "grpc", "push", "--rate", "5", "--subscribers", GRPC_CLIENTS],
        &["bench", "config", "listen", "--over", "grpc", "--rate", "5", "--listeners", GRPC_CLIENTS],
    ];

    fn tend(&mut self, scene: &mut Scene<'_>) -> Result<()> {
        for _ in 0..self.running.len() {
            let mut tool = self.running.pop_front().context("it was counted")?;
            match tool.ended()? {
                None => self.running.push_back(tool),
                Some(good) => {
                    self.ended += 1;
                    self.failed += usize::from(!good);
                }
            }
        }
        while self.running.len() < Self::KINDS.len() {
            // The changes go to the first address and the clients to the last one: both are members that stay.
            let first = KEPT[self.started % 2];
            let urls: Vec<String> = [first, KEPT[0] + KEPT[1] - first]
                .iter()
                .map(|&at| format!("http://{}", scene.fleet.members[at].http.address()))
                .collect();
            let kind = Self::KINDS[self.started % Self::KINDS.len()];
            let urls = urls.join(",");
            let words = [kind, &["--warmup", "0", "--seconds", GRPC_SECONDS, "--url", &urls]].concat();
            self.running.push_back(scene.fleet.tool(&words)?);
            self.started += 1;
        }
        Ok(())
    }
}
