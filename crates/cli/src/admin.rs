//! The admin socket, from the side of the operator: its name, its commands, and how a command is given. One line of
//! JSON goes out, one line of JSON comes back, and then the connection ends. The side of the server is in
//! `server::admin`.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::exit::{Exit, Failure};

/// The socket's name in the data directory.
pub const FILE: &str = "admin.sock";
/// The longest time in which each side may send its line.
pub const LINE_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest time for the answer to a change of the membership: a new member catches up first, and the request may go through a
/// member to the leader. Each of these steps has its own, shorter limit.
const CHANGE_TIMEOUT: Duration = Duration::from_secs(150);
/// What the address of a Unix socket holds, without its closing zero.
const PATH_MAX: usize = 107;
/// Longest answer that is read: 64 members with 1,000 origins each fit many times.
const ANSWER_MAX: u64 = 64 * 1024 * 1024;

/// A command. It is sent as `{"command":"status"}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "snake_case")]
pub enum AdminRequest {
    /// Asks for the status. The answer is a `status::ClusterStatus`.
    Status,
    /// Sends the gRPC clients to other members. The answer comes when that has begun: `{"clients":n,"to":[…]}`.
    Drain,
    /// Takes in gRPC clients again. The answer is `{"clients":n,"drained":…}`: the number of clients that are here, and
    /// whether the member was drained.
    Undrain,
    /// Asks for a backup. The answer is described in `backup::wire`.
    Backup,
    /// Takes in the server at this address. The answer to this and to each of the following is `{"done":"…"}`, a sentence. A member
    /// is named by its address or its id.
    Add {
        address: String,
        learner: bool,
    },
    Remove {
        member: String,
    },
    /// Takes in the server at `address`, and lets the member `old` go in the same change.
    Replace {
        old: String,
        address: String,
    },
    Promote {
        member: String,
    },
    Demote {
        member: String,
    },
    /// Lets the member `to` lead, or any other than the present leader.
    TransferLeader {
        to: Option<String>,
    },
}

impl AdminRequest {
    /// How long the answer may take.
    fn limit(&self) -> Duration {
        match self {
            AdminRequest::Status | AdminRequest::Drain | AdminRequest::Undrain => LINE_TIMEOUT,
            _ => CHANGE_TIMEOUT,
        }
    }
}

/// Gives one command to the server that runs on `data_dir`.
///
/// # Errors
/// `Exit::Refused` if no server answers, or if the server answers with an error.
pub fn call(data_dir: &Path, request: AdminRequest) -> Result<Value, Failure> {
    let path = data_dir.join(FILE);
    let stream = begin(data_dir, &request, request.limit())?;
    let line = answer(stream).map_err(|error| failed(&path, &error))?;
    let value: Value = serde_json::from_str(&line).map_err(|error| failed(&path, &error.into()))?;
    match value.get("error").and_then(Value::as_str) {
        Some(error) => Err(Failure::new(Exit::Refused, error)),
        None => Ok(value),
    }
}

/// Sends one command to the server that runs on `data_dir`, for whoever reads the answer. The server may be silent for
/// `silence` at most.
///
/// # Errors
/// `Exit::Refused` if no server answers.
pub fn begin(data_dir: &Path, request: &AdminRequest, silence: Duration) -> Result<UnixStream, Failure> {
    let path = data_dir.join(FILE);
    check_length(&path)?;
    let sent = || -> io::Result<UnixStream> {
        let mut stream = UnixStream::connect(&path)?;
        stream.set_read_timeout(Some(silence))?;
        stream.set_write_timeout(Some(LINE_TIMEOUT))?;
        let mut bytes = serde_json::to_vec(request)?;
        bytes.push(b'\n');
        stream.write_all(&bytes)?;
        Ok(stream)
    };
    sent().map_err(|error| failed(&path, &error))
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => "no server runs there".to_owned(),
        io::ErrorKind::PermissionDenied => "only the server's user and root may give commands".to_owned(),
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "the server does not answer".to_owned(),
        _ => error.to_string(),
    };
    let message = format!("{}: {why}; --data-dir names the server's data directory", path.display());
    Failure::new(Exit::Refused, message)
}

fn answer(stream: UnixStream) -> io::Result<String> {
    let mut line = String::new();
    BufReader::new(stream.take(ANSWER_MAX)).read_line(&mut line)?;
    if line.is_empty() {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the server closed the connection"));
    }
    Ok(line)
}

/// Checks whether a socket can have this path.
///
/// # Errors
/// `Exit::Settings` if the path is too long.
pub fn check_length(path: &Path) -> Result<(), Failure> {
    let length = path.as_os_str().len();
    if length <= PATH_MAX {
        return Ok(());
    }
    let message = format!(
        "{} has {length} bytes, a socket's path may have {PATH_MAX}: choose a shorter data_dir",
        path.display()
    );
    Err(Failure::new(Exit::Settings, message))
}
