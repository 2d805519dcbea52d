//! The failover test: members of a real cluster are killed, robbed of their disk and restarted under a workload, and
//! what the workload saw is judged against the promises of docs/reliability.md, (a) to (i).

mod members;
mod phases;
mod report;
mod scene;
mod soak;
mod upgrade;
mod usage;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

pub use report::{Limits, Phase, Report};

use crate::fleet::{Fleet, MEMBERS, Options};

/// How to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `dyad` binary, for processes on loopback.
    pub binary: PathBuf,
    /// The compose file: containers instead of processes.
    pub compose: Option<PathBuf>,
    /// Leave data and logs after a failed run.
    pub keep: bool,
    /// Only the phases whose name contains this.
    pub only: Option<String>,
    pub play: Play,
}

/// What is done to the members.
#[derive(Clone, Debug, Default)]
pub enum Play {
    /// They are killed, robbed of their disk and restarted.
    #[default]
    Kills,
    /// They run an older binary, and are replaced one after another.
    Upgrade { from: PathBuf, mixed: Duration, kill: bool },
    /// The membership grows and shrinks.
    Members { kill: bool },
    /// Everything happens to them for so long, and they must not grow.
    Soak { length: Duration },
}

impl Plan {
    /// The members, not yet started.
    ///
    /// # Errors
    /// See [`Fleet`].
    pub async fn fleet(&self) -> Result<Fleet> {
        match &self.compose {
            Some(file) => Fleet::compose(file.clone()).await,
            None => {
                let mut options = Options { binary: self.binary.clone(), ..Options::default() };
                match self.play {
                    Play::Members { .. } => options.more = members::MORE,
                    Play::Soak { length } => {
                        usage::is_long_enough(length)?;
                        options.more = soak::MORE;
                        options.flags = soak::FLAGS.map(str::to_owned).to_vec();
                    }
                    Play::Kills | Play::Upgrade { .. } => {}
                }
                Fleet::loopback(options)
            }
        }
    }
}

/// Runs all phases. The report says whether each promise was kept.
///
/// # Errors
/// There is no fleet to begin with.
pub async fn run(plan: &Plan) -> Result<Report> {
    let mut fleet = plan.fleet().await?;
    let mut report = Report::default();
    let played = async {
        let first: Vec<usize> = match &plan.play {
            Play::Kills | Play::Soak { .. } => (0..MEMBERS).collect(),
            Play::Upgrade { from, .. } => {
                (0..MEMBERS).try_for_each(|at| fleet.use_binary(at, from))?;
                (0..MEMBERS).collect()
            }
            Play::Members { .. } => {
                fleet.use_list(0, &[])?;
                vec![0]
            }
        };
        let mut scene = scene::Scene::set(&mut fleet, &first).await?;
        let phases = &mut report.phases;
        let played = match &plan.play {
            Play::Kills => phases::play(&mut scene, plan.only.as_deref(), phases).await,
            Play::Upgrade { from, mixed, kill } => {
                upgrade::play(&mut scene, (from, &plan.binary), *mixed, *kill, phases).await
            }
            Play::Members { kill } => members::play(&mut scene, *kill, phases).await,
            Play::Soak { length } => soak::play(&mut scene, *length, phases).await,
        };
        scene.end().await;
        played
    }
    .await;
    report.stopped = played.err().map(|error| format!("{error:#}"));
    let good = report.passed();
    if !good {
        for at in 0..fleet.members.len() {
            eprintln!("--- the end of the log of member {}:\n{}", at + 1, fleet.end_of_log(at).await);
        }
        eprintln!("--- logs and data: {}", fleet.place());
    }
    fleet.close(plan.keep && !good).await;
    Ok(report)
}
