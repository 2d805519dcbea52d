//! Listening: which clients of this member want to hear of which configuration, and which content each of them has.
//!
//! A change of a configuration marks its topic and wakes one task; this is all that it costs while the entry is
//! applied. The task compares, for every listener of the topic, the md5 of what the listener would read now with the
//! md5 that it was last told of. If they differ, the listener is told. So a listener hears of each change at most once,
//! may miss a change that was undone, and always ends with the last state. Only a flag is queued for a listener: a
//! notification has no content, and the client reads the state that is present when it asks. If the client says
//! meanwhile what it has, it gets an answer, and a message that still waits for it is not sent.
//!
//! No change is lost between the comparison of a client and its waiting. The client is made a listener first and
//! compared then; both read the [`Catalog`] under the lock of what the client was told.

mod metrics;
pub mod poll;
mod topic;

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dyad_config::{Catalog, ChangedConfig, ConfigItem, ConfigWatcher};
use dyad_types::{ConfigKey, Lease, Md5, NoPlace, Place, Places};
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::fuzzy::{Fuzzy, MATCHES_MAX};
use dyad_types::Clock;
use topic::Topic;

pub use metrics::ListenMetrics;
pub use topic::{Listening, Reported, Told};

/// The index of topics is cut into so many parts, so that clients that come and go rarely meet.
const SHARDS: usize = 16;
/// After so many topics the task lets others run.
const TURN: usize = 64;

/// The limits of listening on one member.
#[derive(Clone, Copy, Debug)]
pub struct ListenLimits {
    /// The shortest time for which a long poll waits (`MIN_LONG_POOLING_TIMEOUT`). Default 10 s.
    pub hold_min: Duration,
    /// The longest time for which a long poll waits, even if its client asks for more. Default 120 s; SDKs ask for 30 s.
    pub hold_max: Duration,
}

impl Default for ListenLimits {
    fn default() -> ListenLimits {
        ListenLimits { hold_min: Duration::from_secs(10), hold_max: Duration::from_secs(120) }
    }
}

/// How a listener is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    LongPoll,
    Grpc,
}

/// A listener, for listings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerInfo {
    pub means: Means,
    /// The id of the connection. Empty for a long poll.
    pub client: String,
    pub app: String,
}

/// A listener, which is told that a configuration changed.
pub trait Listener: Send + Sync + fmt::Debug + 'static {
    /// Says that there is something new. It must be quick and must not call [`Listeners`].
    fn notify(&self, listening: &Arc<Listening>);
    /// The md5 of the content that this listener reads. `None` if there is no release for it.
    fn md5(&self, item: &ConfigItem) -> Option<Md5>;
    /// The address of the client, as gray rules see it.
    fn ip(&self) -> &str;
    fn describe(&self) -> ListenerInfo;
    /// Says that the server stops. Long polls end then.
    fn release(&self) {}
}

/// All listeners of this member, by configuration.
pub struct Listeners {
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    limits: ListenLimits,
    places: Arc<Places>,
    hasher: RandomState,
    topics: [RwLock<HashMap<ConfigKey, Arc<Topic>>>; SHARDS],
    /// The topics that changed. Each topic is in it at most once, so it cannot grow beyond the number of topics.
    ready: Mutex<VecDeque<Arc<Topic>>>,
    wake: Notify,
    fuzzy: Fuzzy<ConfigKey>,
    /// True once the server stops and nobody waits any more.
    released: AtomicBool,
    pub metrics: Arc<ListenMetrics>,
}

impl Listeners {
    /// Makes listeners of the configurations in `catalog`, of which there are none yet. [`Listeners::run`] does the
    /// work. The code that changes the catalog calls this afterwards, as a [`ConfigWatcher`].
    pub fn new(
        catalog: Arc<Catalog>,
        clock: Arc<dyn Clock>,
        limits: ListenLimits,
        places: Arc<Places>,
        metrics: Arc<ListenMetrics>,
    ) -> Arc<Listeners> {
        Arc::new(Listeners {
            catalog,
            clock,
            limits,
            places,
            hasher: RandomState::new(),
            topics: Default::default(),
            ready: Mutex::default(),
            wake: Notify::new(),
            fuzzy: Fuzzy::default(),
            released: AtomicBool::new(false),
            metrics,
        })
    }

