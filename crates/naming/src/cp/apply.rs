//! The one function that changes the naming part of the CP state.

use std::sync::Arc;

use dyad_types::instance::clamp_weight;
use dyad_types::{Address, Instance, ServiceKey};

use super::command::{
    ExpiredOverride, ExpiredService, HealthChange, Limit, NamingChanges, NamingCommand, NamingReply,
    OverrideChange,
};
use super::service::{CpService, Override, OverrideKey, ServiceRecord, StoredOverride, StoredRecord};
use super::{NamingState, Stamp};

type Applied = (NamingReply, NamingChanges);

impl NamingState {
    /// Applies one command. Only this function changes the state. Every committed entry gets a reply, even one that is
    /// rejected. The result depends on nothing but the state, the command and the stamp.
    pub fn apply(&mut self, command: &NamingCommand, stamp: Stamp) -> (NamingReply, NamingChanges) {
        match command {
            NamingCommand::Register { service, instance } => {
                self.end_moved(service, instance);
                self.register(service, instance)
            }
            NamingCommand::Deregister { service, address } => {
                let ended = self.end_overrides(service, address);
                let (reply, changes) = self.deregister(service, address);
                if ended && reply == NamingReply::NotFound {
                    self.drop_if_empty(service);
                    return (NamingReply::Done, NamingChanges::service(service));
                }
                (reply, changes)
            }
            _ => self.apply_keeping_overrides(command, stamp),
        }
    }

    /// The same by the rules of a cluster of level 1: an override outlives its instance, and is removed by a command of its own.
    pub fn apply_keeping_overrides(
        &mut self,
        command: &NamingCommand,
        stamp: Stamp,
    ) -> (NamingReply, NamingChanges) {
        match command {
            NamingCommand::Register { service, instance } => self.register(service, instance),
            NamingCommand::Deregister { service, address } => self.deregister(service, address),
            NamingCommand::SetHealth { changes } => self.set_health(changes),
            NamingCommand::CreateService { service, record } => self.create_service(service, record, stamp),
            NamingCommand::UpdateService { service, record, create } => {
                self.update_service(service, record, *create, stamp)
            }
            NamingCommand::DeleteService { service } => self.delete_service(service),
            NamingCommand::SetOverride { service, target, change } => {
                self.set_override(service, target, change, stamp)
            }
            NamingCommand::Expire { overrides, services } => self.expire(overrides, services),
            NamingCommand::SetSwitch { entry, value } => self.set_switch(entry, value),
        }
    }

    /// An instance that registers in another cluster of the service is another one.
    fn end_moved(&mut self, key: &ServiceKey, instance: &Instance) {
        let Some(service) = self.services.get(key) else { return };
        let Some(present) = service.instances.get(&instance.address()) else { return };
        let target = OverrideKey::of(present);
        if present.cluster != instance.cluster && service.overrides.contains_key(&target) {
            self.service_mut(key).overrides.remove(&target);
        }
    }

    /// Removes what was set for the instance with this address, in whatever cluster. False if nothing was set. In the same entry
    /// as the deregistration, so that no registration comes between and is shown with it.
    fn end_overrides(&mut self, key: &ServiceKey, address: &Address) -> bool {
        let Some(service) = self.services.get(key) else { return false };
        let first = OverrideKey { address: address.clone(), cluster: "".into() };
        let at = service.overrides.range(first..).map(|(target, _)| target);
        let ended: Vec<OverrideKey> = at.take_while(|target| target.address == *address).cloned().collect();
        for target in &ended {
            self.service_mut(key).overrides.remove(target);
        }
        !ended.is_empty()
    }

    fn register(&mut self, key: &ServiceKey, instance: &Instance) -> Applied {
        let address = instance.address();
        let present = self.services.get(key).and_then(|s| s.instances.get(&address));
        let mut instance = instance.clone();
        instance.weight = clamp_weight(instance.weight);
        if let Some(present) = present {
            instance.healthy = present.healthy;
            if **present == instance {
                return (NamingReply::Done, NamingChanges::default());
            }
        } else if let Some(limit) = self.full(key) {
            return refused(limit);
        }
        let new = self.service_mut(key).instances.insert(address, Arc::new(instance)).is_none();
        self.instances += usize::from(new);
        (NamingReply::Done, NamingChanges::service(key))
    }

    fn deregister(&mut self, key: &ServiceKey, address: &Address) -> Applied {
        if !self.services.get(key).is_some_and(|s| s.instances.contains_key(address)) {
            return (NamingReply::NotFound, NamingChanges::default());
        }
        self.service_mut(key).instances.remove(address);
        self.instances -= 1;
        self.drop_if_empty(key);
        (NamingReply::Done, NamingChanges::service(key))
    }

    fn set_health(&mut self, changes: &[HealthChange]) -> Applied {
        let mut touched = NamingChanges::default();
        for change in changes {
            let present = self.services.get(&change.service).and_then(|s| s.instances.get(&change.address));
            let Some(present) = present.filter(|i| i.healthy != change.healthy) else { continue };
            let mut instance = Instance::clone(present);
            instance.healthy = change.healthy;
            self.service_mut(&change.service).instances.insert(change.address.clone(), Arc::new(instance));
            touched.services.push(change.service.clone());
        }
        touched.services.sort_unstable();
        touched.services.dedup();
        (NamingReply::Done, touched)
    }

