//! Listings: the pages of `/service/list`, all services for the status page, and the clients of `/operator/metrics`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dyad_types::limits::SERVICES_MAX;
use dyad_types::{MemberId, ServiceKey};

use super::Registry;
use crate::view::ServiceView;

/// One page of the services of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePage {
    /// The number of services in the whole group.
    pub count: usize,
    pub services: Vec<ServiceKey>,
}

/// The number of different clients by kind, as `/operator/metrics` counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// Clients with a connection.
    pub connections: usize,
    /// Clients that send heartbeats over HTTP, one for each ip and port.
    pub beats: usize,
    /// Publishers of persistent instances, one for each ip and port.
    pub persistent: usize,
    /// Those of the last two kinds that the member answers for.
    pub responsible: usize,
    /// The instances of these, and of the member's connections.
    pub responsible_instances: usize,
}

impl Registry {
    /// Counts the clients that publish something, and those that a member answers for: the connections that published at a
    /// member for which `owns` holds, and the others for whose id `places` holds (`ip:port#true` for a client that sends
    /// heartbeats, `ip:port#false` for a publisher of persistent instances). This walks through the whole registry, so it is
    /// for operators and not for each request.
    pub fn client_counts(
        &self,
        owns: impl Fn(MemberId) -> bool,
        places: impl Fn(&str) -> bool,
    ) -> ClientCounts {
        let mut counts = ClientCounts::default();
        let (mut clients, mut addresses) = (BTreeMap::new(), BTreeMap::new());
        for entry in self.services.pin().values() {
            let contents = entry.lock();
            for (client, held) in &contents.publications {
                let published = held.publication.instances().len();
                if !client.is_beat() && owns(held.rank.1.member) {
                    counts.responsible_instances += published;
                }
                *clients.entry(client.clone()).or_insert(0) += published;
            }
            for address in contents.cp.iter().flat_map(|cp| cp.instances().keys()) {
                *addresses.entry(address.clone()).or_insert(0) += 1;
            }
        }
        let mut responsible = |id: &str, published: usize| {
            if places(id) {
                counts.responsible += 1;
                counts.responsible_instances += published;
            }
        };
        for (client, published) in clients.iter().filter(|(client, _)| client.is_beat()) {
            responsible(client.as_str(), *published);
        }
        for (address, published) in &addresses {
            responsible(&format!("{address}#false"), *published);
        }
        counts.beats = clients.keys().filter(|client| client.is_beat()).count();
        counts.connections = clients.len() - counts.beats;
        counts.persistent = addresses.len();
        counts
    }

    /// A page of the services of a group, sorted by name (`ServiceUtil.pageServiceName`). A page before the first one
    /// is the first one, and a page after the last one is empty. A page has at most [`SERVICES_MAX`] entries, whatever
    /// `page_size` says: clients ask for `Integer.MAX_VALUE` and mean all.
    ///
    /// # Errors
    /// The page would end before it begins. The error is the message of the answer 400.
    pub fn services(
        &self,
        namespace: &str,
        group: &str,
        page_no: i32,
        page_size: i32,
    ) -> Result<ServicePage, String> {
        let first = ServiceKey::new(namespace, group, "");
        let listed = self.listed.read();
        let group = listed.group(first.namespace(), first.group());
        let count = group.map_or(0, BTreeSet::len);
        let size = i64::from(page_size).min(SERVICES_MAX as i64);
        let start = ((i64::from(page_no) - 1) * size).max(0);
        let Some(group) = group.filter(|_| start < count as i64) else {
            return Ok(ServicePage { count, services: Vec::new() });
        };
        let end = (start + size).min(count as i64);
        if end < start {
            return Err(format!("fromIndex({start}) > toIndex({end})"));
        }
        let services = group.iter().skip(start as usize).take((end - start) as usize).cloned().collect();
        Ok(ServicePage { count, services })
    }

    /// How many services a namespace has in all its groups.
    pub fn services_in(&self, namespace: &str) -> usize {
        self.listed.read().of_namespace(ServiceKey::new(namespace, "", "").namespace())
    }

    /// Up to `limit` services of all namespaces, in the order of their keys, after the first `skip`. Views that do not
    /// exist yet are made for this look and not kept.
    pub fn views(&self, skip: usize, limit: usize) -> Vec<Arc<ServiceView>> {
        let keys: Vec<ServiceKey> = self.listed.read().iter().skip(skip).take(limit).cloned().collect();
        let services = self.services.pin();
        let view = |key| services.get(key)?.peek(self.cache_millis());
        keys.iter().filter_map(view).collect()
    }
}
