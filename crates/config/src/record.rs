//! The stored messages of commands, replies, rows and the snapshot. Field numbers are never reused; golden bytes in the
//! tests of this crate and of the CP log fix them. Outside of this crate nobody looks into the messages.

use prost::Message;

pub use crate::codec::{outcome_bytes, outcomes_of};

/// The stored form of a [`crate::ConfigCommand`].
#[derive(Clone, PartialEq, Message)]
pub struct CommandRecord {
    /// The id of the request, big-endian; empty without one. It belongs to the envelope of the command, which had no id of
    /// its own in the first builds.
    #[prost(bytes = "vec", tag = "1")]
    pub request: Vec<u8>,
    #[prost(string, tag = "2")]
    pub(crate) user: String,
    #[prost(string, tag = "3")]
    pub(crate) ip: String,
    #[prost(string, tag = "4")]
    pub(crate) reason: String,
    #[prost(oneof = "ChangeRecord", tags = "5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15")]
    pub(crate) change: Option<ChangeRecord>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum ChangeRecord {
    #[prost(message, tag = "5")]
    Publish(PublishRecord),
    #[prost(message, tag = "6")]
    PublishGray(PublishRecord),
    #[prost(message, tag = "7")]
    Remove(RemoveRecord),
    #[prost(message, tag = "8")]
    RemoveBatch(RemoveBatchRecord),
    #[prost(message, tag = "9")]
    Import(ImportRecord),
    #[prost(message, tag = "10")]
    Rollback(RollbackRecord),
    #[prost(message, tag = "11")]
    SetCapacity(CapacityRecord),
    #[prost(message, tag = "12")]
    CreateNamespace(NamespaceRecord),
    #[prost(message, tag = "13")]
    UpdateNamespace(NamespaceRecord),
    #[prost(message, tag = "14")]
    DeleteNamespace(DeleteNamespaceRecord),
    #[prost(message, tag = "15")]
    Prune(PruneRecord),
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct KeyRecord {
    #[prost(string, tag = "1")]
    pub(crate) namespace: String,
    #[prost(string, tag = "2")]
    pub(crate) group: String,
    #[prost(string, tag = "3")]
    pub(crate) data_id: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DraftRecord {
    #[prost(string, tag = "1")]
    pub(crate) content: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) md5: Vec<u8>,
    #[prost(uint32, tag = "3")]
    pub(crate) kind: u32,
    #[prost(message, optional, tag = "4")]
    pub(crate) extra: Option<ExtraRecord>,
    /// Whether the present application is kept; the next field says the same of the tags.
    #[prost(bool, tag = "5")]
    pub(crate) keep_app_name: bool,
    #[prost(bool, tag = "6")]
    pub(crate) keep_tags: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ExtraRecord {
    #[prost(string, tag = "1")]
    pub(crate) app_name: String,
    #[prost(string, repeated, tag = "2")]
    pub(crate) tags: Vec<String>,
    #[prost(string, tag = "3")]
    pub(crate) desc: String,
    #[prost(string, tag = "4")]
    pub(crate) used_for: String,
    #[prost(string, tag = "5")]
    pub(crate) effect: String,
    #[prost(string, tag = "6")]
    pub(crate) schema: String,
    #[prost(string, tag = "7")]
    pub(crate) encrypted_data_key: String,
}

/// The name of a gray release and, unless `kind` is empty, its rule.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct GrayRecord {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) kind: String,
    #[prost(string, tag = "3")]
    pub(crate) version: String,
    #[prost(string, tag = "4")]
    pub(crate) expression: String,
    #[prost(sint32, tag = "5")]
    pub(crate) priority: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PublishRecord {
    #[prost(message, optional, tag = "1")]
    pub(crate) key: Option<KeyRecord>,
    #[prost(message, optional, tag = "2")]
    pub(crate) draft: Option<DraftRecord>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) cas: Option<Vec<u8>>,
    #[prost(bool, tag = "4")]
    pub(crate) enforce: bool,
    #[prost(message, optional, tag = "5")]
    pub(crate) gray: Option<GrayRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RemoveRecord {
    #[prost(message, optional, tag = "1")]
    pub(crate) key: Option<KeyRecord>,
    #[prost(string, optional, tag = "2")]
    pub(crate) gray: Option<String>,
    #[prost(uint64, optional, tag = "3")]
    pub(crate) id: Option<u64>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RemoveBatchRecord {
    #[prost(message, repeated, tag = "1")]
    pub(crate) items: Vec<RemoveRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ImportRecord {
    #[prost(message, repeated, tag = "1")]
    pub(crate) items: Vec<ImportItemRecord>,
    /// What happens to a configuration that exists: 0 abort, 1 skip, 2 overwrite.
    #[prost(uint32, tag = "2")]
    pub(crate) policy: u32,
    #[prost(bool, tag = "3")]
    pub(crate) clone: bool,
    #[prost(bool, tag = "4")]
    pub(crate) enforce: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ImportItemRecord {
    #[prost(message, optional, tag = "1")]
    pub(crate) key: Option<KeyRecord>,
    #[prost(message, optional, tag = "2")]
    pub(crate) draft: Option<DraftRecord>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RollbackRecord {
    #[prost(message, optional, tag = "1")]
    pub(crate) key: Option<KeyRecord>,
    #[prost(uint64, tag = "2")]
    pub(crate) to: u64,
    #[prost(message, optional, tag = "3")]
    pub(crate) draft: Option<DraftRecord>,
}

/// The limits of a scope. In a command, an absent field means no change; in a snapshot all fields are present.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct CapacityRecord {
    #[prost(message, optional, tag = "1")]
    pub(crate) scope: Option<ScopeRecord>,
    #[prost(uint32, optional, tag = "2")]
    pub(crate) quota: Option<u32>,
    #[prost(uint32, optional, tag = "3")]
    pub(crate) max_size: Option<u32>,
    #[prost(uint32, optional, tag = "4")]
    pub(crate) max_aggr_count: Option<u32>,
    #[prost(uint32, optional, tag = "5")]
    pub(crate) max_aggr_size: Option<u32>,
    #[prost(uint64, tag = "6")]
    pub(crate) created_ms: u64,
    #[prost(uint64, tag = "7")]
    pub(crate) modified_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ScopeRecord {
    /// The kind of scope: 1 the cluster, 2 a namespace, 3 a group.
    #[prost(uint32, tag = "1")]
    pub(crate) kind: u32,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct NamespaceRecord {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) name: String,
    #[prost(string, tag = "3")]
    pub(crate) desc: String,
    /// This field and those after it are in the snapshot only.
    #[prost(uint64, tag = "4")]
    pub(crate) created: u64,
    #[prost(uint64, tag = "5")]
    pub(crate) created_ms: u64,
    #[prost(uint64, tag = "6")]
    pub(crate) modified_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DeleteNamespaceRecord {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(bool, tag = "2")]
    pub(crate) force: bool,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct PruneRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) until_ms: u64,
    #[prost(uint32, tag = "2")]
    pub(crate) keep: u32,
    #[prost(message, optional, tag = "3")]
    pub(crate) from: Option<KeyRecord>,
}

/// The stored form of a [`crate::ConfigReply`].
#[derive(Clone, PartialEq, Message)]
pub struct ReplyRecord {
    #[prost(uint32, tag = "1")]
    pub(crate) kind: u32,
    /// A revision, a limit or a count, depending on the kind.
    #[prost(uint64, tag = "2")]
    pub(crate) number: u64,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) md5: Vec<u8>,
    #[prost(bytes = "vec", tag = "4")]
    pub(crate) outcomes: Vec<u8>,
    #[prost(message, optional, tag = "5")]
    pub(crate) next: Option<KeyRecord>,
}

/// The stored form of a [`crate::ContentRow`].
#[derive(Clone, PartialEq, Message)]
pub(crate) struct RowRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) revision: u64,
    #[prost(message, optional, tag = "2")]
    pub(crate) key: Option<KeyRecord>,
    #[prost(uint32, tag = "3")]
    pub(crate) op: u32,
    #[prost(message, optional, tag = "4")]
    pub(crate) gray: Option<GrayRecord>,
    #[prost(string, optional, tag = "5")]
    pub(crate) content: Option<String>,
    #[prost(bytes = "vec", tag = "6")]
    pub(crate) md5: Vec<u8>,
    #[prost(uint32, tag = "7")]
    pub(crate) kind: u32,
    #[prost(message, optional, tag = "8")]
    pub(crate) extra: Option<ExtraRecord>,
    /// The kind of request: 0 publish, 1 remove, 2 import, 3 clone, 4 rollback.
    #[prost(uint32, tag = "9")]
    pub(crate) cause: u32,
    #[prost(uint64, tag = "10")]
    pub(crate) rolled_back_to: u64,
    #[prost(string, tag = "11")]
    pub(crate) user: String,
    #[prost(string, tag = "12")]
    pub(crate) ip: String,
    #[prost(string, tag = "13")]
    pub(crate) reason: String,
    #[prost(uint64, tag = "14")]
    pub(crate) created_ms: u64,
    #[prost(uint64, tag = "15")]
    pub(crate) modified_ms: u64,
}

/// A part of a snapshot of [`crate::ConfigState`].
#[derive(Clone, PartialEq, Message)]
pub struct StatePart {
    #[prost(oneof = "PartRecord", tags = "1, 2, 3, 4")]
    pub(crate) part: Option<PartRecord>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum PartRecord {
    #[prost(message, tag = "1")]
    Item(ItemRecord),
    #[prost(message, tag = "2")]
    Namespace(NamespaceRecord),
    #[prost(message, tag = "3")]
    Capacity(CapacityRecord),
    #[prost(message, tag = "4")]
    Requests(RequestsRecord),
}

/// A configuration, or further gray releases of one.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct ItemRecord {
    #[prost(message, optional, tag = "1")]
    pub(crate) key: Option<KeyRecord>,
    #[prost(message, optional, boxed, tag = "2")]
    pub(crate) formal: Option<Box<ReleaseRecord>>,
    #[prost(message, repeated, tag = "3")]
    pub(crate) grays: Vec<ReleaseRecord>,
    #[prost(uint64, repeated, tag = "4")]
    pub(crate) revisions: Vec<u64>,
    /// Time, operation and slot of each revision, as the history packs them.
    #[prost(uint64, repeated, tag = "5")]
    pub(crate) marks: Vec<u64>,
    #[prost(uint32, tag = "6")]
    pub(crate) hidden: u32,
    #[prost(string, repeated, tag = "7")]
    pub(crate) names: Vec<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ReleaseRecord {
    #[prost(uint64, tag = "1")]
    pub(crate) id: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) revision: u64,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) md5: Vec<u8>,
    #[prost(string, optional, tag = "4")]
    pub(crate) inline: Option<String>,
    #[prost(uint32, tag = "5")]
    pub(crate) len: u32,
    #[prost(uint32, tag = "6")]
    pub(crate) kind: u32,
    #[prost(uint64, tag = "7")]
    pub(crate) created_ms: u64,
    #[prost(uint64, tag = "8")]
    pub(crate) modified_ms: u64,
    #[prost(message, optional, tag = "9")]
    pub(crate) extra: Option<ExtraRecord>,
    /// The name and the rule, for gray releases only.
    #[prost(message, optional, tag = "10")]
    pub(crate) gray: Option<GrayRecord>,
}

/// Remembered requests. They are of all parts of the CP state, but stand among the configurations' parts in a snapshot,
/// where the first builds wrote those of the configurations.
#[derive(Clone, PartialEq, Message)]
pub struct RequestsRecord {
    #[prost(message, repeated, tag = "1")]
    pub requests: Vec<RequestRecord>,
}

/// A request that took effect.
#[derive(Clone, PartialEq, Message)]
pub struct RequestRecord {
    /// Big-endian.
    #[prost(bytes = "vec", tag = "1")]
    pub id: Vec<u8>,
    /// Milliseconds since the epoch.
    #[prost(uint64, tag = "2")]
    pub at_ms: u64,
    #[prost(uint64, tag = "3")]
    pub revision: u64,
    /// One byte for each item, for requests of several items.
    #[prost(bytes = "vec", optional, tag = "4")]
    pub outcomes: Option<Vec<u8>>,
}

impl StatePart {
    pub fn of_requests(requests: RequestsRecord) -> StatePart {
        StatePart { part: Some(PartRecord::Requests(requests)) }
    }

    /// The requests, if this part has them.
    pub fn requests(&self) -> Option<&RequestsRecord> {
        match &self.part {
            Some(PartRecord::Requests(requests)) => Some(requests),
            _ => None,
        }
    }
}
