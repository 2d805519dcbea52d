//! The member-to-member shell: TLS from the token, who answers at which address, gossip streams, and the driver of the
//! Distro core. It knows no raft and no HTTP.

pub mod ap;
pub mod balance;
pub mod dial;
pub mod directory;
pub mod gossip;
pub mod service;
pub mod tls;

pub use ap::{Ap, Host};
pub use balance::Balance;
pub use dial::Dialer;
pub use directory::{Directory, Entry, Found, Load};
pub use service::{ClusterIdentity, ClusterService};
pub use tls::ClusterTls;
