//! One service with subscribers: its pace, its stamps, and what is sent to its subscribers.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use dyad_naming::ServiceView;
use dyad_types::{Lease, ServiceKey};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{Push, Subscriber, SubscriberInfo};

/// A subscribed service. Locks are taken in the order of the fields, and none of them while the registry's are wanted, but
/// `Group::update`.
#[derive(Debug)]
pub(super) struct Topic {
    key: ServiceKey,
    /// The largest `lastRefTime` that was given out.
    stamp: AtomicU64,
    pace: Mutex<Pace>,
    groups: Mutex<Vec<Arc<Group>>>,
}

#[derive(Debug, Default)]
struct Pace {
    phase: Phase,
    /// The first change that was not pushed yet.
    changed: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// No push for a while: the next change is pushed at once.
    #[default]
    Idle,
    /// On the list of what is to be pushed now.
    Ready,
    /// Was pushed less than `PACE` ago.
    Cooling,
}

/// What a change led to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// The topic is to be pushed now.
    Begin,
    /// It is pushed when its time comes.
    Waits,
    /// The same, with an earlier change that was waiting.
    Coalesced,
}

/// The subscribers of one text of clusters: all get the same bytes.
#[derive(Debug)]
struct Group {
    clusters: Arc<str>,
    members: Mutex<HashMap<u64, Arc<Subscription>>>,
    /// What was made for the present state, while it may be wanted.
    update: Mutex<Option<Arc<Update>>>,
    /// The change that led to the push under way.
    changed: Mutex<Option<Instant>>,
}

/// The interest of one subscriber in one service.
pub struct Subscription {
    id: u64,
    topic: Arc<Topic>,
    group: Arc<Group>,
    subscriber: Arc<dyn Subscriber>,
    /// Until it ends.
    place: Mutex<Option<Lease>>,
    /// The `lastRefTime` of the answer to the subscription. A push must have a larger one.
    floor: AtomicU64,
    ended: AtomicBool,
    /// Whether a first push was promised and not sent yet.
    promised: AtomicBool,
    /// For the subscriber: whether it has this subscription on its list of what to send.
    pub queued: AtomicBool,
    /// For the subscriber: the number of the update that was sent last.
    pub last_sent: AtomicU64,
}

/// One state of a service, in the form in which it is sent to subscribers.
#[derive(Debug)]
pub struct Update {
    /// The request id. It is the same for all subscribers; each of them acknowledges it on its own connection.
    pub id: u64,
    pub last_ref_ms: u64,
    pub view: Arc<ServiceView>,
    /// The clusters, as the subscription named them.
    pub clusters: Arc<str>,
    /// When the registry changed. `None` for a push without a change.
    pub changed: Option<Instant>,
    encoded: OnceLock<Bytes>,
}

impl Update {
    /// The bytes for the transport, which are made once.
    pub fn encoded(&self, encode: impl FnOnce(&Update) -> Bytes) -> Bytes {
        self.encoded.get_or_init(|| encode(self)).clone()
    }
}

impl Topic {
    pub(super) fn new(key: ServiceKey) -> Topic {
        Topic { key, stamp: AtomicU64::new(0), pace: Mutex::default(), groups: Mutex::default() }
    }

    pub(super) fn key(&self) -> &ServiceKey {
        &self.key
    }

    pub(super) fn add(
        self: &Arc<Topic>,
        clusters: &str,
        subscriber: Arc<dyn Subscriber>,
        place: Lease,
    ) -> Arc<Subscription> {
        /// Of the process: only the difference matters.
        static IDS: AtomicU64 = AtomicU64::new(0);
        let mut groups = self.groups.lock();
        let group = match groups.iter().find(|group| &*group.clusters == clusters) {
            Some(group) => group.clone(),
            None => {
                groups.push(Arc::new(Group {
                    clusters: clusters.into(),
                    members: Mutex::default(),
                    update: Mutex::default(),
                    changed: Mutex::default(),
                }));
                groups[groups.len() - 1].clone()
            }
        };
        let subscription = Arc::new(Subscription {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            topic: self.clone(),
            group: group.clone(),
            subscriber,
            place: Mutex::new(Some(place)),
            floor: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            promised: AtomicBool::new(false),
            queued: AtomicBool::new(false),
            last_sent: AtomicU64::new(0),
        });
        group.members.lock().insert(subscription.id, subscription.clone());
        subscription
    }

    /// Takes the subscription out; true when none is left.
    pub(super) fn remove(&self, subscription: &Subscription) -> bool {
        subscription.ended.store(true, Ordering::Release);
        *subscription.place.lock() = None;
        let mut groups = self.groups.lock();
        let mut members = subscription.group.members.lock();
        members.remove(&subscription.id);
        if members.is_empty() {
            groups.retain(|group| !Arc::ptr_eq(group, &subscription.group));
        }
        groups.is_empty()
    }

