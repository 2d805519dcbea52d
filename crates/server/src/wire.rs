//! Puts the parts of a server together and runs them until a signal.

use crate::datadir::DataDir;
use crate::exit::{Exit, Failure};
use crate::identity::Identity;
use crate::settings::Settings;

/// Runs a server until SIGTERM or SIGINT.
///
/// # Errors
/// What ends the process, with its exit code.
pub async fn run(settings: Settings) -> Result<(), Failure> {
    let data = DataDir::open(&settings.data_dir)?;
    let mut identity = Identity::load_or_create(data.path())?;
    identity.advance()?;
    tracing::info!(origin = %identity.origin(), "identity");
    tokio::signal::ctrl_c()
        .await
        .map_err(|error| Failure::new(Exit::Disk, format!("cannot wait for a signal: {error}")))
}
