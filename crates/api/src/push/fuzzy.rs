//! Fuzzy watches: who is told which services appear and go (`NamingFuzzyWatchContextService` of Nacos 3).
//!
//! A pattern keeps the set of listed services that match it, a watch the set that its client was told. What is sent is the
//! difference, made when the transport takes it: a slow watcher costs no queue.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use dyad_naming::Registry;
use dyad_types::ServiceKey;
use dyad_types::key::{DEFAULT_GROUP, split_grouped};
use parking_lot::Mutex;

/// Different patterns that are watched on one member (Nacos's default).
pub const PATTERNS_MAX: usize = 20;
/// Services that one pattern follows (Nacos's default); more are not told of.
pub const MATCHES_MAX: usize = 500;
/// Services in one message of the first synchronisation.
const BATCH: usize = 100;
/// Characters of a pattern: those of its three parts and their separators.
const PATTERN_LEN_MAX: usize = 1024;
const SEPARATOR: &str = ">>";
const ANY: &str = "*";

/// Why a watch was not set up, or not in full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FuzzyError {
    #[error("fuzzy watch pattern over limit, at most {PATTERNS_MAX} patterns are watched on one server")]
    Patterns,
    #[error(
        "the pattern must be namespace>>group>>service, each part with at most one run of * at either end"
    )]
    Malformed,
}

/// Somebody who is told that a watch has something to send.
pub trait Watcher: Send + Sync + fmt::Debug + 'static {
    /// Must be quick, and must not call [`Fuzzy`].
    fn notify(&self, watch: &Arc<Watch>);
}

/// All patterns that are watched on this member.
#[derive(Debug, Default)]
pub struct Fuzzy {
    patterns: Mutex<HashMap<Arc<str>, Arc<Pattern>>>,
    /// `patterns.len()`, for writers of the registry.
    len: AtomicUsize,
}

#[derive(Debug)]
struct Pattern {
    text: Arc<str>,
    namespace: String,
    group: String,
    service: String,
    matched: Mutex<Matched>,
    watches: Mutex<HashMap<u64, Arc<Watch>>>,
}

#[derive(Debug, Default)]
struct Matched {
    services: BTreeSet<ServiceKey>,
    /// There are more than are followed.
    over: bool,
}

/// One client's watch of one pattern.
pub struct Watch {
    id: u64,
    pattern: Arc<Pattern>,
    watcher: Arc<dyn Watcher>,
    told: Mutex<Told>,
    ended: AtomicBool,
    /// The watcher has it on its list of what to send; the watcher's to use.
    pub queued: AtomicBool,
}

#[derive(Debug)]
struct Told {
    services: BTreeSet<ServiceKey>,
    phase: Phase,
}

#[derive(Debug)]
enum Phase {
    /// The first difference is still to be made.
    Begin {
        initial: bool,
    },
    /// Its messages.
    Sync {
        initial: bool,
        total: usize,
        rest: VecDeque<Vec<Appearance>>,
    },
    Live,
}

/// A service that appeared (`ADD_SERVICE`) or went (`DELETE_SERVICE`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appearance {
    pub service: ServiceKey,
    pub listed: bool,
}

/// The next message of a watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// One message of the first difference, numbered from 1. `initial`: the client has nothing yet.
    Sync {
        initial: bool,
        contexts: Vec<Appearance>,
        total: usize,
        current: usize,
    },
    /// The client has everything that there was when it began.
    InitDone,
    Change(Appearance),
}

impl Fuzzy {
    /// Begins a watch. `received` is what the client has already; `initial` says that it has nothing and wants to be told
    /// when it has all. The second value says that the pattern matches more than is followed.
    ///
    /// # Errors
    /// A malformed pattern, or one more than may be watched.
    pub fn watch(
        &self,
        registry: &Registry,
        pattern: &str,
        received: BTreeSet<ServiceKey>,
        initial: bool,
        watcher: Arc<dyn Watcher>,
    ) -> Result<(Arc<Watch>, bool), FuzzyError> {
        /// Of the process: only the difference matters.
        static IDS: AtomicU64 = AtomicU64::new(0);
        let mut patterns = self.patterns.lock();
        let pattern = match patterns.get(pattern) {
            Some(pattern) => pattern.clone(),
            None if patterns.len() >= PATTERNS_MAX => return Err(FuzzyError::Patterns),
            None => {
                let pattern = Arc::new(Pattern::parse(pattern).ok_or(FuzzyError::Malformed)?);
                // Known first, then filled: what appears in between waits for the lock.
                let mut matched = pattern.matched.lock();
                patterns.insert(pattern.text.clone(), pattern.clone());
                self.len.store(patterns.len(), Ordering::SeqCst);
                let (services, over) = registry.listed(|key| pattern.takes(key), MATCHES_MAX);
                *matched = Matched { services, over };
                drop(matched);
                pattern
            }
        };
        let watch = Arc::new(Watch {
            id: IDS.fetch_add(1, Ordering::Relaxed),
            pattern: pattern.clone(),
            watcher,
            told: Mutex::new(Told { services: received, phase: Phase::Begin { initial } }),
            ended: AtomicBool::new(false),
            queued: AtomicBool::new(false),
        });
        pattern.watches.lock().insert(watch.id, watch.clone());
        let over = pattern.matched.lock().over;
        Ok((watch, over))
    }

