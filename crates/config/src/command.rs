//! The commands of the configuration part of the log, their replies, and what applying them touched.

use std::fmt;
use std::sync::Arc;

use dyad_types::{ConfigKey, Md5};

use crate::capacity::{CapacityChange, Scope};
use crate::content::{Draft, Revision};
use crate::gray::GrayRule;
use crate::item::ConfigItem;
use crate::row::ContentRow;

/// One replicated change of the configuration state.
#[derive(Clone, Debug, PartialEq)]
pub struct ConfigCommand {
    /// Drawn by the proposer for each request of a user, and kept when it repeats the proposal: a request takes effect
    /// once. 0 = may be carried out again.
    pub request: u128,
    pub source: Source,
    pub change: Change,
}

/// Who asked for a change. Shown in the history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The operator (`srcUser`); empty when unknown.
    pub user: Box<str>,
    /// The address that the request came from.
    pub ip: Box<str>,
    /// Why, in the operator's words; empty when not given.
    pub reason: Box<str>,
}

/// What is to be changed. Batches hold at most [`crate::limits::BATCH_MAX`] items; the proposer splits longer ones.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Creates or replaces the formal release. Reply: Done, CasMismatch or Limit.
    Publish(Publish),
    /// Creates or replaces a gray release; the formal one need not exist. Reply: Done, CasMismatch, BadName or Limit.
    PublishGray(PublishGray),
    /// Removes the formal release, or one gray release; the others stay. Reply: Done or NotFound.
    Remove { key: ConfigKey, gray: Option<Box<str>> },
    /// Removes formal releases. Reply: Report, with Removed or NotFound for each.
    RemoveBatch { items: Vec<RemoveItem> },
    /// An import or a clone. Reply: Report, NoNamespace (nothing was applied) or Limit.
    Import(Import),
    /// Publishes again what the version `to` held. The proposer reads that content from the store and sends it along:
    /// apply has no store, and a row that pointed to another would have to keep it alive. Reply: Done, NotFound (`to` is
    /// not, or no longer, in the history) or Limit.
    Rollback { key: ConfigKey, to: Revision, draft: Draft },
    /// Reply: Done or Limit.
    SetCapacity { scope: Scope, change: CapacityChange },
    /// Reply: Done, Exists or Limit.
    CreateNamespace { id: Box<str>, name: Box<str>, desc: Box<str> },
    /// Reply: Done, Limit, or NotFound, also for the default namespace.
    UpdateNamespace { id: Box<str>, name: Box<str>, desc: Box<str> },
    /// Forgets the namespace; its configurations and services are left alone, as in Nacos (a front end that is to remove
    /// configurations does so before). Reply: Done, NotFound (also
    /// for the default namespace), or NotEmpty with the number of its configurations unless `force`.
    DeleteNamespace { id: Box<str>, force: bool },
    /// Shortens histories. Reply: Pruned.
    Prune(Prune),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    pub key: ConfigKey,
    pub draft: Draft,
    /// Only over a release with this md5; one that does not exist is created (`insertOrUpdateCas`).
    pub cas: Option<Md5>,
    /// Check quota and size: the proposer's setting (`isCapacityLimitCheck`).
    pub enforce: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub struct PublishGray {
    pub key: ConfigKey,
    /// `beta`, `tag_<tag>`, or the name of a label rule's release.
    pub name: Box<str>,
    pub rule: Arc<GrayRule>,
    pub draft: Draft,
    /// Only over a gray release with this md5.
    pub cas: Option<Md5>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct RemoveItem {
    pub key: ConfigKey,
    /// Only the configuration with this id, and not one that was created since.
    pub id: Option<Revision>,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// In the order in which they are written. All namespaces must exist.
    pub items: Vec<(ConfigKey, Draft)>,
    pub policy: ImportPolicy,
    /// A clone; otherwise an import.
    pub clone: bool,
    /// As in [`Publish`].
    pub enforce: bool,
}

/// What an import does where a configuration is present (`SameConfigPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImportPolicy {
    /// Ends there; what was written before stays.
    #[default]
    Abort,
    Skip,
    Overwrite,
}

/// Hides versions that are older than `until_ms`, or not among the newest `keep`, in the histories of at most
/// [`crate::limits::PRUNE_ITEMS_MAX`] configurations from `from` on. Begin at [`crate::ConfigState::prune_due`].
#[derive(Clone, Debug, PartialEq)]
pub struct Prune {
    /// Milliseconds since the epoch.
    pub until_ms: u64,
    pub keep: u32,
    /// `None` is the first configuration.
    pub from: Option<ConfigKey>,
}

/// What apply made of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigReply {
    Done {
        revision: Revision,
        /// Of the published content; `None` where none was published.
        md5: Option<Md5>,
    },
    /// The release has this md5.
    CasMismatch {
        current: Md5,
    },
    NotFound,
    Exists,
    /// Configurations in the namespace.
    NotEmpty(u64),
    /// The namespace that an import would write to does not exist.
    NoNamespace,
    /// A gray release cannot have this name.
    BadName,
    Limit(ConfigLimit),
    /// One outcome for each item of a batch, in its order.
    Report(Arc<[ItemOutcome]>),
    Pruned {
        /// Rows that nothing needs any more.
        dropped: u64,
        /// Where the next `Prune` goes on; `None` at the end.
        next: Option<ConfigKey>,
    },
}

