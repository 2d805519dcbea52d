//! One client: its transport, what it says about itself, what it has subscribed to, and what has to be sent to it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use dyad_app::App;
use dyad_config::{ConfigItem, ReaderLabels};
use dyad_naming::ports::Ending;
use dyad_types::budget::SMALL;
use dyad_types::{ClientId, ConfigKey, Full, Lease, Md5, Millis, Part, ServiceKey};
use parking_lot::Mutex;

use crate::cut::Cut;
use crate::outbox::{News, Outbox};
use crate::watched::{Watched, Watches};
use dyad_push::config::{Listener, ListenerInfo, Listening, Means};
use dyad_push::fuzzy::{self, Watch};
use dyad_push::naming::{Subscriber, SubscriberInfo, Subscription};

/// What a client says about itself when it registers (`ConnectionSetupRequest`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Setup {
    /// Its name and version, such as `Nacos-Java-Client:v2.5.1`.
    pub version: String,
    /// Its address as it says itself, or the address of the socket if it says none.
    pub ip: String,
    pub labels: BTreeMap<String, String>,
}

/// A client that was told to go elsewhere goes at once, or after some attempts at a server that does not answer. Until then,
/// however its transport ends, what it published must live on until it is there; a client that is still here after this has
/// not understood, and its farewell is one. In ms.
const GOING: u64 = 30_000;

/// Bytes of small answers and pushes that a client may leave where they are before they need room.
const SMALL_UNREAD_MAX: usize = 64 * 1024;

const OPEN: u8 = 0;
const REGISTERED: u8 = 1;
const ORDERLY: u8 = 2;
const ABNORMAL: u8 = 3;

/// By service, and the names of the clusters.
type Subscriptions = HashMap<(ServiceKey, Box<str>), Arc<Subscription>>;

/// A transport and, from the setup on, the client that uses it.
pub struct Connection {
    id: ClientId,
    peer: SocketAddr,
    /// When it was opened, by the wall clock. Listings show it.
    opened_ms: u64,
    /// When it was opened, as `Clock::now`.
    opened: Millis,
    /// When the client was last heard, as `Clock::now`.
    active: AtomicU64,
    state: AtomicU8,
    setup: OnceLock<Setup>,
    pub(crate) outbox: Mutex<Outbox>,
    /// One for each service and set of clusters, with the names of the clusters in their order.
    pub(crate) subscriptions: Mutex<Subscriptions>,
    /// A write that reads what the connection publishes and writes it again is alone; all others share it.
    pub(crate) publishing: tokio::sync::RwLock<()>,
    pub(crate) watches: Watches<ServiceKey>,
    /// One for each configuration.
    pub(crate) listenings: Mutex<HashMap<ConfigKey, Arc<Listening>>>,
    pub(crate) config_watches: Watches<ConfigKey>,
    /// The header `Vipserver-Tag` of the last request to listen.
    pub(crate) tag: Mutex<Option<Box<str>>>,
    /// When the client was told to go to another member: `Clock::now` plus 1. 0 if it never was.
    told: AtomicU64,
    /// Answers and pushes of which the client may not have taken all, with the time of each as `Clock::now`.
    unread: Mutex<Vec<(Weak<()>, Millis)>>,
    /// Bytes of small ones, which are not among those.
    small_unread: Arc<AtomicUsize>,
    /// Ends the transport.
    pub(crate) cut: Cut,
}

impl Connection {
    pub(crate) fn new(peer: SocketAddr, wall_ms: u64, now: Millis) -> Arc<Connection> {
        let ip = peer.ip().to_canonical();
        Arc::new(Connection {
            id: ClientId::from_text(&format!("{wall_ms}_{ip}_{}", peer.port())),
            peer,
            opened_ms: wall_ms,
            opened: now,
            active: AtomicU64::new(now.0),
            state: AtomicU8::new(OPEN),
            setup: OnceLock::new(),
            outbox: Mutex::default(),
            subscriptions: Mutex::default(),
            publishing: tokio::sync::RwLock::default(),
            watches: Mutex::default(),
            listenings: Mutex::default(),
            config_watches: Mutex::default(),
            tag: Mutex::default(),
            told: AtomicU64::new(0),
            unread: Mutex::default(),
            small_unread: Arc::default(),
            cut: Cut::default(),
        })
    }

    /// The id of the connection: `<milliseconds>_<ip>_<port>`. It is made once for each transport.
    pub fn id(&self) -> &ClientId {
        &self.id
    }

    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// When it was opened, in milliseconds of the wall clock.
    pub fn opened_ms(&self) -> u64 {
        self.opened_ms
    }

    pub fn setup(&self) -> Option<&Setup> {
        self.setup.get()
    }

    /// When the client was last heard.
    pub fn active(&self) -> Millis {
        Millis(self.active.load(Ordering::Relaxed))
    }

    pub(crate) fn touch(&self, now: Millis) {
        self.active.store(now.0, Ordering::Relaxed);
    }

