//! All connections of this member: which are alive, which are asked whether they are, how they end, and how they are
//! sent to other members.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dyad_naming::ports::{self, BoxFuture, Ending, Ephemeral};
use dyad_types::{ClientId, Full, Millis, NoPlace};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::connection::{Connection, Setup, WasRegistered};
use crate::cut::Why;
use crate::metrics::GrpcMetrics;
use crate::outbox::{ClientAnswer, Times, Wanted};
use crate::{GrpcLimits, frame};
use dyad_app::{ClientMetrics, Clients};
use dyad_push::config::Listeners;
use dyad_push::naming::Push;
use dyad_types::Clock;

/// Probes that wait to be sent. The core asks once a second for a connection at most, and asks again.
const PROBES_MAX: usize = 65_536;
/// Slowest pace of a drain; with many connections it is as fast as its time needs.
const DRAIN_PER_SECOND_MIN: usize = 100;
/// A drain sends so many requests at a time.
const DRAIN_STEP: Duration = Duration::from_millis(50);

/// A transport without a client is closed after so long a silence while others find no place.
const UNREGISTERED_CROWDED: Duration = Duration::from_secs(5);

/// See the module's description.
pub struct Connections {
    table: papaya::HashMap<ClientId, Arc<Connection>>,
    /// The transports without a registered client, which the sweep checks.
    unregistered: papaya::HashMap<ClientId, Arc<Connection>>,
    ephemeral: Arc<dyn Ephemeral>,
    push: Arc<Push>,
    listeners: Arc<Listeners>,
    clock: Arc<dyn Clock>,
    limits: GrpcLimits,
    pub(crate) metrics: Arc<GrpcMetrics>,
    probes: Mutex<VecDeque<ClientId>>,
    probing: Notify,
    /// Whether clients are sent to other members and no new ones are taken in.
    draining: AtomicBool,
    /// Somebody found no place since the last sweep.
    wanted: AtomicBool,
}

/// The result of a drain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Drain {
    /// The number of clients that were asked to go.
    pub asked: usize,
    /// The number of clients that were still here at the end.
    pub left: usize,
}

impl Connections {
    pub fn new(
        ephemeral: Arc<dyn Ephemeral>,
        push: Arc<Push>,
        listeners: Arc<Listeners>,
        clock: Arc<dyn Clock>,
        limits: GrpcLimits,
        metrics: Arc<GrpcMetrics>,
    ) -> Arc<Connections> {
        Arc::new(Connections {
            table: papaya::HashMap::new(),
            unregistered: papaya::HashMap::new(),
            ephemeral,
            push,
            listeners,
            clock,
            limits,
            metrics,
            probes: Mutex::default(),
            probing: Notify::new(),
            draining: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
        })
    }

