//! Limits that more than one crate checks. Those of the registry are the defaults of settings.

/// Instances in the whole registry; more is 429.
pub const INSTANCES_MAX: usize = 1_000_000;
/// Services in the whole registry; more is 429.
pub const SERVICES_MAX: usize = 100_000;
/// Instances of one service; more is 429.
pub const INSTANCES_PER_SERVICE_MAX: usize = 10_000;
/// Entries of one page of a listing; more is 400.
pub const PAGE_MAX: usize = 10_000;
/// Bytes of one encoded command of the replicated log: a content of 10 MiB, the most that Nacos takes, with all its texts. A
/// proposer of many items splits them far below. No setting
/// changes it, since all members must hold the same.
pub const COMMAND_MAX: usize = 12 * 1024 * 1024;
