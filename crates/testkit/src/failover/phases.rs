//! The phases: what is done to the members, and what must hold meanwhile.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::report::{Asked, Limits, Phase};
use super::scene::Scene;
use crate::fleet::MEMBERS;

/// A killed member stays away for so long: past the time in which (b) is measured, and past the move of its clients.
pub(super) const AWAY: Duration = Duration::from_secs(6);
/// All members are away for so long.
const ALL_AWAY: Duration = Duration::from_secs(1);
/// Between two questions about instances that should go.
const GONE_POLL: Duration = Duration::from_millis(250);

const KILLED: Asked = Asked { survivors: true, majority: true, orderly: false };

/// All phases in their order, or those whose name contains `only`; they are added to `phases` one by one, so that an
/// error leaves those that were played.
pub(super) async fn play(scene: &mut Scene<'_>, only: Option<&str>, phases: &mut Vec<Phase>) -> Result<()> {
    let wanted = |name: &str| only.is_none_or(|only| name.contains(only));
    let mut done = |phase: Phase| {
        eprintln!("{}: {:.0} s, {} promises broken", phase.name, phase.seconds, phase.broken.len());
        phases.push(phase);
    };
    if wanted("kill") {
        // The leader first: its successor may be any other, so that each is killed once and a leader for certain.
        let leader = scene.leader().await?;
        for step in 0..MEMBERS {
            done(one(scene, (leader + step) % MEMBERS).await?);
        }
    }
    if wanted("two") {
        done(two(scene).await?);
    }
    if wanted("all") {
        done(all(scene).await?);
    }
    if wanted("dead clients") {
        done(dead_clients(scene).await?);
    }
    if wanted("empty") {
        done(emptied(scene).await?);
    }
    if wanted("rolling") {
        done(rolling(scene).await?);
    }
    Ok(())
}

/// One member is killed, stays away, comes back.
async fn one(scene: &mut Scene<'_>, at: usize) -> Result<Phase> {
    let leads = scene.leader().await? == at;
    let mut phase = Phase::new(&format!("kill {}{}", at + 1, if leads { " (leader)" } else { "" }));
    let from = Instant::now();
    let kill = scene.fleet.kill(&[at]).await?;
    tokio::time::sleep_until((kill + AWAY).into()).await;
    scene.restart(&[at], &mut phase).await?;
    finish(scene, phase, from, Some(kill), KILLED).await
}

/// The leader and another one are killed at once: no majority, and one member that goes on alone.
async fn two(scene: &mut Scene<'_>) -> Result<Phase> {
    let leader = scene.leader().await?;
    let killed = [leader, (leader + 1) % MEMBERS];
    let mut phase = Phase::new("kill two");
    let from = Instant::now();
    let kill = scene.fleet.kill(&killed).await?;
    tokio::time::sleep_until((kill + AWAY).into()).await;
    scene.restart(&killed, &mut phase).await?;
    finish(scene, phase, from, Some(kill), Asked { majority: false, ..KILLED }).await
}

/// All are killed at once.
async fn all(scene: &mut Scene<'_>) -> Result<Phase> {
    let everyone: Vec<usize> = (0..MEMBERS).collect();
    let mut phase = Phase::new("kill all");
    let from = Instant::now();
    scene.world.ephemeral_required.store(false, Ordering::SeqCst);
    scene.fleet.kill(&everyone).await?;
    tokio::time::sleep(ALL_AWAY).await;
    scene.fleet.start(&everyone).await?;
    for at in everyone {
        let took = scene.fleet.ready(at).await?;
        phase.note_ready(took);
    }
    let ready = Instant::now();
    phase.promise_within("(d) a restarted member ready", phase.ready, Limits::READY);
    scene.persistent_truth(&mut phase).await;
    let complete = scene.until_complete(2 * Limits::EPHEMERAL_BACK).await;
    phase.special = complete.map(|_| ready.elapsed());
    phase.promise_within("(e) ephemeral instances back", phase.special, Limits::EPHEMERAL_BACK);
    scene.world.ephemeral_required.store(true, Ordering::SeqCst);
    scene.digests(&mut phase).await;
    finish(scene, phase, from, None, Asked::default()).await
}

/// (f) A member is killed together with clients, and stays away until those are gone.
async fn dead_clients(scene: &mut Scene<'_>) -> Result<Phase> {
    let mut phase = Phase::new("dead clients");
    let (doomed, dead) = scene.doom();
    tokio::time::sleep(2 * crate::load::BEAT_INTERVAL).await;
    let at = (scene.leader().await? + 1) % MEMBERS;
    for other in scene.fleet.up() {
        let shown = scene.shown(other, &doomed).await.map_or(0, |shown| shown.len());
        phase.promise(shown == doomed.len(), || format!("member {} shows {shown} of the doomed", other + 1));
    }
    let from = Instant::now();
    dead.store(true, Ordering::SeqCst);
    let kill = scene.fleet.kill(&[at]).await?;
    let give_up = kill + Limits::DEAD_GONE + Duration::from_secs(5);
    while Instant::now() < give_up {
        let mut left = 0;
        for other in scene.fleet.up() {
            left += scene.shown(other, &doomed).await.map_or(1, |shown| shown.len());
        }
        if left == 0 {
            phase.special = Some(kill.elapsed());
            break;
        }
        tokio::time::sleep(GONE_POLL).await;
    }
    phase.promise_within("(f) instances of dead clients gone", phase.special, Limits::DEAD_GONE);
    scene.restart(&[at], &mut phase).await?;
    finish(scene, phase, from, Some(kill), KILLED).await
}

