//! The listeners of one configuration, and what each of them was told.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dyad_config::Catalog;
use dyad_types::{ConfigKey, Lease, Md5};
use parking_lot::Mutex;

use super::{Listener, ListenerInfo};

/// Not in its topic any more.
const ENDED: u32 = u32::MAX;

#[derive(Debug)]
pub(super) struct Topic {
    key: ConfigKey,
    listenings: Mutex<Vec<Arc<Listening>>>,
    /// It is on the list of what is to be told.
    queued: AtomicBool,
    /// When the change came that is being told.
    changed: Mutex<Option<Instant>>,
}

/// The interest of one listener in one configuration.
pub struct Listening {
    topic: Arc<Topic>,
    listener: Arc<dyn Listener>,
    /// Its place in the list of the topic. It is written under the lock of the list.
    at: AtomicU32,
    mark: u32,
    /// The namespace in the spelling of the client, if that is not the usual one.
    tenant: Option<Box<str>>,
    since_ms: u64,
    told: Mutex<Told>,
    /// Until it ends.
    place: Mutex<Option<Lease>>,
    /// Whether there was a change since the client last said what it has. It is written under the lock of `told`.
    due: AtomicBool,
    /// For the listener: whether it has this on its list of what to send.
    pub queued: AtomicBool,
    /// For the listener: the number of the message that was sent last.
    pub last_sent: AtomicU64,
}

/// What a listener has and knows. An md5 that is `None` stands for no content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// The content that the client says it has.
    pub reported: Option<Md5>,
    /// The state with which the client was last compared, or of which it was last told.
    pub seen: Option<Md5>,
    /// When the client was last told of a change, in milliseconds since the epoch. 0 if it never was.
    pub notified_ms: u64,
    /// Whether the client has acknowledged that.
    pub acked: bool,
}

impl Topic {
    pub(super) fn new(key: ConfigKey) -> Topic {
        Topic { key, listenings: Mutex::default(), queued: AtomicBool::new(false), changed: Mutex::new(None) }
    }

    pub(super) fn key(&self) -> &ConfigKey {
        &self.key
    }

    pub(super) fn add(
        self: &Arc<Topic>,
        tenant: &str,
        mark: u32,
        since_ms: u64,
        listener: Arc<dyn Listener>,
        place: Lease,
    ) -> Arc<Listening> {
        let mut listenings = self.listenings.lock();
        let listening = Arc::new(Listening {
            topic: self.clone(),
            listener,
            at: AtomicU32::new(listenings.len() as u32),
            mark,
            tenant: (tenant != self.key.namespace()).then(|| tenant.into()),
            since_ms,
            told: Mutex::default(),
            place: Mutex::new(Some(place)),
            due: AtomicBool::new(false),
            queued: AtomicBool::new(false),
            last_sent: AtomicU64::new(0),
        });
        listenings.push(listening.clone());
        listening
    }

    /// Takes it out; `None` when it was out before, else whether the topic has no listener left.
    pub(super) fn remove(&self, listening: &Listening) -> Option<bool> {
        let mut listenings = self.listenings.lock();
        let at = listening.at.swap(ENDED, Ordering::AcqRel);
        if at == ENDED {
            return None;
        }
        listenings.swap_remove(at as usize);
        *listening.place.lock() = None;
        if let Some(moved) = listenings.get(at as usize) {
            moved.at.store(at, Ordering::Release);
        }
        // What a crowd of listeners needed is given back when it has gone.
        if listenings.len() < listenings.capacity() / 4 {
            listenings.shrink_to_fit();
        }
        Some(listenings.is_empty())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.listenings.lock().is_empty()
    }

    pub(super) fn all(&self) -> Vec<Arc<Listening>> {
        self.listenings.lock().clone()
    }

    /// Its configuration changed; true if it is to be put on the list.
    pub(super) fn changed(&self, now: Instant) -> bool {
        if self.queued.swap(true, Ordering::AcqRel) {
            return false;
        }
        *self.changed.lock() = Some(now);
        true
    }