    /// Tells listeners of changes until `stop`. The tasks of the connections do what takes long: they make and write
    /// the messages.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut done = 0;
        while !stop.is_cancelled() {
            let next = self.ready.lock().pop_front();
            let Some(topic) = next else {
                tokio::select! {
                    () = self.wake.notified() => {}
                    () = stop.cancelled() => {}
                }
                continue;
            };
            topic.tell(&self.catalog);
            done += 1;
            if done % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Places for so many pairs of a listener and a configuration, or for none. `address` is that of the client's socket.
    ///
    /// # Errors
    /// There are too many listeners, or too many of this address.
    pub fn room_for(&self, address: IpAddr, pairs: usize) -> Result<Lease, NoPlace> {
        self.places.take_many(Place::Listenings, address, pairs)
    }

    /// Makes `listener` listen to a configuration, which need not exist. `tenant` is the namespace in the spelling of
    /// the client, which its messages use too. `mark` is for the listener itself. `place` is one of [`Listeners::room_for`].
    /// After this the caller calls [`Listening::compare`], and in the end [`Listeners::unlisten`].
    pub fn listen(
        &self,
        key: &ConfigKey,
        tenant: &str,
        mark: u32,
        listener: Arc<dyn Listener>,
        place: Lease,
    ) -> Arc<Listening> {
        let since_ms = self.clock.wall_ms();
        let add = |topic: &Arc<Topic>| topic.add(tenant, mark, since_ms, listener, place);
        let shard = self.shard(key);
        if let Some(topic) = shard.read().get(key) {
            return add(topic);
        }
        let mut topics = shard.write();
        add(topics.entry(key.clone()).or_insert_with(|| Arc::new(Topic::new(key.clone()))))
    }

    /// Ends the listening; nothing is told for it any more. It may be ended twice.
    pub fn unlisten(&self, listening: &Arc<Listening>) {
        let topic = listening.topic();
        let Some(empty) = topic.remove(listening) else { return };
        if empty {
            // Under this lock nobody is added: an empty topic stays empty until it is out.
            let mut topics = self.shard(topic.key()).write();
            let held = topics.get(topic.key()).is_some_and(|held| Arc::ptr_eq(held, topic));
            if held && topic.is_empty() {
                topics.remove(topic.key());
            }
        }
    }

    /// The catalog with which clients are compared.
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The listeners of a configuration on this member.
    pub fn listeners(&self, key: &ConfigKey) -> Vec<Arc<Listening>> {
        let topic = self.shard(key).read().get(key).cloned();
        topic.map_or_else(Vec::new, |topic| topic.all())
    }

    /// Calls `see` for every listener on this member, in no order.
    pub fn each(&self, mut see: impl FnMut(&Arc<Listening>)) {
        for shard in &self.topics {
            let topics: Vec<Arc<Topic>> = shard.read().values().cloned().collect();
            for topic in topics {
                topic.all().iter().for_each(&mut see);
            }
        }
    }

    pub fn limits(&self) -> &ListenLimits {
        &self.limits
    }

    /// The number of pairs of a listener and a configuration.
    pub fn count(&self) -> usize {
        self.places.room(Place::Listenings).used()
    }

    /// The number of long polls that wait.
    pub fn polls(&self) -> usize {
        self.places.room(Place::Polls).used()
    }

    pub fn fuzzy(&self) -> &Fuzzy<ConfigKey> {
        &self.fuzzy
    }

    /// The configurations for which `takes` holds, for [`Fuzzy`], and whether there are more than it follows.
    pub fn present(&self, takes: &dyn Fn(&ConfigKey) -> bool) -> (BTreeSet<ConfigKey>, bool) {
        let state = self.catalog.state();
        let mut found =
            state.items().filter(|(key, item)| item.is_present() && takes(key)).map(|(key, _)| key);
        let taken = found.by_ref().take(MATCHES_MAX).cloned().collect();
        (taken, found.next().is_some())
    }

    /// Says that the server stops. Long polls are answered at once, as if their time were over, so that clients ask
    /// another member.
    pub fn release(&self) {
        // First: who comes later looks at it after it has become a listener.
        self.released.store(true, Ordering::SeqCst);
        self.each(|listening| listening.release());
    }

    fn shard(&self, key: &ConfigKey) -> &RwLock<HashMap<ConfigKey, Arc<Topic>>> {
        &self.topics[self.hasher.hash_one(key) as usize % SHARDS]
    }

    fn mark(&self, topics: impl IntoIterator<Item = Arc<Topic>>) {
        let now = Instant::now();
        let changed: Vec<Arc<Topic>> = topics.into_iter().filter(|topic| topic.changed(now)).collect();
        if !changed.is_empty() {
            self.ready.lock().extend(changed);
            self.wake.notify_one();
        }
    }
}

impl ConfigWatcher for Listeners {
    fn changed(&self, changed: &[ChangedConfig]) {
        self.mark(changed.iter().filter_map(|c| self.shard(&c.key).read().get(&c.key).cloned()));
        for config in changed.iter().filter(|config| config.was_present != config.item.is_some()) {
            self.fuzzy.listed(&config.key, config.item.is_some());
        }
    }

