//! A server under measurement: a child process on core 0.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::operations::ask;
use crate::fleet::free_ports;
use crate::http::Request;
use crate::nacos::READINESS;

/// The core of the server; the generator is put on the other one by whoever starts it.
const CORE: &str = "0";
/// Longest wait for readiness.
const READY_MAX: Duration = Duration::from_secs(10);

/// It ends when it is dropped.
#[derive(Debug)]
pub struct Server {
    child: Child,
    directory: PathBuf,
    dyad: bool,
    pub address: SocketAddr,
}

impl Server {
    /// A standalone `dyad server` with an empty directory.
    ///
    /// # Errors
    /// It does not get ready.
    pub fn dyad(binary: &Path) -> Result<Server> {
        Server::start(true, |port, directory| {
            let mut command = pinned(binary);
            command.args(["server", "--log-level", "warn", "--port", &port.to_string(), "--data-dir"]);
            command.arg(directory.join("data"));
            Ok(command)
        })
    }

    /// The floor, with these answers to a beat and to lists of 10 and 1,000.
    ///
    /// # Errors
    /// It does not get ready.
    pub fn floor(binary: &Path, answers: &[Vec<u8>; 3]) -> Result<Server> {
        Server::start(false, |port, directory| {
            let mut command = pinned(binary);
            command.args(["--port", &port.to_string()]);
            for (flag, bytes) in ["beat", "list-10", "list-1000"].iter().zip(answers) {
                let file = directory.join(flag);
                std::fs::write(&file, bytes)?;
                command.arg(format!("--{flag}")).arg(file);
            }
            Ok(command)
        })
    }

    fn start(dyad: bool, command: impl FnOnce(u16, &Path) -> Result<Command>) -> Result<Server> {
        let port = free_ports(1)?[0];
        let directory = std::env::temp_dir().join(format!("dyad-bench-{}-{port}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let log = File::create(directory.join("log"))?;
        let child =
            command(port, &directory)?.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn();
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let server = Server { child: child.context("cannot start the server")?, directory, dyad, address };
        let began = Instant::now();
        while ask(address, &Request::new("GET", READINESS)).is_err() {
            if began.elapsed() > READY_MAX {
                let log = std::fs::read_to_string(server.directory.join("log"))?;
                bail!("not ready after {READY_MAX:?}: {log}");
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn is_dyad(&self) -> bool {
        self.dyad
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let ended = self.child.kill().and_then(|()| self.child.wait().map(drop));
        if let Err(error) = ended.and_then(|()| std::fs::remove_dir_all(&self.directory)) {
            eprintln!("cannot clear up {}: {error}", self.directory.display());
        }
    }
}

/// `taskset` rather than a call of our own: the affinity is set before the server counts its cores.
fn pinned(binary: &Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["--cpu-list", CORE]).arg(binary);
    command
}
