//! The pure naming core: the replicated CP state, the registry with its views, and the ports to the two consistency
//! cores. No tokio, no clock, no randomness.

pub mod cp;
pub mod ports;
