//! Bounds on what all clients together may hold at a time, and on what one address may have of it: bytes in flight, connections,
//! listeners. Whoever wants something large asks first, holds a [`Lease`] for as long as it is there, and is refused at once
//! when there is no room.
//!
//! Everything is a relaxed atomic: taking and giving back costs two additions, and nothing waits. A bound may be missed for a
//! moment in the safe direction only: of two who ask at the same moment for the last room, both may be refused.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Up to so many bytes nobody asks for a lease: a registration, a heartbeat, a health check and their answers are smaller, so
/// they go on whatever happens. What small things hold is bounded by the number of connections.
pub const SMALL: usize = 4 * 1024;
/// Requests for at most so much may use the last eighth of a room, which is kept for them.
const MODEST: usize = 256 * 1024;
/// In a room of things that are counted the last eighth is for addresses that have at most this part of it, and one in any case.
const FEW: usize = 256;
/// The part of a room that is kept for modest requests.
const RESERVE: usize = 8;
/// Once more than the half of a room is taken, an address may have a quarter of it at most.
const SHARES: usize = 4;
/// Addresses are counted in so many slots by their hash. Two addresses in one slot share what one may have, which matters
/// only to somebody who wants more than the half of it in a full room.
const SLOTS: usize = 4096;

/// Why there is no lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Full {
    /// All have taken what there is.
    #[error("the server has no room for more of this at the moment; try again, here or at another member")]
    All,
    /// The address has its share, and others want theirs.
    #[error("this address has its share of what the server has room for; try again when less is under way")]
    Share,
}

/// A bound on one kind of thing. Its unit is that of its `max`.
#[derive(Debug)]
pub struct Room {
    max: usize,
    /// Where things are counted: what an address may have of the last eighth.
    few: Option<usize>,
    seed: u64,
    used: AtomicUsize,
    refused: AtomicU64,
    slots: Box<[AtomicUsize]>,
}

impl Room {
    /// A room of bytes. `seed` decides which addresses are counted together; nobody outside should know it.
    pub fn new(max: usize, seed: u64) -> Arc<Room> {
        Room::with(max, None, seed)
    }

    /// A room of things that are counted.
    pub fn places(max: usize, seed: u64) -> Arc<Room> {
        Room::with(max, Some((max / FEW).max(1)), seed)
    }

    fn with(max: usize, few: Option<usize>, seed: u64) -> Arc<Room> {
        let slots = (0..SLOTS).map(|_| AtomicUsize::new(0)).collect();
        Arc::new(Room { max, few, seed, used: AtomicUsize::new(0), refused: AtomicU64::new(0), slots })
    }

    /// Takes `amount` on behalf of `address`.
    ///
    /// # Errors
    /// There is no room, or not for this address. The refusal is counted.
    pub fn take(self: &Arc<Room>, address: IpAddr, amount: usize) -> Result<Lease, Full> {
        let mut lease = Lease { room: self.clone(), slot: self.slot(address), amount: 0 };
        lease.grow(amount)?;
        Ok(lease)
    }

    pub fn max(&self) -> usize {
        self.max
    }

    /// What is taken now.
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// Refusals so far.
    pub fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// The IPv6 addresses of one network of 64 bits are one: a client has all of them.
    fn slot(&self, address: IpAddr) -> usize {
        let hash = match address.to_canonical() {
            IpAddr::V4(v4) => xxh3_64_with_seed(&v4.octets(), self.seed),
            IpAddr::V6(v6) => xxh3_64_with_seed(&v6.octets()[..8], self.seed),
        };
        hash as usize % SLOTS
    }

    /// `own`: what the lease that takes this has already. One thing may be larger than a share, also when it grows; several places
    /// are several things.
    fn add(&self, slot: usize, amount: usize, own: usize) -> Result<(), Full> {
        let used = self.used.fetch_add(amount, Ordering::Relaxed);
        let held = self.slots[slot].fetch_add(amount, Ordering::Relaxed);
        let is_modest = match self.few {
            Some(few) => held + amount <= few,
            None => amount <= MODEST,
        };
        let is_one = held <= own && (self.few.is_none() || amount == 1);
        let limit = if is_modest { self.max } else { self.max - self.max / RESERVE };
        let full = if used.saturating_add(amount) > limit {
            Full::All
        } else if used + amount > self.max / 2 && !is_one && held + amount > self.max / SHARES {
            Full::Share
        } else {
            return Ok(());
        };
        self.give_back(slot, amount);
        self.refused.fetch_add(1, Ordering::Relaxed);
        Err(full)
    }

