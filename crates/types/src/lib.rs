//! The vocabulary of Dyad: identifiers, keys, value objects, limits and the placement hash.
//!
//! Everything here is a plain value: there is no I/O, no clock, no randomness and no tokio. Only this crate knows the
//! separators that Nacos puts into its strings (`@@`, `#`, `##`).

pub mod beat;
pub mod budget;
pub mod check;
pub mod config;
pub mod config_check;
pub mod date;
pub mod ids;
pub mod instance;
pub mod key;
pub mod limits;
pub mod metadata;
pub mod placement;
pub mod places;
pub mod publication;
pub mod record;
pub mod time;

pub use beat::BeatSlot;
pub use budget::{Budget, Full, Lease, Part, Room};
pub use config::{ConfigKey, Md5};
pub use ids::{Dot, Lifetime, MemberId, Origin};
pub use instance::{Instance, InstanceIdKind};
pub use key::{Address, ClientId, NamespaceId, PublicationKey, ServiceKey};
pub use metadata::Metadata;
pub use placement::responsible;
pub use places::{NoPlace, Place, Places};
pub use publication::Publication;
pub use record::BadRecord;
pub use time::{Clock, Millis, Stamp};
