//! The AP core: how ephemeral instances are replicated. It is like Nacos's Distro, but its copies always converge. The
//! crate is pure: it has no I/O, no clock and no randomness; time is an argument, and effects are returned as
//! [`Action`]s.
//!
//! Each member writes one log per incarnation (an *origin*) and copies the logs of the others. A copy is a prefix of
//! its owner's log. What a query sees depends on all logs together. The numbers of rules in comments are those of
//! docs/distro.md.
//!
//! The clock of the caller should start at [`CLOCK_START`] or later. Every input goes through one [`Distro`], in order.

mod api;
mod clock;
pub mod codec;
mod config;
mod conns;
mod contest;
mod copy;
mod core;
mod gate;
mod gc;
mod leave;
mod life;
pub mod message;
mod peers;
mod relay;
mod stash;
mod stats;
mod store;
mod sync;
mod timers;
mod write;

pub use api::{Action, BeatOutcome, Ending, Event, Input, MemberState, Outcome, Visible};
pub use config::{CLOCK_START, Config, Limits, PAUSE_MS, Timing};
pub use core::Distro;
pub use gate::Gate;
pub use message::Message;
pub use stats::{LogStatus, PeerStatus, Status};