    fn give_back(&self, slot: usize, amount: usize) {
        self.slots[slot].fetch_sub(amount, Ordering::Relaxed);
        self.used.fetch_sub(amount, Ordering::Relaxed);
    }
}

/// What somebody holds of a room. It is given back when this is dropped.
#[derive(Debug)]
#[must_use = "dropping it gives it back"]
pub struct Lease {
    room: Arc<Room>,
    slot: usize,
    amount: usize,
}

impl Lease {
    pub fn amount(&self) -> usize {
        self.amount
    }

    /// Takes `more`.
    ///
    /// # Errors
    /// As [`Room::take`]. What was held before stays.
    pub fn grow(&mut self, more: usize) -> Result<(), Full> {
        self.room.add(self.slot, more, self.amount)?;
        self.amount += more;
        Ok(())
    }

    /// Makes a lease of its own of one unit of it.
    pub fn split_one(&mut self) -> Lease {
        let amount = self.amount.min(1);
        self.amount -= amount;
        Lease { room: self.room.clone(), slot: self.slot, amount }
    }

    /// Bytes that hold this lease: it is given back with the last of their clones and slices.
    pub fn bind(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Leased { bytes, _lease: self })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.room.give_back(self.slot, self.amount);
    }
}

struct Leased {
    bytes: Bytes,
    _lease: Lease,
}

impl AsRef<[u8]> for Leased {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// What the bytes in flight are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Bodies of HTTP requests, from their announcement until they are answered, and contents that a request copies.
    Bodies,
    /// Messages that arrive on the SDK port, until they are answered.
    Messages,
    /// Answers and pushes that clients have not taken yet, from before the contents in them are read.
    Answers,
}

impl Part {
    pub const ALL: [Part; 3] = [Part::Bodies, Part::Messages, Part::Answers];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Part::Bodies => "bodies",
            Part::Messages => "messages",
            Part::Answers => "answers",
        }
    }

    /// What it has of the whole, in percent.
    fn percent(self) -> usize {
        match self {
            Part::Bodies | Part::Messages => 30,
            Part::Answers => 40,
        }
    }
}

/// The bytes in flight of the whole process, each part with a room of its own: who fills one leaves the others alone.
#[derive(Debug)]
pub struct Budget {
    rooms: [Arc<Room>; Part::ALL.len()],
}

impl Budget {
    /// What is in flight has so many percent of the memory that the process may use. The rest is for what it stores, and for
    /// the copies that are made of a request while it is done.
    const PERCENT: usize = 40;

    /// The budget of a process that may use `memory` bytes in all. For `seed` see [`Room::new`].
    pub fn of_memory(memory: u64, seed: u64) -> Arc<Budget> {
        let memory = usize::try_from(memory).unwrap_or(usize::MAX);
        Budget::new(memory / 100 * Budget::PERCENT, seed)
    }

    /// `total`: bytes in flight.
    pub fn new(total: usize, seed: u64) -> Arc<Budget> {
        Arc::new(Budget { rooms: Part::ALL.map(|part| Room::new(total / 100 * part.percent(), seed)) })
    }

    pub fn room(&self, part: Part) -> &Arc<Room> {
        &self.rooms[part as usize]
    }

