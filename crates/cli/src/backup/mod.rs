//! `dyad backup`: takes a backup from the server on this machine, checks one, and shows what is in one. Only the first of these
//! needs a server.

mod inspect;
pub mod progress;
mod publish;
mod shape;
mod take;
pub mod wire;

pub use inspect::{bad, open, show, verify};
pub use publish::{PublishArgs, publish};
pub use take::{TakeArgs, take};
