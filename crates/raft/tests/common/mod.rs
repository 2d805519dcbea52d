//! Members in one process: each with its own runtime, so that dropping it is a crash; real tonic on loopback, no TLS.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses a part")]
#![allow(clippy::unwrap_used, reason = "a test may panic")]

pub mod conformance;
pub mod links;

use dyad_naming::cp::NamingCommand;
use dyad_naming::cp::NamingReply;
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use dyad_raft::{Dial, Node, RaftConfig, RaftHandle, Role, StartError};
use dyad_state::ports::{CpSink, Propose, ProposeError};
use dyad_state::{CpChanges, CpCommand, CpReply, CpState};
use dyad_types::{Instance, MemberId, ServiceKey};
use links::{Linked, Links};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::transport::{Channel, Endpoint, Server};

/// Long enough for a loaded machine; nothing waits this long when all is well.
pub const LIMIT: Duration = Duration::from_secs(30);

/// Dials as nobody in particular.
pub struct Plain;

impl Dial for Plain {
    fn channel(&self, address: &str) -> Channel {
        Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_timeout(Duration::from_millis(300))
            .tcp_nodelay(true)
            .connect_lazy()
    }
}

pub struct NoSink;

impl CpSink for NoSink {
    fn applied(&self, _: &CpState, _: &CpChanges) {}
    fn installed(&self, _: &CpState) {}
}

pub struct Member {
    pub id: MemberId,
    pub node: Node,
    pub dir: PathBuf,
    pub tune: fn(&mut RaftConfig),
    pub links: Arc<Links>,
    pub sink: Arc<dyn CpSink>,
    running: Option<(Runtime, Arc<RaftHandle>)>,
}

impl Member {
    pub fn new(id: u64, dir: PathBuf, tune: fn(&mut RaftConfig)) -> Member {
        let port = free_port();
        let node = Node::new(format!("member-{port}:8848"), format!("127.0.0.1:{port}"));
        let (links, sink) = (Arc::default(), Arc::new(NoSink));
        Member { id: MemberId(id), node, dir, tune, links, sink, running: None }
    }

    pub fn try_start(&mut self) -> Result<(), StartError> {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let mut config = RaftConfig::new(self.id, self.dir.clone());
        config.min_free_bytes = Some(0);
        (self.tune)(&mut config);
        let (from, links) = (self.node.cluster_address.clone(), Arc::clone(&self.links));
        let dial = Arc::new(Linked { from, links });
        let handle = runtime.block_on(RaftHandle::start(config, dial, Arc::clone(&self.sink)))?;
        let address: SocketAddr = self.node.cluster_address.parse().unwrap();
        let listener = eventually("bind", || TcpListener::bind(address).ok());
        listener.set_nonblocking(true).unwrap();
        let service = handle.service();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
            Server::builder().add_service(service).serve_with_incoming(incoming).await
        });
        self.running = Some((runtime, handle));
        Ok(())
    }

    /// Starts; a crashed predecessor in this process may hold the store's lock for a moment.
    pub fn start(&mut self) {
        let deadline = Instant::now() + LIMIT;
        while let Err(error) = self.try_start() {
            assert!(matches!(error, StartError::Locked { .. }), "{error}");
            assert!(Instant::now() < deadline, "{error}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    pub fn crash(&mut self) {
        let (runtime, handle) = self.running.take().unwrap();
        drop(handle);
        runtime.shutdown_background();
    }

    pub fn is_running(&self) -> bool {
        self.running.is_some()
    }

    pub fn handle(&self) -> &Arc<RaftHandle> {
        &self.running.as_ref().unwrap().1
    }

    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.running.as_ref().unwrap().0.block_on(future)
    }

    pub fn propose(&self, command: CpCommand) -> Result<CpReply, ProposeError> {
        self.block_on(self.handle().propose(command))
    }

    /// Registers, and asks again while no leader is known, as clients do.
    pub fn register(&self, port: u16) {
        let reply = eventually("a leader", || match self.propose(register(port)) {
            Err(ProposeError::NoLeader(_)) => None,
            answer => Some(answer),
        });
        assert_eq!(reply, Ok(NamingReply::Done.into()));
    }

    pub fn has(&self, port: u16) -> bool {
        has(&self.handle().state(), port)
    }

    pub fn role(&self) -> Role {
        self.handle().status().role
    }

    pub fn voters(&self) -> Vec<MemberId> {
        let mut voters: Vec<MemberId> = self.handle().status().voters.iter().map(|v| v.member).collect();
        voters.sort();
        voters
    }
}

