//! `dyad cluster`, through the admin socket: what the member on this machine knows of its cluster, and its drain.

use std::path::Path;

use crate::admin::{self, AdminRequest};
use crate::exit::{Exit, Failure};
use crate::output::{Output, print};
use crate::status::ClusterStatus;

/// `dyad cluster status`.
///
/// # Errors
/// `Exit::Refused` if no server answers on the data directory's socket, or if something is wrong with the cluster.
pub fn status(data_dir: &Path, output: Output) -> Result<(), Failure> {
    let answer = admin::call(data_dir, AdminRequest::Status)?;
    let other = |error: serde_json::Error| {
        Failure::new(Exit::Refused, format!("the server's answer is of another version: {error}"))
    };
    let status: ClusterStatus = serde_json::from_value(answer).map_err(other)?;
    match output {
        Output::Json => print(&format!("{}\n", serde_json::to_string(&status).map_err(other)?)),
        Output::Text => print(&status.to_text()),
    }?;
    if status.healthy { Ok(()) } else { Err(Failure::new(Exit::Refused, status.headline)) }
}

/// A change of the membership or of the leader, such as `dyad cluster add`.
///
/// # Errors
/// `Exit::Refused` if no server answers on the data directory's socket, or the cluster refuses the change.
pub fn change(data_dir: &Path, request: AdminRequest) -> Result<(), Failure> {
    let answer = admin::call(data_dir, request)?;
    match answer["done"].as_str() {
        Some(done) => print(&format!("{done}\n")),
        None => Err(Failure::new(Exit::Refused, "the server's answer is of another version")),
    }
}

/// `dyad cluster drain`.
///
/// # Errors
/// `Exit::Refused` if no server answers on the data directory's socket, or it has nobody to send clients to.
pub fn drain(data_dir: &Path) -> Result<(), Failure> {
    let answer = admin::call(data_dir, AdminRequest::Drain)?;
    let to: Vec<&str> = answer["to"].as_array().into_iter().flatten().filter_map(|to| to.as_str()).collect();
    print(&format!("sending {} clients to {}\n", answer["clients"], to.join(", ")))
}

/// `dyad cluster drain --off`.
///
/// # Errors
/// `Exit::Refused` if no server answers on the data directory's socket.
pub fn undrain(data_dir: &Path) -> Result<(), Failure> {
    let answer = admin::call(data_dir, AdminRequest::Undrain)?;
    let was = if answer["drained"].as_bool() == Some(true) { "again" } else { "as before" };
    print(&format!("clients are taken in {was}; there are {}\n", answer["clients"]))
}
