//! A cluster grows from one member to five and shrinks to one, by the commands of operators, under the workload.

use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::phases::finish;
use super::report::{Asked, Phase};
use super::scene::Scene;
use crate::fleet::{MEMBERS, POLL};

/// Members besides the usual three.
pub(super) const MORE: usize = 2;
const ALL: usize = MEMBERS + MORE;
/// A member that is killed in the middle of a change stays away for so long.
const SHORT: Duration = Duration::from_secs(2);
/// From the start at another address to readiness. The others learn the address first, and the leader pauses up to a second before
/// it tries again to reach the member.
const MOVED: Duration = Duration::from_secs(4);
/// Longest wait until all members say the same about the voters.
const AGREE_MAX: Duration = Duration::from_secs(20);

/// One change: its name, on which member it is said, and the words.
struct Change<'a> {
    name: String,
    on: usize,
    words: Vec<&'a str>,
}

/// With `kill`, another member is killed in the middle of each change, where a majority is left then.
pub(super) async fn play(scene: &mut Scene<'_>, kill: bool, phases: &mut Vec<Phase>) -> Result<()> {
    let mut done = |phase: Phase| {
        eprintln!("{}: {:.0} s, {} promises broken", phase.name, phase.seconds, phase.broken.len());
        phases.push(phase);
    };
    let mut members = vec![0];
    while members.len() < ALL {
        let new = members.len();
        done(add(scene, &mut members, new, kill).await?);
    }
    done(votes(scene, &members, kill).await?);
    for at in [1, 3] {
        done(moved(scene, &members, at).await?);
    }
    while members.len() > 1 {
        // The leader goes first, each time.
        let gone = scene.leader().await?;
        done(remove(scene, &mut members, gone, kill).await?);
    }
    Ok(())
}

async fn add(scene: &mut Scene<'_>, members: &mut Vec<usize>, new: usize, kill: bool) -> Result<Phase> {
    let mut phase = Phase::new(&format!("{} -> {} members", members.len(), members.len() + 1));
    let from = Instant::now();
    let on = *members.last().context("a member")?;
    scene.fleet.use_list(new, &[on, new])?;
    scene.fleet.start(&[new]).await?;
    // It has nothing yet, and only refuses until it is ready.
    scene.fleet.mark_down(new);
    let address = address(scene, new);
    let name = "add".to_owned();
    let killed =
        change(scene, members, Change { name, on, words: vec!["add", &address] }, kill, &mut phase).await?;
    let took = scene.fleet.ready(new).await?;
    phase.note_ready(took);
    members.push(new);
    agree(scene, members, members, &mut phase).await;
    end(scene, phase, from, killed).await
}

async fn remove(scene: &mut Scene<'_>, members: &mut Vec<usize>, gone: usize, kill: bool) -> Result<Phase> {
    let mut phase = Phase::new(&format!("{} -> {} members", members.len(), members.len() - 1));
    let from = Instant::now();
    members.retain(|&at| at != gone);
    let (on, address) = (members[0], address(scene, gone));
    // From now on nobody needs its answers: it refuses everything as soon as it is removed.
    scene.fleet.mark_down(gone);
    let name = format!("remove {} (leader)", gone + 1);
    let killed =
        change(scene, members, Change { name, on, words: vec!["remove", &address] }, kill, &mut phase)
            .await?;
    agree(scene, members, members, &mut phase).await;
    let ended = scene.fleet.terminate(gone).await?;
    phase.promise(ended.code == Some(0), || format!("the removed member ended with {:?}", ended.code));
    end(scene, phase, from, killed).await
}

/// The last member loses its vote, and gets it again.
async fn votes(scene: &mut Scene<'_>, members: &[usize], kill: bool) -> Result<Phase> {
    let mut phase = Phase::new("a learner promoted");
    let from = Instant::now();
    let leader = scene.leader().await?;
    let learner = members.iter().copied().rev().find(|&at| at != leader).context("a follower")?;
    let address = address(scene, learner);
    let voters: Vec<usize> = members.iter().copied().filter(|&at| at != learner).collect();
    let demote = Change { name: "demote".to_owned(), on: leader, words: vec!["demote", &address] };
    change(scene, members, demote, false, &mut phase).await?;
    agree(scene, members, &voters, &mut phase).await;
    let promote = Change { name: "promote".to_owned(), on: leader, words: vec!["promote", &address] };
    let killed = change(scene, members, promote, kill, &mut phase).await?;
    agree(scene, members, members, &mut phase).await;
    end(scene, phase, from, killed).await
}

