//! The failover test: members of a real cluster are killed, robbed of their disk and restarted under a workload, and
//! what the workload saw is judged against the promises of docs/reliability.md, (a) to (i).

mod phases;
mod report;
mod scene;

use std::path::PathBuf;

use anyhow::Result;

pub use report::{Limits, Phase, Report};

use crate::fleet::{Fleet, Options};

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
}

impl Plan {
    /// The members, not yet started.
    ///
    /// # Errors
    /// See [`Fleet`].
    pub async fn fleet(&self) -> Result<Fleet> {
        match &self.compose {
            Some(file) => Fleet::compose(file.clone()).await,
            None => Fleet::loopback(Options { binary: self.binary.clone(), ..Options::default() }),
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
        let mut scene = scene::Scene::set(&mut fleet).await?;
        let played = phases::play(&mut scene, plan.only.as_deref(), &mut report.phases).await;
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