impl ConfigReply {
    pub(crate) fn done(revision: Revision) -> ConfigReply {
        ConfigReply::Done { revision, md5: None }
    }
}

/// What became of one item of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum ItemOutcome {
    Created = 1,
    Updated = 2,
    /// Present, and the policy is to skip.
    Skipped = 3,
    /// Present, and the policy is to abort.
    Conflict = 4,
    /// After a conflict.
    NotTried = 5,
    /// A limit refused it.
    OverLimit = 6,
    Removed = 7,
    NotFound = 8,
}

impl ItemOutcome {
    pub(crate) fn from_number(number: u8) -> Option<ItemOutcome> {
        use ItemOutcome::{Conflict, Created, NotFound, NotTried, OverLimit, Removed, Skipped, Updated};
        [Created, Updated, Skipped, Conflict, NotTried, OverLimit, Removed, NotFound]
            .into_iter()
            .find(|outcome| *outcome as u8 == number)
    }

    /// Did the item change?
    pub fn is_done(self) -> bool {
        matches!(self, ItemOutcome::Created | ItemOutcome::Updated | ItemOutcome::Removed)
    }
}

/// Which bound a command ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigLimit {
    Configs(usize),
    Namespaces(usize),
    /// Gray releases of one configuration; code 20010.
    Grays(usize),
    /// Bytes of the texts beside a content.
    Extra(usize),
    /// Bytes of what names a configuration or a scope, or of the texts of a namespace.
    Names(usize),
    /// Namespaces and groups whose limits were set.
    Capacities(usize),
    /// Items of one command: the proposer did not split.
    Batch(usize),
    /// Error 5031.
    ClusterQuota(u32),
    /// Error 5032.
    GroupQuota(u32),
    /// Error 5033.
    NamespaceQuota(u32),
    /// Bytes; error 5034.
    ContentSize(u32),
}

impl fmt::Display for ConfigLimit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigLimit::Configs(max) => {
                write!(
                    f,
                    "the store is full: the limit is {max} configurations, those with only a history included"
                )
            }
            ConfigLimit::Namespaces(max) => write!(f, "the limit is {max} namespaces"),
            ConfigLimit::Grays(max) => write!(f, "gray config version is over max count :{max}"),
            ConfigLimit::Extra(max) => {
                write!(f, "description, schema, tags and the like are over {max} bytes together")
            }
            ConfigLimit::Names(max) => {
                write!(f, "names and a namespace's description are over {max} bytes together")
            }
            ConfigLimit::Capacities(max) => {
                write!(f, "limits are set for {max} namespaces and groups, which is the most")
            }
            ConfigLimit::Batch(max) => write!(f, "a command holds {max} items at most"),
            ConfigLimit::ClusterQuota(max) => write!(f, "the cluster's quota is {max} configurations"),
            ConfigLimit::GroupQuota(max) => write!(f, "the group's quota is {max} configurations"),
            ConfigLimit::NamespaceQuota(max) => write!(f, "the namespace's quota is {max} configurations"),
            ConfigLimit::ContentSize(max) => write!(f, "a content may have {max} bytes"),
        }
    }
}

/// What apply touched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigChanges {
    /// Configurations whose releases changed, each once.
    pub changed: Vec<ChangedConfig>,
    /// Rows to be stored before the entry counts as applied. Applying the entry again yields the same bytes.
    pub contents_put: Vec<(Revision, ContentRow)>,
    /// Rows that the state does not rely on any more. A snapshot that was taken earlier may: they may go once a later
    /// one has replaced it.
    pub contents_dropped: Vec<Revision>,
    /// The list of namespaces changed.
    pub namespaces: bool,
    /// Configurations whose histories alone were shortened: no listener waits for that.
    pub shortened: Vec<ConfigKey>,
    /// Limits were set.
    pub limits: bool,
}

/// A configuration after a change, for listeners: they compare [`ConfigItem::answer`] for their own labels.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangedConfig {
    pub key: ConfigKey,
    /// Was there anything to read before?
    pub was_present: bool,
    /// `None` when nothing is left to read.
    pub item: Option<Arc<ConfigItem>>,
}

impl ConfigChanges {
    pub fn is_empty(&self) -> bool {
        *self == ConfigChanges::default()
    }
}

impl ConfigCommand {
    /// Short name for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self.change {
            Change::Publish(_) => "config-publish",
            Change::PublishGray(_) => "config-publish-gray",
            Change::Remove { .. } => "config-remove",
            Change::RemoveBatch { .. } => "config-remove-batch",
            Change::Import(_) => "config-import",
            Change::Rollback { .. } => "config-rollback",
            Change::SetCapacity { .. } => "config-set-capacity",
            Change::CreateNamespace { .. } => "config-create-namespace",
            Change::UpdateNamespace { .. } => "config-update-namespace",
            Change::DeleteNamespace { .. } => "config-delete-namespace",
            Change::Prune(_) => "config-prune",
        }
    }

    /// The md5 of what a command of one item publishes.
    pub(crate) fn md5(&self) -> Option<Md5> {
        match &self.change {
            Change::Publish(publish) => Some(publish.draft.content.md5()),
            Change::PublishGray(publish) => Some(publish.draft.content.md5()),
            Change::Rollback { draft, .. } => Some(draft.content.md5()),
            _ => None,
        }
    }
}
