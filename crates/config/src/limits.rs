//! Limits of the configuration core. They are part of the state machine and therefore not settings: all members must
//! have the same limits.

/// A content of up to this many bytes is also kept in memory. Most configurations are smaller; larger contents are read
/// from the store.
pub const INLINE_MAX: usize = 4 * 1024;
/// Most items of one command. This keeps the work of applying one entry to a few milliseconds, and the positions in it below
/// [`crate::Revision::POSITIONS`].
pub const BATCH_MAX: usize = 1_000;
/// Most configurations in all, including those of which only the history is left. A configuration takes about 300 bytes
/// besides its content, so a member with 1 GB can hold this many.
pub const CONFIGS_MAX: usize = 1_000_000;
/// Most namespaces besides the default one. Their list is always answered as a whole.
pub const NAMESPACES_MAX: usize = 10_000;
/// Most bytes of the names of a configuration or of a scope of limits, or of the id, name and description of a
/// namespace together. This is far above what front ends accept, and far below the size of a snapshot record, which
/// must hold them.
pub const NAMES_MAX: usize = 4 * 1024;
/// Most namespaces and groups whose limits were set. They need not have configurations.
pub const CAPACITIES_MAX: usize = 100_000;
/// Most gray releases of one configuration (`nacos.config.gray.version.max.count`).
pub const GRAYS_MAX: usize = 10;
/// Most characters of the name of a gray release: `tag_` and a tag, or a name that an operator chose.
pub const GRAY_NAME_MAX: usize = 128;
/// Most bytes of the expression of a gray rule, which is about 500 addresses. Ten rules and their contents fit into a snapshot
/// record.
pub const GRAY_EXPRESSION_MAX: usize = 8 * 1024;
/// Most bytes of all texts beside a content (description, schema, tags, …), as UTF-8. It is the sum of their own limits.
pub const EXTRA_MAX: usize = 128 * 1024;
/// Most versions in the history of one configuration, gray releases included. The oldest one makes room for a new one.
/// Retention by days and by count (`Prune`) keeps the number far below this; the limit is for a writer in a loop.
pub const HISTORY_MAX: usize = 1_000;
/// Most configurations that one `Prune` looks at, which takes about 100 µs while the entry is applied.
pub const PRUNE_ITEMS_MAX: usize = 1_000;
/// After this many versions a `Prune` ends with the configuration that it is at. This limits the deletions of one entry.
pub const PRUNE_DROPS_MAX: usize = 10_000;
/// Most entries on one page of a listing. A larger page is cut to this.
pub const PAGE_MAX: usize = dyad_types::limits::PAGE_MAX;

/// Most configurations of a namespace (`defaultTenantQuota`), if the proposer asks for the check.
pub const NAMESPACE_QUOTA: u32 = 200;
/// Most configurations of a group of the default namespace (`defaultGroupQuota`), if the proposer asks for the check.
pub const GROUP_QUOTA: u32 = 200;
/// Most configurations in all (`defaultClusterQuota`), if the proposer asks for the check.
pub const CLUSTER_QUOTA: u32 = 100_000;
/// Most bytes of one content (`defaultMaxSize`), if the proposer asks for the check.
pub const CONTENT_SIZE: u32 = 100 * 1024;
/// This limit (`defaultMaxAggrCount`) is only stored and shown, since there are no aggregated configurations.
pub const AGGREGATE_COUNT: u32 = 10_000;
/// This limit (`defaultMaxAggrSize`) is only stored and shown.
pub const AGGREGATE_SIZE: u32 = 1024;
