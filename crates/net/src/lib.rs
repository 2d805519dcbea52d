//! The sockets of clients, for every front end: how they are accepted, and a wrapper that tells how they fare.

mod accept;
mod wire;

pub use accept::Acceptor;
pub use wire::{Line, Watch, Wire};
