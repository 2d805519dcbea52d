//! Three real members that can be started, killed, asked to stop and robbed of their disk: as processes on loopback, or
//! as containers of the compose file. What the workload knows of a member is its address and whether it should answer.

mod compose;
mod loopback;
mod status;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use compose::Compose;
pub use loopback::{Loopback, Options, ServerProcess, Tool, free_ports};
pub use status::{MemberRow, Raft, Status};

use crate::http::{Pool, Request};
use crate::nacos::READINESS;

/// Members of a fleet.
pub const MEMBERS: usize = 3;
/// Lines of a log that a message repeats.
const LOG_LINES: usize = 30;
/// Between two questions while something is waited for.
pub const POLL: Duration = Duration::from_millis(20);
/// Longest wait for one answer to such a question.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);
/// Longest wait for a member to become ready before the run is given up.
pub const READY_MAX: Duration = Duration::from_secs(60);

/// What the harness did last to a member. Requests are judged by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Life {
    /// Killed or not yet started.
    Down = 0,
    /// Started, not yet seen ready.
    Starting = 1,
    /// Ready, and nothing was done to it since.
    Up = 2,
    /// Asked to stop.
    Leaving = 3,
}

/// One member as the workload sees it.
#[derive(Debug)]
pub struct Member {
    pub index: usize,
    pub http: Pool,
    /// `Life` in the low bits, the number of changes above.
    life: AtomicU64,
}

/// A member's life at a moment; equal moments mean that nothing happened between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment(u64);

impl Moment {
    pub fn life(self) -> Life {
        match self.0 % 4 {
            0 => Life::Down,
            1 => Life::Starting,
            2 => Life::Up,
            _ => Life::Leaving,
        }
    }
}

impl Member {
    fn new(index: usize, http: Pool) -> Arc<Member> {
        Arc::new(Member { index, http, life: AtomicU64::new(0) })
    }

    pub fn moment(&self) -> Moment {
        Moment(self.life.load(Ordering::SeqCst))
    }

    fn set(&self, life: Life) {
        let now = self.life.load(Ordering::SeqCst);
        self.life.store((now / 4 + 1) * 4 + life as u64, Ordering::SeqCst);
    }

    async fn is_ready(&self) -> bool {
        let answer = self.http.call(&Request::new("GET", READINESS), ASK_TIMEOUT).await;
        answer.is_ok_and(|answer| answer.status == 200)
    }
}

/// How members are run.
#[derive(Debug)]
enum Host {
    Loopback(Box<Loopback>),
    Compose(Compose),
}

/// How a member ended after SIGTERM.
#[derive(Clone, Copy, Debug)]
pub struct Ended {
    /// None if it had to be killed.
    pub code: Option<i32>,
    pub took: Duration,
}

/// The members of a cluster under test.
#[derive(Debug)]
pub struct Fleet {
    pub members: Vec<Arc<Member>>,
    host: Host,
    started: Vec<Instant>,
}

impl Fleet {
    /// Three processes on loopback, not yet started.
    ///
    /// # Errors
    /// No free ports, no token, no directory.
    pub fn loopback(options: Options) -> anyhow::Result<Fleet> {
        let host = Loopback::new(options)?;
        let pools = host.addresses().into_iter().map(Pool::new);
        let members = pools.enumerate().map(|(at, pool)| Member::new(at, pool));
        let members: Vec<Arc<Member>> = members.collect();
        let started = vec![Instant::now(); members.len()];
        Ok(Fleet { members, host: Host::Loopback(Box::new(host)), started })
    }

    /// The containers of the compose file, with empty volumes, not yet started.
    ///
    /// # Errors
    /// Docker does not run or the file is refused.
    pub async fn compose(file: PathBuf) -> anyhow::Result<Fleet> {
        let host = Compose::new(file).await?;
        let pools = host.addresses().into_iter().map(Pool::proxied);
        let members = pools.enumerate().map(|(at, pool)| Member::new(at, pool));
        Ok(Fleet {
            members: members.collect(),
            host: Host::Compose(host),
            started: vec![Instant::now(); MEMBERS],
        })
    }

