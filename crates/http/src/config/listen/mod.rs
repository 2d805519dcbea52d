//! Listening to configurations over HTTP: the long poll, and the list of who listens to what.

pub(crate) mod ask_clients;
mod format;
pub(crate) mod poll;
pub(crate) mod status;
