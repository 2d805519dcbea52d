//! Fuzzy watches: which clients are told that services or configurations appear and disappear
//! (`NamingFuzzyWatchContextService` and `ConfigFuzzyWatchContextService` of Nacos 3).
//!
//! A pattern has the set of listed keys that match it, and a watch has the set of keys that its client was told. The
//! difference is sent, and it is computed when the transport can send it, so a slow client costs no queue.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use dyad_types::config::config_namespace;
use dyad_types::key::{DEFAULT_GROUP, split_grouped};
use dyad_types::{ConfigKey, Lease, NoPlace, Place, Places, ServiceKey};
use parking_lot::Mutex;

/// Most keys that one pattern follows; clients are not told of further ones. This is the default of Nacos.
pub const MATCHES_MAX: usize = 500;
/// Keys in one message of the first synchronisation.
const BATCH: usize = 100;
/// Characters of a pattern: those of its three parts and their separators.
const PATTERN_LEN_MAX: usize = 1024;
const SEPARATOR: &str = ">>";
const ANY: &str = "*";

/// Why a watch could not be set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FuzzyError {
    #[error("fuzzy watch pattern over limit: {0}")]
    NoPlace(#[from] NoPlace),
    #[error("the pattern must be namespace>>group>>name, each part with at most one run of * at either end")]
    Malformed,
}

/// A key that can be watched: that of a service or of a configuration.
pub trait Named: Clone + Ord + Send + Sync + fmt::Debug + 'static {
    /// The places of patterns of such keys.
    const PATTERNS: Place;
    fn namespace(&self) -> &str;
    fn group(&self) -> &str;
    fn name(&self) -> &str;
    /// The id of a namespace in its usual form.
    fn one_form(namespace: &str) -> String;
    /// The text of the key in messages of watches.
    fn text(&self) -> String;
    /// The key for which such a text stands. `None` if it is not such a text.
    fn from_text(text: &str) -> Option<Self>;
}

impl Named for ServiceKey {
    const PATTERNS: Place = Place::ServicePatterns;

    fn namespace(&self) -> &str {
        ServiceKey::namespace(self)
    }

    fn group(&self) -> &str {
        ServiceKey::group(self)
    }

    fn name(&self) -> &str {
        ServiceKey::name(self)
    }

    fn one_form(namespace: &str) -> String {
        ServiceKey::new(namespace, DEFAULT_GROUP, "").namespace().to_owned()
    }

    /// `namespace@@group@@service`.
    fn text(&self) -> String {
        dyad_types::key::grouped(self.namespace(), self.grouped_name())
    }

    fn from_text(text: &str) -> Option<ServiceKey> {
        let (namespace, grouped) = split_grouped(text)?;
        let (group, name) = split_grouped(grouped)?;
        Some(ServiceKey::new(namespace, group, name))
    }
}

impl Named for ConfigKey {
    const PATTERNS: Place = Place::ConfigPatterns;

    fn namespace(&self) -> &str {
        ConfigKey::namespace(self)
    }

    fn group(&self) -> &str {
        ConfigKey::group(self)
    }

    fn name(&self) -> &str {
        self.data_id()
    }

    fn one_form(namespace: &str) -> String {
        config_namespace(namespace).to_owned()
    }

    /// `dataId+group+namespace`.
    fn text(&self) -> String {
        let mut text = self.group_key();
        if self.is_public() {
            text.push('+');
            text.push_str(self.namespace());
        }
        text
    }

    fn from_text(text: &str) -> Option<ConfigKey> {
        ConfigKey::parse_group_key(text)
    }
}

/// A client, which is told that a watch has something to send.
pub trait Watcher<K: Named>: Send + Sync + fmt::Debug + 'static {
    /// Says that the watch has something to send. It must be quick and must not call [`Fuzzy`].
    fn notify(&self, watch: &Arc<Watch<K>>);
}

/// Something, and the place that it takes.
type Placed<T> = (Arc<T>, Lease);