    pub(super) fn changed(&self) -> Heard {
        let mut pace = self.pace.lock();
        if pace.changed.is_some() {
            return Heard::Coalesced;
        }
        pace.changed = Some(Instant::now());
        if pace.phase != Phase::Idle {
            return Heard::Waits;
        }
        pace.phase = Phase::Ready;
        Heard::Begin
    }

    /// Begins a push: what was made before is old from now on, and everybody is told. Changes from here on lead to another.
    pub(super) fn push(&self) {
        let changed = {
            let mut pace = self.pace.lock();
            pace.phase = Phase::Cooling;
            pace.changed.take()
        };
        let groups = self.groups.lock().clone();
        for group in groups {
            *group.changed.lock() = changed;
            *group.update.lock() = None;
            let members: Vec<Arc<Subscription>> = group.members.lock().values().cloned().collect();
            for subscription in members {
                subscription.notify();
            }
        }
    }

    /// The pace is over: true when changes have come in the meantime, which are to be pushed now.
    pub(super) fn cooled(&self) -> bool {
        let mut pace = self.pace.lock();
        if pace.changed.is_some() {
            return true;
        }
        pace.phase = Phase::Idle;
        drop(pace);
        // Whoever is still to be sent it makes it again. The list is copied first: whoever makes an update waits for the
        // registry, whose writers wait for the index of subscribers, whose writers wait for the list.
        let groups = self.groups.lock().clone();
        for group in groups {
            *group.update.lock() = None;
        }
        false
    }

    /// See [`Push::stamp`]. Never ahead of the wall clock but by what pushes needed.
    pub(super) fn stamp_answer(&self, wall_ms: u64) -> u64 {
        self.stamp.fetch_max(wall_ms, Ordering::AcqRel).max(wall_ms)
    }

    /// Larger than any stamp before: SDKs drop a push whose stamp is not larger than that of what they have.
    fn stamp_push(&self, wall_ms: u64) -> u64 {
        let next = |last: u64| wall_ms.max(last + 1);
        match self.stamp.fetch_update(Ordering::AcqRel, Ordering::Acquire, |last| Some(next(last))) {
            Ok(last) | Err(last) => next(last),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.groups.lock().iter().map(|group| group.members.lock().len()).sum()
    }

    pub(super) fn describe(&self) -> Vec<(Arc<str>, SubscriberInfo)> {
        let groups = self.groups.lock().clone();
        let of_group = |group: &Arc<Group>| -> Vec<(Arc<str>, SubscriberInfo)> {
            let described =
                |member: &Arc<Subscription>| (group.clusters.clone(), member.subscriber.describe());
            group.members.lock().values().map(described).collect()
        };
        groups.iter().flat_map(of_group).collect()
    }
}

impl Subscription {
    pub fn service(&self) -> &ServiceKey {
        &self.topic.key
    }

    pub fn clusters(&self) -> &str {
        &self.group.clusters
    }

    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Gives the `lastRefTime` for an answer to this subscription; see [`Push::stamp`]. Later pushes have a larger one.
    pub fn stamp_answer(&self, wall_ms: u64) -> u64 {
        let stamp = self.topic.stamp_answer(wall_ms);
        self.floor.fetch_max(stamp, Ordering::AcqRel);
        stamp
    }

    /// What has to be sent now: the present state. It is made once for all subscribers of the same clusters.
    pub fn update(&self, push: &Push) -> Arc<Update> {
        let mut held = self.group.update.lock();
        let floor = self.floor.load(Ordering::Acquire);
        if let Some(update) = held.as_ref().filter(|update| update.last_ref_ms > floor) {
            return update.clone();
        }
        // The stamp first: whatever changes after it leads to another push with a larger one.
        let last_ref_ms = self.topic.stamp_push(push.now_ms());
        let update = Arc::new(Update {
            id: push.next_id(),
            last_ref_ms,
            view: push.registry().view_or_unknown(&self.topic.key),
            clusters: self.group.clusters.clone(),
            changed: self.group.changed.lock().take(),
            encoded: OnceLock::new(),
        });
        *held = Some(update.clone());
        update
    }

    pub(super) fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }

    /// Tells the subscriber, unless the subscription has ended.
    pub(super) fn notify(self: &Arc<Subscription>) {
        if !self.is_ended() {
            self.subscriber.notify(self);
        }
    }

    /// Marks the first push as promised; false when it was already.
    pub(super) fn promise(&self) -> bool {
        !self.promised.swap(true, Ordering::AcqRel)
    }

    pub(super) fn keep_promise(self: &Arc<Subscription>) {
        self.promised.store(false, Ordering::Release);
        self.notify();
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("service", &self.topic.key)
            .field("clusters", &self.group.clusters)
            .finish_non_exhaustive()
    }
}
