//! `failover`: kills members of a real cluster under a workload and judges what the workload saw.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use dyad_testkit::failover::{Plan, Play, run};

/// Kill members of a real cluster under a workload; exit 1 if a promise was broken.
#[derive(Debug, Parser)]
struct Arguments {
    /// The server to test.
    #[arg(long, default_value = "target/release/dyad")]
    binary: PathBuf,
    /// Use the containers of deploy/compose instead of processes.
    #[arg(long)]
    compose: bool,
    /// Write the figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Leave data and logs after a failed run.
    #[arg(long)]
    keep: bool,
    /// Only phases whose name contains this: kill, two, all, dead clients, emptied, rolling.
    #[arg(long)]
    only: Option<String>,
    /// Begin with this older binary, and replace one member after another.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["compose", "only"])]
    upgrade_from: Option<PathBuf>,
    /// How many seconds both versions run beside each other after each step.
    #[arg(long, default_value_t = 60, requires = "upgrade_from")]
    mixed: u64,
    /// Let the cluster grow from one member to five and shrink to one.
    #[arg(long, conflicts_with_all = ["compose", "only", "upgrade_from"])]
    members: bool,
    /// Let everything happen to the members for so many minutes, and judge whether what they use grows.
    #[arg(long, value_name = "MINUTES", conflicts_with_all = ["compose", "only", "upgrade_from", "members", "kill"])]
    soak: Option<u64>,
    /// Kill another member in the middle of each step of an upgrade or of a change of the members.
    #[arg(long)]
    kill: bool,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let kill = arguments.kill;
    let play = match arguments.upgrade_from {
        Some(from) => Play::Upgrade { from, mixed: Duration::from_secs(arguments.mixed), kill },
        None if arguments.members => Play::Members { kill },
        None => match arguments.soak {
            Some(minutes) => Play::Soak { length: Duration::from_secs(minutes.saturating_mul(60)) },
            None => Play::Kills,
        },
    };
    let plan = Plan {
        binary: arguments.binary,
        compose: arguments.compose.then(|| PathBuf::from("deploy/compose/docker-compose.yml")),
        keep: arguments.keep,
        only: arguments.only,
        play,
    };
    let report = run(&plan).await?;
    print(&report.to_text());
    if let Some(file) = arguments.json {
        std::fs::write(&file, serde_json::to_vec_pretty(&report)?)
            .with_context(|| file.display().to_string())?;
    }
    Ok(ExitCode::from(u8::from(!report.passed())))
}

#[expect(clippy::print_stdout, reason = "the table is this program's output")]
fn print(text: &str) {
    print!("{text}");
}
