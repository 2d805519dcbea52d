//! The clients of the SDK port, as use cases see them.

use std::sync::Arc;

use dyad_naming::ports::BoxFuture;
use serde_json::{Map, Value};

/// What a client says about its own configurations.
pub type ClientMetrics = Map<String, Value>;

/// The clients that are connected to this member's SDK port. The gRPC front end implements it.
pub trait Clients: Send + Sync + 'static {
    /// Registered clients.
    fn count(&self) -> usize;
    /// Asks the configuration clients of an address, at most `max`, for their own view of their configurations
    /// (`ClientConfigMetricRequest`); `keys` is JSON. One future for each client, without a deadline of its own.
    fn ask_metrics(
        self: Arc<Self>,
        ip: &str,
        keys: &str,
        max: usize,
    ) -> Vec<BoxFuture<'static, Option<ClientMetrics>>>;
}