    /// An address of this machine that the members can dial.
    ///
    /// # Errors
    /// Docker does not tell the gateway.
    pub async fn dialable_ip(&self) -> anyhow::Result<std::net::IpAddr> {
        match &self.host {
            Host::Loopback(_) => Ok(std::net::Ipv4Addr::LOCALHOST.into()),
            Host::Compose(compose) => compose.gateway().await,
        }
    }

    /// Starts members without waiting for them.
    ///
    /// # Errors
    /// The process or container cannot be started.
    pub async fn start(&mut self, which: &[usize]) -> anyhow::Result<()> {
        for &at in which {
            self.members[at].set(Life::Starting);
            self.started[at] = Instant::now();
        }
        match &mut self.host {
            Host::Loopback(loopback) => which.iter().try_for_each(|&at| loopback.start(at))?,
            Host::Compose(compose) => {
                compose.start(which).await?;
                // What docker needs to set a container up is not the member's time.
                for &at in which {
                    self.started[at] = Instant::now() - compose.running_for(at).await?;
                }
            }
        }
        Ok(())
    }

    /// Waits until a started member is ready: the time since its start.
    ///
    /// # Errors
    /// It ended, or is not ready within [`READY_MAX`].
    pub async fn ready(&mut self, at: usize) -> anyhow::Result<Duration> {
        let member = self.members[at].clone();
        let mut looked = Instant::now();
        while !member.is_ready().await {
            if let Host::Loopback(loopback) = &mut self.host
                && let Some(code) = loopback.exited(at)?
            {
                anyhow::bail!(
                    "member {} ended with {code:?} instead of getting ready:\n{}",
                    at + 1,
                    self.end_of_log(at).await
                );
            }
            if self.started[at].elapsed() > READY_MAX {
                anyhow::bail!("member {} is not ready after {READY_MAX:?}", at + 1);
            }
            tokio::time::sleep_until((looked + POLL).into()).await;
            looked = Instant::now();
        }
        let took = self.started[at].elapsed();
        member.set(Life::Up);
        Ok(took)
    }

