//! Which clients get pushes by UDP, which datagrams are on their way, and when each is sent again. It is a state
//! machine without a socket and without a clock.
//!
//! A datagram goes only to an address from which a query came over TCP, so nobody can be made a target by a forged
//! source. A client that never acknowledges, for example because somebody else has its address now, gets at most
//! [`TRIES`] datagrams in [`ACK_MS`] for each of at most [`UNACKNOWLEDGED_MAX`] subscriptions. It gets none from
//! [`SLACK_MS`] after its cache time on, unless it sends another query.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use dyad_types::ServiceKey;

/// After so long without an acknowledgement a datagram is sent again, or given up (`PushService.ACK_TIMEOUT_NANOS`).
pub(super) const ACK_MS: u64 = 10_000;
/// A datagram is sent so often at most (`Constants.UDP_MAX_RETRY_TIMES` is one repetition).
pub(super) const TRIES: u8 = 2;
/// Subscriptions of one IP address with an unacknowledged datagram; further ones wait until one of these is acknowledged or
/// given up. Clients acknowledge within a round trip, so that many in flight hold nobody up.
pub(super) const UNACKNOWLEDGED_MAX: usize = 16;
/// A client that polls each `cacheMillis` comes later than that by the network and its own delays.
pub(super) const SLACK_MS: u64 = 1_000;

/// One subscription: there is one for each client socket, service and text of clusters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub to: SocketAddr,
    pub service: ServiceKey,
    pub clusters: Arc<str>,
}

/// Number of a subscription; never used again.
pub(super) type Id = u64;

/// What is known about the subscriptions. `S` is what the caller has to end with one, `P` a packet.
#[derive(Debug)]
pub(super) struct Book<S, P> {
    ids: HashMap<Key, Id>,
    entries: HashMap<Id, Entry<S, P>>,
    addresses: HashMap<IpAddr, Address>,
    /// What is on its way, by the address and number that its acknowledgement has.
    flights: HashMap<(SocketAddr, u64), Id>,
    /// In the order of their time, since all wait equally long. An entry that was acknowledged stays until then.
    deadlines: VecDeque<(u64, Id, u64)>,
    ready: VecDeque<Id>,
    last: Id,
}

#[derive(Debug)]
struct Entry<S, P> {
    key: Key,
    held: Option<S>,
    polled: u64,
    /// There is something that was not sent.
    dirty: bool,
    /// It is on `ready`.
    queued: bool,
    /// Datagrams since the last acknowledgement or surrender.
    sent: u8,
    flight: Option<(u64, P)>,
}

#[derive(Debug, Default)]
struct Address {
    entries: usize,
    unacknowledged: usize,
    /// Have something to send and no room; each entry at most once.
    waiting: VecDeque<Id>,
}

/// What is due at a time.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Due<P> {
    /// To be sent again.
    pub again: Vec<(SocketAddr, P)>,
    /// Given up.
    pub failed: usize,
}

impl<S, P> Default for Book<S, P> {
    fn default() -> Book<S, P> {
        Book {
            ids: HashMap::new(),
            entries: HashMap::new(),
            addresses: HashMap::new(),
            flights: HashMap::new(),
            deadlines: VecDeque::new(),
            ready: VecDeque::new(),
            last: 0,
        }
    }
}

impl<S: Clone, P: Clone> Book<S, P> {
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// A query that may be pushed to arrived. False if it is the first of this client: the caller then calls [`Book::enter`].
    pub(super) fn asked_again(&mut self, now: u64, key: &Key) -> bool {
        match self.ids.get(key).and_then(|id| self.entries.get_mut(id)) {
            Some(entry) => {
                entry.polled = now;
                true
            }
            None => false,
        }
    }

    /// Takes in a client: the caller subscribes, and hands what it has to end later to [`Book::subscribed`]. `None` if it is
    /// there already.
    pub(super) fn enter(&mut self, now: u64, key: &Key) -> Option<Id> {
        if self.asked_again(now, key) {
            return None;
        }
        self.last += 1;
        let entry = Entry {
            key: key.clone(),
            held: None,
            polled: now,
            dirty: false,
            queued: false,
            sent: 0,
            flight: None,
        };
        self.ids.insert(key.clone(), self.last);
        self.entries.insert(self.last, entry);
        self.addresses.entry(key.to.ip()).or_default().entries += 1;
        Some(self.last)
    }

