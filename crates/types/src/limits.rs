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
/// Most bytes of a message that SDKs take: 10 MiB, the default of their gRPC library's settings.
pub const MESSAGE_MAX: usize = 10 * 1024 * 1024;
/// Most bytes of the list of a service's instances, and of a list of names: [`MESSAGE_MAX`] less what is around it in a message
/// and what other members may accept at the same time.
pub const LIST_BYTES_MAX: usize = MESSAGE_MAX - 256 * 1024;
/// Most entries on one page of a listing.
pub const PAGE_MAX: usize = 10_000;
/// Most bytes of one encoded command of the replicated log: Nacos's largest content, 10 MiB, with all its texts. A
/// proposer of many items makes commands that are far smaller. No setting changes this limit, since all members must
/// have the same.
pub const COMMAND_MAX: usize = 12 * 1024 * 1024;
