//! Channels to other members: lazily connected, TLS, host names resolved anew on every connect.

use std::time::Duration;

use tonic::transport::{Channel, Endpoint};

use crate::tls::ClusterTls;

/// A member on the same network answers a SYN well within this; a dead one must not hold a write longer.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);
/// A peer whose host vanished without a reset is noticed after interval + timeout.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// Makes channels to cluster ports.
#[derive(Clone, Debug)]
pub struct Dialer {
    tls: ClusterTls,
}

impl Dialer {
    pub fn new(tls: ClusterTls) -> Dialer {
        Dialer { tls }
    }

    /// A channel to `host:cluster_port`. Nothing is connected until the first call; a broken connection is made anew,
    /// with a fresh name look-up, by the next call.
    ///
    /// # Errors
    /// When the address is not one.
    pub fn channel(&self, cluster_address: &str) -> Result<Channel, tonic::transport::Error> {
        Ok(Endpoint::from_shared(format!("https://{cluster_address}"))?
            .tls_config(self.tls.client())?
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_nodelay(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_lazy())
    }
}
