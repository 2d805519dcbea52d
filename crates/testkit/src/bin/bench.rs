//! `bench`: CPU per request beside the floor's, and resident memory. Start it on the core that the server does not have:
//! `taskset --cpu-list 1 bench`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Parser;
use dyad_testkit::bench::{Plan, Row, measure_memory, run, to_text};

/// Measure CPU per request and memory of a standalone server; exit 1 beyond a limit.
#[derive(Debug, Parser)]
struct Arguments {
    /// The server to measure.
    #[arg(long, default_value = "target/release/dyad")]
    binary: PathBuf,
    /// The bare handler to compare with.
    #[arg(long, default_value = "target/release/floor")]
    floor: PathBuf,
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of one operation in one round at one server.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Measure memory instead.
    #[arg(long)]
    rss: bool,
    /// Write the figures to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> Result<ExitCode> {
    let Arguments { binary, floor, rounds, seconds, rss, json } = Arguments::parse();
    let (text, figures, good) = if rss {
        let memory = measure_memory(&binary)?;
        (memory.to_text(), serde_json::to_vec_pretty(&memory)?, memory.passed())
    } else {
        let rows = run(&Plan { binary, floor, rounds, time: Duration::from_secs(seconds) })?;
        (to_text(&rows), serde_json::to_vec_pretty(&rows)?, rows.iter().all(Row::passed))
    };
    print(&text);
    if let Some(file) = json {
        std::fs::write(&file, figures).with_context(|| file.display().to_string())?;
    }
    Ok(ExitCode::from(u8::from(!good)))
}

#[expect(clippy::print_stdout, reason = "the table is this program's output")]
fn print(text: &str) {
    print!("{text}");
}