pub struct Cluster {
    pub members: Vec<Member>,
    pub dir: TempDir,
    pub links: Arc<Links>,
}

impl Cluster {
    pub fn new(size: u64, tune: fn(&mut RaftConfig)) -> Cluster {
        Cluster::with_sink(size, tune, Arc::new(NoSink))
    }

    /// All members tell the same sink what they apply.
    pub fn with_sink(size: u64, tune: fn(&mut RaftConfig), sink: Arc<dyn CpSink>) -> Cluster {
        let dir = tempfile::tempdir().unwrap();
        let members = (1..=size).map(|id| Member::new(id * 0x1111, dir.path().join(id.to_string()), tune));
        let mut members: Vec<Member> = members.collect();
        let links = Arc::<Links>::default();
        for member in &mut members {
            (member.links, member.sink) = (Arc::clone(&links), Arc::clone(&sink));
        }
        for member in &mut members {
            member.start();
        }
        let voters: BTreeMap<MemberId, Node> = members.iter().map(|m| (m.id, m.node.clone())).collect();
        members[0].block_on(members[0].handle().initialize(voters)).unwrap();
        let cluster = Cluster { members, dir, links };
        cluster.settled();
        cluster
    }

    /// All running members know one leader and the cluster's identity, and have recovered.
    pub fn settled(&self) {
        eventually("a leader that all follow", || {
            let leader = self.leader()?;
            let agreed = self.running().all(|m| {
                let status = m.handle().status();
                status.leader == Some(self.members[leader].id) && status.cluster_id.is_some()
            });
            agreed.then_some(())
        });
        for member in self.running() {
            assert!(member.block_on(member.handle().wait_recovered(LIMIT)));
        }
    }

    pub fn running(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|m| m.is_running())
    }

    pub fn leader(&self) -> Option<usize> {
        let leads = |m: &Member| m.is_running() && m.role() == Role::Leader;
        self.members.iter().position(leads)
    }

    pub fn a_follower(&self) -> usize {
        let leader = self.leader();
        (0..self.members.len()).find(|i| Some(*i) != leader && self.members[*i].is_running()).unwrap()
    }

    /// Cuts a member off from the others; `links.heal()` ends it.
    pub fn cut_off(&self, at: usize) {
        let address = &self.members[at].node.cluster_address;
        for other in self.members.iter().filter(|other| other.id != self.members[at].id) {
            self.links.cut(address, &other.node.cluster_address);
        }
    }

    /// All running members hold the same state.
    pub fn converged(&self) {
        eventually("equal states", || {
            let states: Vec<CpState> = self.running().map(|m| m.handle().state()).collect();
            states.windows(2).all(|pair| pair[0] == pair[1]).then_some(())
        });
    }
}

pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn service() -> ServiceKey {
    ServiceKey::new("public", "DEFAULT_GROUP", "orders")
}

pub fn register(port: u16) -> CpCommand {
    NamingCommand::Register { service: service(), instance: Instance::new("10.0.0.1", port) }.into()
}

pub fn has(state: &CpState, port: u16) -> bool {
    let address = Instance::new("10.0.0.1", port).address();
    state.naming().service(&service()).is_some_and(|s| s.instances().contains_key(&address))
}

/// A port that stays free while its member is down: below Linux's range for outgoing connections, and another one in each
/// process that runs tests beside this one, as far as that goes.
fn free_port() -> u16 {
    const PORTS: std::ops::Range<u16> = 10_000..20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = std::process::id() * 97;
    eventually("a free port", || {
        let n = first + u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let port = PORTS.start + u16::try_from(n % u32::from(PORTS.end - PORTS.start)).unwrap();
        TcpListener::bind(("127.0.0.1", port)).is_ok().then_some(port)
    })
}
