//! The periodic clean-up: it drops services that have been empty for 60 s, and finds what the leader has to remove.

use dyad_types::{Millis, ServiceKey};

use super::entry::Contents;
use super::{LINGER_MS, Registry};
use crate::cp::{EXPIRE_BATCH_MAX, ExpiredOverride, ExpiredService, NamingCommand};

/// What a sweep found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sweep {
    /// The services that are no longer known here.
    pub gone: Vec<ServiceKey>,
    /// The overrides that have had no instance for 60 s; the leader has to remove them.
    pub overrides: Vec<ExpiredOverride>,
    /// The overrides whose instance went on this member. Every member has them removed: they stay invisible only as long as
    /// the process remembers it.
    pub ended: Vec<ExpiredOverride>,
    /// The service records that have had no instance for 60 s; the leader has to remove them.
    pub records: Vec<ExpiredService>,
}

impl Sweep {
    /// The command that removes them. `None` if there is nothing to remove. Only the leader removes what was idle for 60 s.
    pub fn command(&self, leads: bool) -> Option<NamingCommand> {
        let mut overrides = self.ended.clone();
        let mut services = Vec::new();
        if leads {
            let known = overrides.len();
            let new = self.overrides.iter().filter(|expired| !self.ended.contains(expired)).cloned();
            overrides.extend(new.take(EXPIRE_BATCH_MAX - known));
            services.clone_from(&self.records);
        }
        if overrides.is_empty() && services.is_empty() {
            return None;
        }
        Some(NamingCommand::Expire { overrides, services })
    }
}

impl Registry {
    /// Drops the services that have had neither an instance nor a record for 60 s, and the views that nobody asked for
    /// since the last sweep. Says what nobody needs in the CP state any more. Every member sweeps every 5 s
    /// (`ExpiredMetadataCleaner`).
    pub fn sweep(&self, now: Millis) -> Sweep {
        let mut sweep = Sweep::default();
        let services = self.services.pin();
        for (key, entry) in &services {
            let mut contents = entry.lock();
            if contents.dead {
                continue;
            }
            sweep.expired(key, &mut contents, now);
            if contents.listed && contents.idle(now) && !contents.has_record() {
                contents.listed = false;
                self.listed.write().remove(key);
                self.tell(entry, &mut contents, true);
                sweep.gone.push(key.clone());
            }
            if contents.is_void() {
                contents.dead = true;
                services.remove(key);
            } else {
                entry.drop_unused_view();
            }
        }
        sweep
    }
}

impl Sweep {
    fn expired(&mut self, key: &ServiceKey, contents: &mut Contents, now: Millis) {
        let Some(cp) = contents.cp.clone() else { return };
        if let Some(record) = cp.record()
            && contents.idle(now)
            && self.records.len() < EXPIRE_BATCH_MAX
        {
            self.records.push(ExpiredService { service: key.clone(), revision: record.revision });
        }
        for (target, revision) in &contents.ended_overrides {
            if self.ended.len() < EXPIRE_BATCH_MAX {
                let (service, target) = (key.clone(), target.clone());
                self.ended.push(ExpiredOverride { service, target, revision: *revision });
            }
        }
        contents.idle_overrides.retain(|target, _| cp.overrides().contains_key(target));
        for (target, stored) in cp.overrides() {
            if contents.has_instance(target) {
                contents.idle_overrides.remove(target);
                continue;
            }
            let since = *contents.idle_overrides.entry(target.clone()).or_insert(now);
            if now.since(since) >= LINGER_MS && self.overrides.len() < EXPIRE_BATCH_MAX {
                self.overrides.push(ExpiredOverride {
                    service: key.clone(),
                    target: target.clone(),
                    revision: stored.revision,
                });
            }
        }
    }
}
