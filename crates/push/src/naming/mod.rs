//! Push: from a change of a service to everybody who subscribed to it on this member.
//!
//! Every member holds the whole registry, so a member pushes to its own subscribers and asks nobody. A change of a service
//! that rested is pushed at once; what follows within [`PACE`] is coalesced into one push of the then last state. Nothing is
//! queued for a subscriber but the fact that there is something new: what is sent is made when the transport takes it, once
//! for all subscribers of the same clusters. A slow subscriber therefore costs a flag, and always gets the last state.

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
use dyad_types::ServiceKey;
use parking_lot::RwLock;

use crate::fuzzy::Fuzzy;
use dyad_types::Clock;
use schedule::Schedule;
use topic::Topic;

pub use metrics::Latency;
pub use metrics::PushMetrics;
pub use topic::{Subscription, Update};

/// Shortest time between two pushes of one service: at most two a second (Nacos merges for as long, from the first change).
pub const PACE: Duration = Duration::from_millis(500);
/// A new subscriber is pushed the present state after this long, changed or not, as Nacos does: SDKs call their listeners on
/// it, and some register the listener only after the answer to the subscription.
pub const FIRST_PUSH: Duration = Duration::from_millis(500);
/// The index of services is cut into so many parts, so that writers of the registry rarely meet.
const SHARDS: usize = 16;

/// Somebody who is told that a subscription has something to send.
pub trait Subscriber: Send + Sync + fmt::Debug + 'static {
    /// There is something new for the subscription. Must be quick, and must not call [`Push`].
    fn notify(&self, subscription: &Arc<Subscription>);
    /// For listings.
    fn describe(&self) -> SubscriberInfo;
}

/// A subscriber as `/service/subscribers` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SubscriberInfo {
    pub ip: String,
    pub port: u16,
    /// The client's name and version, e.g. `Nacos-Java-Client:v2.5.1`.
    pub agent: String,
    pub app: String,
}

/// The subscriptions of this member, by service, and the work on their changes.
pub struct Push {
    registry: Arc<Registry>,
    clock: Arc<dyn Clock>,
    topics: [RwLock<HashMap<ServiceKey, Arc<Topic>>>; SHARDS],
    schedule: Schedule,
    /// Numbers of pushes, which are the request ids of gRPC: one sequence for the process, as in Nacos.
    ids: AtomicU64,
    fuzzy: Fuzzy<ServiceKey>,
    pub metrics: Arc<PushMetrics>,
}

impl Push {
    /// A push that hears of the registry's changes from now on; [`Push::run`] does its work.
    pub fn new(registry: Arc<Registry>, clock: Arc<dyn Clock>, metrics: Arc<PushMetrics>) -> Arc<Push> {
        let push = Arc::new(Push {
            registry: registry.clone(),
            clock,
            topics: Default::default(),
            schedule: Schedule::default(),
            ids: AtomicU64::new(0),
            fuzzy: Fuzzy::default(),
            metrics,
        });
        registry.watch(push.clone());
        push
    }

    /// Subscribes to a service, known or not. The caller keeps the subscription and ends it with [`Push::unsubscribe`]: there
    /// is one for each pair of subscriber and service. `clusters` is a comma-separated list; empty is all.
    pub fn subscribe(
        &self,
        service: &ServiceKey,
        clusters: &str,
        subscriber: Arc<dyn Subscriber>,
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
        topic.add(clusters, subscriber)
    }

    /// Ends a subscription; nothing is sent for it any more. Ending it twice is no error.
    pub fn unsubscribe(&self, subscription: &Arc<Subscription>) {
        let topic = subscription.topic();
        let mut topics = self.shard(topic.key()).write();
        if topic.remove(subscription) && topics.get(topic.key()).is_some_and(|held| Arc::ptr_eq(held, topic))
        {
            topics.remove(topic.key());
        }
    }

    /// Promises the subscription a push in [`FIRST_PUSH`], whether something changes or not.
    pub fn first_push(&self, subscription: &Arc<Subscription>) {
        self.schedule.first(subscription);
    }

    /// The `lastRefTime` of an answer about a service, to be taken **before** its view is read: an answer is then never older
    /// than a push with a smaller stamp, and SDKs keep the larger stamp.
    pub fn stamp(&self, service: &ServiceKey) -> u64 {
        let wall = self.clock.wall_ms();
        match self.shard(service).read().get(service) {
            Some(topic) => topic.stamp_answer(wall),
            None => wall,
        }
    }

    /// A fresh request id.
    pub fn next_id(&self) -> u64 {
        self.ids.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Who subscribes to the service here, and to which clusters of it.
    pub fn subscribers(&self, service: &ServiceKey) -> Vec<(Arc<str>, SubscriberInfo)> {
        self.shard(service).read().get(service).map_or_else(Vec::new, |topic| topic.describe())
    }

    /// The services that somebody subscribes to here, in no order.
    pub fn subscribed(&self) -> Vec<ServiceKey> {
        self.topics.iter().flat_map(|shard| shard.read().keys().cloned().collect::<Vec<_>>()).collect()
    }

    /// Subscriptions of this member.
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
