//! The use cases: what a request does, whichever front end it comes from. They take typed values and give typed results.
//!
//! The server makes one [`App`] from the registry, the two cores behind their ports, a clock and the counters. A front end
//! parses a request into keys and values, calls a use case, and turns its result or its [`Fault`] into an answer. The
//! delegate ([`naming::delegate`]) sends each write of an instance to the core of its lifetime.

mod caller;
mod clients;
pub mod cluster;
pub mod config;
mod fault;
pub mod json;
pub mod naming;
mod state;

pub use caller::{Action, Caller, Means, Resource};
pub use clients::{ClientMetrics, Clients};
pub use config::ConfigMetrics;
pub use fault::{Class, Fault};
pub use state::{App, Bounds, IdSource};
