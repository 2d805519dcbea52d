//! The operator commands: everything that `dyad` does besides serving. Each returns what ends the process.

mod bench;
mod client;
mod config;
mod discard;
mod ns;
mod remote;
mod text;
mod token;

use std::io::{ErrorKind, Write};

use crate::admin::{self, AdminRequest};
use crate::cli::{DrainFlags, HealthFlags, Output, RecoverFlags, SettingFlags, StatusFlags};
use crate::exit::{Exit, Failure};
use crate::health;
use crate::settings::{Inputs, Place, Settings};
use crate::status::ClusterStatus;

pub use bench::bench;
pub use config::{ConfigArgs, config};
pub use ns::{NsArgs, ns};
pub use token::token_new;

/// `dyad settings`.
///
/// # Errors
/// The settings' problems.
pub fn settings(flags: SettingFlags) -> Result<(), Failure> {
    let settings = Settings::load(&Inputs::from_process(flags.0))?;
    for warning in &settings.warnings {
        note(warning);
    }
    print(&settings.to_text())
}

/// `dyad health`.
///
/// # Errors
/// `Exit::Refused` if the server does not answer 200.
pub fn health(flags: HealthFlags) -> Result<(), Failure> {
    let url = match flags.url {
        Some(url) => url,
        None => {
            let place = Place::load(&Inputs::from_process(flags.settings.0))?;
            health::own_url(&place, if flags.live { health::LIVENESS } else { health::READINESS })?
        }
    };
    health::check(&url)
}

/// `dyad cluster status`.
///
/// # Errors
/// `Exit::Refused` if no server answers on the data directory's socket.
pub fn cluster_status(flags: StatusFlags) -> Result<(), Failure> {
    let place = Place::load(&Inputs::from_process(flags.settings.0))?;
    let answer = admin::call(&place.data_dir, AdminRequest::Status)?;
    match flags.output {
        Output::Json => print(&format!("{answer}\n"))?,
        Output::Text => {
            let status: ClusterStatus = serde_json::from_value(answer).map_err(|error| {
                Failure::new(Exit::Refused, format!("the server's answer is of another version: {error}"))
            })?;
            print(&status.to_text())?;
        }
    }
    Ok(())
}

/// `dyad cluster drain` and `dyad cluster drain --off`.
///
/// # Errors
/// `Exit::Refused` if no server answers on the data directory's socket, or it has nobody to send clients to.
pub fn cluster_drain(flags: DrainFlags) -> Result<(), Failure> {
    let place = Place::load(&Inputs::from_process(flags.settings.0))?;
    if flags.off {
        let answer = admin::call(&place.data_dir, AdminRequest::Undrain)?;
        let was = if answer["drained"].as_bool() == Some(true) { "again" } else { "as before" };
        print(&format!("clients are taken in {was}; there are {}\n", answer["clients"]))?;
        return Ok(());
    }
    let answer = admin::call(&place.data_dir, AdminRequest::Drain)?;
    let to: Vec<&str> = answer["to"].as_array().into_iter().flatten().filter_map(|to| to.as_str()).collect();
    print(&format!("sending {} clients to {}\n", answer["clients"], to.join(", ")))
}

/// `dyad recover`.
///
/// # Errors
/// `Exit::InUse` while a server runs, `Exit::Refused` without `--discard` or without a leader elsewhere.
pub fn recover(flags: RecoverFlags) -> Result<(), Failure> {
    print(&discard::recover(flags)?)
}

/// The result of a command. A closed pipe behind it is not our failure.
///
/// # Errors
/// `Exit::Disk` when standard output takes no more: a result that is cut off must not look whole.
fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// The same, whatever the bytes are.
fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    print_while_read(bytes).map(drop)
}

/// The same; false when nobody reads any more.
fn print_while_read(bytes: &[u8]) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(Exit::Disk, format!("cannot write to standard output: {error}"))),
    }
}

/// A remark beside the result.
fn note(text: &str) {
    let _closed = writeln!(std::io::stderr().lock(), "note: {text}");
}
