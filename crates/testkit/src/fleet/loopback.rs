//! Members as child processes on 127.0.0.1, each with a data directory and a log file of its own.

use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};

use super::MEMBERS;

/// Ports below Linux's range for outgoing connections: a member that is down keeps its port.
const PORTS: std::ops::Range<u16> = 20_000..31_000;
/// The SDK port and the cluster port lie this far above the HTTP port.
const PORT_SPAN: [u16; 3] = [0, 1000, 1001];
/// Longest wait for a process to end after SIGTERM.
const END_MAX: Duration = Duration::from_secs(30);

/// What the members are made of.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// The `dyad` binary.
    pub binary: PathBuf,
    /// Environment of each member, besides the harness's own.
    pub env: [Vec<(String, String)>; MEMBERS],
    /// More flags of `dyad server`.
    pub flags: Vec<String>,
    /// Where data and logs are; default: a directory for temporary files.
    pub directory: Option<PathBuf>,
    /// How many more members than usual there may be. They are in no list but their own, and are started when a test says so.
    pub more: usize,
}

/// One `dyad server` that runs.
#[derive(Debug)]
pub struct ServerProcess {
    child: Child,
}

impl ServerProcess {
    /// Starts `command` with its output appended to `log`.
    ///
    /// # Errors
    /// The log or the program cannot be opened.
    pub fn spawn(mut command: Command, log: &Path) -> Result<ServerProcess> {
        let log = File::options().create(true).append(true).open(log).context("cannot open the log")?;
        for (name, _) in std::env::vars() {
            let foreign = ["DYAD_", "NACOS_", "nacos.", "MODE", "PREFER_HOST_MODE"];
            if foreign.iter().any(|prefix| name.starts_with(prefix)) && !name.starts_with("DYAD_SHIM") {
                command.env_remove(name);
            }
        }
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let program = command.as_std().get_program().to_owned();
        let child = command.spawn().with_context(|| format!("cannot start {program:?}"))?;
        Ok(ServerProcess { child })
    }

    /// Its process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal; a process that has ended is no error.
    ///
    /// # Errors
    /// The system refuses.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let Some(pid) = self.pid().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?)) else {
            return Ok(());
        };
        Ok(kill_process(pid, signal)?)
    }

    /// Waits for its end: the exit code, or None after a signal.
    ///
    /// # Errors
    /// It does not end in time.
    pub async fn end(&mut self, within: Duration) -> Result<Option<i32>> {
        Ok(tokio::time::timeout(within, self.child.wait()).await.context("the process does not end")??.code())
    }
}

/// A program beside the members.
#[derive(Debug)]
pub struct Tool(Child);

impl Tool {
    /// None while it runs, then whether it succeeded.
    ///
    /// # Errors
    /// The system cannot tell.
    pub fn ended(&mut self) -> Result<Option<bool>> {
        Ok(self.0.try_wait()?.map(|status| status.success()))
    }
}

/// Three members on loopback.
#[derive(Debug)]
pub struct Loopback {
    options: Options,
    directory: PathBuf,
    ports: Vec<u16>,
    /// The binary and the list of each member. A list that is empty is that of a server which is founded alone.
    binaries: Vec<PathBuf>,
    lists: Vec<Vec<usize>>,
    running: Vec<Option<ServerProcess>>,
}

