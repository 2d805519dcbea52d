//! `dyad bench`.

use dyad_bench::BenchError;

use crate::exit::{Exit, Failure};
use crate::open_files;
use crate::output::{note, print};

pub use dyad_bench::BenchArgs;

/// Measures, and prints the figures. With `--json` they are written to a file too.
///
/// # Errors
/// `Exit::Settings` if the arguments make no sense, `Exit::Refused` if a server cannot be reached or something happened
/// that must not happen, `Exit::Disk` if the figures cannot be written.
pub fn bench(args: &BenchArgs) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(Exit::Disk, format!("cannot start the runtime: {error}")))?;
    let measured = runtime.block_on(dyad_bench::run(args, open_files::raise(), &note));
    // Thousands of connections need not be closed one by one.
    runtime.shutdown_background();
    let report = measured.map_err(failure)?;
    print(&report.to_text())?;
    if let Some(file) = &args.common().json {
        let text = serde_json::to_vec_pretty(&report)
            .map_err(|error| Failure::new(Exit::Disk, format!("the figures cannot be written: {error}")))?;
        std::fs::write(file, text).map_err(|error| Failure::io("write", file, &error))?;
    }
    match report.violations.len() {
        0 => Ok(()),
        n => Err(Failure::new(Exit::Refused, format!("{n} things happened that must not, see FAILED"))),
    }
}

fn failure(error: BenchError) -> Failure {
    let exit = match error {
        BenchError::Usage(_) => Exit::Settings,
        BenchError::Server { .. } => Exit::Refused,
    };
    Failure::new(exit, error.to_string())
}
