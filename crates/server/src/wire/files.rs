//! The limit of open files, and what clients may have of them. Each client needs one, and many systems start a process with
//! 1,024.

use dyad_cli::open_files;
use dyad_types::Place;

use crate::settings::Settings;

/// Below this the log says how many there may be: the clients that the default settings take, with room for the stores.
const FILES_WANTED: u64 = 65_536;
/// Descriptors of the stores, the ports, the admin socket and the runtime. At rest there are 25 of them; a snapshot that is
/// written while another is sent needs a few more.
const STORES: u64 = 48;
/// Descriptors for each other member: what it dialed and what was dialed to it, for gossip and raft.
const PER_MEMBER: u64 = 12;
/// Handshakes on the cluster port, dials of health checks, and spare connections have this part of the descriptors each, and no
/// more than their own limits.
const SMALL_PART: u64 = 16;
/// Most handshakes at a time; see `PortLimits`.
const HANDSHAKES: u64 = 64;
/// Most dials of health checks at a time: those of half a second, after which a dial times out.
const DIALS: u64 = 128;

/// What the descriptors of this process are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Files {
    /// How many may be open.
    most: u64,
    /// Other members.
    others: u64,
}

impl Files {
    /// Raises the soft limit to the hard one, which every process may. It stays as it was if the system refuses.
    pub(super) fn raise(settings: &Settings) -> Files {
        let most = open_files::raise();
        if most < FILES_WANTED {
            tracing::info!(
                "{most} files may be open, which bounds the clients of this member: raise the hard limit (LimitNOFILE, ulimit \
                 -Hn) to {FILES_WANTED} for more"
            );
        }
        Files { most, others: settings.members.len().saturating_sub(1) as u64 }
    }

    fn small(self, most: u64) -> usize {
        (self.most / SMALL_PART).clamp(1, most) as usize
    }

    /// Handshakes on the cluster port at a time.
    pub(super) fn handshakes(self) -> usize {
        self.small(HANDSHAKES)
    }

    /// Dials of health checks at a time.
    pub(super) fn dials(self) -> usize {
        self.small(DIALS)
    }

    /// How many places there are of a kind in a process that may use `memory` bytes. The HTTP port and the gRPC port have what
    /// their settings say, or else half each of the descriptors that are for clients, so that neither can take the other's.
    pub(super) fn places(self, (http, grpc): (usize, usize), memory: u64) -> impl Fn(Place) -> usize {
        move |place| {
            let own = STORES
                + PER_MEMBER * self.others
                + (self.handshakes() + self.dials() + self.small(Place::Spare.most(memory) as u64)) as u64;
            let clients = usize::try_from(self.most.saturating_sub(own)).unwrap_or(usize::MAX).max(2);
            let http = http.min(Place::Http.most(memory)).min(clients / 2);
            match place {
                Place::Http => http,
                Place::Grpc => grpc.min(Place::Grpc.most(memory)).min(clients - http),
                Place::Spare => self.small(place.most(memory) as u64),
                _ => place.most(memory),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_leave_descriptors_for_everything_else() {
        let places = |most, others| {
            let of = Files { most, others }.places((16_384, 100_000), 16 << 30);
            (of(Place::Http), of(Place::Grpc), of(Place::Spare))
        };
        assert_eq!(places(256, 0), (80, 80, 16));
        assert_eq!(places(256, 2), (68, 68, 16));
        assert_eq!(places(1_024, 0), (408, 408, 32));
        assert_eq!(places(1 << 20, 2), (16_384, 100_000, 32));
        assert_eq!(places(10, 0), (1, 1, 1), "then nobody is served well, but it is no panic");
    }
}
