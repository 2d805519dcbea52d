//! Which clients are told of a change, when, and of what: subscribers of services ([`naming`]), listeners of
//! configurations ([`config`]), watchers of patterns ([`fuzzy`]), and the clients of 1.x that are told by UDP
//! ([`udp`]).
//!
//! The front ends bring the clients, as [`naming::Subscriber`] and [`config::Listener`]; nothing here knows HTTP or gRPC.

pub mod config;
pub mod fuzzy;
pub mod naming;
pub mod udp;