    pub(super) fn subscribed(&mut self, id: Id, held: S) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.held = Some(held);
        }
    }

    /// The service has changed for this subscription. It may be told before [`Book::subscribed`] is.
    pub(super) fn changed(&mut self, id: Id, held: S) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.dirty = true;
            entry.held.get_or_insert(held);
            self.admit(id);
        }
    }

    /// Puts a subscription with something to send on `ready`, or among those that wait for room at its address.
    fn admit(&mut self, id: Id) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if !entry.dirty || entry.queued || entry.sent >= TRIES {
            return;
        }
        let Some(address) = self.addresses.get_mut(&entry.key.to.ip()) else { return };
        entry.queued = true;
        if entry.sent == 0 {
            if address.unacknowledged >= UNACKNOWLEDGED_MAX {
                address.waiting.push_back(id);
                return;
            }
            address.unacknowledged += 1;
        }
        self.ready.push_back(id);
    }

    /// The next one to send to. The caller tells the outcome by [`Book::sent`] or [`Book::unsent`].
    pub(super) fn next(&mut self) -> Option<(Id, SocketAddr, S)> {
        while let Some(id) = self.ready.pop_front() {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.queued = false;
            entry.dirty = false;
            if let Some(held) = entry.held.clone() {
                return Some((id, entry.key.to, held));
            }
        }
        None
    }

    /// A packet is on its way; an earlier one for the same subscription is not waited for any more.
    pub(super) fn sent(&mut self, now: u64, id: Id, number: u64, packet: P) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some((old, _)) = entry.flight.replace((number, packet)) {
            self.flights.remove(&(entry.key.to, old));
        }
        entry.sent += 1;
        self.flights.insert((entry.key.to, number), id);
        self.deadlines.push_back((now + ACK_MS, id, number));
    }

    /// Nothing could be sent; the client polls.
    pub(super) fn unsent(&mut self, id: Id) {
        if self.entries.get(&id).is_some_and(|entry| entry.flight.is_none()) {
            self.settle(id);
        }
    }

    /// An acknowledgement; false when nothing waits for it.
    pub(super) fn acknowledged(&mut self, from: SocketAddr, number: u64) -> bool {
        let Some(&id) = self.flights.get(&(from, number)) else { return false };
        self.settle(id);
        true
    }

    /// Nothing of this subscription is on its way any more: its room at the address goes to the next one that waits.
    fn settle(&mut self, id: Id) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        if let Some((number, _)) = entry.flight.take() {
            self.flights.remove(&(entry.key.to, number));
        }
        entry.sent = 0;
        // What is ready to be sent keeps the room that it has.
        if !entry.queued {
            let ip = entry.key.to.ip();
            self.free(ip);
            self.admit(id);
        }
    }

    fn free(&mut self, ip: IpAddr) {
        let Some(address) = self.addresses.get_mut(&ip) else { return };
        address.unacknowledged -= 1;
        while let Some(id) = address.waiting.pop_front() {
            if self.entries.contains_key(&id) {
                address.unacknowledged += 1;
                self.ready.push_back(id);
                return;
            }
        }
    }

    /// What was not acknowledged in time.
    pub(super) fn due(&mut self, now: u64) -> Due<P> {
        let mut due = Due { again: Vec::new(), failed: 0 };
        while let Some((_, id, number)) = self.deadlines.pop_front_if(|(at, ..)| *at <= now) {
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            let Some((_, packet)) = entry.flight.as_ref().filter(|(flying, _)| *flying == number) else {
                continue;
            };
            if entry.sent < TRIES {
                entry.sent += 1;
                due.again.push((entry.key.to, packet.clone()));
                self.deadlines.push_back((now + ACK_MS, id, number));
            } else {
                due.failed += 1;
                self.settle(id);
            }
        }
        due
    }

    /// Forgets whoever has not asked for `cache_ms`; the caller ends what it held.
    pub(super) fn expire(&mut self, now: u64, cache_ms: u64) -> Vec<S> {
        let idle = |entry: &Entry<S, P>| now.saturating_sub(entry.polled) >= cache_ms + SLACK_MS;
        let gone: Vec<Id> = self.entries.iter().filter(|(_, entry)| idle(entry)).map(|(&id, _)| id).collect();
        gone.into_iter().filter_map(|id| self.forget(id)).collect()
    }

    fn forget(&mut self, id: Id) -> Option<S> {
        let entry = self.entries.remove(&id)?;
        self.ids.remove(&entry.key);
        let ip = entry.key.to.ip();
        let waits = self.addresses.get(&ip).is_some_and(|address| address.waiting.contains(&id));
        if let Some((number, _)) = &entry.flight {
            self.flights.remove(&(entry.key.to, *number));
        }
        if entry.sent > 0 || entry.queued && !waits {
            self.free(ip);
        }
        if let Some(address) = self.addresses.get_mut(&ip) {
            address.waiting.retain(|&waiting| waiting != id);
            address.entries -= 1;
            if address.entries == 0 {
                self.addresses.remove(&ip);
            }
        }
        entry.held
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Names = Book<String, String>;

    fn key(address: &str, service: &str) -> Key {
        let service = ServiceKey::new("public", "G", service);
        Key { to: address.parse().expect("an address"), service, clusters: "".into() }
    }

    fn subscribe(book: &mut Names, now: u64, address: &str, service: &str) -> Id {
        let id = book.enter(now, &key(address, service)).expect("it is new");
        book.subscribed(id, service.to_owned());
        id
    }

    fn changed(book: &mut Names, id: Id) {
        let service = book.entries[&id].key.service.name().to_owned();
        book.changed(id, service);
    }

    /// Sends what is ready with the numbers from `number` on; the services that were sent.
    fn send_all(book: &mut Names, now: u64, mut number: u64) -> Vec<String> {
        let mut sent = Vec::new();
        while let Some((id, _, service)) = book.next() {
            book.sent(now, id, number, format!("{service} {number}"));
            number += 1;
            sent.push(service);
        }
        sent
    }

    fn at(address: &str) -> SocketAddr {
        address.parse().expect("an address")
    }

    #[test]
    fn an_unacknowledged_packet_is_sent_twice_and_then_given_up() {
        let mut book = Names::default();
        let id = subscribe(&mut book, 0, "10.0.0.1:7", "a");
        changed(&mut book, id);
        assert_eq!(send_all(&mut book, 0, 1), ["a"]);
        assert_eq!(book.due(ACK_MS - 1), Due { again: vec![], failed: 0 });
        assert_eq!(book.due(ACK_MS), Due { again: vec![(at("10.0.0.1:7"), "a 1".into())], failed: 0 });
        assert_eq!(book.due(2 * ACK_MS), Due { again: vec![], failed: 1 });
        assert!(book.deadlines.is_empty(), "{book:?}");
        assert!(!book.acknowledged(at("10.0.0.1:7"), 1), "it is too late");
        changed(&mut book, id);
        assert_eq!(send_all(&mut book, 2 * ACK_MS, 2), ["a"]);
    }

    #[test]
    fn an_acknowledgement_counts_only_with_its_address_port_and_number() {
        let mut book = Names::default();
        let id = subscribe(&mut book, 0, "10.0.0.1:7", "a");
        changed(&mut book, id);
        send_all(&mut book, 0, 5);
        for (from, number) in [("10.0.0.2:7", 5), ("10.0.0.1:8", 5), ("10.0.0.1:7", 6)] {
            assert!(!book.acknowledged(at(from), number), "{from} {number}");
        }
        assert!(book.acknowledged(at("10.0.0.1:7"), 5));
        assert!(!book.acknowledged(at("10.0.0.1:7"), 5), "twice");
        assert_eq!(book.due(3 * ACK_MS), Due { again: vec![], failed: 0 });
    }

    #[test]
    fn a_newer_state_replaces_the_one_on_its_way_within_the_bound_of_datagrams() {
        let mut book = Names::default();
        let id = subscribe(&mut book, 0, "10.0.0.1:7", "a");
        for (number, expected) in [(1, vec!["a"]), (2, vec!["a"]), (3, vec![])] {
            changed(&mut book, id);
            assert_eq!(send_all(&mut book, 100, number), expected, "change {number}");
        }
        assert!(!book.acknowledged(at("10.0.0.1:7"), 1), "the first is superseded");
        assert!(book.acknowledged(at("10.0.0.1:7"), 2));
        assert_eq!(send_all(&mut book, 200, 3), ["a"], "what waited is sent after the acknowledgement");
        assert_eq!(book.due(200 + ACK_MS).again, [(at("10.0.0.1:7"), "a 3".to_owned())]);
    }

    #[test]
    fn an_acknowledgement_while_the_next_state_is_ready_leaves_the_room_in_order() {
        let mut book = Names::default();
        let id = subscribe(&mut book, 0, "10.0.0.1:7", "a");
        for number in 1..100 {
            changed(&mut book, id);
            assert_eq!(send_all(&mut book, number, 2 * number), ["a"]);
            changed(&mut book, id);
            assert!(book.acknowledged(at("10.0.0.1:7"), 2 * number));
            assert_eq!(send_all(&mut book, number, 2 * number + 1), ["a"]);
            assert!(book.acknowledged(at("10.0.0.1:7"), 2 * number + 1));
        }
        assert_eq!(book.addresses[&at("10.0.0.1:7").ip()].unacknowledged, 0);
    }

    #[test]
    fn an_address_has_a_bound_whatever_its_ports_and_others_are_not_held_up() {
        let mut book = Names::default();
        let count = UNACKNOWLEDGED_MAX + 2;
        let ids: Vec<Id> =
            (0..count).map(|n| subscribe(&mut book, 0, &format!("10.0.0.1:{}", 1000 + n), "a")).collect();
        let other = subscribe(&mut book, 0, "10.0.0.2:7", "b");
        for &id in ids.iter().chain([&other]) {
            changed(&mut book, id);
        }
        assert_eq!(send_all(&mut book, 0, 1).len(), UNACKNOWLEDGED_MAX + 1);
        assert!(book.acknowledged(at("10.0.0.1:1000"), 1));
        assert_eq!(send_all(&mut book, 0, 100), ["a"], "one is acknowledged, one goes");
        book.due(ACK_MS);
        let due = book.due(2 * ACK_MS);
        assert_eq!(due, Due { again: vec![], failed: UNACKNOWLEDGED_MAX + 1 });
        assert_eq!(send_all(&mut book, 2 * ACK_MS, 200), ["a"], "room is made by giving up too");
    }

    #[test]
    fn who_does_not_ask_is_forgotten_and_leaves_its_room() {
        let mut book = Names::default();
        let cache = 10_000;
        for n in 0..UNACKNOWLEDGED_MAX {
            let id = subscribe(&mut book, 0, &format!("10.0.0.1:{}", 1000 + n), "old");
            changed(&mut book, id);
        }
        let id = subscribe(&mut book, 5_000, "10.0.0.1:1", "kept");
        changed(&mut book, id);
        assert_eq!(send_all(&mut book, 5_000, 1).len(), UNACKNOWLEDGED_MAX);
        assert!(book.asked_again(cache, &key("10.0.0.1:1", "kept")));
        assert_eq!(book.enter(cache, &key("10.0.0.1:1", "kept")), None);
        assert!(book.expire(cache + SLACK_MS - 1, cache).is_empty());
        assert_eq!(book.expire(cache + SLACK_MS, cache), vec!["old".to_owned(); UNACKNOWLEDGED_MAX]);
        assert_eq!((book.len(), send_all(&mut book, 20_000, 50)), (1, vec!["kept".to_owned()]));
        assert!(book.acknowledged(at("10.0.0.1:1"), 50));
        assert_eq!(book.expire(50_000, cache), ["kept"]);
        assert!(book.addresses.is_empty() && book.flights.is_empty() && book.ids.is_empty(), "{book:?}");
    }

    #[test]
    fn what_is_waiting_or_ready_when_it_is_forgotten_leaves_no_trace() {
        let mut book = Names::default();
        for n in 0..UNACKNOWLEDGED_MAX + 3 {
            let id = subscribe(&mut book, 0, &format!("10.0.0.1:{}", 1000 + n), "a");
            changed(&mut book, id);
        }
        assert_eq!(book.expire(60_000, 10_000).len(), UNACKNOWLEDGED_MAX + 3);
        assert!(book.next().is_none() && book.addresses.is_empty(), "{book:?}");
    }
}