/// All patterns that are watched on this member.
#[derive(Debug)]
pub struct Fuzzy<K: Named> {
    /// Each with the place of the address that watched it first.
    patterns: Mutex<HashMap<Arc<str>, Placed<Pattern<K>>>>,
    /// The number of patterns, for code that changes what is listed.
    len: AtomicUsize,
}

impl<K: Named> Default for Fuzzy<K> {
    fn default() -> Fuzzy<K> {
        Fuzzy { patterns: Mutex::default(), len: AtomicUsize::new(0) }
    }
}

#[derive(Debug)]
struct Pattern<K: Named> {
    text: Arc<str>,
    namespace: String,
    group: String,
    name: String,
    matched: Mutex<Matched<K>>,
    watches: Mutex<HashMap<u64, Placed<Watch<K>>>>,
}

#[derive(Debug)]
struct Matched<K> {
    keys: BTreeSet<K>,
    /// There are more than are followed.
    over: bool,
}

/// The watch of one client for one pattern.
pub struct Watch<K: Named> {
    id: u64,
    pattern: Arc<Pattern<K>>,
    watcher: Arc<dyn Watcher<K>>,
    told: Mutex<Told<K>>,
    ended: AtomicBool,
    /// For the watcher: whether it has this watch on its list of what to send.
    pub queued: AtomicBool,
}

#[derive(Debug)]
struct Told<K> {
    keys: BTreeSet<K>,
    phase: Phase<K>,
}

#[derive(Debug)]
enum Phase<K> {
    /// The first difference is still to be made.
    Begin {
        initial: bool,
    },
    /// Its messages.
    Sync {
        initial: bool,
        total: usize,
        rest: VecDeque<Vec<Appearance<K>>>,
    },
    Live,
}

/// A key that appeared (`ADD_SERVICE`, `ADD_CONFIG`) or disappeared (`DELETE_…`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appearance<K> {
    pub key: K,
    pub listed: bool,
}

/// The next message of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<K> {
    /// One message of the first difference. The messages are numbered from 1. `initial` says that the client has nothing yet.
    Sync {
        initial: bool,
        contexts: Vec<Appearance<K>>,
        total: usize,
        current: usize,
    },
    /// Says that the client has everything that existed when it began.
    InitDone,
    Change(Appearance<K>),
}

impl<K> Step<K> {
    /// The name of this step in Nacos.
    pub fn sync_type(&self) -> &'static str {
        match self {
            Step::Sync { initial: true, .. } => "FUZZY_WATCH_INIT_NOTIFY",
            Step::Sync { .. } => "FUZZY_WATCH_DIFF_SYNC_NOTIFY",
            Step::InitDone => "FINISH_FUZZY_WATCH_INIT_NOTIFY",
            Step::Change(_) => "FUZZY_WATCH_RESOURCE_CHANGED",
        }
    }
}

