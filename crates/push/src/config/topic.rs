//! One configuration's listeners, and what each was told.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dyad_config::Catalog;
use dyad_types::{ConfigKey, Md5};
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

/// One listener's interest in one configuration.
pub struct Listening {
    topic: Arc<Topic>,
    listener: Arc<dyn Listener>,
    /// Where it is in the topic's list; written under the list's lock.
    at: AtomicU32,
    mark: u32,
    /// The namespace as the client spelled it, unless that is its one form.
    tenant: Option<Box<str>>,
    since_ms: u64,
    told: Mutex<Told>,
    /// There was a change since the client last said what it has. Written under the lock of `told`.
    due: AtomicBool,
    /// The listener has it on its list of what to send; the listener's to use.
    pub queued: AtomicBool,
    /// The number of the message that was sent last; the listener's to use.
    pub last_sent: AtomicU64,
}

/// What a listener has and knows. `None` stands for no content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Told {
    /// What the client said it has.
    pub reported: Option<Md5>,
    /// The state that it last was compared with, or told of.
    pub seen: Option<Md5>,
    /// When it was last told of a change, in milliseconds since the epoch; 0 if it never was.
    pub notified_ms: u64,
    /// It acknowledged that.
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

    /// The namespace as the client spelled it.
    pub fn tenant(&self) -> &str {
        self.tenant.as_deref().unwrap_or_else(|| self.topic.key.namespace())
    }

    /// What [`super::Listeners::listen`] was given.
    pub fn mark(&self) -> u32 {
        self.mark
    }

    /// Milliseconds since the epoch.
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

    /// Is a message about it worth sending? Not when the client said meanwhile what it has: the answer to that told it what a
    /// message that still waits, or would be repeated, could tell.
    pub fn is_due(&self) -> bool {
        !self.is_ended() && self.due.load(Ordering::Acquire)
    }

    /// The client says what it has: does it differ from what there is? From now on it is told of what comes after. The caller
    /// must answer it.
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

    /// A message about it is being sent. Returns how long ago the change was.
    pub fn notified(&self, wall_ms: u64) -> Option<Duration> {
        let mut told = self.told.lock();
        told.notified_ms = wall_ms;
        told.acked = false;
        let changed = *self.topic.changed.lock();
        changed.map(|changed| changed.elapsed())
    }

    /// The client acknowledged the message.
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

/// What a client says it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reported {
    /// The content of this md5; `None` is no content.
    Has(Option<Md5>),
    /// Something that is no md5: it differs from whatever there is.
    Unknown,
}

impl Reported {
    /// Reads the md5 that a client sends; empty is no content.
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
