//! The commands that change the configuration state, their replies, and what changed.

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
    pub source: Source,
    pub change: Change,
}

/// Who asked for a change, as the history shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The operator (`srcUser`). Empty if unknown.
    pub user: Box<str>,
    /// The address that the request came from.
    pub ip: Box<str>,
    /// The reason in the operator's words. Empty if none was given.
    pub reason: Box<str>,
}

/// What is to be changed. A batch has at most [`crate::limits::BATCH_MAX`] items; the proposer splits longer ones. Each variant
/// names its possible replies ([`ConfigReply`]).
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Creates or replaces the formal release. Reply: Done, CasMismatch or Limit.
    Publish(Publish),
    /// Creates or replaces a gray release. The formal release need not exist. Reply: Done, CasMismatch, BadName or Limit.
    PublishGray(PublishGray),
    /// Removes the formal release, or the gray release of this name; other releases stay. Reply: Done or NotFound.
    Remove { key: ConfigKey, gray: Option<Box<str>> },
    /// Removes formal releases. Reply: Report, with Removed or NotFound for each item.
    RemoveBatch { items: Vec<RemoveItem> },
    /// Imports or clones configurations. Reply: Report, NoNamespace (nothing was applied then) or Limit.
    Import(Import),
    /// Publishes again what the version `to` had. The proposer reads that content from the store and sends it along, because
    /// `apply` has no store, and a row that pointed to another row would have to keep it alive. Reply: Done, NotFound (`to` is
    /// not in the history, or not any more) or Limit.
    Rollback { key: ConfigKey, to: Revision, draft: Draft },
    /// Sets limits of a scope. Reply: Done or Limit.
    SetCapacity { scope: Scope, change: CapacityChange },
    /// Creates a namespace. Reply: Done, Exists or Limit.
    CreateNamespace { id: Box<str>, name: Box<str>, desc: Box<str> },
    /// Changes the name and description of a namespace. Reply: Done, Limit, or NotFound, which is also the reply for
    /// the default namespace.
    UpdateNamespace { id: Box<str>, name: Box<str>, desc: Box<str> },
    /// Forgets the namespace. As in Nacos, its configurations and services stay; a front end that has to remove the
    /// configurations does so before. Reply: Done; NotFound, also for the default namespace; or NotEmpty with the
    /// number of its configurations, unless `force` is true.
    DeleteNamespace { id: Box<str>, force: bool },
    /// Shortens histories. Reply: Pruned.
    Prune(Prune),
}

/// See [`Change::Publish`].
#[derive(Clone, Debug, PartialEq)]
pub struct Publish {
    pub key: ConfigKey,
    pub draft: Draft,
    /// The publish succeeds only if the current content has this md5, or if there is none (`insertOrUpdateCas`).
    pub cas: Option<Md5>,
    /// Whether quota and size are checked. This is the setting of the proposer (`isCapacityLimitCheck`).
    pub enforce: bool,
}

/// See [`Change::PublishGray`].
#[derive(Clone, Debug, PartialEq)]
pub struct PublishGray {
    pub key: ConfigKey,
    /// `beta`, `tag_<tag>`, or a name that an operator chose for a rule over labels.
    pub name: Box<str>,
    pub rule: Arc<GrayRule>,
    pub draft: Draft,
    /// The publish succeeds only if the current content of this gray release has this md5, or if there is no such release.
    pub cas: Option<Md5>,
}

/// One item of [`Change::RemoveBatch`].
#[derive(Clone, Debug, PartialEq)]
pub struct RemoveItem {
    pub key: ConfigKey,
    /// If given, only the configuration with this id is removed, and not one that was created under the same key since.
    pub id: Option<Revision>,
}

/// See [`Change::Import`].
#[derive(Clone, Debug, PartialEq)]
pub struct Import {
    /// The items, in the order in which they are written. All their namespaces must exist.
    pub items: Vec<(ConfigKey, Draft)>,
    pub policy: ImportPolicy,
    /// True for a clone, false for an import.
    pub clone: bool,
    /// As in [`Publish`].
    pub enforce: bool,
}

/// What an import does with a configuration that exists already (`SameConfigPolicy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ImportPolicy {
    /// The import ends there. What was written before stays.
    #[default]
    Abort,
    Skip,
    Overwrite,
}

