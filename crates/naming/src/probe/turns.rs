//! The addresses whose time has come and that wait for a dial. They are dialed by turns: first of those that answered lately and
//! of all others, then of namespaces, then of services. So nobody waits for the many addresses of somebody else.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound::{Excluded, Unbounded};

use dyad_types::{Address, Millis, ServiceKey};

/// Where an address waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Lane {
    /// It answered, and was not found dead since.
    pub(super) is_alive: bool,
    /// One of its services.
    pub(super) service: ServiceKey,
}

type Addresses = BTreeSet<(Millis, Address)>;
type Services = Ring<ServiceKey, Addresses>;

/// See the module's description.
#[derive(Debug, Default)]
pub(super) struct Turns {
    /// Those that are alive, and all others.
    halves: [Ring<Box<str>, Services>; 2],
    /// The half whose turn it is not.
    last: usize,
    len: usize,
}

impl Turns {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Adds an address that waits since `at`.
    pub(super) fn push(&mut self, lane: &Lane, at: Millis, address: Address) {
        let namespaces = &mut self.halves[usize::from(!lane.is_alive)];
        let services = namespaces.entry(lane.service.namespace().into());
        self.len += usize::from(services.entry(lane.service.clone()).insert((at, address)));
    }

    /// Takes out an address that was pushed with the same lane and time.
    pub(super) fn remove(&mut self, lane: &Lane, at: Millis, address: &Address) {
        let namespaces = &mut self.halves[usize::from(!lane.is_alive)];
        let namespace = lane.service.namespace();
        let Some(services) = namespaces.all.get_mut(namespace) else { return };
        let Some(addresses) = services.all.get_mut(&lane.service) else { return };
        self.len -= usize::from(addresses.remove(&(at, address.clone())));
        if addresses.is_empty() {
            services.all.remove(&lane.service);
        }
        if services.all.is_empty() {
            namespaces.all.remove(namespace);
        }
    }

    /// The next address, and since when it waits.
    pub(super) fn pop(&mut self) -> Option<(Millis, Address)> {
        let other = 1 - self.last;
        let half = if self.halves[other].all.is_empty() { self.last } else { other };
        self.last = half;
        let namespaces = &mut self.halves[half];
        let namespace = namespaces.turn()?;
        let services = namespaces.all.get_mut(&namespace)?;
        let service = services.turn()?;
        let addresses = services.all.get_mut(&service)?;
        let first = addresses.pop_first();
        self.len -= usize::from(first.is_some());
        if addresses.is_empty() {
            services.all.remove(&service);
        }
        if services.all.is_empty() {
            namespaces.all.remove(&namespace);
        }
        first
    }
}

/// Things that have their turns in the order of their keys.
#[derive(Debug)]
struct Ring<K, V> {
    all: BTreeMap<K, V>,
    /// Whose turn was last.
    last: Option<K>,
}

impl<K, V> Default for Ring<K, V> {
    fn default() -> Ring<K, V> {
        Ring { all: BTreeMap::new(), last: None }
    }
}

impl<K: Ord + Clone, V: Default> Ring<K, V> {
    fn entry(&mut self, key: K) -> &mut V {
        self.all.entry(key).or_default()
    }

    /// Whose turn it is.
    fn turn(&mut self) -> Option<K> {
        let after = |last: &K| self.all.range((Excluded(last), Unbounded)).next();
        let (key, _) = self.last.as_ref().and_then(after).or_else(|| self.all.first_key_value())?;
        let key = key.clone();
        self.last = Some(key.clone());
        Some(key)
    }
}
