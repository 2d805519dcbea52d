//! `failover`: kills members of a real cluster under a workload and judges what the workload saw.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use dyad_testkit::failover::{Plan, run};

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
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let plan = Plan {
        binary: arguments.binary,
        compose: arguments.compose.then(|| PathBuf::from("deploy/compose/docker-compose.yml")),
        keep: arguments.keep,
        only: arguments.only,
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
