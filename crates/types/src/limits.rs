//! Limits of the registry that more than one crate checks. Each is a setting's default.

/// Instances in the whole registry; more is 429.
pub const INSTANCES_MAX: usize = 1_000_000;
/// Services in the whole registry; more is 429.
pub const SERVICES_MAX: usize = 100_000;
/// Instances of one service; more is 429.
pub const INSTANCES_PER_SERVICE_MAX: usize = 10_000;
/// Entries of one page of a listing; more is 400.
pub const PAGE_MAX: usize = 10_000;
