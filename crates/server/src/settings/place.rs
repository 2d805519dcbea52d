//! The few settings that operator commands read, with the same table and rules. These commands run where other settings
//! may be absent or bad, so each of them reads only what it needs.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::sources::{Inputs, Sources};
use super::table::row;
use super::{MemberAddr, SettingsError, check, parse};

/// The server's data directory.
///
/// # Errors
/// Problems with it and with the settings file.
pub fn data_dir(inputs: &Inputs) -> Result<PathBuf, SettingsError> {
    read(inputs, check::data_dir)
}

/// Address and port of the server's HTTP port.
///
/// # Errors
/// Problems with the two and with the settings file.
pub fn http(inputs: &Inputs) -> Result<SocketAddr, SettingsError> {
    read(inputs, |from| {
        let bind = from.read(row("bind"), |text| text.parse().ok());
        SocketAddr::new(bind, from.read(row("port"), parse::port))
    })
}

/// The data directory, all members, and which of them this one is as far as the settings say.
///
/// # Errors
/// Problems with these, with the own port, and with the settings file.
pub fn data_dir_and_own(
    inputs: &Inputs,
) -> Result<(PathBuf, Vec<MemberAddr>, Option<MemberAddr>), SettingsError> {
    read(inputs, |from| {
        let port = from.read(row("port"), parse::port);
        let data_dir = check::data_dir(from);
        let members = check::members(from, port);
        let own = check::advertise(from, &members, port);
        (data_dir, members, own)
    })
}

fn read<T>(inputs: &Inputs, what: impl FnOnce(&mut Sources<'_>) -> T) -> Result<T, SettingsError> {
    let mut from = Sources::collect(inputs);
    let found = what(&mut from);
    if from.problems.is_empty() { Ok(found) } else { Err(SettingsError(from.problems)) }
}