/// Hides versions that are older than `until_ms` or are not among the newest `keep`. It looks at the histories of at most
/// [`crate::limits::PRUNE_ITEMS_MAX`] configurations from `from` on. Begin at [`crate::ConfigState::prune_due`].
#[derive(Clone, Debug, PartialEq)]
pub struct Prune {
    /// Versions from before this time are hidden. In milliseconds since the epoch.
    pub until_ms: u64,
    /// This many of the newest versions stay at most.
    pub keep: u32,
    /// Where to begin; `None` means at the first configuration.
    pub from: Option<ConfigKey>,
}

/// The reply of `apply` to a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfigReply {
    Done {
        revision: Revision,
        /// The md5 of the published content. `None` if no content was published.
        md5: Option<Md5>,
    },
    /// The current content has another md5 than the command said.
    CasMismatch {
        current: Md5,
    },
    NotFound,
    Exists,
    /// The namespace has this many configurations.
    NotEmpty(u64),
    /// The namespace that an import would write to does not exist.
    NoNamespace,
    /// A gray release cannot have this name.
    BadName,
    Limit(ConfigLimit),
    /// One outcome for each item of a batch, in the order of the items.
    Report(Arc<[ItemOutcome]>),
    Pruned {
        /// The number of rows that nothing needs any more.
        dropped: u64,
        /// Where the next `Prune` has to go on. `None` if the end was reached.
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
    /// It exists, and the policy is to skip it.
    Skipped = 3,
    /// It exists, and the policy is to abort.
    Conflict = 4,
    /// An item before it was a conflict, which ended the import.
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

    /// Whether the item was changed.
    pub fn is_done(self) -> bool {
        matches!(self, ItemOutcome::Created | ItemOutcome::Updated | ItemOutcome::Removed)
    }
}

/// The limit that a command would exceed, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConfigLimit {
    Configs(usize),
    Namespaces(usize),
    /// The number of gray releases of one configuration; code 20010.
    Grays(usize),
    /// The bytes of all texts beside a content.
    Extra(usize),
    /// The bytes of the names of a configuration or a scope, or of the texts of a namespace.
    Names(usize),
    /// The number of namespaces and groups whose limits were set.
    Capacities(usize),
    /// The items of one command, which the proposer should have split.
    Batch(usize),
    /// The number of all configurations; error 5031.
    ClusterQuota(u32),
    /// The number of configurations of a group; error 5032.
    GroupQuota(u32),
    /// The number of configurations of a namespace; error 5033.
    NamespaceQuota(u32),
    /// The bytes of one content; error 5034.
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

/// What became different when a command was applied.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigChanges {
    /// The configurations whose releases changed; each is in the list once.
    pub changed: Vec<ChangedConfig>,
    /// The rows that must be stored before the entry counts as applied. Applying the entry again yields the same bytes.
    pub contents_put: Vec<(Revision, ContentRow)>,
    /// The rows that the state does not rely on any more. A snapshot that was taken earlier may still rely on them, so
    /// they may be deleted only when a later snapshot has replaced it.
    pub contents_dropped: Vec<Revision>,
    /// Whether the list of namespaces changed.
    pub namespaces: bool,
    /// The configurations of which only the history was shortened. No listener waits for that.
    pub shortened: Vec<ConfigKey>,
    /// Whether limits were set.
    pub limits: bool,
}

/// A configuration after a change, for listeners. A listener compares what [`ConfigItem::answer`] gives for its own labels.
#[derive(Clone, Debug, PartialEq)]
pub struct ChangedConfig {
    pub key: ConfigKey,
    /// Whether the configuration had a release before the change.
    pub was_present: bool,
    /// The configuration after the change. `None` if it has no release any more.
    pub item: Option<Arc<ConfigItem>>,
}

impl ConfigChanges {
    pub fn is_empty(&self) -> bool {
        *self == ConfigChanges::default()
    }
}

impl ConfigCommand {
    /// A short name of the change, for logs and metrics.
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

    /// The reply to this command if it took effect before: at `revision`, and with these outcomes if it has several items.
    pub fn repeated(&self, revision: Revision, outcomes: Option<Arc<[ItemOutcome]>>) -> ConfigReply {
        match outcomes {
            Some(outcomes) => ConfigReply::Report(outcomes),
            None => ConfigReply::Done { revision, md5: self.md5() },
        }
    }

    /// The md5 of what a command of one item publishes.
    fn md5(&self) -> Option<Md5> {
        match &self.change {
            Change::Publish(publish) => Some(publish.draft.content.md5()),
            Change::PublishGray(publish) => Some(publish.draft.content.md5()),
            Change::Rollback { draft, .. } => Some(draft.content.md5()),
            _ => None,
        }
    }
}