impl<K: Named> Fuzzy<K> {
    /// Begins a watch. `listed` finds the keys that exist: those for which its argument holds, at most [`MATCHES_MAX`],
    /// and whether there are more. `received` has the keys that the client knows already. `initial` says that the
    /// client knows nothing and wants to hear when it has everything. `address` is that of its socket. The second result says
    /// whether the pattern matches more keys than are followed.
    ///
    /// # Errors
    /// The pattern is malformed, or too many patterns are watched, or too many by this address.
    pub fn watch(
        &self,
        listed: impl Fn(&dyn Fn(&K) -> bool) -> (BTreeSet<K>, bool),
        pattern: &str,
        received: BTreeSet<K>,
        initial: bool,
        watcher: Arc<dyn Watcher<K>>,
        (places, address): (&Places, IpAddr),
    ) -> Result<(Arc<Watch<K>>, bool), FuzzyError> {
        /// Of the process: only the difference matters.
        static IDS: AtomicU64 = AtomicU64::new(0);
        let place = places.take(Place::Watches, address)?;
        let mut patterns = self.patterns.lock();
        let pattern = match patterns.get(pattern) {
            Some((pattern, _)) => pattern.clone(),
            None => {
                let pattern = Arc::new(Pattern::parse(pattern).ok_or(FuzzyError::Malformed)?);
                let place = places.take(K::PATTERNS, address)?;
                // Known first, then filled: what appears in between waits for the lock.
                let mut matched = pattern.matched.lock();
                patterns.insert(pattern.text.clone(), (pattern.clone(), place));
                self.len.store(patterns.len(), Ordering::SeqCst);
                let (keys, over) = listed(&|key| pattern.takes(key));
                *matched = Matched { keys, over };
                drop(matched);
                pattern
            }
        };
        let watch = Arc::new(Watch {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            pattern: pattern.clone(),
            watcher,
            told: Mutex::new(Told { keys: received, phase: Phase::Begin { initial } }),
            ended: AtomicBool::new(false),
            queued: AtomicBool::new(false),
        });
        pattern.watches.lock().insert(watch.id, (watch.clone(), place));
        let over = pattern.matched.lock().over;
        Ok((watch, over))
    }

    /// Ends a watch. It may be ended twice.
    pub fn unwatch(&self, watch: &Arc<Watch<K>>) {
        watch.ended.store(true, Ordering::Release);
        let mut patterns = self.patterns.lock();
        let mut watches = watch.pattern.watches.lock();
        watches.remove(&watch.id);
        let present =
            patterns.get(&watch.pattern.text).is_some_and(|(held, _)| Arc::ptr_eq(held, &watch.pattern));
        if watches.is_empty() && present {
            patterns.remove(&watch.pattern.text);
            self.len.store(patterns.len(), Ordering::SeqCst);
        }
    }

    fn all(&self) -> Vec<Arc<Pattern<K>>> {
        self.patterns.lock().values().map(|(pattern, _)| pattern.clone()).collect()
    }

    /// A key appeared in what is listed, or left it.
    pub(crate) fn listed(&self, key: &K, listed: bool) {
        if self.len.load(Ordering::SeqCst) == 0 {
            return;
        }
        let matching = |pattern: &Arc<Pattern<K>>| pattern.takes(key);
        let patterns: Vec<Arc<Pattern<K>>> = self.all().into_iter().filter(matching).collect();
        for pattern in patterns {
            pattern.set(key, listed);
        }
    }

    /// Everything may have changed: every pattern looks again, by `listed` as in [`Fuzzy::watch`].
    pub(crate) fn reloaded(&self, listed: impl Fn(&dyn Fn(&K) -> bool) -> (BTreeSet<K>, bool)) {
        for pattern in self.all() {
            {
                let mut matched = pattern.matched.lock();
                let (keys, over) = listed(&|key| pattern.takes(key));
                *matched = Matched { keys, over };
            }
            pattern.notify();
        }
    }
}

impl<K: Named> Pattern<K> {
    fn parse(text: &str) -> Option<Pattern<K>> {
        let parts: Vec<&str> = text.split(SEPARATOR).collect();
        let [namespace, group, name] = parts.as_slice() else { return None };
        if text.chars().count() > PATTERN_LEN_MAX || name.is_empty() {
            return None;
        }
        // The same blank namespace and group as everywhere.
        let group = if group.is_empty() { DEFAULT_GROUP } else { group };
        Some(Pattern {
            text: text.into(),
            namespace: K::one_form(namespace),
            group: group.to_owned(),
            name: (*name).to_owned(),
            matched: Mutex::new(Matched { keys: BTreeSet::new(), over: false }),
            watches: Mutex::default(),
        })
    }

    fn takes(&self, key: &K) -> bool {
        key.namespace() == self.namespace
            && part_matches(&self.group, key.group())
            && part_matches(&self.name, key.name())
    }