    fn create_service(&mut self, key: &ServiceKey, record: &ServiceRecord, stamp: Stamp) -> Applied {
        if self.services.get(key).is_some_and(|s| s.record.is_some() || !s.instances.is_empty()) {
            return (NamingReply::Exists, NamingChanges::default());
        }
        self.store_record(key, record, stamp)
    }

    fn update_service(
        &mut self,
        key: &ServiceKey,
        record: &ServiceRecord,
        create: bool,
        stamp: Stamp,
    ) -> Applied {
        let known = self.services.get(key).is_some_and(|s| s.record.is_some() || !s.instances.is_empty());
        if !known && !create {
            return (NamingReply::NotFound, NamingChanges::default());
        }
        self.store_record(key, record, stamp)
    }

    fn store_record(&mut self, key: &ServiceKey, record: &ServiceRecord, stamp: Stamp) -> Applied {
        if let Some(limit) = self.services_full(key) {
            return refused(limit);
        }
        let record = Arc::new(record.clone().clamped());
        self.service_mut(key).record = Some(StoredRecord { record, revision: stamp.index });
        (NamingReply::Done, NamingChanges::service(key))
    }

    fn delete_service(&mut self, key: &ServiceKey) -> Applied {
        let changes = NamingChanges { deleted: vec![key.clone()], ..NamingChanges::service(key) };
        match self.services.get(key) {
            // The service may still linger in the registries after its last ephemeral instance.
            None => (NamingReply::NotFound, changes),
            Some(service) if !service.instances.is_empty() => {
                (NamingReply::NotEmpty, NamingChanges::default())
            }
            Some(_) => {
                self.services.remove(key);
                (NamingReply::Done, changes)
            }
        }
    }

    fn set_override(
        &mut self,
        key: &ServiceKey,
        target: &OverrideKey,
        change: &OverrideChange,
        stamp: Stamp,
    ) -> Applied {
        let overrides = self.services.get(key).map(|s| &s.overrides);
        let present = overrides.and_then(|o| o.get(target));
        let value = match change {
            OverrideChange::Put(value) => value.clone(),
            OverrideChange::Patch { enabled, weight, metadata } => {
                let old = present.map_or_else(Override::default, |o| Override::clone(&o.value));
                Override {
                    enabled: enabled.or(old.enabled),
                    weight: weight.or(old.weight),
                    metadata: metadata.clone().unwrap_or(old.metadata),
                }
            }
        };
        if present.is_none() && overrides.is_some_and(|o| o.len() >= self.limits.per_service) {
            return refused(Limit::InstancesPerService(self.limits.per_service));
        }
        if let Some(limit) = self.services_full(key) {
            return refused(limit);
        }
        let stored = StoredOverride { value: Arc::new(value.clamped()), revision: stamp.index };
        self.service_mut(key).overrides.insert(target.clone(), stored);
        (NamingReply::Done, NamingChanges::service(key))
    }

    fn expire(&mut self, overrides: &[ExpiredOverride], services: &[ExpiredService]) -> Applied {
        let mut touched = NamingChanges::default();
        for expired in overrides {
            let Some(service) = self.services.get(&expired.service) else { continue };
            let same = service.overrides.get(&expired.target).is_some_and(|o| o.revision == expired.revision);
            let instance = service.instances.get(&expired.target.address);
            if !same || instance.is_some_and(|i| i.cluster == expired.target.cluster) {
                continue;
            }
            self.service_mut(&expired.service).overrides.remove(&expired.target);
            self.drop_if_empty(&expired.service);
            touched.services.push(expired.service.clone());
        }
        for expired in services {
            let Some(service) = self.services.get(&expired.service) else { continue };
            let same = service.record.as_ref().is_some_and(|r| r.revision == expired.revision);
            if !same || !service.instances.is_empty() {
                continue;
            }
            self.service_mut(&expired.service).record = None;
            self.drop_if_empty(&expired.service);
            touched.services.push(expired.service.clone());
        }
        touched.services.sort_unstable();
        touched.services.dedup();
        (NamingReply::Done, touched)
    }

    fn set_switch(&mut self, entry: &str, value: &str) -> Applied {
        let mut switches = self.switches.as_ref().clone();
        if let Err(message) = switches.set(entry, value) {
            return (NamingReply::BadSwitch(message), NamingChanges::default());
        }
        let changed = switches != *self.switches;
        if changed {
            self.switches = Arc::new(switches);
        }
        (NamingReply::Done, NamingChanges { switches: changed, ..NamingChanges::default() })
    }

    /// The limit that one more instance of this service would exceed, if any.
    fn full(&self, key: &ServiceKey) -> Option<Limit> {
        let here = self.services.get(key).map_or(0, |s| s.instances.len());
        if here >= self.limits.per_service {
            return Some(Limit::InstancesPerService(self.limits.per_service));
        }
        if self.instances >= self.limits.instances {
            return Some(Limit::Instances(self.limits.instances));
        }
        self.services_full(key)
    }

    fn services_full(&self, key: &ServiceKey) -> Option<Limit> {
        let full = self.services.len() >= self.limits.services && !self.services.contains_key(key);
        full.then_some(Limit::Services(self.limits.services))
    }

    pub(super) fn service_mut(&mut self, key: &ServiceKey) -> &mut CpService {
        Arc::make_mut(self.services.entry(key.clone()).or_default())
    }

    fn drop_if_empty(&mut self, key: &ServiceKey) {
        if self.services.get(key).is_some_and(|s| s.is_empty()) {
            self.services.remove(key);
        }
    }
}

fn refused(limit: Limit) -> Applied {
    (NamingReply::Limit(limit), NamingChanges::default())
}
