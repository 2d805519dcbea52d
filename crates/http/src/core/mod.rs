//! The routes of members, health and namespaces.

pub(crate) mod cluster;
pub(crate) mod health;
pub(crate) mod namespace;
pub(crate) mod namespace_removal;