    fn set(&self, key: &K, listed: bool) {
        {
            let mut matched = self.matched.lock();
            if !listed {
                matched.keys.remove(key);
            } else if matched.keys.len() < MATCHES_MAX {
                matched.keys.insert(key.clone());
            } else if !matched.keys.contains(key) {
                matched.over = true;
            }
        }
        self.notify();
    }

    fn notify(&self) {
        let watches: Vec<Arc<Watch<K>>> =
            self.watches.lock().values().map(|(watch, _)| watch.clone()).collect();
        for watch in watches {
            watch.notify();
        }
    }
}

/// `FuzzyGroupKeyPattern.itemMatched`: a star at either end; a star elsewhere matches nothing.
fn part_matches(pattern: &str, text: &str) -> bool {
    if !pattern.contains(ANY) {
        return pattern == text;
    }
    let bare = pattern.replace(ANY, "");
    match (pattern.starts_with(ANY), pattern.ends_with(ANY)) {
        (true, true) => text.contains(&bare),
        (true, false) => text.ends_with(&bare),
        (false, true) => text.starts_with(&bare),
        (false, false) => false,
    }
}

impl<K: Named> Watch<K> {
    pub fn pattern(&self) -> &str {
        &self.pattern.text
    }

    /// Tells the watcher, unless the watch has ended.
    pub fn notify(self: &Arc<Watch<K>>) {
        if !self.ended.load(Ordering::Acquire) {
            self.watcher.notify(self);
        }
    }

    /// The next message to send. `None` if there is nothing to send now.
    pub fn step(&self) -> Option<Step<K>> {
        if self.ended.load(Ordering::Acquire) {
            return None;
        }
        let mut told = self.told.lock();
        let Told { keys, phase } = &mut *told;
        if let Phase::Begin { initial } = *phase {
            let matched = self.pattern.matched.lock().keys.clone();
            let gone = keys.difference(&matched).map(|key| (key.clone(), false));
            let new = matched.difference(keys).map(|key| (key.clone(), true));
            let all: Vec<Appearance<K>> =
                gone.chain(new).map(|(key, listed)| Appearance { key, listed }).collect();
            let rest: VecDeque<Vec<Appearance<K>>> =
                all.chunks(BATCH).map(<[Appearance<K>]>::to_vec).collect();
            *keys = matched;
            *phase = Phase::Sync { initial, total: rest.len(), rest };
        }
        if let Phase::Sync { initial, total, rest } = phase {
            let (initial, total) = (*initial, *total);
            if let Some(contexts) = rest.pop_front() {
                return Some(Step::Sync { initial, contexts, total, current: total - rest.len() });
            }
            *phase = Phase::Live;
            if initial {
                return Some(Step::InitDone);
            }
        }
        let matched = self.pattern.matched.lock();
        if let Some(key) = keys.difference(&matched.keys).next().cloned() {
            keys.remove(&key);
            return Some(Step::Change(Appearance { key, listed: false }));
        }
        let key = matched.keys.difference(keys).next().cloned()?;
        keys.insert(key.clone());
        Some(Step::Change(Appearance { key, listed: true }))
    }
}

impl<K: Named> fmt::Debug for Watch<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("pattern", &self.pattern.text).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_matches_at_the_ends_only() {
        for (pattern, text, want) in [
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("*", "", true),
            ("ab*", "abc", true),
            ("ab*", "cab", false),
            ("*bc", "abc", true),
            ("*b*", "abc", true),
            ("*x*", "abc", false),
            ("a*c", "abc", false),
        ] {
            assert_eq!(part_matches(pattern, text), want, "{pattern} {text}");
        }
    }

    #[test]
    fn texts_of_services_are_read_back() {
        let key = ServiceKey::new("", "G", "a@b");
        assert_eq!(key.text(), "public@@G@@a@b");
        assert_eq!(ServiceKey::from_text("public@@G@@a@b"), Some(key));
        assert_eq!(ServiceKey::from_text("G@@s"), None);
    }
}