    pub fn is_registered(&self) -> bool {
        self.state.load(Ordering::SeqCst) == REGISTERED
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<Ending> {
        match self.state.load(Ordering::SeqCst) {
            ORDERLY => Some(Ending::Orderly),
            ABNORMAL => Some(Ending::Abnormal),
            _ => None,
        }
    }

    /// Makes it a registered client; false when it has ended, or was one before.
    pub(crate) fn register(&self, setup: Setup) -> bool {
        let _first = self.setup.set(setup);
        self.state.compare_exchange(OPEN, REGISTERED, Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }

    /// Marks the end; the former state if this call was the one that ended it.
    pub(crate) fn end(&self, ending: Ending, now: Millis) -> Option<WasRegistered> {
        let told = self.told.load(Ordering::SeqCst);
        let going = told != 0 && now.0 <= told + GOING;
        let ending = if going { Ending::Abnormal } else { ending };
        let to = match ending {
            Ending::Orderly => ORDERLY,
            Ending::Abnormal => ABNORMAL,
        };
        let step = |state| (state == OPEN || state == REGISTERED).then_some(to);
        let before = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, step).ok()?;
        Some(WasRegistered(before == REGISTERED))
    }

    /// The client is told to go elsewhere.
    pub(crate) fn tell(&self, now: Millis) {
        self.told.store(now.0 + 1, Ordering::SeqCst);
    }

    /// May the client be sent elsewhere for the sake of balance: an SDK's (`isSdkSource`), here since `since` at the latest,
    /// and not told before?
    pub(crate) fn may_move(&self, since: Millis) -> bool {
        let is_sdk =
            |setup: &Setup| setup.labels.get("source").is_some_and(|s| s.eq_ignore_ascii_case("sdk"));
        self.is_registered()
            && self.opened <= since
            && self.told.load(Ordering::SeqCst) == 0
            && self.setup().is_some_and(is_sdk)
    }

    /// What gray rules know of the client: its own idea of its address, its labels, and the tags of a request.
    pub(crate) fn reader<'a>(
        &'a self,
        tag: Option<&'a str>,
        header_tag: Option<&'a str>,
    ) -> ReaderLabels<'a> {
        let setup = self.setup();
        ReaderLabels { client_ip: self.ip(), tag, header_tag, labels: setup.map(|setup| &setup.labels) }
    }

    /// Takes room for an answer or a push until the client has taken the whole of it. Small ones need none while the client
    /// takes them.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn hold(&self, app: &App, message: Bytes) -> Result<Bytes, Full> {
        let len = message.len();
        if len <= SMALL && self.small_unread.load(Ordering::Relaxed) + len <= SMALL_UNREAD_MAX {
            self.small_unread.fetch_add(len, Ordering::Relaxed);
            return Ok(Bytes::from_owner(SmallUnread { bytes: message, all: self.small_unread.clone() }));
        }
        let lease = app.budget.room(Part::Answers).take(self.peer.ip(), len)?;
        let taken = Arc::new(());
        let mut unread = self.unread.lock();
        unread.retain(|(taken, _)| taken.strong_count() > 0);
        unread.push((Arc::downgrade(&taken), app.clock.now()));
        Ok(Bytes::from_owner(Unread { bytes: message, _lease: lease, _taken: taken }))
    }

    /// Since when the client has not taken something.
    pub(crate) fn unread_since(&self) -> Option<Millis> {
        let mut unread = self.unread.lock();
        unread.retain(|(taken, _)| taken.strong_count() > 0);
        unread.first().map(|(_, since)| *since)
    }

    /// When the transport was opened.
    pub(crate) fn opened(&self) -> Millis {
        self.opened
    }
}

/// What waits for the client.
struct Unread {
    bytes: Bytes,
    _lease: Lease,
    _taken: Arc<()>,
}

impl AsRef<[u8]> for Unread {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// Something small that waits for the client.
struct SmallUnread {
    bytes: Bytes,
    all: Arc<AtomicUsize>,
}

impl AsRef<[u8]> for SmallUnread {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for SmallUnread {
    fn drop(&mut self) {
        self.all.fetch_sub(self.bytes.len(), Ordering::Relaxed);
    }
}

/// Was the connection that ended a client?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct WasRegistered(pub(crate) bool);

impl Subscriber for Connection {
    fn notify(&self, subscription: &Arc<Subscription>) {
        self.outbox.lock().put(News::Push(subscription.clone()));
    }

    fn describe(&self) -> SubscriberInfo {
        let setup = self.setup.get().cloned().unwrap_or_default();
        SubscriberInfo {
            ip: setup.ip,
            port: self.peer.port(),
            agent: setup.version,
            app: setup.labels.get("AppName").cloned().unwrap_or_else(|| "unknown".into()),
        }
    }
}

impl Listener for Connection {
    fn notify(&self, listening: &Arc<Listening>) {
        self.outbox.lock().put(News::Config(listening.clone()));
    }

    fn md5(&self, item: &ConfigItem) -> Option<Md5> {
        let tag = self.tag.lock();
        item.answer(&self.reader(None, tag.as_deref())).md5()
    }

    fn ip(&self) -> &str {
        self.setup().map_or("", |setup| &setup.ip)
    }

    fn describe(&self) -> ListenerInfo {
        let app = Subscriber::describe(self).app;
        ListenerInfo { means: Means::Grpc, client: self.id.to_string(), app }
    }
}

impl<K: Watched> fuzzy::Watcher<K> for Connection {
    fn notify(&self, watch: &Arc<Watch<K>>) {
        self.outbox.lock().put(News::Watch(watch.clone()));
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("id", &self.id).finish_non_exhaustive()
    }
}
