//! The real HTTP server over the pure cores, applied locally: what the front end sees of a cluster of one.

#![allow(
    dead_code,
    clippy::unwrap_used,
    unreachable_pub,
    missing_debug_implementations,
    clippy::too_many_lines,
    reason = "each test binary uses its part"
)]

pub mod config_requests;
pub mod configs;
pub mod places;
pub mod recorded;
pub mod sdk;

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use dyad_app::{App, Bounds, ConfigMetrics, IdSource};
use dyad_config::{Catalog, ConfigState, ConfigWatcher, ContentError, ContentRow, Contents, Revision};
use dyad_grpc::{Connections, GrpcLimits};
use dyad_http::{Drained, HttpMetrics, Limits};
use dyad_naming::ports::{BeatOutcome, BoxFuture, Ending, Ephemeral, EphemeralError, MemberView, Members};
use dyad_naming::{Registry, Switches, VisiblePublication};
use dyad_push::config::{ListenLimits, ListenMetrics, Listeners};
use dyad_push::naming::{Push, PushMetrics};
use dyad_state::ports::{Knowledge, Leader, Linearize, Propose, ProposeError};
use dyad_state::{CpCommand, CpReply, CpState, Envelope, Stamp};
use dyad_types::{BeatSlot, ClientId, MemberId, Millis, Origin, Publication, PublicationKey};
use dyad_types::{Budget, Clock};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

thread_local! {
    /// Bytes that may be in flight on the servers that this test starts.
    pub static BUDGET: std::cell::Cell<usize> = const { std::cell::Cell::new(1 << 30) };
}

/// Wall clock of every test: 2026-11-21T00:50:20.757Z.
pub const WALL_MS: u64 = 1_795_222_220_757;

/// A clock that stands until a test moves it.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    pub fn advance(&self, ms: u64) {
        self.0.fetch_add(ms, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::SeqCst))
    }

    fn wall_ms(&self) -> u64 {
        WALL_MS + self.0.load(Ordering::SeqCst)
    }
}

/// The AP core of a lone member: publications and their beat slots.
#[derive(Debug)]
pub struct LocalEphemeral {
    pub registry: Arc<Registry>,
    pub clock: Arc<ManualClock>,
    pub slots: Mutex<HashMap<PublicationKey, Arc<BeatSlot>>>,
    /// What `admit` and every write answer, when a test wants an error.
    pub refuse: Mutex<Option<EphemeralError>>,
    /// The ends of connections that the front end told.
    pub ended: Mutex<Vec<(ClientId, Ending)>>,
    /// Its answers to probes.
    pub probed: Mutex<Vec<(ClientId, bool)>>,
}

impl Ephemeral for LocalEphemeral {
    fn register(
        &self,
        key: PublicationKey,
        publication: Arc<Publication>,
    ) -> BoxFuture<'_, Result<(), EphemeralError>> {
        Box::pin(async move {
            let now = self.clock.now();
            let slot = Arc::new(BeatSlot::new(now));
            self.slots.lock().insert(key.clone(), slot.clone());
            let healthy = publication.instances().iter().all(|instance| instance.healthy);
            let rank = (1, Origin::default());
            let visible = VisiblePublication { publication, healthy, rank, slot: Some(slot) };
            self.registry.set_publication(&key, Some(visible), now);
            Ok(())
        })
    }

    fn deregister(&self, key: PublicationKey) -> BoxFuture<'_, Result<(), EphemeralError>> {
        Box::pin(async move {
            self.slots.lock().remove(&key);
            self.registry.set_publication(&key, None, self.clock.now());
            Ok(())
        })
    }

    fn beat(&self, key: &PublicationKey) -> Result<BeatOutcome, EphemeralError> {
        Ok(if self.slots.lock().contains_key(key) { BeatOutcome::Known } else { BeatOutcome::Unknown })
    }

    fn admit(&self, _known: bool) -> Result<(), EphemeralError> {
        self.refuse.lock().clone().map_or(Ok(()), Err)
    }

    /// Without a linger: whatever the end, what the connection published goes at once.
    fn ended(&self, client: &ClientId, ending: Ending) {
        self.ended.lock().push((client.clone(), ending));
        let mut slots = self.slots.lock();
        let keys: Vec<PublicationKey> = slots.keys().filter(|key| key.client == *client).cloned().collect();
        for key in keys {
            slots.remove(&key);
            self.registry.set_publication(&key, None, self.clock.now());
        }
    }

    fn probed(&self, client: &ClientId, alive: bool) {
        self.probed.lock().push((client.clone(), alive));
        if !alive {
            self.ended(client, Ending::Abnormal);
        }
    }
}

