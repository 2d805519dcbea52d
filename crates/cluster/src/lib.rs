//! How members talk to each other: TLS from the token, the directory of who answers at which address, the gossip
//! streams, and the driver of the Distro core. This crate knows neither raft nor HTTP.

pub mod ap;
mod ask;
pub mod balance;
pub mod dial;
pub mod directory;
pub mod gossip;
mod membership;
pub mod port;
pub mod service;
pub mod tls;

pub use ap::{Ap, Host};
pub use ask::{Answer, ask_others};
pub use balance::Balance;
pub use dial::Dialer;
pub use directory::{Contact, Directory, Load};
pub use dyad_proto::cluster::Condition;
pub use membership::{Entry, Found, Membership, Row};
pub use port::{PortError, PortLimits};
pub use service::{ClusterIdentity, ClusterService};
pub use tls::ClusterTls;
