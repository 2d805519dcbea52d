//! The routes of members, health, state, login and namespaces.

pub(crate) mod cluster;
pub(crate) mod health;
pub(crate) mod login;
pub(crate) mod namespace;
pub(crate) mod namespace_removal;
pub(crate) mod state;
