//! `durability`: what was acknowledged survives, and is acknowledged only when a majority of disks has promised it.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use dyad_testkit::durability::{Plan, run};

/// Kill all members in the middle of writes, and take their disks away; exit 1 if a promise was broken.
#[derive(Debug, Parser)]
struct Arguments {
    /// The server to test, dynamically linked.
    #[arg(long, default_value = "target/release/dyad")]
    binary: PathBuf,
    /// The library built from tests/shim.
    #[arg(long, default_value = "target/shim/shim.so")]
    shim: PathBuf,
    /// Rounds of writes and death.
    #[arg(long, default_value_t = 20)]
    rounds: usize,
    /// Acknowledged writes of a round.
    #[arg(long, default_value_t = 1000)]
    writes: usize,
    /// Write the figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Leave data and logs after a failed run.
    #[arg(long)]
    keep: bool,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> Result<ExitCode> {
    let Arguments { binary, shim, rounds, writes, json, keep } = Arguments::parse();
    let checks = run(&Plan { binary, shim, rounds, writes, keep }).await?;
    checks.iter().for_each(|check| print(&check.to_text()));
    let good = checks.iter().all(|check| check.broken.is_empty());
    print(if good { "PASS\n" } else { "FAIL\n" });
    if let Some(file) = json {
        std::fs::write(&file, serde_json::to_vec_pretty(&checks)?)
            .with_context(|| file.display().to_string())?;
    }
    Ok(ExitCode::from(u8::from(!good)))
}

#[expect(clippy::print_stdout, reason = "the figures are this program's output")]
fn print(text: &str) {
    print!("{text}");
}
