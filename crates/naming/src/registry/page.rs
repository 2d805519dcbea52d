//! Listings: the page of `/service/list`, all services for the console page, and the clients of `/operator/metrics`.

use std::collections::BTreeSet;
use std::sync::Arc;

use dyad_types::ServiceKey;
use dyad_types::limits::PAGE_MAX;

use super::Registry;
use crate::view::ServiceView;

/// One page of a namespace's group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePage {
    /// Services in the whole group.
    pub count: usize,
    pub services: Vec<ServiceKey>,
}

/// Distinct clients by kind, as `/operator/metrics` counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClientCounts {
    /// Clients of a connection.
    pub connections: usize,
    /// HTTP-beat clients, one per (ip, port).
    pub beats: usize,
    /// Publishers of persistent instances, one per (ip, port).
    pub persistent: usize,
}

impl Registry {
    /// Counts the clients that publish something. Walks the whole registry: for operators, not for each request.
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

    /// The services of a group, sorted by name (`ServiceUtil.pageServiceName`): a page before the first is the first, one
    /// behind the last is empty.
    ///
    /// # Errors
    /// With the message of the 400: a page that would end before it begins, as Java says it, or one over
    /// [`PAGE_MAX`] entries.
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

    /// How many services a namespace has, in all its groups. Walks the names of all services: for operators.
    pub fn services_in(&self, namespace: &str) -> usize {
        let first = ServiceKey::new(namespace, "", "");
        self.listed.read().iter().filter(|key| key.namespace() == first.namespace()).count()
    }

    /// Up to `limit` services of all namespaces in key order, after the first `skip`. Their views are made for this
    /// look and not kept, unless a query made them already.
    pub fn views(&self, skip: usize, limit: usize) -> Vec<Arc<ServiceView>> {
        let keys: Vec<ServiceKey> = self.listed.read().iter().skip(skip).take(limit).cloned().collect();
        let services = self.services.pin();
        let view = |key| services.get(key)?.peek(self.cache_millis());
        keys.iter().filter_map(view).collect()
    }
}
