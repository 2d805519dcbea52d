//! The durability test: what was acknowledged survives the death of all members, and nothing is acknowledged before a
//! majority of disks has promised it. A preloaded library (tests/shim) notes and controls each promise.

mod disks;
mod full;
mod rounds;
mod shim;
mod writers;

use std::path::PathBuf;

use anyhow::{Result, bail};
use serde::Serialize;

use crate::fleet::{Fleet, MEMBERS, Options};
use crate::load::EPHEMERAL_TIMEOUT;
use crate::nacos;
use writers::Load;

pub use shim::{Promises, Shim};

/// How to run.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The `dyad` binary, dynamically linked.
    pub binary: PathBuf,
    /// The preloaded library.
    pub shim: PathBuf,
    /// Rounds of writes and death.
    pub rounds: usize,
    /// Acknowledged writes of a round.
    pub writes: usize,
    /// Leave data and logs after a failed run.
    pub keep: bool,
}

/// One thing that was checked.
#[derive(Debug, Default, Serialize)]
pub struct Check {
    pub name: String,
    /// What was measured.
    pub figures: Vec<String>,
    /// What is not as promised.
    pub broken: Vec<String>,
}

impl Check {
    fn new(name: &str) -> Check {
        Check { name: name.to_owned(), ..Check::default() }
    }

    fn promise(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(what());
        }
    }

    /// The check in one or more lines.
    pub fn to_text(&self) -> String {
        let verdict = if self.broken.is_empty() { "ok" } else { "FAILED" };
        let mut text = format!("{verdict:6} {}: {}\n", self.name, self.figures.join("; "));
        self.broken.iter().for_each(|what| text += &format!("       BROKEN: {what}\n"));
        text
    }
}

/// Runs everything.
///
/// # Errors
/// The members cannot be started, or the shim saw nothing: there is nothing to judge.
pub async fn run(plan: &Plan) -> Result<Vec<Check>> {
    let shim = Shim::new(plan.shim.clone())?;
    let env = std::array::from_fn(|at| shim.environment(at));
    let mut fleet = Fleet::loopback(Options { binary: plan.binary.clone(), env, ..Options::default() })?;
    let result = play(&mut fleet, &shim, plan).await;
    let good = result.as_ref().is_ok_and(|checks| checks.iter().all(|check| check.broken.is_empty()));
    if !good {
        for at in 0..MEMBERS {
            eprintln!("--- the end of the log of member {}:\n{}", at + 1, fleet.end_of_log(at).await);
        }
        eprintln!("--- logs and data: {}", fleet.place());
    }
    fleet.close(plan.keep && !good).await;
    shim.close();
    let mut checks = result?;
    checks.push(full::play(&plan.binary).await?);
    Ok(checks)
}

async fn play(fleet: &mut Fleet, shim: &Shim, plan: &Plan) -> Result<Vec<Check>> {
    let all: Vec<usize> = (0..MEMBERS).collect();
    fleet.start(&all).await?;
    for at in all {
        fleet.ready(at).await?;
    }
    // Nobody answers probes at the instances' addresses, and their health is not what is tested.
    let switch = nacos::set_switch("healthCheckEnabled", "false");
    if !writers::until_ok(fleet, &switch, EPHEMERAL_TIMEOUT).await {
        bail!("the health check cannot be switched off");
    }
    let (mut checks, mut acknowledged) = rounds::play(fleet, shim, plan, Load::Persistent).await?;
    let (more, configs) = rounds::play(fleet, shim, plan, Load::Configs).await?;
    checks.extend(more);
    acknowledged.extend(configs);
    checks.extend(disks::play(fleet, shim, acknowledged).await?);
    for at in 0..MEMBERS {
        if shim.calls(at) == 0 {
            bail!("invalid: the shim saw no call of member {}; is the binary static?", at + 1);
        }
    }
    Ok(checks)
}