/// (g) A member is killed and comes back with an empty directory.
async fn emptied(scene: &mut Scene<'_>) -> Result<Phase> {
    let mut phase = Phase::new("emptied disk");
    let at = (scene.leader().await? + 2) % MEMBERS;
    let old = scene.fleet.status(at).await.map(|status| status.member_id).unwrap_or_default();
    let from = Instant::now();
    let kill = scene.fleet.kill(&[at]).await?;
    scene.fleet.wipe(at).await?;
    let start = Instant::now();
    scene.fleet.start(&[at]).await?;
    let took = scene.fleet.ready(at).await?;
    phase.note_ready(took);
    let member = membership(scene, at, &old, start).await;
    phase.special = member.joined;
    phase.promise_within(
        "(g) an emptied member joined, three voters, its old id none",
        phase.special,
        Limits::JOIN,
    );
    phase.promise(member.retired.is_some(), || format!("(g) {old} is still a live origin"));
    let retired = crate::figures::seconds(member.retired);
    phase.notes.push(format!("the emptied member's old origin {old} was retired after {retired} s"));
    scene.digests(&mut phase).await;
    finish(scene, phase, from, Some(kill), KILLED).await
}

/// What became of a member that lost its disk.
#[derive(Default)]
struct Replaced {
    joined: Option<Duration>,
    retired: Option<Duration>,
}

/// Watches all members until they agree on the new membership and no one has a live log of the old id.
async fn membership(scene: &Scene<'_>, at: usize, old: &str, start: Instant) -> Replaced {
    const PATIENCE: Duration = Duration::from_secs(45);
    let mut replaced = Replaced::default();
    while start.elapsed() < PATIENCE && (replaced.joined.is_none() || replaced.retired.is_none()) {
        let mut agree = true;
        let mut live = false;
        let me = scene.fleet.status(at).await.map(|status| status.member_id).unwrap_or_default();
        for other in 0..MEMBERS {
            let Some(status) = scene.fleet.status(other).await else {
                (agree, live) = (false, true);
                continue;
            };
            let voters = status.voters();
            agree &= voters.len() == MEMBERS
                && me != old
                && voters.contains(&me.as_str())
                && !voters.contains(&old);
            live |= status.has_live_origin(old);
        }
        if agree {
            replaced.joined.get_or_insert(start.elapsed());
        }
        if !live {
            replaced.retired.get_or_insert(start.elapsed());
        }
        tokio::time::sleep(GONE_POLL).await;
    }
    replaced
}

/// (h) Each member is asked to stop and started again, in turn.
async fn rolling(scene: &mut Scene<'_>) -> Result<Phase> {
    let mut phase = Phase::new("rolling restart");
    let from = Instant::now();
    for at in 0..MEMBERS {
        let ended = scene.fleet.terminate(at).await?;
        phase.notes.push(format!(
            "member {} stopped after {:.2} s with {:?}",
            at + 1,
            ended.took.as_secs_f64(),
            ended.code
        ));
        phase.promise(ended.code == Some(0), || format!("(h) member {} ended with {:?}", at + 1, ended.code));
        scene.restart(&[at], &mut phase).await?;
    }
    finish(scene, phase, from, None, Asked { survivors: true, majority: false, orderly: true }).await
}

/// Goes on until the phase is valid, then judges it.
pub(super) async fn finish(
    scene: &mut Scene<'_>,
    mut phase: Phase,
    from: Instant,
    kill: Option<Instant>,
    asked: Asked,
) -> Result<Phase> {
    scene.until_valid(from).await;
    let tally = &scene.world.tally;
    let unknown = tally.unknown_beats.swap(0, Ordering::Relaxed);
    let lost = tally.lost_beats.swap(0, Ordering::Relaxed);
    let reads = tally.reads.swap(0, Ordering::Relaxed);
    phase.notes.push(format!(
        "{reads} lists checked, {unknown} beats unknown (20404), {lost} beats that nobody took"
    ));
    phase.judge(tally, from, kill, asked);
    phase.judge_configs(tally.published(from), scene.configs.stalest(from), asked);
    scene.persistent_truth(&mut phase).await;
    scene.config_truth(&mut phase).await;
    Ok(phase)
}
