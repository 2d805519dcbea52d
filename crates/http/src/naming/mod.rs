//! The naming routes.

pub(crate) mod beat;
pub(crate) mod discovery;
pub(crate) mod instance;
pub(crate) mod list;
pub(crate) mod operator;
mod request;
pub(crate) mod service;
pub(crate) mod subscribers;