    /// Ends a watch. Ending it twice is no error.
    pub fn unwatch(&self, watch: &Arc<Watch>) {
        watch.ended.store(true, Ordering::Release);
        let mut patterns = self.patterns.lock();
        let mut watches = watch.pattern.watches.lock();
        watches.remove(&watch.id);
        let present = patterns.get(&watch.pattern.text).is_some_and(|held| Arc::ptr_eq(held, &watch.pattern));
        if watches.is_empty() && present {
            patterns.remove(&watch.pattern.text);
            self.len.store(patterns.len(), Ordering::SeqCst);
        }
    }

    /// A service appeared in the registry's listing, or left it.
    pub(super) fn listed(&self, service: &ServiceKey, listed: bool) {
        if self.len.load(Ordering::SeqCst) == 0 {
            return;
        }
        let matching = |pattern: &&Arc<Pattern>| pattern.takes(service);
        let patterns: Vec<Arc<Pattern>> = self.patterns.lock().values().filter(matching).cloned().collect();
        for pattern in patterns {
            pattern.set(service, listed);
        }
    }
}

impl Pattern {
    fn parse(text: &str) -> Option<Pattern> {
        let parts: Vec<&str> = text.split(SEPARATOR).collect();
        let [namespace, group, service] = parts.as_slice() else { return None };
        if text.chars().count() > PATTERN_LEN_MAX || service.is_empty() {
            return None;
        }
        // The same blank namespace and group as everywhere.
        let group = if group.is_empty() { DEFAULT_GROUP } else { group };
        let namespace = ServiceKey::new(namespace, group, service).namespace().to_owned();
        Some(Pattern {
            text: text.into(),
            namespace,
            group: group.to_owned(),
            service: (*service).to_owned(),
            matched: Mutex::default(),
            watches: Mutex::default(),
        })
    }

    fn takes(&self, key: &ServiceKey) -> bool {
        key.namespace() == self.namespace
            && part_matches(&self.group, key.group())
            && part_matches(&self.service, key.name())
    }

    fn set(&self, service: &ServiceKey, listed: bool) {
        {
            let mut matched = self.matched.lock();
            if !listed {
                matched.services.remove(service);
            } else if matched.services.len() < MATCHES_MAX {
                matched.services.insert(service.clone());
            } else if !matched.services.contains(service) {
                matched.over = true;
            }
        }
        let watches: Vec<Arc<Watch>> = self.watches.lock().values().cloned().collect();
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

impl Watch {
    pub fn pattern(&self) -> &str {
        &self.pattern.text
    }

    /// Tells the watcher, unless the watch has ended.
    pub fn notify(self: &Arc<Watch>) {
        if !self.ended.load(Ordering::Acquire) {
            self.watcher.notify(self);
        }
    }

    /// What to send next, or nothing for now.
    pub fn step(&self) -> Option<Step> {
        if self.ended.load(Ordering::Acquire) {
            return None;
        }
        let mut told = self.told.lock();
        let Told { services, phase } = &mut *told;
        if let Phase::Begin { initial } = *phase {
            let matched = self.pattern.matched.lock().services.clone();
            let gone = services.difference(&matched).map(|key| (key.clone(), false));
            let new = matched.difference(services).map(|key| (key.clone(), true));
            let all: Vec<Appearance> =
                gone.chain(new).map(|(service, listed)| Appearance { service, listed }).collect();
            let rest: VecDeque<Vec<Appearance>> = all.chunks(BATCH).map(<[Appearance]>::to_vec).collect();
            *services = matched;
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
        if let Some(service) = services.difference(&matched.services).next().cloned() {
            services.remove(&service);
            return Some(Step::Change(Appearance { service, listed: false }));
        }
        let service = matched.services.difference(services).next().cloned()?;
        services.insert(service.clone());
        Some(Step::Change(Appearance { service, listed: true }))
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("pattern", &self.pattern.text).finish_non_exhaustive()
    }
}

/// `namespace@@group@@service`, as fuzzy watches name services.
pub fn service_text(service: &ServiceKey) -> String {
    dyad_types::key::grouped(service.namespace(), service.grouped_name())
}

/// The service that such a text names.
pub fn parse_service(text: &str) -> Option<ServiceKey> {
    let (namespace, grouped) = split_grouped(text)?;
    let (group, name) = split_grouped(grouped)?;
    Some(ServiceKey::new(namespace, group, name))
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
        assert_eq!(service_text(&key), "public@@G@@a@b");
        assert_eq!(parse_service("public@@G@@a@b"), Some(key));
        assert_eq!(parse_service("G@@s"), None);
    }
}
