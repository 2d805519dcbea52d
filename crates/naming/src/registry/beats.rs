//! The index from the instance of an HTTP client to its beat slot, which is read without a lock.

use std::hash::{Hash, Hasher};
use std::num::NonZeroU64;
use std::sync::Arc;

use dyad_types::instance::{KEY_BEAT_INTERVAL, duration_key};
use dyad_types::{BeatSlot, ClientId, Instance, PublicationKey, ServiceKey};
use papaya::Equivalent;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::VisiblePublication;
use super::entry::Contents;
use super::hash::ByKey;
use crate::cp::{CpService, OverrideKey};

/// What is needed to answer a heartbeat of a known client.
#[derive(Clone, Debug)]
pub struct Beat {
    /// Where the heartbeat leaves its time. `None` while another member times the client: the Distro core takes the
    /// heartbeat then and relays it.
    pub slot: Option<Arc<BeatSlot>>,
    /// `preserved.heart.beat.interval` of the override or the instance, in milliseconds. `None` if the switch decides.
    pub interval_ms: Option<NonZeroU64>,
}

#[derive(Debug)]
pub(super) struct Beats(papaya::HashMap<BeatKey, Beat, ByKey>);

impl Default for Beats {
    fn default() -> Beats {
        let map = papaya::HashMap::builder().hasher(ByKey);
        Beats(map.resize_mode(papaya::ResizeMode::Blocking).build())
    }
}

impl Beats {
    pub(super) fn get(&self, service: &ServiceKey, ip: &str, port: u16) -> Option<Beat> {
        self.0.pin().get(&BeatRef { service, ip, port }).cloned()
    }

    /// Sets what belongs to one publication. Like all writes of the index, this is called under the lock of the
    /// service, so the index and the publications change together.
    pub(super) fn set(&self, key: &PublicationKey, visible: &VisiblePublication, cp: Option<&CpService>) {
        let (true, [instance]) = (key.client.is_beat(), visible.publication.instances()) else {
            return self.remove(key);
        };
        let beat = Beat { slot: visible.slot.clone(), interval_ms: interval_of(instance, cp) };
        let key = BeatKey { service: key.service.clone(), ip: instance.ip.clone(), port: instance.port };
        self.0.pin().insert(key, beat);
    }

    pub(super) fn remove(&self, key: &PublicationKey) {
        if let Some((ip, port)) = address_of(&key.client) {
            self.0.pin().remove(&BeatRef { service: &key.service, ip, port });
        }
    }

    /// Renews the intervals that a change of overrides may have touched.
    pub(super) fn refresh(&self, service: &ServiceKey, contents: &Contents, old: Option<&CpService>) {
        let new = contents.cp.as_deref();
        let targets = [old, new].into_iter().flatten().flat_map(|cp| cp.overrides().keys());
        if contents.publications.is_empty() {
            return;
        }
        for target in targets {
            let before = old.and_then(|cp| cp.overrides().get(target));
            if before == new.and_then(|cp| cp.overrides().get(target)) {
                continue;
            }
            let client = ClientId::beat(&target.address.ip, target.address.port);
            let Some(held) = contents.publications.get(&client) else { continue };
            let [instance] = held.publication.instances() else { continue };
            let beats = self.0.pin();
            let found = BeatRef { service, ip: &instance.ip, port: instance.port };
            if let Some((key, beat)) = beats.get_key_value(&found) {
                let interval_ms = interval_of(instance, new);
                beats.insert(key.clone(), Beat { slot: beat.slot.clone(), interval_ms });
            }
        }
    }
}

/// The ip and port in the id of a client that sends heartbeats over HTTP.
pub(super) fn address_of(client: &ClientId) -> Option<(&str, u16)> {
    if !client.is_beat() {
        return None;
    }
    let (address, _) = client.as_str().rsplit_once('#')?;
    let (ip, port) = address.rsplit_once(':')?;
    Some((ip, port.parse().ok()?))
}

fn interval_of(instance: &Instance, cp: Option<&CpService>) -> Option<NonZeroU64> {
    let overrides = cp.map(CpService::overrides).filter(|o| !o.is_empty());
    let over = overrides.and_then(|o| o.get(&OverrideKey::of(instance)));
    let over = over.and_then(|o| NonZeroU64::new(duration_key(&o.value.metadata, KEY_BEAT_INTERVAL, 0)));
    over.or_else(|| NonZeroU64::new(duration_key(&instance.metadata, KEY_BEAT_INTERVAL, 0)))
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct BeatKey {
    service: ServiceKey,
    ip: Arc<str>,
    port: u16,
}

#[derive(Debug)]
struct BeatRef<'a> {
    service: &'a ServiceKey,
    ip: &'a str,
    port: u16,
}

fn hash(service: &ServiceKey, ip: &str, port: u16) -> u64 {
    xxh3_64_with_seed(ip.as_bytes(), service.hash64() ^ u64::from(port))
}

impl Hash for BeatKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(hash(&self.service, &self.ip, self.port));
    }
}

impl Hash for BeatRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(hash(self.service, self.ip, self.port));
    }
}

impl Equivalent<BeatKey> for BeatRef<'_> {
    fn equivalent(&self, key: &BeatKey) -> bool {
        self.port == key.port && *self.ip == *key.ip && *self.service == key.service
    }
}