    fn reloaded(&self) {
        for shard in &self.topics {
            let topics: Vec<Arc<Topic>> = shard.read().values().cloned().collect();
            self.mark(topics);
        }
        self.fuzzy.reloaded(|takes| self.present(takes));
    }
}

impl fmt::Debug for Listeners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listeners").field("count", &self.count()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use dyad_config::{Change, ConfigCommand, ConfigState, Draft, Publish, Source};
    use dyad_types::{Millis, Stamp};

    use super::*;

    #[derive(Debug)]
    struct Still;

    impl Clock for Still {
        fn now(&self) -> Millis {
            Millis(0)
        }

        fn wall_ms(&self) -> u64 {
            0
        }
    }

    /// Counts what it is told, by mark.
    #[derive(Debug, Default)]
    struct Client(Mutex<Vec<u32>>);

    impl Listener for Client {
        fn notify(&self, listening: &Arc<Listening>) {
            self.0.lock().push(listening.mark());
        }

        fn md5(&self, item: &ConfigItem) -> Option<Md5> {
            item.formal().map(|release| release.md5)
        }

        fn ip(&self) -> &str {
            ""
        }

        fn describe(&self) -> ListenerInfo {
            ListenerInfo { means: Means::Grpc, client: String::new(), app: String::new() }
        }
    }

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn one(listeners: &Listeners) -> Lease {
        listeners.room_for(HERE, 1).unwrap()
    }

    fn key(data_id: &str) -> ConfigKey {
        ConfigKey::new("", "G", data_id)
    }

    fn listeners() -> Arc<Listeners> {
        let places = Places::new(|_| 1_000, 1);
        Listeners::new(Arc::default(), Arc::new(Still), ListenLimits::default(), places, Arc::default())
    }

    /// A state with this content of `a`.
    fn state(content: &str) -> ConfigState {
        let mut state = ConfigState::default();
        let publish = Publish { key: key("a"), draft: Draft::text(content), cas: None, enforce: false };
        let change = Change::Publish(publish);
        let command = ConfigCommand { source: Source::default(), change };
        state.apply(&command, Stamp { now_ms: 1, index: 1 });
        state
    }

    fn work(listeners: &Listeners) {
        while let Some(topic) = { listeners.ready.lock().pop_front() } {
            topic.tell(&listeners.catalog);
        }
    }

    #[test]
    fn an_installed_state_is_compared_for_everybody() {
        let listeners = listeners();
        let client = Arc::<Client>::default();
        for (mark, data_id) in ["a", "b"].iter().enumerate() {
            let listening = listeners.listen(&key(data_id), "", mark as u32, client.clone(), one(&listeners));
            assert!(!listening.compare(&listeners.catalog, Reported::Has(None)));
        }
        for (content, want) in [("1", vec![0]), ("1", vec![]), ("2", vec![0])] {
            listeners.catalog.installed(&state(content));
            listeners.reloaded();
            work(&listeners);
            assert_eq!(std::mem::take(&mut *client.0.lock()), want, "{content}");
        }
    }

    #[test]
    fn listeners_come_and_go_in_any_order() {
        let listeners = listeners();
        let client = Arc::<Client>::default();
        let listen = |mark| listeners.listen(&key("a"), "public", mark, client.clone(), one(&listeners));
        let mut held: Vec<Arc<Listening>> = (0..100).map(listen).collect();
        for n in 0..100usize {
            let gone = held.swap_remove(n * 7 % held.len());
            listeners.unlisten(&gone);
            listeners.unlisten(&gone);
            assert!(gone.is_ended());
            let mut marks: Vec<u32> = held.iter().map(|listening| listening.mark()).collect();
            let mut there: Vec<u32> = listeners.listeners(&key("a")).iter().map(|l| l.mark()).collect();
            marks.sort_unstable();
            there.sort_unstable();
            assert_eq!((marks.len(), there), (listeners.count(), marks));
        }
        assert!(listeners.topics.iter().all(|shard| shard.read().is_empty()), "no topic is left behind");
    }
}
