//! The clients of the gRPC port, as the use cases see them.

use std::sync::Arc;

use dyad_naming::ports::BoxFuture;
use serde_json::{Map, Value};

/// What a client says about the configurations that it has.
pub type ClientMetrics = Map<String, Value>;

/// The clients that are connected to the gRPC port of this member. The gRPC front end implements this.
pub trait Clients: Send + Sync + 'static {
    /// The number of registered clients.
    fn count(&self) -> usize;
    /// Asks at most `max` configuration clients with this address what they have of their configurations
    /// (`ClientConfigMetricRequest`). `keys` is JSON. There is one future for each client; it has no deadline of its own.
    fn ask_metrics(
        self: Arc<Self>,
        ip: &str,
        keys: &str,
        max: usize,
    ) -> Vec<BoxFuture<'static, Option<ClientMetrics>>>;
}