/// A member stops and comes back at another address.
async fn moved(scene: &mut Scene<'_>, members: &[usize], at: usize) -> Result<Phase> {
    let mut phase = Phase::new(&format!("member {} at another address", at + 1));
    let from = Instant::now();
    scene.fleet.terminate(at).await?;
    scene.fleet.move_away(at)?;
    let other = members.iter().copied().find(|&other| other != at).context("another member")?;
    scene.fleet.use_list(at, &[other, at])?;
    scene.fleet.start(&[at]).await?;
    let took = scene.fleet.ready(at).await?;
    phase.note_ready(took);
    phase.promise_within("a member that moved is ready", Some(took), MOVED);
    scene.digests(&mut phase).await;
    agree(scene, members, members, &mut phase).await;
    end(scene, phase, from, None).await
}

/// Says the words, and kills a member in the middle.
async fn change(
    scene: &mut Scene<'_>,
    members: &[usize],
    Change { name, on, words }: Change<'_>,
    kill: bool,
    phase: &mut Phase,
) -> Result<Option<Instant>> {
    // One of two is half, and the member that is spoken to must answer.
    let victim = members.iter().copied().find(|&at| at != on).filter(|_| kill && members.len() > 2);
    let began = Instant::now();
    let Some(victim) = victim else {
        let said = scene.fleet.command(on, &words).await?;
        phase.notes.push(format!("{name}: {:.2} s: {}", began.elapsed().as_secs_f64(), said.trim()));
        return Ok(None);
    };
    let killed = scene.fleet.kill(&[victim]).await?;
    // The member that is killed may lead: the change is asked for until somebody takes it.
    let said = loop {
        match scene.fleet.command(on, &words).await {
            Ok(said) => break said,
            Err(error) if began.elapsed() > AGREE_MAX => return Err(error),
            Err(_) => tokio::time::sleep(POLL * 10).await,
        }
    };
    phase.notes.push(format!(
        "{name}, member {} killed: {:.2} s: {}",
        victim + 1,
        began.elapsed().as_secs_f64(),
        said.trim()
    ));
    tokio::time::sleep_until((killed + SHORT).into()).await;
    scene.restart(&[victim], phase).await?;
    Ok(Some(killed))
}

/// Waits until all members say that these are the voters.
async fn agree(scene: &Scene<'_>, members: &[usize], voters: &[usize], phase: &mut Phase) {
    let mut want: Vec<String> = voters.iter().map(|&at| address(scene, at)).collect();
    want.sort();
    let began = Instant::now();
    let mut last = Vec::new();
    while began.elapsed() < AGREE_MAX {
        last.clear();
        for &at in members {
            let mut says: Vec<String> = match scene.fleet.status(at).await {
                Some(status) => {
                    status.members.into_iter().filter(|row| row.voter).map(|row| row.address).collect()
                }
                None => Vec::new(),
            };
            says.sort();
            last.push(says);
        }
        if last.iter().all(|says| *says == want) {
            phase.special = phase.special.max(Some(began.elapsed()));
            return;
        }
        tokio::time::sleep(POLL * 5).await;
    }
    phase.promise(false, || format!("the members say that the voters are {last:?}, not {want:?}"));
}

fn address(scene: &Scene<'_>, at: usize) -> String {
    scene.fleet.members[at].http.address().to_string()
}

async fn end(scene: &mut Scene<'_>, phase: Phase, from: Instant, killed: Option<Instant>) -> Result<Phase> {
    let asked = Asked { survivors: true, majority: killed.is_some(), orderly: false };
    let mut phase = finish(scene, phase, from, killed, asked).await?;
    phase.judge_gaps(&scene.world.tally, from);
    Ok(phase)
}
