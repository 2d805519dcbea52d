//! Listings: the pages of `/service/list`, all services for the status page, and the clients of `/operator/metrics`.

use std::collections::BTreeSet;
use std::sync::Arc;

use dyad_types::ServiceKey;
use dyad_types::limits::PAGE_MAX;

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
}

impl Registry {
    /// Counts the clients that publish something. This walks through the whole registry, so it is for operators and not
    /// for each request.
    pub fn client_counts(&self) -> ClientCounts {
        let (mut clients, mut addresses) = (BTreeSet::new(), BTreeSet::new());
        for entry in self.services.pin().values() {
            let contents = entry.lock();
            clients.extend(contents.publications.keys().cloned());
            addresses.extend(contents.cp.iter().flat_map(|cp| cp.instances().keys().cloned()));
        }
        let beats = clients.iter().filter(|client| client.is_beat()).count();
        ClientCounts { connections: clients.len() - beats, beats, persistent: addresses.len() }
    }

    /// A page of the services of a group, sorted by name (`ServiceUtil.pageServiceName`). A page before the first one
    /// is the first one, and a page after the last one is empty.
    ///
    /// # Errors
    /// The page would end before it begins, or it has over [`PAGE_MAX`] entries. The error is the message of the answer 400.
    pub fn services(
        &self,
        namespace: &str,
        group: &str,
        page_no: i32,
        page_size: i32,
    ) -> Result<ServicePage, String> {
        if page_size > PAGE_MAX as i32 {
            return Err(format!("pageSize {page_size} is over the limit of {PAGE_MAX}"));
        }
        let first = ServiceKey::new(namespace, group, "");
        let listed = self.listed.read();
        let of_group = || {
            listed
                .range(first.clone()..)
                .take_while(|k| k.namespace() == first.namespace() && k.group() == first.group())
        };
        let count = of_group().count();
        let start = ((i64::from(page_no) - 1) * i64::from(page_size)).max(0);
        if start >= count as i64 {
            return Ok(ServicePage { count, services: Vec::new() });
        }
        let end = (start + i64::from(page_size)).min(count as i64);
        if end < start {
            return Err(format!("fromIndex({start}) > toIndex({end})"));
        }
        let services = of_group().skip(start as usize).take((end - start) as usize).cloned().collect();
        Ok(ServicePage { count, services })
    }

    /// How many services a namespace has in all its groups. This walks through the names of all services, so it is for
    /// operators.
    pub fn services_in(&self, namespace: &str) -> usize {
        let first = ServiceKey::new(namespace, "", "");
        self.listed.read().iter().filter(|key| key.namespace() == first.namespace()).count()
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