    /// SIGKILL to all of `which` at once: the moment just before.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub async fn kill(&mut self, which: &[usize]) -> anyhow::Result<Instant> {
        for &at in which {
            self.members[at].set(Life::Down);
        }
        let moment = Instant::now();
        match &mut self.host {
            Host::Loopback(loopback) => loopback.kill(which).await?,
            Host::Compose(compose) => compose.kill(which).await?,
        }
        Ok(moment)
    }

    /// SIGTERM, then the end of the process.
    ///
    /// # Errors
    /// The signal cannot be sent.
    pub async fn terminate(&mut self, at: usize) -> anyhow::Result<Ended> {
        // One whose answers do not count any more is not asked again.
        if self.members[at].moment().life() != Life::Down {
            self.members[at].set(Life::Leaving);
        }
        let began = Instant::now();
        let code = match &mut self.host {
            Host::Loopback(loopback) => loopback.terminate(at).await?,
            Host::Compose(compose) => compose.terminate(at).await?,
        };
        self.members[at].set(Life::Down);
        Ok(Ended { code, took: began.elapsed() })
    }

    /// Empties the data directory of a member that is down.
    ///
    /// # Errors
    /// The file system's or docker's.
    pub async fn wipe(&mut self, at: usize) -> anyhow::Result<()> {
        match &mut self.host {
            Host::Loopback(loopback) => loopback.wipe(at),
            Host::Compose(compose) => compose.wipe(at).await,
        }
    }

    /// The exit code of a member that ended by itself.
    ///
    /// # Errors
    /// Only processes on loopback can be asked.
    pub fn exited(&mut self, at: usize) -> anyhow::Result<Option<i32>> {
        match &mut self.host {
            Host::Loopback(loopback) => loopback.exited(at),
            Host::Compose(_) => anyhow::bail!("containers are not asked for exit codes"),
        }
    }

    fn processes(&mut self) -> anyhow::Result<&mut Loopback> {
        match &mut self.host {
            Host::Loopback(loopback) => Ok(loopback),
            Host::Compose(_) => anyhow::bail!("only processes on loopback can be changed"),
        }
    }

    /// From its next start on the member runs this binary.
    ///
    /// # Errors
    /// The members are containers.
    pub fn use_binary(&mut self, at: usize, binary: &std::path::Path) -> anyhow::Result<()> {
        self.processes()?.use_binary(at, binary);
        Ok(())
    }

    /// From its next start on the member has this list; an empty one is that of a server which is alone.
    ///
    /// # Errors
    /// The members are containers.
    pub fn use_list(&mut self, at: usize, list: &[usize]) -> anyhow::Result<()> {
        self.processes()?.use_list(at, list);
        Ok(())
    }

    /// From its next start on the member is at another address.
    ///
    /// # Errors
    /// The members are containers, or no port is free.
    pub fn move_away(&mut self, at: usize) -> anyhow::Result<()> {
        let address = self.processes()?.move_away(at)?;
        self.members[at].http.move_to(address);
        Ok(())
    }

    /// `dyad cluster …` on the machine of a member: what it says.
    ///
    /// # Errors
    /// It refuses, or the members are containers.
    pub async fn command(&mut self, at: usize, arguments: &[&str]) -> anyhow::Result<String> {
        self.processes()?.command(at, arguments).await
    }

    /// Starts the binary of the members with other words, such as `bench`, beside them.
    ///
    /// # Errors
    /// It cannot be started, or the members are containers.
    pub fn tool(&mut self, words: &[&str]) -> anyhow::Result<Tool> {
        self.processes()?.tool(words)
    }

    /// The process of a member that runs.
    ///
    /// # Errors
    /// It does not run, or the members are containers.
    pub fn pid(&mut self, at: usize) -> anyhow::Result<u32> {
        self.processes()?.pid(at)
    }

    /// The data directory of a member.
    ///
    /// # Errors
    /// The members are containers.
    pub fn data(&mut self, at: usize) -> anyhow::Result<PathBuf> {
        Ok(self.processes()?.data(at))
    }

    /// Notes that a member ended by itself, or that its answers do not count any more.
    pub fn mark_down(&self, at: usize) {
        self.members[at].set(Life::Down);
    }

    /// `dyad cluster status` of a member; None if it does not answer.
    pub async fn status(&self, at: usize) -> Option<Status> {
        let text = match &self.host {
            Host::Loopback(loopback) => loopback.status(at).await,
            Host::Compose(compose) => compose.status(at).await,
        }
        .ok()?;
        match serde_json::from_slice(&text) {
            Ok(status) => Some(status),
            Err(error) => {
                eprintln!(
                    "status of member {} cannot be read: {error}: {}",
                    at + 1,
                    String::from_utf8_lossy(&text)
                );
                None
            }
        }
    }

    /// The member that says it leads, if exactly one does.
    pub async fn leader(&self) -> Option<usize> {
        let mut leaders = Vec::new();
        for at in self.up() {
            if self.status(at).await.is_some_and(|status| status.leads()) {
                leaders.push(at);
            }
        }
        (leaders.len() == 1).then(|| leaders[0])
    }

    /// Members that are up.
    pub fn up(&self) -> Vec<usize> {
        (0..self.members.len()).filter(|&at| self.members[at].moment().life() == Life::Up).collect()
    }

    /// A member's log since the cluster was founded.
    pub async fn log(&self, at: usize) -> String {
        match &self.host {
            Host::Loopback(loopback) => loopback.log(at),
            Host::Compose(compose) => compose.log(at).await,
        }
    }

    /// The last lines of a member's log.
    pub async fn end_of_log(&self, at: usize) -> String {
        tail(&self.log(at).await, LOG_LINES)
    }

    /// Where logs and data are, for a message after a failed run.
    pub fn place(&self) -> String {
        match &self.host {
            Host::Loopback(loopback) => loopback.directory().display().to_string(),
            Host::Compose(_) => "docker logs compose_dyad-N_1".into(),
        }
    }

    /// Ends everything. After a failed run logs and data stay for a look.
    pub async fn close(mut self, keep: bool) {
        match &mut self.host {
            Host::Loopback(loopback) => loopback.close(keep).await,
            Host::Compose(compose) => compose.close(keep).await,
        }
    }
}

/// The last `lines` lines of a text.
fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
