//! Capacity (`CapacityService`): how many configurations a namespace or group has, and how many it may have.
//!
//! As in Nacos, configurations of the default namespace are counted by group, and configurations of other namespaces by
//! namespace. Each write updates the counts. The setting of the proposer decides whether a limit is enforced, and each command
//! carries this decision: members may have different settings, but all must apply a command in the same way.

use std::sync::Arc;

use dyad_types::ConfigKey;

use crate::command::ConfigLimit;
use crate::limits::{
    AGGREGATE_COUNT, AGGREGATE_SIZE, CLUSTER_QUOTA, CONTENT_SIZE, GROUP_QUOTA, NAMESPACE_QUOTA,
};

/// What is counted and limited together.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// All configurations.
    Cluster,
    /// The configurations of one namespace.
    Namespace(Arc<str>),
    /// The configurations of one group of the default namespace.
    Group(Arc<str>),
}

impl Scope {
    /// The scope of a namespace, in any spelling of its id.
    pub fn namespace(id: &str) -> Scope {
        Scope::Namespace(Arc::from(dyad_types::config::config_namespace(id)))
    }

    pub fn group(name: &str) -> Scope {
        Scope::Group(Arc::from(name))
    }

    /// The scope whose limits apply to a configuration.
    pub fn limiting(key: &ConfigKey) -> Scope {
        if key.is_public() { Scope::group(key.group()) } else { Scope::namespace(key.namespace()) }
    }

    /// How many configurations the scope may have if nothing else was set.
    fn default_quota(&self) -> u32 {
        match self {
            Scope::Cluster => CLUSTER_QUOTA,
            Scope::Namespace(_) => NAMESPACE_QUOTA,
            Scope::Group(_) => GROUP_QUOTA,
        }
    }

    fn over_quota(&self, max: u32) -> ConfigLimit {
        match self {
            Scope::Cluster => ConfigLimit::ClusterQuota(max),
            Scope::Namespace(_) => ConfigLimit::NamespaceQuota(max),
            Scope::Group(_) => ConfigLimit::GroupQuota(max),
        }
    }
}

/// How many configurations have a formal release, and how many bytes their contents have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub count: u64,
    pub bytes: u64,
}

impl Usage {
    /// The usage after a release of `before` bytes became a release of `after` bytes; `None` stands for no release.
    pub(crate) fn changed(self, before: Option<u32>, after: Option<u32>) -> Usage {
        let count = self.count + u64::from(after.is_some());
        let bytes = self.bytes + u64::from(after.unwrap_or(0));
        Usage {
            count: count.saturating_sub(u64::from(before.is_some())),
            bytes: bytes.saturating_sub(u64::from(before.unwrap_or(0))),
        }
    }
}

/// The limits of a scope. A limit of 0 stands for its default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Capacity {
    pub(crate) quota: u32,
    pub(crate) max_size: u32,
    pub(crate) max_aggr_count: u32,
    pub(crate) max_aggr_size: u32,
    /// When limits were set first, in milliseconds since the epoch. 0 if they never were.
    pub created_ms: u64,
    /// When limits were set last, in milliseconds since the epoch. 0 if they never were.
    pub modified_ms: u64,
}

/// New limits of a scope. A limit that is `None` stays as it is; a limit of 0 goes back to its default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CapacityChange {
    pub quota: Option<u32>,
    pub max_size: Option<u32>,
    pub max_aggr_count: Option<u32>,
    pub max_aggr_size: Option<u32>,
}

impl Capacity {
    /// The number of configurations that the scope may have.
    pub fn quota(&self, scope: &Scope) -> u32 {
        or_default(self.quota, scope.default_quota())
    }

    /// The number of bytes that one content may have.
    pub fn max_size(&self) -> u32 {
        or_default(self.max_size, CONTENT_SIZE)
    }

    /// A limit of Nacos that is only shown here.
    pub fn max_aggr_count(&self) -> u32 {
        or_default(self.max_aggr_count, AGGREGATE_COUNT)
    }

    /// A limit of Nacos that is only shown here.
    pub fn max_aggr_size(&self) -> u32 {
        or_default(self.max_aggr_size, AGGREGATE_SIZE)
    }

    pub(crate) fn changed(self, change: &CapacityChange, now_ms: u64) -> Capacity {
        Capacity {
            quota: change.quota.unwrap_or(self.quota),
            max_size: change.max_size.unwrap_or(self.max_size),
            max_aggr_count: change.max_aggr_count.unwrap_or(self.max_aggr_count),
            max_aggr_size: change.max_aggr_size.unwrap_or(self.max_aggr_size),
            created_ms: if self.created_ms == 0 { now_ms } else { self.created_ms },
            modified_ms: now_ms,
        }
    }

    /// The limit that a content of `len` bytes would exceed, if any. `new` says that it would be one more configuration.
    pub(crate) fn refuses(&self, scope: &Scope, usage: Usage, len: usize, new: bool) -> Option<ConfigLimit> {
        let quota = self.quota(scope);
        if new && usage.count >= u64::from(quota) {
            return Some(scope.over_quota(quota));
        }
        let size = self.max_size();
        let limited = *scope != Scope::Cluster;
        (limited && len > size as usize).then_some(ConfigLimit::ContentSize(size))
    }
}

fn or_default(value: u32, default: u32) -> u32 {
    if value == 0 { default } else { value }
}