/// The rows of the content store, in memory and encoded, as a store has them.
#[derive(Debug, Default)]
pub struct LocalContents {
    pub rows: Mutex<HashMap<Revision, Vec<u8>>>,
    /// Rows that were read so far.
    pub reads: AtomicUsize,
}

impl Contents for LocalContents {
    fn read(&self, revision: Revision) -> Result<ContentRow, ContentError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let rows = self.rows.lock();
        let bytes = rows.get(&revision).ok_or(ContentError::Gone(revision))?;
        ContentRow::decode(revision, bytes).map_err(|bad| ContentError::Damaged(bad.0))
    }
}

/// The CP core of a lone member: every proposal is applied at once.
#[derive(Debug)]
pub struct LocalPropose {
    pub registry: Arc<Registry>,
    pub clock: Arc<ManualClock>,
    pub switches: Arc<ArcSwap<Switches>>,
    pub configs: Arc<Catalog>,
    pub contents: Arc<LocalContents>,
    pub listeners: Arc<Listeners>,
    pub state: Mutex<(CpState, u64)>,
    /// What the catalog shows: changed before anybody is told.
    pub shown: Arc<Mutex<ConfigState>>,
    /// What every proposal answers, when a test wants an error; the leader is unknown then.
    pub refuse: Mutex<Option<ProposeError>>,
    /// What the member says that it knows of the state.
    pub knowledge: Mutex<Knowledge>,
    /// What every command is replied to, when a test wants a reply that takes a huge state.
    pub reply: Mutex<Option<CpReply>>,
}

impl Propose for LocalPropose {
    fn propose(&self, command: CpCommand) -> BoxFuture<'_, Result<CpReply, ProposeError>> {
        Box::pin(async move {
            if let Some(error) = self.refuse.lock().clone() {
                return Err(error);
            }
            if let Some(reply) = self.reply.lock().clone() {
                return Ok(reply);
            }
            let mut guard = self.state.lock();
            let (state, index) = &mut *guard;
            *index += 1;
            let (reply, changes) =
                state.apply(&Envelope::bare(command), Stamp { now_ms: self.clock.wall_ms(), index: *index });
            self.registry.apply_cp(state.naming(), &changes.naming, self.clock.now());
            let put = changes.config.contents_put.iter().map(|(revision, row)| (*revision, row.encode()));
            self.contents.rows.lock().extend(put);
            *self.shown.lock() = state.config().clone();
            self.configs.applied(state.config(), &changes.config);
            self.listeners.changed(&changes.config.changed);
            self.switches.store(state.naming().switches().clone());
            Ok(reply)
        })
    }

    fn leader(&self) -> Option<Leader> {
        let leader = Leader { member: MemberId(1), term: 3, address: "127.0.0.1:8848".into() };
        self.refuse.lock().is_none().then_some(leader)
    }
}

/// Alone, the applied state is the newest; without a leader nothing is.
impl Linearize for LocalPropose {
    fn linearize(&self) -> BoxFuture<'_, Result<(), ProposeError>> {
        Box::pin(async move { self.refuse.lock().clone().map_or(Ok(()), Err) })
    }

    fn barred(&self) -> Option<String> {
        None
    }

    fn knowledge(&self) -> Knowledge {
        *self.knowledge.lock()
    }
}

#[derive(Debug)]
pub struct OneMember;

impl Members for OneMember {
    fn ask(&self, _target: &str) -> BoxFuture<'static, Vec<bytes::Bytes>> {
        Box::pin(std::future::ready(Vec::new()))
    }

    fn members(&self) -> Vec<MemberView> {
        vec![MemberView {
            id: Some(MemberId(1)),
            address: "127.0.0.1:8848".into(),
            raft_port: 9849,
            state: "UP",
            me: true,
            leader: true,
        }]
    }

    fn ready(&self) -> Result<(), String> {
        Ok(())
    }
}

