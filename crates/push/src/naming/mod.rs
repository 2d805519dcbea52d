//! Pushes: they tell every subscriber of a service on this member that the service changed.
//!
//! Every member has the whole registry, so a member pushes to its own subscribers and asks nobody. If a service has not
//! changed for a while, a change is pushed at once. The changes within [`PACE`] after a push become one push of the
//! state that is the last one then. Only a flag is queued for a subscriber. The message is made when the transport can
//! send it, once for all subscribers of the same clusters. A slow subscriber therefore costs a flag, and it always gets
//! the last state.

mod metrics;
mod schedule;
mod topic;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use dyad_naming::Registry;
use dyad_naming::registry::Watcher;
use dyad_types::{Lease, ServiceKey};
use parking_lot::RwLock;

use crate::fuzzy::Fuzzy;
use dyad_types::Clock;
use schedule::Schedule;
use topic::Topic;

pub use metrics::Latency;
pub use metrics::PushMetrics;
pub use topic::{Subscription, Update};

/// The shortest time between two pushes of one service, so that there are at most two per second. Nacos waits for the
/// same time after the first change.
pub const PACE: Duration = Duration::from_millis(500);
/// After this time a new subscriber gets a push of the present state, whether it changed or not, as in Nacos. SDKs call
/// their listeners then, and some register the listener only after the answer to the subscription.
pub const FIRST_PUSH: Duration = Duration::from_millis(500);
/// A member whose clock is further ahead than this has a wrong clock, which is not to be followed.
pub const AHEAD_MAX: Duration = Duration::from_secs(60);
/// The index of services is cut into so many parts, so that writers of the registry rarely meet.
const SHARDS: usize = 16;

/// A client, which is told that a subscription has something to send.
pub trait Subscriber: Send + Sync + fmt::Debug + 'static {
    /// Says that there is something new for the subscription. It must be quick and must not call [`Push`].
    fn notify(&self, subscription: &Arc<Subscription>);
    /// How listings show the client.
    fn describe(&self) -> SubscriberInfo;
}

/// A subscriber, as `/service/subscribers` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriberInfo {
    pub ip: String,
    pub port: u16,
    /// The name and version of the client, such as `Nacos-Java-Client:v2.5.1`.
    pub agent: String,
    pub app: String,
}

/// The subscriptions of this member, by service, and the work on their changes.
pub struct Push {
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    topics: [RwLock<HashMap<ServiceKey, Arc<Topic>>>; SHARDS],
    schedule: Schedule,
    /// The numbers of pushes, which are the request ids of gRPC. As in Nacos, there is one sequence for the process.
    ids: AtomicU64,
    fuzzy: Fuzzy<ServiceKey>,
    /// No time before this is given out, in milliseconds since the epoch: it is the largest stamp of the replicated state that
    /// was applied here, or the last time before the clocks came closer.
    applied_ms: AtomicU64,
    /// How far the clock of another member is ahead of this one's, in milliseconds.
    ahead_ms: AtomicU64,
    pub metrics: Arc<PushMetrics>,
}

impl Push {
    /// Makes a push that hears of the changes of the registry from now on. [`Push::run`] does its work.
    pub fn new(registry: Arc<Registry>, clock: Arc<dyn Clock>, metrics: Arc<PushMetrics>) -> Arc<Push> {
        let push = Arc::new(Push {
            registry: registry.clone(),
            clock,
            topics: Default::default(),
            schedule: Schedule::default(),
            ids: AtomicU64::new(0),
            fuzzy: Fuzzy::default(),
            applied_ms: AtomicU64::new(0),
            ahead_ms: AtomicU64::new(0),
            metrics,
        });
        registry.watch(push.clone());
        push
    }

    /// Subscribes to a service, which need not be known. The caller keeps the subscription and ends it with
    /// [`Push::unsubscribe`], which gives `place` back. `clusters` is a comma-separated list; an empty list means all clusters.
    pub fn subscribe(
        &self,
        service: &ServiceKey,
        clusters: &str,
        subscriber: Arc<dyn Subscriber>,
        place: Lease,
    ) -> Arc<Subscription> {
        let mut topics = self.shard(service).write();
        let topic = match topics.get(service) {
            Some(topic) => topic.clone(),
            None => {
                let topic = Arc::new(Topic::new(service.clone()));
                topics.insert(service.clone(), topic.clone());
                topic
            }
        };
        topic.add(clusters, subscriber, place)
    }

