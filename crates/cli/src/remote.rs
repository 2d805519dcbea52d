//! What every command over HTTP has: the servers, the name of the operator, and the form of the output.

use clap::Args;
use serde_json::Value;

use crate::client::{Client, SERVER};
use crate::exit::{Exit, Failure};
use crate::output::{Output, print};

/// The variable that names the servers where no flag does.
pub const SERVER_ENV: &str = "DYAD_SERVER";

/// The flags of every command over HTTP: the servers, the name of the operator, and the form of the output.
#[derive(Clone, Debug, Args)]
pub struct RemoteArgs {
    /// URLs of servers, separated by commas; the first that answers is used
    #[arg(long, env = SERVER_ENV, hide_env_values = true, default_value = SERVER, value_name = "URLS", global = true)]
    pub server: String,
    /// Print text for people, or JSON for programs
    #[arg(long, value_enum, default_value_t = Output::Text, value_name = "FORM", global = true)]
    pub output: Output,
    /// The name of the operator, which the history shows
    #[arg(
        long,
        env = "USER",
        hide_env_values = true,
        default_value = "",
        value_name = "NAME",
        global = true
    )]
    pub user: String,
}

/// A command's side of the conversation.
#[derive(Debug)]
pub(crate) struct Remote {
    pub(crate) client: Client,
    pub(crate) user: String,
    output: Output,
}

impl Remote {
    /// # Errors
    /// A URL that is none.
    pub(crate) fn new(args: &RemoteArgs) -> Result<Remote, Failure> {
        Ok(Remote { client: Client::new(&args.server)?, user: args.user.clone(), output: args.output })
    }

    pub(crate) fn is_json(&self) -> bool {
        self.output == Output::Json
    }

    /// Prints the result: as one line of JSON, or as text.
    ///
    /// # Errors
    /// It cannot be written.
    pub(crate) fn show(&self, json: &Value, text: impl FnOnce() -> String) -> Result<(), Failure> {
        if self.is_json() { print(&format!("{json}\n")) } else { print(&text()) }
    }
}

/// Runs a command to its end.
///
/// # Errors
/// The command's own.
pub(crate) fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(Exit::Disk, format!("cannot start the runtime: {error}")))?;
    let result = runtime.block_on(command);
    // A name that is being looked up need not be waited for.
    runtime.shutdown_background();
    result
}
