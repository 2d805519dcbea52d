//! `dyad config`: configurations on the command line, through the HTTP API of a running server.

mod args;
mod diff;
mod input;
mod key;
mod list;
mod one;
mod shape;
mod transfer;
mod versions;
mod watch;

use crate::exit::Failure;
use crate::remote::{Remote, block_on};

use args::ConfigVerb;

pub(crate) use args::ImportArgs;
pub use args::{ConfigArgs, Policy};
pub(crate) use diff::end;
pub(crate) use key::shown_namespace;
pub(crate) use transfer::{Imported, dry_run, import_archive, import_one};

/// `dyad config`.
///
/// # Errors
/// `Exit::Missing` if something does not exist, `Exit::Conflict` if something else exists than was expected,
/// `Exit::Differs` for differences if the command line asks for it, `Exit::Settings` for bad arguments and files, and
/// `Exit::Refused` for every other error of a server, or if none answers.
pub fn config(args: ConfigArgs) -> Result<(), Failure> {
    let mut remote = Remote::new(&args.remote)?;
    block_on(async move {
        match args.verb {
            ConfigVerb::Get(args) => one::get(&mut remote, args).await,
            ConfigVerb::Set(args) => one::set(&mut remote, args).await,
            ConfigVerb::Rm(args) => one::rm(&mut remote, args).await,
            ConfigVerb::Ls(args) => list::ls(&mut remote, args).await,
            ConfigVerb::Grep(args) => list::grep(&mut remote, args).await,
            ConfigVerb::Diff(args) => diff::diff(&mut remote, args).await,
            ConfigVerb::History(args) => versions::history(&mut remote, args).await,
            ConfigVerb::Rollback(args) => versions::rollback(&mut remote, args).await,
            ConfigVerb::Export(args) => transfer::export(&mut remote, args).await,
            ConfigVerb::Import(args) => transfer::import(&mut remote, args).await,
            ConfigVerb::Watch(args) => watch::watch(&mut remote, args).await,
        }
    })
}
