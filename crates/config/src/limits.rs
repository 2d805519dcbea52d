//! Bounds of the configuration core. They are part of the state machine, and so no settings: all members must hold the
//! same.

/// Bytes of a content up to which it is also kept in memory. Most configurations are smaller; what is larger is read from
/// the store.
pub const INLINE_MAX: usize = 4 * 1024;
/// Items of one command that holds several. Keeps one entry's work on the apply path to a few milliseconds and its
/// positions below [`crate::Revision::POSITIONS`].
pub const BATCH_MAX: usize = 1_000;
/// Configurations altogether, those included that only their history is left of. At some 300 bytes each besides the
/// content this is what a member of 1 GB can hold.
pub const CONFIGS_MAX: usize = 1_000_000;
/// Namespaces besides the default one: their list is answered as a whole.
pub const NAMESPACES_MAX: usize = 10_000;
/// Bytes of what names a configuration or a scope of limits, and of a namespace's id, name and description together: far
/// above what front ends let through, far below a snapshot record, which must hold them.
pub const NAMES_MAX: usize = 4 * 1024;
/// Namespaces and groups whose limits were set; they need not have configurations.
pub const CAPACITIES_MAX: usize = 100_000;
/// Gray releases of one configuration (`nacos.config.gray.version.max.count`).
pub const GRAYS_MAX: usize = 10;
/// Characters of a gray release's name: `tag_` and a tag, or what an operator chose.
pub const GRAY_NAME_MAX: usize = 128;
/// Bytes of a gray rule's expression: some 500 addresses. Ten of them and their contents fit a snapshot record.
pub const GRAY_EXPRESSION_MAX: usize = 8 * 1024;
/// Bytes of the texts that go with a content (description, schema, tags, …): the sum of their own limits, as UTF-8.
pub const EXTRA_MAX: usize = 128 * 1024;
/// Versions in the history of one configuration, gray releases included: the oldest makes room. Retention by days and by
/// count (`Prune`) keeps it far below; this bounds a writer in a loop.
pub const HISTORY_MAX: usize = 1_000;
/// Configurations that one `Prune` looks at: some 100 µs on the apply path.
pub const PRUNE_ITEMS_MAX: usize = 1_000;
/// Versions after which a `Prune` ends with the configuration that it is at: bounds the deletions of one entry.
pub const PRUNE_DROPS_MAX: usize = 10_000;
/// Milliseconds for which a request's outcome is remembered. A proposer repeats for 5 s at most; the rest is for entries
/// that a dying leader had already sent on.
pub const REQUEST_KEEP_MS: u64 = 60_000;
/// Remembered requests: 13,000 writes a second for the 5 s in which a repetition may come.
pub const REQUESTS_MAX: usize = 65_536;
/// Remembered requests that one entry lets go of, so that no entry pays for an idle hour.
pub const REQUESTS_DROPPED_AT_ONCE: usize = 16;
/// Entries of one page of a listing; more is cut to this.
pub const PAGE_MAX: usize = dyad_types::limits::PAGE_MAX;

/// Configurations of a namespace (`defaultTenantQuota`), where the proposer asks for the check.
pub const NAMESPACE_QUOTA: u32 = 200;
/// Configurations of a group of the default namespace (`defaultGroupQuota`).
pub const GROUP_QUOTA: u32 = 200;
/// Configurations altogether (`defaultClusterQuota`).
pub const CLUSTER_QUOTA: u32 = 100_000;
/// Bytes of one content (`defaultMaxSize`).
pub const CONTENT_SIZE: u32 = 100 * 1024;
/// Kept and shown only: aggregation is not built (`defaultMaxAggrCount`).
pub const AGGREGATE_COUNT: u32 = 10_000;
/// Kept and shown only (`defaultMaxAggrSize`).
pub const AGGREGATE_SIZE: u32 = 1024;
