//! `visibility`: how soon the other members show what one has acknowledged.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use dyad_testkit::failover::{Plan, Play};
use dyad_testkit::visibility::{Visible, run};

/// Measure how soon the other members show what one has acknowledged; exit 1 if a promise was broken.
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
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let plan = Plan {
        binary: arguments.binary,
        compose: arguments.compose.then(|| PathBuf::from("deploy/compose/docker-compose.yml")),
        keep: false,
        only: None,
        play: Play::Kills,
    };
    let kinds = run(&plan).await?;
    kinds.iter().for_each(|kind| print(&kind.to_text()));
    if let Some(file) = arguments.json {
        std::fs::write(&file, serde_json::to_vec_pretty(&kinds)?)
            .with_context(|| file.display().to_string())?;
    }
    Ok(ExitCode::from(u8::from(!kinds.iter().all(Visible::passed))))
}

#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
fn print(text: &str) {
    print!("{text}");
}
