//! The configuration core: configurations with their gray releases, history, capacity and namespaces. The raft log
//! replicates it as a part of the CP state. It uses no tokio, no clock and no randomness.
//!
//! Contents are outside of the state. Each write yields one [`ContentRow`], which the state machine puts into a
//! key-value store under its [`Revision`] before the entry counts as applied. The state has what readers need at once
//! (metadata, md5, and contents of up to [`limits::INLINE_MAX`] bytes) and 16 bytes for each version.

mod apply;
pub mod archive;
mod capacity;
mod catalog;
mod codec;
mod command;
mod content;
mod gray;
mod history;
mod item;
pub mod limits;
mod namespace;
mod pattern;
mod ports;
mod query;
pub mod record;
mod row;
mod snapshot;
mod state;
pub mod syntax;
mod yaml;

pub use dyad_types::BadRecord;

pub use capacity::{Capacity, CapacityChange, Scope, Usage};
pub use catalog::Catalog;
pub use command::{
    Change, ChangedConfig, ConfigChanges, ConfigCommand, ConfigLimit, ConfigReply, Import, ImportPolicy,
    ItemOutcome, Prune, Publish, PublishGray, RemoveItem, Source,
};
pub use content::{ConfigType, Content, Draft, Revision, WeakContent};
pub use gray::{BETA, GrayFault, GrayRule, ReaderLabels, tag_gray_name};
pub use history::{HistoryEntry, Op};
pub use item::{Answer, ConfigItem, Extra, Gray, Release};
pub use namespace::{Namespace, NamespaceView};
pub use pattern::{Pattern, Stopped, Work};
pub use ports::{ConfigWatcher, ContentError, Contents};
pub use query::{Filter, Found, PageRequest};
pub use row::{Cause, ContentRow, ShownVersion};
pub use state::ConfigState;