    /// Ends a subscription; nothing is sent for it any more. It may be ended twice.
    pub fn unsubscribe(&self, subscription: &Arc<Subscription>) {
        let topic = subscription.topic();
        let mut topics = self.shard(topic.key()).write();
        if topic.remove(subscription) && topics.get(topic.key()).is_some_and(|held| Arc::ptr_eq(held, topic))
        {
            topics.remove(topic.key());
        }
    }

    /// Makes sure that the subscription gets a push after [`FIRST_PUSH`], whether something changes or not.
    pub fn first_push(&self, subscription: &Arc<Subscription>) {
        self.schedule.first(subscription);
    }

    /// Tells the push the stamp of the replicated state. No `lastRefTime` is smaller from now on: a client that comes from a
    /// member with another clock, or finds this one restarted with a clock that is behind, does not see an older time for what
    /// was written in the meantime.
    pub fn applied(&self, stamp_ms: u64) {
        self.applied_ms.fetch_max(stamp_ms, Ordering::Relaxed);
    }

    /// Tells the push that the clock of another member is so many milliseconds ahead of this one's. Clients that come from
    /// there have seen its times; so every `lastRefTime` is ahead as well, until the clocks are closer again. Then the time that
    /// was given out stands still until it is reached. One caller tells this.
    pub fn ahead(&self, ms: u64) {
        let before = self.ahead_ms.load(Ordering::Relaxed);
        if ms < before {
            self.applied(self.clock.wall_ms() + before);
        }
        self.ahead_ms.store(ms, Ordering::Relaxed);
    }

    /// The present time for a `lastRefTime`, in milliseconds since the epoch: that of the member whose clock is ahead of the
    /// others', or the largest stamp that was applied here.
    pub fn now_ms(&self) -> u64 {
        let now = self.clock.wall_ms() + self.ahead_ms.load(Ordering::Relaxed);
        now.max(self.applied_ms.load(Ordering::Relaxed))
    }

    /// The `lastRefTime` of an answer about a service. Take it **before** the view is read: then an answer is never
    /// older than a push with a smaller stamp, and SDKs keep what has the larger stamp.
    pub fn stamp(&self, service: &ServiceKey) -> u64 {
        let wall = self.now_ms();
        match self.shard(service).read().get(service) {
            Some(topic) => topic.stamp_answer(wall),
            None => wall,
        }
    }

    /// A fresh request id.
    pub fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The subscribers of the service on this member, each with the clusters to which it subscribes.
    pub fn subscribers(&self, service: &ServiceKey) -> Vec<(Arc<str>, SubscriberInfo)> {
        self.shard(service).read().get(service).map_or_else(Vec::new, |topic| topic.describe())
    }

    /// The services that have a subscriber on this member, in no order.
    pub fn subscribed(&self) -> Vec<ServiceKey> {
        self.topics.iter().flat_map(|shard| shard.read().keys().cloned().collect::<Vec<_>>()).collect()
    }

    /// The number of subscriptions on this member.
    pub fn count(&self) -> usize {
        self.topics.iter().map(|shard| shard.read().values().map(|topic| topic.len()).sum::<usize>()).sum()
    }

    pub fn fuzzy(&self) -> &Fuzzy<ServiceKey> {
        &self.fuzzy
    }

    pub fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    fn shard(&self, service: &ServiceKey) -> &RwLock<HashMap<ServiceKey, Arc<Topic>>> {
        &self.topics[service.hash64() as usize % SHARDS]
    }
}

impl Watcher for Push {
    fn changed(&self, service: &ServiceKey) {
        let topic = self.shard(service).read().get(service).cloned();
        if let Some(topic) = topic {
            match topic.changed() {
                topic::Heard::Begin => self.schedule.ready(topic),
                topic::Heard::Waits => {}
                topic::Heard::Coalesced => {
                    self.metrics.coalesced.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }

    fn listed(&self, service: &ServiceKey, listed: bool) {
        self.fuzzy.listed(service, listed);
    }
}

impl fmt::Debug for Push {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Push").field("subscriptions", &self.count()).finish_non_exhaustive()
    }
}