    /// Tells everybody for whom there is something new.
    pub(super) fn tell(&self, catalog: &Catalog) {
        // Before the state is read: a change from here on puts it on the list again. A change that found it on the list
        // is seen: the swap synchronizes with that change's own, which a store would not.
        self.queued.swap(false, Ordering::AcqRel);
        for listening in self.all() {
            if listening.is_news(catalog) {
                listening.listener.notify(&listening);
            }
        }
    }
}

impl Listening {
    pub fn key(&self) -> &ConfigKey {
        &self.topic.key
    }

    /// The namespace, in the spelling of the client.
    pub fn tenant(&self) -> &str {
        self.tenant.as_deref().unwrap_or_else(|| self.topic.key.namespace())
    }

    /// The mark that was given to [`super::Listeners::listen`].
    pub fn mark(&self) -> u32 {
        self.mark
    }

    /// Since when the client listens, in milliseconds since the epoch.
    pub fn since_ms(&self) -> u64 {
        self.since_ms
    }

    pub fn told(&self) -> Told {
        *self.told.lock()
    }

    pub fn ip(&self) -> &str {
        self.listener.ip()
    }

    pub fn describe(&self) -> ListenerInfo {
        self.listener.describe()
    }

    pub(super) fn release(&self) {
        self.listener.release();
    }

    pub fn is_ended(&self) -> bool {
        self.at.load(Ordering::Acquire) == ENDED
    }

    /// Whether a message about it should be sent. It should not if the client has said meanwhile what it has, because
    /// the answer to that said everything that a waiting or repeated message could say.
    pub fn is_due(&self) -> bool {
        !self.is_ended() && self.due.load(Ordering::Acquire)
    }

    /// Compares what the client says it has with what it would read now. True if they differ. The caller must answer
    /// the client. From now on the client is told of what comes after.
    pub fn compare(&self, catalog: &Catalog, reported: Reported) -> bool {
        // The state is read under the lock: who holds it later reads a state at least as new, so what is written last was
        // read last.
        let mut told = self.told.lock();
        told.seen = self.present(catalog);
        told.reported = match reported {
            Reported::Has(md5) => md5,
            Reported::Unknown => None,
        };
        self.due.store(false, Ordering::Release);
        reported != Reported::Has(told.seen)
    }

    /// Notes that a message about it is being sent. Returns how long ago the change was.
    pub fn notified(&self, wall_ms: u64) -> Option<Duration> {
        let mut told = self.told.lock();
        told.notified_ms = wall_ms;
        told.acked = false;
        let changed = *self.topic.changed.lock();
        changed.map(|changed| changed.elapsed())
    }

    /// Notes that the client acknowledged the message.
    pub fn acked(&self) {
        self.told.lock().acked = true;
    }

    pub(super) fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }

    fn is_news(&self, catalog: &Catalog) -> bool {
        let mut told = self.told.lock();
        let present = self.present(catalog);
        if told.seen == present {
            return false;
        }
        told.seen = present;
        self.due.store(true, Ordering::Release);
        true
    }

    fn present(&self, catalog: &Catalog) -> Option<Md5> {
        catalog.item(&self.topic.key).and_then(|item| self.listener.md5(&item))
    }
}

/// The content that a client says it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// The content with this md5. `None` means no content.
    Has(Option<Md5>),
    /// A text that is not an md5. It differs from every content.
    Unknown,
}

impl Reported {
    /// Reads the md5 that a client sends. An empty text means no content.
    pub fn parse(text: &str) -> Reported {
        match text {
            "" => Reported::Has(None),
            // Nacos compares texts: upper case is not equal.
            text if text.bytes().any(|b| b.is_ascii_uppercase()) => Reported::Unknown,
            text => Md5::parse(text).map_or(Reported::Unknown, |md5| Reported::Has(Some(md5))),
        }
    }
}

impl fmt::Debug for Listening {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listening").field("key", self.key()).finish_non_exhaustive()
    }
}
