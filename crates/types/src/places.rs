//! What clients hold by number for as long as they want: connections, subscriptions, listeners. Each kind has a [`Room`] of its
//! own, so that who uses up one leaves the others alone, and an address never has all of one.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::budget::{Full, Lease, Room};

/// A kind of thing that clients hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Connections of the HTTP port.
    Http,
    /// Connections of the HTTP port beyond those, each for one question about the member's health.
    Spare,
    /// Connections of the gRPC port.
    Grpc,
    /// Long polls that wait.
    Polls,
    /// Pairs of a listener and a configuration.
    Listenings,
    /// Subscriptions of services over gRPC.
    Subscriptions,
    /// Subscriptions of services by UDP.
    Udp,
    /// Different patterns of services that are watched.
    ServicePatterns,
    /// Different patterns of configurations that are watched.
    ConfigPatterns,
    /// Watches of patterns.
    Watches,
}

const KIB: u64 = 1024;

impl Place {
    pub const ALL: [Place; 10] = [
        Place::Http,
        Place::Spare,
        Place::Grpc,
        Place::Polls,
        Place::Listenings,
        Place::Subscriptions,
        Place::Udp,
        Place::ServicePatterns,
        Place::ConfigPatterns,
        Place::Watches,
    ];

    /// Its name in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Place::Http => "http",
            Place::Spare => "http_spare",
            Place::Grpc => "grpc",
            Place::Polls => "long_polls",
            Place::Listenings => "listenings",
            Place::Subscriptions => "subscriptions",
            Place::Udp => "udp",
            Place::ServicePatterns => "service_patterns",
            Place::ConfigPatterns => "config_patterns",
            Place::Watches => "watches",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Place::Http => "HTTP connections",
            Place::Spare => "spare HTTP connections",
            Place::Grpc => "gRPC connections",
            Place::Polls => "long polls that wait",
            Place::Listenings => "configurations that clients listen to",
            Place::Subscriptions => "subscriptions",
            Place::Udp => "subscriptions by UDP",
            Place::ServicePatterns => "fuzzy watch patterns of services",
            Place::ConfigPatterns => "fuzzy watch patterns of configurations",
            Place::Watches => "fuzzy watches",
        }
    }

    /// Most at a time in a process that may use `memory` bytes: a number, or less where the memory is small. One of a kind
    /// takes about so many bytes, and all of a kind have an eighth of the memory; connections of the gRPC port, which are what
    /// such a server is for, a quarter.
    pub fn most(self, memory: u64) -> usize {
        let (most, bytes, part) = match self {
            Place::Http => (16_384, 8 * KIB, 8),
            Place::Grpc => (100_000, 24 * KIB, 4),
            Place::Listenings => (1_000_000, 768, 8),
            Place::Subscriptions => (10_000_000, KIB, 8),
            Place::Udp => (100_000, 2 * KIB, 8),
            // Until its client has taken the first messages, a watch has the names that the client says it knows.
            Place::Watches => (100_000, 64 * KIB, 8),
            Place::Polls => return 16_384,
            Place::Spare => return 32,
            // One address alone has half of them, which is the default of Nacos.
            Place::ServicePatterns | Place::ConfigPatterns => return 40,
        };
        most.min(usize::try_from(memory / part / bytes).unwrap_or(usize::MAX)).max(1)
    }
}

/// The rooms of all kinds.
#[derive(Debug)]
pub struct Places {
    rooms: [Arc<Room>; Place::ALL.len()],
}

impl Places {
    /// `most`: how many there are of a kind. For `seed` see [`Room::new`].
    pub fn new(most: impl Fn(Place) -> usize, seed: u64) -> Arc<Places> {
        Arc::new(Places { rooms: Place::ALL.map(|place| Room::places(most(place), seed)) })
    }

    pub fn room(&self, place: Place) -> &Arc<Room> {
        &self.rooms[place as usize]
    }

    /// Takes one place on behalf of `address`.
    ///
    /// # Errors
    /// There is none, or none for this address. The refusal is counted.
    pub fn take(&self, place: Place, address: IpAddr) -> Result<Lease, NoPlace> {
        self.take_many(place, address, 1)
    }

    /// Takes `amount` places, or none of them. For each of them see [`Lease::split_one`].
    ///
    /// # Errors
    /// As [`Places::take`].
    pub fn take_many(&self, place: Place, address: IpAddr, amount: usize) -> Result<Lease, NoPlace> {
        let room = self.room(place);
        room.take(address, amount).map_err(|full| NoPlace { place, max: room.max(), full })
    }
}

/// Why there is no place. The client reads its text as the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoPlace {
    pub place: Place,
    /// How many there are in all.
    pub max: usize,
    pub full: Full,
}

impl fmt::Display for NoPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (max, words) = (self.max, self.place.words());
        match self.full {
            Full::All => write!(f, "this member has no place left among its {max} {words}; ")?,
            Full::Share => write!(f, "this address has its share of the {max} {words} of this member; ")?,
        }
        f.write_str("ask another member, or try again later")
    }
}

impl std::error::Error for NoPlace {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn little_memory_means_few_places_and_never_none() {
        let most = |place: Place, memory| place.most(memory);
        assert_eq!(most(Place::Subscriptions, 512 << 20), 65_536);
        assert_eq!(most(Place::Http, 512 << 20), 8_192);
        assert_eq!(most(Place::Http, 16 << 30), 16_384);
        assert_eq!(most(Place::Grpc, 16 << 30), 100_000);
        assert!(Place::ALL.iter().all(|place| place.most(0) > 0));
    }

    #[test]
    fn kinds_are_apart_and_a_refusal_names_the_limit() {
        let places = Places::new(|place| if place == Place::Polls { 1 } else { 2 }, 1);
        let address = "10.0.0.1".parse().unwrap();
        let held = places.take(Place::Polls, address).unwrap();
        let refused = places.take(Place::Polls, address).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "this member has no place left among its 1 long polls that wait; ask another member, or try again later"
        );
        assert!(places.take(Place::Udp, address).is_ok());
        drop(held);
        assert!(places.take(Place::Polls, address).is_ok());
        assert!(Place::ALL.iter().enumerate().all(|(at, place)| at == *place as usize));
    }
}
