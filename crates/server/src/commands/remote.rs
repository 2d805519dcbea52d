//! What a command over HTTP runs in: the servers, the operator's name, and how results are printed.

use serde_json::Value;

use super::client::Client;
use super::config::RemoteArgs;
use super::print;
use crate::cli::Output;
use crate::exit::{Exit, Failure};

/// A command's side of the conversation.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) client: Client,
    pub(super) user: String,
    output: Output,
}

impl Remote {
    /// # Errors
    /// A URL that is none.
    pub(super) fn new(args: &RemoteArgs) -> Result<Remote, Failure> {
        Ok(Remote { client: Client::new(&args.server)?, user: args.user.clone(), output: args.output })
    }

    pub(super) fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// Prints the result: as one line of JSON, or as text.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn show(&self, json: &Value, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.is_json() { print(&format!("{json}\n")) } else { print(&text()) }
    }
}

/// Runs a command to its end.
///
/// # Errors
/// The command's own.
pub(super) fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(Exit::Disk, format!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(command);
    // A name that is being looked up need not be waited for.
    runtime.shutdown_background();
    result
}
