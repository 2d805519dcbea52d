//! The use cases of naming.

pub mod delegate;
mod instance;
pub mod metadata;
mod services;

pub use instance::{check_instance, instance_id};
pub use services::page;