    /// The number of registered clients.
    pub fn len(&self) -> usize {
        self.table.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The registered clients, in no order.
    pub fn list(&self) -> Vec<Arc<Connection>> {
        self.table.pin().values().cloned().collect()
    }

    pub fn get(&self, client: &ClientId) -> Option<Arc<Connection>> {
        self.table.pin().get(client).cloned()
    }

    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    pub(crate) fn limits(&self) -> &GrpcLimits {
        &self.limits
    }

    /// Takes in a new transport.
    pub(crate) fn open(&self, peer: SocketAddr) -> Arc<Connection> {
        let connection = Connection::new(peer, self.clock.wall_ms(), self.clock.now());
        self.unregistered.pin().insert(connection.id().clone(), connection.clone());
        connection
    }

    /// A transport found no place.
    pub(crate) fn refused(&self, why: &NoPlace) {
        self.metrics.refused.fetch_add(1, Ordering::Relaxed);
        if why.full == Full::All {
            self.wanted.store(true, Ordering::Relaxed);
        }
    }

    /// Cuts all transports: the server stops.
    pub(crate) fn stop(&self) {
        for (_, connection) in self.table.pin().iter().chain(self.unregistered.pin().iter()) {
            connection.cut.cut(Why::Stopped);
        }
    }

    /// Registers the client behind a transport; false when it may not, or has ended.
    pub(crate) fn register(&self, connection: &Arc<Connection>, setup: Setup) -> bool {
        if self.is_draining() {
            return false;
        }
        if !connection.register(setup) {
            return connection.is_registered();
        }
        let id = connection.id().clone();
        self.unregistered.pin().remove(&id);
        self.table.pin().insert(id.clone(), connection.clone());
        // It may have ended in between, and taken itself out before it was in.
        if connection.ended().is_some() {
            self.table.pin().remove(&id);
            return false;
        }
        true
    }

    /// Ends a client, whatever becomes of its transport: its publications end by rule 18, its subscriptions at once.
    pub(crate) fn end(&self, connection: &Arc<Connection>, ending: Ending) {
        let Some(WasRegistered(registered)) = connection.end(ending, self.clock.now()) else { return };
        self.table.pin().remove(connection.id());
        self.unregistered.pin().remove(connection.id());
        connection.outbox.lock().close();
        let subscriptions = std::mem::take(&mut *connection.subscriptions.lock());
        for subscription in subscriptions.into_values() {
            self.push.unsubscribe(&subscription);
        }
        let watches = std::mem::take(&mut *connection.watches.lock());
        for watch in watches.into_values() {
            self.push.fuzzy().unwatch(&watch);
        }
        let watches = std::mem::take(&mut *connection.config_watches.lock());
        for watch in watches.into_values() {
            self.listeners.fuzzy().unwatch(&watch);
        }
        let listenings = std::mem::take(&mut *connection.listenings.lock());
        for listening in listenings.into_values() {
            self.listeners.unlisten(&listening);
        }
        connection.cut.cut(Why::Ended);
        if registered {
            self.publications_end(connection);
        }
    }

    /// Tells the core that a connection's publications end. Also called after a publication that may have come too late.
    pub(crate) fn publications_end(&self, connection: &Connection) {
        if let Some(ending) = connection.ended() {
            self.ephemeral.ended(connection.id(), ending);
        }
    }

    /// An acknowledgement came in on the stream, in this JSON.
    pub(crate) fn acknowledged(&self, connection: &Connection, id: u64, ok: bool, json: &[u8]) {
        let wanted = connection.outbox.lock().acknowledged(id);
        match wanted {
            Some(Wanted::Probe) => self.ephemeral.probed(connection.id(), true),
            Some(Wanted::Push(_)) if ok => {
                self.push.metrics.acked.fetch_add(1, Ordering::Relaxed);
            }
            Some(Wanted::Push(_)) => {
                self.push.metrics.failed.fetch_add(1, Ordering::Relaxed);
            }
            Some(Wanted::Config(listening)) if ok => {
                listening.acked();
                self.listeners.metrics.acked.fetch_add(1, Ordering::Relaxed);
            }
            Some(Wanted::Config(_)) => {
                self.listeners.metrics.failed.fetch_add(1, Ordering::Relaxed);
            }
            Some(Wanted::Metrics(answer)) => answer.give(json),
            Some(Wanted::Detection | Wanted::Notice) | None => {}
        }
    }

    /// Checks the times of all connections and answers probes, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut tick = interval(self.limits.sweep);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => self.sweep(),
                () = self.probing.notified() => self.send_probes(),
                () = stop.cancelled() => return,
            }
        }
    }

    /// Looks at the times of every connection.
    fn sweep(&self) {
        let limits = &self.limits;
        let times = Times {
            answer: limits.answer,
            retry: limits.retry,
            probe: limits.probe,
            blocked: limits.blocked,
        };
        let now = self.clock.now();
        for connection in self.list() {
            let found = connection.outbox.lock().overdue(now, connection.active(), &times);
            self.push.metrics.failed.fetch_add(found.pushes_failed, Ordering::Relaxed);
            self.listeners.metrics.failed.fetch_add(found.configs_failed, Ordering::Relaxed);
            if found.probe_failed {
                self.ephemeral.probed(connection.id(), false);
            }
            let unread = connection.unread_since();
            let unread = unread.is_some_and(|since| now.since(since) >= limits.unread.as_millis() as u64);
            if found.dead || found.probe_failed || unread {
                tracing::info!(client = %connection.id(), "a client does not answer: its connection is closed");
                self.metrics.dead.fetch_add(1, Ordering::Relaxed);
                self.end(&connection, Ending::Abnormal);
                continue;
            }
            let mut outbox = connection.outbox.lock();
            for news in found.repeat {
                outbox.put(news);
            }
            outbox.remind();
            drop(outbox);
            let silent = now.since(connection.active()) >= limits.silent.as_millis() as u64;
            if silent && !connection.outbox.lock().asks() {
                self.detect(&connection, Wanted::Detection);
            }
        }
        // Nobody keeps a place for long without a client while others find none.
        let is_crowded = self.wanted.swap(false, Ordering::Relaxed);
        let patience =
            if is_crowded { limits.unregistered.min(UNREGISTERED_CROWDED) } else { limits.unregistered };
        let idle: Vec<Arc<Connection>> = self.unregistered.pin().values().cloned().collect();
        for connection in idle {
            let unread = connection.unread_since();
            if now.since(connection.active()) >= patience.as_millis() as u64
                || unread.is_some_and(|since| now.since(since) >= limits.unread.as_millis() as u64)
            {
                self.end(&connection, Ending::Orderly);
            }
        }
    }

    /// Asks the client whether it lives.
    fn detect(&self, connection: &Arc<Connection>, wanted: Wanted) {
        let id = self.push.next_id();
        let bytes = self.internal("ClientDetectionRequest", id, "");
        if !connection.outbox.lock().request(bytes, Some((id, wanted)), self.clock.now()) {
            self.end(connection, Ending::Abnormal);
        }
    }

    /// A request of the server's own; `fields` are more of them, each with its comma.
    fn internal(&self, kind: &str, id: u64, fields: &str) -> Bytes {
        let json = format!("{{\"headers\":{{}},\"requestId\":\"{id}\",{fields}\"module\":\"internal\"}}");
        frame::payload(kind, &self.limits.own_ip, &[json.as_bytes()])
    }

    /// Asks one client of configurations for its own view of them (`ClientConfigMetricRequest`). The answer is dropped unsent
    /// when the client does not give it in time.
    fn ask_one(&self, connection: &Connection, keys: &str) -> tokio::sync::oneshot::Receiver<ClientMetrics> {
        let (answer, receiver) = ClientAnswer::new();
        let id = self.push.next_id();
        let json = format!(
            "{{\"headers\":{{}},\"requestId\":\"{id}\",\"metricsKeys\":{keys},\"module\":\"config\"}}"
        );
        let bytes = frame::payload("ClientConfigMetricRequest", &self.limits.own_ip, &[json.as_bytes()]);
        connection.outbox.lock().request(bytes, Some((id, Wanted::Metrics(answer))), self.clock.now());
        receiver
    }

    fn send_probes(&self) {
        let probes = std::mem::take(&mut *self.probes.lock());
        for client in probes {
            match self.get(&client) {
                Some(connection) => self.detect(&connection, Wanted::Probe),
                None => self.ephemeral.probed(&client, false),
            }
        }
    }

    /// Sends one client to each of `to` (host and HTTP port), but only clients that have been connected for `settled`,
    /// and returns how many there were. The clients that were connected longest go. They were disturbed the longest
    /// time ago, and where they arrive they are the last ones to go again. So the same clients are not disturbed again
    /// and again.
    pub fn send_away(&self, to: &[(String, u16)], settled: Duration) -> usize {
        let Some(since) = self.clock.now().0.checked_sub(settled.as_millis() as u64) else { return 0 };
        let table = self.table.pin();
        let mut candidates: Vec<&Arc<Connection>> =
            table.values().filter(|connection| connection.may_move(Millis(since))).collect();
        let count = to.len().min(candidates.len());
        if count < candidates.len() {
            candidates.select_nth_unstable_by_key(count, |connection| connection.opened());
        }
        for (connection, other) in candidates[..count].iter().zip(to) {
            self.reset(connection, Some(other));
        }
        count
    }

    /// Takes in no new clients from now on. [`Connections::drain`] then sends away the clients that are here.
    pub fn begin_drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
    }

    /// Takes in new clients again. A drain that is under way asks no more clients to go.
    pub fn undrain(&self) {
        self.draining.store(false, Ordering::SeqCst);
    }

    /// Sends every client away within about `within`, to `others` (host and HTTP port) in turn. The publications of a
    /// client stay until it is connected elsewhere. Returns when all clients are gone, at the end of the time, or when
    /// [`Connections::undrain`] is called. Without [`Connections::begin_drain`] it returns at once.
    pub async fn drain(&self, others: &[(String, u16)], within: Duration) -> Drain {
        let deadline = Instant::now() + within;
        let mut waiting = self.list();
        let steps = (within.as_millis() / DRAIN_STEP.as_millis()).max(1) as usize;
        // Half of the time is for asking, the other for going.
        let slowest = DRAIN_PER_SECOND_MIN * DRAIN_STEP.as_millis() as usize / 1_000;
        let at_once = (2 * waiting.len()).div_ceil(steps).max(slowest);
        let mut done = Drain::default();
        while self.is_draining() && !waiting.is_empty() && Instant::now() < deadline {
            let rest = waiting.split_off(at_once.min(waiting.len()));
            for connection in std::mem::replace(&mut waiting, rest) {
                let other = (!others.is_empty()).then(|| &others[done.asked % others.len()]);
                self.reset(&connection, other);
                done.asked += 1;
            }
            sleep(DRAIN_STEP).await;
        }
        while self.is_draining() && !self.is_empty() && Instant::now() < deadline {
            sleep_until((Instant::now() + DRAIN_STEP).min(deadline)).await;
        }
        done.left = self.len();
        done
    }

    /// Asks one client to go to another server.
    pub(crate) fn reset(&self, connection: &Arc<Connection>, other: Option<&(String, u16)>) {
        connection.tell(self.clock.now());
        self.metrics.resets.fetch_add(1, Ordering::Relaxed);
        let fields = other.map_or_else(String::new, |(host, port)| {
            format!("\"serverIp\":{},\"serverPort\":\"{port}\",", frame::quoted(host))
        });
        let id = self.push.next_id();
        let bytes = self.internal("ConnectResetRequest", id, &fields);
        connection.outbox.lock().request(bytes, Some((id, Wanted::Notice)), self.clock.now());
    }
}

impl ports::Connections for Connections {
    fn probe(&self, client: &ClientId) {
        let mut probes = self.probes.lock();
        if probes.len() < PROBES_MAX {
            probes.push_back(client.clone());
            drop(probes);
            self.probing.notify_one();
        }
    }
}

impl fmt::Debug for Connections {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("clients", &self.len()).finish_non_exhaustive()
    }
}

impl Clients for Connections {
    fn count(&self) -> usize {
        self.len()
    }

    fn ask_metrics(
        self: Arc<Self>,
        ip: &str,
        keys: &str,
        max: usize,
    ) -> Vec<BoxFuture<'static, Option<ClientMetrics>>> {
        let is_of_configs =
            |setup: &Setup| setup.labels.get("module").is_some_and(|module| module == "config");
        let wanted =
            |client: &Arc<Connection>| client.setup().is_some_and(|s| s.ip == ip && is_of_configs(s));
        let asked = self.list().into_iter().filter(wanted).take(max);
        asked
            .map(|client| {
                let answer = self.ask_one(&client, keys);
                Box::pin(async move { answer.await.ok() }) as BoxFuture<'static, _>
            })
            .collect()
    }
}
