//! Members of an older version are replaced one after another by today's. One goes back to the older version before the level of the
//! state is raised. Whatever runs beside each other, no client notices.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::phases::{AWAY, finish};
use super::report::{Asked, Phase};
use super::scene::Scene;
use crate::fleet::MEMBERS;

/// Longest wait for the level after the last member was replaced.
const LEVEL_MAX: Duration = Duration::from_secs(20);

/// `mixed` is how long members of both versions work side by side after each step; with `kill`, another member is killed meanwhile.
pub(super) async fn play(
    scene: &mut Scene<'_>,
    (old, new): (&Path, &Path),
    mixed: Duration,
    kill: bool,
    phases: &mut Vec<Phase>,
) -> Result<()> {
    // What the first member of the new version says; the old versions may say nothing.
    let mut before = 0;
    let steps = [(0, new), (0, old), (0, new), (1, new), (2, new)];
    for (number, (at, binary)) in steps.into_iter().enumerate() {
        let name =
            if binary == new { format!("upgrade {}", at + 1) } else { format!("take back {}", at + 1) };
        let mut phase = Phase::new(&name);
        let from = Instant::now();
        let ended = scene.fleet.terminate(at).await?;
        phase.promise(ended.code == Some(0), || format!("member {} ended with {:?}", at + 1, ended.code));
        scene.fleet.use_binary(at, binary)?;
        scene.restart(&[at], &mut phase).await?;
        let killed =
            if kill { Some(kill_another(scene, (at + 1) % MEMBERS, &mut phase).await?) } else { None };
        tokio::time::sleep_until((from + mixed).into()).await;
        let now = highest_level(scene).await?;
        if number == 0 {
            before = now;
        } else if number + 1 < steps.len() && binary == new {
            phase.promise(now == before, || format!("the level was {before}, and is {now} too early"));
        }
        let asked = Asked { survivors: true, majority: kill, orderly: !kill };
        let phase = finish(scene, phase, from, killed, asked).await?;
        eprintln!("{}: {:.0} s, {} promises broken", phase.name, phase.seconds, phase.broken.len());
        phases.push(phase);
    }
    phases.push(raised(scene, before).await?);
    Ok(())
}

async fn kill_another(scene: &mut Scene<'_>, at: usize, phase: &mut Phase) -> Result<Instant> {
    let kill = scene.fleet.kill(&[at]).await?;
    tokio::time::sleep_until((kill + AWAY).into()).await;
    scene.restart(&[at], phase).await?;
    Ok(kill)
}

/// When no older member is left, the level rises by itself, and work goes on.
async fn raised(scene: &mut Scene<'_>, before: u64) -> Result<Phase> {
    let mut phase = Phase::new("level raised");
    let from = Instant::now();
    let mut now = levels(scene).await?;
    while from.elapsed() < LEVEL_MAX && now.iter().any(|level| *level <= before) {
        tokio::time::sleep(Duration::from_millis(200)).await;
        now = levels(scene).await?;
    }
    phase.special = Some(from.elapsed());
    phase.notes.push(format!("the level was {before}, and is {now:?}"));
    phase.promise(now.iter().all(|level| *level > before), || {
        format!("the level was {before}, and is {now:?}")
    });
    finish(scene, phase, from, None, Asked { survivors: true, majority: false, orderly: true }).await
}

async fn highest_level(scene: &Scene<'_>) -> Result<u64> {
    Ok(levels(scene).await?.into_iter().max().unwrap_or_default())
}

/// The level of the state at each member. Versions that do not tell have level 0 here.
async fn levels(scene: &Scene<'_>) -> Result<Vec<u64>> {
    let mut levels = Vec::new();
    for at in 0..MEMBERS {
        let Some(status) = scene.fleet.status(at).await else { bail!("member {} shows no status", at + 1) };
        levels.push(status.raft.level);
    }
    Ok(levels)
}
