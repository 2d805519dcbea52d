//! What clients are called and how much they publish. In most seeds names are short; in every fiftieth, from the first one
//! on, all that the parameter check limits is at its limit, batches are as long as a publication may be, and one client
//! publishes hundreds of services over its connection.

use std::sync::Arc;

use dyad_types::check::{CLUSTER_MAX, GROUP_MAX, IP_MAX, METADATA_MAX, NAMESPACE_ID_MAX, SERVICE_MAX};
use dyad_types::limits::PUBLICATION_MAX;
use dyad_types::{Instance, Publication, ServiceKey};

/// Every so many seeds is one of long names.
const EVERY: u64 = 50;
/// Services of clients with short lists.
const SERVICES: usize = 4;
/// Services beside its first one that one client publishes in a seed of long names: their keys alone are longer than a
/// message, and their publications are far shorter.
const FURTHER: usize = 600;
/// A character that the parameter check lets through, and that takes the most bytes for each unit that it counts.
const WIDE: &str = "ま";

#[derive(Clone, Copy, Debug)]
pub(super) struct Names {
    pub long: bool,
}

impl Names {
    pub(super) fn of(seed: u64) -> Names {
        Names { long: seed % EVERY == 1 }
    }

    /// The service of the client with that number.
    pub(super) fn service(self, client: usize) -> ServiceKey {
        self.numbered(client % SERVICES)
    }

    /// One of the further services of the client that publishes many.
    pub(super) fn further(self, n: usize) -> ServiceKey {
        self.numbered(SERVICES + n)
    }

    /// How many further services the client with a connection publishes.
    pub(super) fn furthers(self, client: usize) -> usize {
        if self.long && client == 1 { FURTHER } else { 0 }
    }

    fn numbered(self, n: usize) -> ServiceKey {
        let name = format!("svc-{n}");
        if !self.long {
            return ServiceKey::new("", "", &name);
        }
        let name = format!("{}{name}", WIDE.repeat(SERVICE_MAX - name.len()));
        ServiceKey::new(&"n".repeat(NAMESPACE_ID_MAX), &"g".repeat(GROUP_MAX), &name)
    }

    pub(super) fn ip(self, ip: String) -> String {
        if self.long { format!("{}{ip}", WIDE.repeat(IP_MAX - ip.len())) } else { ip }
    }

    /// An instance whose weight carries the version of the client's attributes.
    pub(super) fn instance(self, ip: String, port: u16, version: u64) -> Instance {
        let mut instance = Instance::new(&self.ip(ip), port);
        instance.weight = version as f64;
        if self.long {
            instance.cluster = Arc::from("c".repeat(CLUSTER_MAX));
            instance.metadata = [("k", WIDE.repeat(METADATA_MAX - 1).as_str())].into_iter().collect();
        }
        instance
    }

    /// How many instances a batch of such instances has.
    pub(super) fn batch(self, instance: &Instance) -> usize {
        if self.long { PUBLICATION_MAX / Publication::one(instance.clone()).bytes().len() } else { 3 }
    }
}