    /// Takes room for `bytes` on behalf of `address`, if they are more than [`SMALL`].
    ///
    /// # Errors
    /// As [`Room::take`].
    pub fn take(&self, part: Part, address: IpAddr, bytes: usize) -> Result<Option<Lease>, Full> {
        if bytes <= SMALL { Ok(None) } else { self.room(part).take(address, bytes).map(Some) }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn address(number: u8) -> IpAddr {
        Ipv4Addr::new(10, 0, 0, number).into()
    }

    #[test]
    fn what_is_dropped_is_given_back_and_refusals_leave_nothing_behind() {
        let room = Room::new(100, 1);
        let held: Vec<Lease> = (0..4).map(|n| room.take(address(n), 25).unwrap()).collect();
        assert_eq!(room.used(), 100);
        assert_eq!(room.take(address(9), 1).unwrap_err(), Full::All);
        assert_eq!((room.used(), room.refused()), (100, 1));
        drop(held);
        assert_eq!(room.used(), 0);
        assert!(room.slots.iter().all(|slot| slot.load(Ordering::Relaxed) == 0));
    }

    #[test]
    fn an_address_has_a_quarter_once_the_half_is_taken() {
        let room = Room::new(100, 1);
        let (mut one, more) = (room.take(address(1), 40).unwrap(), room.take(address(1), 10).unwrap());
        assert_eq!(one.grow(1), Err(Full::Share), "up to the half nobody is asked");
        drop(more);
        assert_eq!(one.grow(20), Ok(()), "one thing may be larger than a share, and grow to it");
        drop(one);
        let one = room.take(address(1), 50).unwrap();
        let other = room.take(address(2), 25).unwrap();
        assert_eq!(room.take(address(2), 1).unwrap_err(), Full::Share);
        drop(one);
        assert!(room.take(address(2), 1).is_ok(), "others have left");
        drop(other);
        assert!(room.take(address(3), 90).is_ok(), "one thing may be larger than a share");
    }

    #[test]
    fn the_last_eighth_is_for_modest_requests() {
        let room = Room::new(8 * MODEST, 1);
        assert_eq!(room.take(address(1), 7 * MODEST + 1).unwrap_err(), Full::All);
        let most = room.take(address(1), 7 * MODEST).unwrap();
        assert!(room.take(address(2), MODEST).is_ok());
        assert_eq!(room.take(address(2), MODEST + 1).unwrap_err(), Full::All);
        drop(most);

        // Things that are counted are taken one by one: who has few is modest.
        let room = Room::places(FEW * 8, 1);
        let crowd: Vec<Lease> = (0..4)
            .flat_map(|n| std::iter::repeat_with(move || n).take(FEW * 2))
            .filter_map(|n| room.take(address(n), 1).ok())
            .collect();
        assert_eq!(crowd.len(), FEW * 7, "four addresses leave an eighth");
        let few: Vec<Lease> = (0..8).map(|_| room.take(address(9), 1).unwrap()).collect();
        assert!(room.take(address(9), 1).is_err(), "that is no longer few");
        drop((crowd, few));
        assert_eq!(room.used(), 0);
        assert!(Room::places(1, 1).take(address(1), 1).is_ok());
    }

    #[test]
    fn bytes_hold_their_lease_to_the_last_slice() {
        let budget = Budget::new(100 * 1024 * 1024, 1);
        let room = budget.room(Part::Answers);
        let lease = budget.take(Part::Answers, address(1), 10_000).unwrap().unwrap();
        let bytes = lease.bind(vec![7; 10_000].into());
        let slice = bytes.slice(10..20);
        drop(bytes);
        assert_eq!(room.used(), 10_000);
        drop(slice);
        assert_eq!(room.used(), 0);
        assert!(budget.take(Part::Bodies, address(1), SMALL).unwrap().is_none());
        assert_eq!(budget.room(Part::Bodies).max(), 30 * 1024 * 1024);
    }

    #[test]
    fn a_lease_can_be_given_back_one_by_one() {
        let room = Room::places(100, 1);
        assert_eq!(room.take(address(1), 51).unwrap_err(), Full::Share, "many places are not one thing");
        let mut all = room.take(address(1), 2).unwrap();
        let (one, other) = (all.split_one(), all.split_one());
        assert_eq!((one.amount(), other.amount(), all.amount(), room.used()), (1, 1, 0, 2));
        assert_eq!(all.split_one().amount(), 0, "nothing is left");
        drop(one);
        assert_eq!(room.used(), 1);
        drop((all, other));
        assert_eq!(room.used(), 0);
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let room = Room::new(100, 1);
        let slot = |text: &str| room.slot(text.parse().unwrap());
        assert_eq!(slot("2001:db8::1"), slot("2001:db8::ffff:1"));
        assert_eq!(slot("::ffff:10.0.0.1"), slot("10.0.0.1"));
        assert_ne!(slot("2001:db8::1"), slot("2001:db8:0:1::1"));
    }
}
