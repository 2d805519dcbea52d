//! Rounds: many writers, all members killed in the middle of it, all restarted, and nothing acknowledged may be missing
//! from any answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;
use tokio::task::JoinSet;

use super::shim::Shim;
use super::writers::{Acked, Load, WRITERS, Writers, missing, too_early};
use super::{Check, Plan};
use crate::fleet::{Fleet, MEMBERS, Member};

/// Longest wait for a round's writes.
const WRITES_MAX: Duration = Duration::from_secs(60);
/// Between two reads after a restart.
const READ: Duration = Duration::from_millis(20);
/// Reads go on for so long after the last member is ready.
const AFTER_READY: Duration = Duration::from_millis(500);

/// Plays the rounds; the acknowledged writes of all of them.
pub(super) async fn play(
    fleet: &mut Fleet,
    shim: &Shim,
    plan: &Plan,
    load: Load,
) -> Result<(Vec<Check>, Vec<Acked>)> {
    let what = if load == Load::Configs { "configurations" } else { "persistent instances" };
    let mut deaths = Check::new(&format!("rounds of {what}"));
    let mut order = Check::new(&format!("{what} acknowledged after a majority's fdatasync"));
    let mut acknowledged: Vec<Acked> = Vec::new();
    let (mut reads, mut early, mut slowest) = (0, 0, Duration::ZERO);
    for round in 0..plan.rounds {
        let writers = Writers::start(&fleet.members, &format!("du-{load:?}-{round}"), load, WRITERS);
        let enough = writers.until(plan.writes, WRITES_MAX).await;
        deaths.promise(enough, || format!("round {round}: not {} writes in {WRITES_MAX:?}", plan.writes));
        let everyone: Vec<usize> = (0..MEMBERS).collect();
        fleet.kill(&everyone).await?;
        let (acked, _) = writers.stop().await;
        let promises = (0..MEMBERS).map(|at| shim.promises(at)).collect::<Result<Vec<_>>>()?;
        early += too_early(&acked, &promises).len();
        let acked = Arc::new(acked);
        let readers = Readers::start(&fleet.members, &acked);
        fleet.start(&everyone).await?;
        for at in everyone {
            slowest = slowest.max(fleet.ready(at).await?);
        }
        tokio::time::sleep(AFTER_READY).await;
        let seen = readers.stop().await;
        reads += seen.answers;
        deaths.promise(seen.faults.is_empty(), || format!("round {round}: {}", seen.faults.join(", ")));
        acknowledged.extend(acked.iter().cloned());
        eprintln!(
            "round {round} of {what}: {} acknowledged, {} times read after the restart",
            acked.len(),
            seen.answers
        );
    }
    deaths.promise(reads >= plan.rounds * MEMBERS, || format!("only read {reads} times after restarts"));
    let lost = lost(fleet, &acknowledged).await;
    deaths.promise(lost.is_empty(), || format!("lost in the end: {}", lost.join(", ")));
    deaths.figures.push(format!(
        "{} rounds, {} acknowledged writes, {} lost, read {reads} times after restarts, slowest restart {:.2} s",
        plan.rounds,
        acknowledged.len(),
        lost.len(),
        slowest.as_secs_f64()
    ));
    order.figures.push(format!("{} writes", acknowledged.len()));
    order.promise(early == 0, || format!("{early} writes were acknowledged too early"));
    Ok((vec![deaths, order], acknowledged))
}

/// Everything of all rounds, at every member.
async fn lost(fleet: &Fleet, acknowledged: &[Acked]) -> Vec<String> {
    let mut lost = Vec::new();
    for member in &fleet.members {
        match missing(member, acknowledged).await {
            Some(missing) => lost.extend(missing.iter().map(|write| name(member, write))),
            None => lost.push(format!("member {} cannot be read", member.index + 1)),
        }
    }
    lost
}

fn name(member: &Member, write: &Acked) -> String {
    format!("{} at member {}", write.thing, member.index + 1)
}

/// Readers that begin while the members are down, so that the first answer after the restart is theirs.
struct Readers {
    stop: Arc<AtomicBool>,
    tasks: JoinSet<Seen>,
}

#[derive(Default)]
struct Seen {
    answers: usize,
    faults: Vec<String>,
}

impl Readers {
    fn start(members: &[Arc<Member>], acked: &Arc<Vec<Acked>>) -> Readers {
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = JoinSet::new();
        for member in members {
            let (member, stop) = (member.clone(), stop.clone());
            let acked = acked.clone();
            tasks.spawn(async move {
                let mut seen = Seen::default();
                while !stop.load(Ordering::SeqCst) {
                    if let Some(missing) = missing(&member, &acked).await {
                        seen.answers += 1;
                        if let Some(first) = missing.first() {
                            let first = name(&member, first);
                            seen.faults.push(format!(
                                "answer {} misses {}, {first}",
                                seen.answers,
                                missing.len()
                            ));
                        }
                    }
                    tokio::time::sleep(READ).await;
                }
                seen
            });
        }
        Readers { stop, tasks }
    }

    async fn stop(self) -> Seen {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Seen::default();
        for seen in self.tasks.join_all().await {
            all.answers += seen.answers;
            all.faults.extend(seen.faults);
        }
        all
    }
}
