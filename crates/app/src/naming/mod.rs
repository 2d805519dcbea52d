//! The use cases of naming.

pub mod beat;
pub mod delegate;
mod instance;
pub mod metadata;
pub mod operator;
pub mod overrides;
pub mod read;
pub mod register;
pub mod services;

pub use delegate::Publisher;
pub use instance::given_id;