/// A server on a free port; it stops when this is dropped.
pub struct Server {
    pub addr: SocketAddr,
    /// The SDK port.
    pub grpc: SocketAddr,
    pub app: Arc<App>,
    pub connections: Arc<Connections>,
    pub http_metrics: Arc<HttpMetrics>,
    pub clock: Arc<ManualClock>,
    pub ephemeral: Arc<LocalEphemeral>,
    pub propose: Arc<LocalPropose>,
    stop: Option<oneshot::Sender<()>>,
    stopped: Option<std::thread::JoinHandle<Drained>>,
}

impl Server {
    pub fn start(limits: Limits) -> Server {
        Server::start_with(limits, Bounds::default())
    }

    pub fn start_with(limits: Limits, bounds: Bounds) -> Server {
        Server::start_all(limits, bounds, GrpcLimits::default())
    }

    pub fn start_all(limits: Limits, bounds: Bounds, grpc_limits: GrpcLimits) -> Server {
        // Long polls are over soon, so that tests see their end.
        let listen_limits = ListenLimits { hold_min: Duration::from_millis(300), ..ListenLimits::default() };
        Server::start_listening(limits, bounds, grpc_limits, listen_limits)
    }

    pub fn start_listening(
        limits: Limits,
        bounds: Bounds,
        grpc_limits: GrpcLimits,
        listen_limits: ListenLimits,
    ) -> Server {
        let registry = Arc::new(Registry::default());
        let clock = Arc::new(ManualClock::default());
        let switches = Arc::new(ArcSwap::from_pointee(Switches::default()));
        let ephemeral = Arc::new(LocalEphemeral {
            registry: registry.clone(),
            clock: clock.clone(),
            slots: Mutex::default(),
            refuse: Mutex::default(),
            ended: Mutex::default(),
            probed: Mutex::default(),
        });
        let (configs, contents) = (Arc::<Catalog>::default(), Arc::<LocalContents>::default());
        let shown = Arc::<Mutex<ConfigState>>::default();
        let current = shown.clone();
        configs.connect(move || current.lock().clone());
        let mut prometheus = prometheus_client::registry::Registry::default();
        let listen_metrics = ListenMetrics::register(&mut prometheus);
        let places = places::places();
        let listeners =
            Listeners::new(configs.clone(), clock.clone(), listen_limits, places.clone(), listen_metrics);
        let propose = Arc::new(LocalPropose {
            registry: registry.clone(),
            clock: clock.clone(),
            switches: switches.clone(),
            configs: configs.clone(),
            contents: contents.clone(),
            listeners: listeners.clone(),
            state: Mutex::default(),
            shown: shown.clone(),
            knowledge: Mutex::new(Knowledge::Known),
            refuse: Mutex::default(),
            reply: Mutex::default(),
        });
        let http_metrics = HttpMetrics::register(&mut prometheus);
        let config_metrics = ConfigMetrics::register(&mut prometheus);
        let push_metrics = PushMetrics::register(&mut prometheus);
        let push = Push::new(registry.clone(), clock.clone(), push_metrics);
        let grpc_metrics = dyad_grpc::register_metrics(&mut prometheus);
        let connections = Connections::new(
            ephemeral.clone(),
            push.clone(),
            listeners.clone(),
            clock.clone(),
            grpc_limits,
            grpc_metrics,
        );
        let app = Arc::new(App {
            registry,
            ephemeral: ephemeral.clone(),
            propose: propose.clone(),
            linearize: propose.clone(),
            members: Arc::new(OneMember),
            configs,
            contents,
            push,
            listeners,
            clients: connections.clone(),
            switches,
            clock: clock.clone(),
            ids: IdSource::new(1),
            bounds,
            budget: BUDGET.with(|budget| Budget::new(budget.get(), 1)),
            places,
            config_metrics,
            turns: dyad_app::config::Turns::default(),
            prometheus: Arc::new(prometheus),
        });
        let (addr, grpc, stop, thread) =
            Server::serve(app.clone(), connections.clone(), http_metrics.clone(), limits);
        Server {
            addr,
            grpc,
            app,
            connections,
            http_metrics,
            clock,
            ephemeral,
            propose,
            stop: Some(stop),
            stopped: Some(thread),
        }
    }

