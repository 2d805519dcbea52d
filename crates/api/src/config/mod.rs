//! The configuration center's front end. `write` and `read` are the use cases that HTTP and gRPC share, `fault` why one
//! fails; `http` has the routes.

pub mod archive;
pub(crate) mod fault;
pub(crate) mod http;
pub(crate) mod read;
pub(crate) mod request;
pub(crate) mod write;