impl Loopback {
    pub(super) fn new(options: Options) -> Result<Loopback> {
        let parent = options.directory.clone().unwrap_or_else(std::env::temp_dir);
        let directory = parent.join(format!("dyad-fleet-{}", std::process::id()));
        std::fs::create_dir_all(&directory)?;
        let output = std::process::Command::new(&options.binary)
            .args(["token", "new"])
            .output()
            .with_context(|| format!("cannot run {}", options.binary.display()))?;
        if !output.status.success() {
            bail!("dyad token new: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::fs::write(directory.join("token"), output.stdout)?;
        let count = MEMBERS + options.more;
        let ports = free_ports(count)?;
        let founders: Vec<usize> = (0..MEMBERS).collect();
        let lists = (0..count).map(|at| if at < MEMBERS { founders.clone() } else { vec![0, at] }).collect();
        let (binaries, running) = (vec![options.binary.clone(); count], (0..count).map(|_| None).collect());
        Ok(Loopback { options, directory, ports, binaries, lists, running })
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.ports.iter().map(|&port| (Ipv4Addr::LOCALHOST, port).into()).collect()
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn data(&self, at: usize) -> PathBuf {
        self.directory.join(format!("{}", at + 1))
    }

    fn log_file(&self, at: usize) -> PathBuf {
        self.directory.join(format!("{}.log", at + 1))
    }

    pub(super) fn start(&mut self, at: usize) -> Result<()> {
        let address = |port: u16| format!("127.0.0.1:{port}/{}", port + PORT_SPAN[2]);
        let members: Vec<String> = self.lists[at].iter().map(|&at| address(self.ports[at])).collect();
        let port = self.ports[at];
        let mut command = Command::new(&self.binaries[at]);
        command
            .arg("server")
            .args(["--port", &port.to_string(), "--cluster-port", &(port + PORT_SPAN[2]).to_string()])
            .args(["--advertise", &format!("127.0.0.1:{port}")])
            .arg("--cluster-token-file")
            .arg(self.directory.join("token"))
            .arg("--data-dir")
            .arg(self.data(at))
            .args(&self.options.flags)
            .envs(self.options.env.get(at).into_iter().flatten().cloned());
        if !members.is_empty() {
            command.args(["--members", &members.join(",")]);
        }
        self.running[at] = Some(ServerProcess::spawn(command, &self.log_file(at))?);
        Ok(())
    }

    pub(super) fn use_binary(&mut self, at: usize, binary: &Path) {
        self.binaries[at] = binary.to_owned();
    }

    pub(super) fn use_list(&mut self, at: usize, list: &[usize]) {
        self.lists[at] = list.to_vec();
    }

    /// The member comes back at another address.
    pub(super) fn move_away(&mut self, at: usize) -> Result<SocketAddr> {
        let taken = self.ports.clone();
        let free = free_ports(taken.len() + 1)?.into_iter().find(|port| !taken.contains(port));
        self.ports[at] = free.context("no free port")?;
        Ok((Ipv4Addr::LOCALHOST, self.ports[at]).into())
    }

    /// `dyad cluster …` on the machine of a member.
    pub(super) async fn command(&self, at: usize, arguments: &[&str]) -> Result<String> {
        let output = Command::new(&self.options.binary)
            .arg("cluster")
            .args(arguments)
            .arg("--data-dir")
            .arg(self.data(at))
            .stdin(Stdio::null())
            .output()
            .await?;
        let said =
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        if output.status.success() { Ok(said) } else { bail!("dyad cluster {}: {said}", arguments.join(" ")) }
    }

    pub(super) fn tool(&self, words: &[&str]) -> Result<Tool> {
        let mut command = Command::new(&self.options.binary);
        let command = command.args(words).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Tool(command.kill_on_drop(true).spawn()?))
    }

    pub(super) fn pid(&self, at: usize) -> Result<u32> {
        self.running[at].as_ref().and_then(ServerProcess::pid).context("the member does not run")
    }

    pub(super) async fn kill(&mut self, which: &[usize]) -> Result<()> {
        let mut killed: Vec<ServerProcess> = which.iter().filter_map(|&at| self.running[at].take()).collect();
        killed.iter().try_for_each(|process| process.signal(Signal::KILL))?;
        for process in &mut killed {
            process.end(END_MAX).await?;
        }
        Ok(())
    }

    pub(super) async fn terminate(&mut self, at: usize) -> Result<Option<i32>> {
        let Some(mut process) = self.running[at].take() else { return Ok(None) };
        process.signal(Signal::TERM)?;
        match process.end(END_MAX).await {
            Ok(code) => Ok(code),
            Err(_) => {
                process.signal(Signal::KILL)?;
                process.end(END_MAX).await
            }
        }
    }

    pub(super) fn exited(&mut self, at: usize) -> Result<Option<i32>> {
        let Some(process) = &mut self.running[at] else { return Ok(None) };
        Ok(process.child.try_wait()?.map(|status| status.code().unwrap_or(-1)))
    }

    pub(super) fn wipe(&mut self, at: usize) -> Result<()> {
        match std::fs::remove_dir_all(self.data(at)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }

    pub(super) async fn status(&self, at: usize) -> Result<Vec<u8>> {
        let output = Command::new(&self.options.binary)
            .args(["cluster", "status", "--output", "json", "--data-dir"])
            .arg(self.data(at))
            .stdin(Stdio::null())
            .output()
            .await?;
        // It is no success either while something is wrong with the cluster.
        if output.stdout.is_empty() {
            bail!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(output.stdout)
    }

    pub(super) fn log(&self, at: usize) -> String {
        let bytes = std::fs::read(self.log_file(at)).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    pub(super) async fn close(&mut self, keep: bool) {
        let all: Vec<usize> = (0..self.ports.len()).collect();
        if let Err(error) = self.kill(&all).await {
            eprintln!("cannot end the members: {error:#}");
        }
        if !keep && let Err(error) = std::fs::remove_dir_all(&self.directory) {
            eprintln!("cannot remove {}: {error}", self.directory.display());
        }
    }
}

/// HTTP ports for `count` servers, with the ports that go with them free too.
///
/// # Errors
/// Nothing is free.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    let width = PORTS.end - PORTS.start;
    // Runs at the same time on one machine begin at different places.
    let first = u16::try_from(std::process::id() % u32::from(width)).expect("the remainder is below a u16");
    let free = |port: u16| TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok();
    // Ten apart: the cluster port of one is not the SDK port of the next.
    let ports: Vec<u16> = (0..width)
        .step_by(10)
        .map(|step| PORTS.start + (first + step) % width)
        .filter(|port| PORT_SPAN.iter().all(|above| free(port + above)))
        .take(count)
        .collect();
    if ports.len() < count {
        bail!("no free ports between {} and {}", PORTS.start, PORTS.end);
    }
    Ok(ports)
}
