//! The configuration center's front end. `write` and `read` are the use cases that HTTP and gRPC share, `fault` why one
//! fails; `http` has the routes.

pub(crate) mod fault;
pub(crate) mod http;
mod metrics;
pub(crate) mod read;
pub(crate) mod request;
pub(crate) mod write;

pub use metrics::ConfigMetrics;
