//! Limits that more than one crate checks. The limits of the registry are defaults of settings.

/// Most instances in the whole registry; further ones are refused with 429.
pub const INSTANCES_MAX: usize = 1_000_000;
/// Most services in the whole registry; further ones are refused with 429.
pub const SERVICES_MAX: usize = 100_000;
/// Most instances of one service; further ones are refused with 429.
pub const INSTANCES_PER_SERVICE_MAX: usize = 10_000;
/// Most bytes of one publication, such as a batch, since members send it to each other in one message. A longer one is
/// refused with 400.
pub const PUBLICATION_MAX: usize = 512 * 1024;
/// Most entries on one page of a listing.
pub const PAGE_MAX: usize = 10_000;
/// Most bytes of one encoded command of the replicated log: Nacos's largest content, 10 MiB, with all its texts. A
/// proposer of many items makes commands that are far smaller. No setting changes this limit, since all members must
/// have the same.
pub const COMMAND_MAX: usize = 12 * 1024 * 1024;