    /// Serves until what it gives is dropped.
    fn serve(
        served: Arc<App>,
        connections: Arc<Connections>,
        metrics: Arc<HttpMetrics>,
        limits: Limits,
    ) -> (SocketAddr, SocketAddr, oneshot::Sender<()>, std::thread::JoinHandle<Drained>) {
        let (stop, stopped) = oneshot::channel();
        let (bound, addr) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let grpc = TcpListener::bind("127.0.0.1:0").await.unwrap();
                bound.send((listener.local_addr().unwrap(), grpc.local_addr().unwrap())).unwrap();
                let stop = CancellationToken::new();
                tokio::spawn(served.push.clone().run(stop.clone()));
                tokio::spawn(served.listeners.clone().run(stop.clone()));
                tokio::spawn(connections.clone().run(stop.clone()));
                let quit = stop.clone().cancelled_owned();
                let clients = tokio::spawn(dyad_grpc::serve(grpc, served.clone(), connections, quit));
                let drained = dyad_http::serve(listener, served, metrics, limits, async {
                    stopped.await.unwrap_or(())
                })
                .await;
                stop.cancel();
                clients.await.unwrap();
                drained
            })
        });
        let (addr, grpc) = addr.recv().unwrap();
        (addr, grpc, stop, thread)
    }

    pub fn clock_now(&self) -> Millis {
        self.clock.now()
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.addr).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    /// One request on a connection of its own.
    pub fn send(&self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = self.connect();
        let mut head = format!("{method} {target} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            head += &format!("Host: {}\r\n", self.addr);
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() || method == "POST" {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        stream.write_all(&[head.as_bytes(), body].concat()).unwrap();
        if method == "HEAD" {
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            assert!(bytes.ends_with(b"\r\n\r\n"), "an answer to HEAD has no body");
            let head = String::from_utf8(bytes).unwrap();
            return parse_answer(head.replace("content-length", "length").as_bytes()).unwrap();
        }
        read_answer(&mut stream)
    }

    pub fn get(&self, target: &str) -> Answer {
        self.send("GET", target, &[], b"")
    }

    /// The body of an answer that is no text.
    pub fn get_bytes(&self, target: &str) -> Vec<u8> {
        let mut stream = self.connect();
        let head = format!("GET {target} HTTP/1.1\r\nConnection: close\r\nHost: {}\r\n\r\n", self.addr);
        stream.write_all(head.as_bytes()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").unwrap();
        bytes.split_off(end + 4)
    }

    /// A request below `/nacos/v1/ns` with everything in the query.
    pub fn ns(&self, method: &str, target: &str) -> Answer {
        self.send(method, &format!("/nacos/v1/ns{target}"), &[], b"")
    }

    /// Stops the server and tells how it went.
    pub fn stop(mut self) -> Drained {
        drop(self.stop.take());
        self.stopped.take().unwrap().join().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.stopped.take() {
            thread.join().unwrap();
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(have, _)| have == name).map(|(_, value)| &**value)
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }

    /// Status and body, for tables.
    pub fn brief(&self) -> (u16, &str) {
        (self.status, &self.body)
    }
}

/// Reads one answer to its end. Status 0: the connection was closed without one.
pub fn read_answer(stream: &mut TcpStream) -> Answer {
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    loop {
        if let Some(answer) = parse_answer(&bytes) {
            return answer;
        }
        match stream.read(&mut piece) {
            Ok(0) | Err(_) => return Answer { status: 0, headers: Vec::new(), body: String::new() },
            Ok(n) => bytes.extend_from_slice(&piece[..n]),
        }
    }
}

fn parse_answer(bytes: &[u8]) -> Option<Answer> {
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let length = headers.iter().find(|(name, _)| name == "content-length");
    let length: usize = length.map_or(0, |(_, value)| value.parse().unwrap());
    let body = bytes.get(end + 4..end + 4 + length)?;
    Some(Answer { status, headers, body: String::from_utf8_lossy(body).into_owned() })
}
