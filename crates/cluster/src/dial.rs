//! Channels to other members. They use TLS, connect at the first call, and resolve the host name again on every connect.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};
use tower::service_fn;

use crate::tls::ClusterTls;

/// A member on the same network answers a SYN well within this; a dead one must not hold a write longer.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(300);
/// A name server that hangs (a stopped container's name) must not keep a member from one whose address is known.
const LOOKUP_TIMEOUT: Duration = Duration::from_millis(300);
/// Names whose last addresses are kept: members are few, but their names may change for years.
const NAMES_MAX: usize = 256;
/// A peer whose host vanished without a reset is noticed after interval + timeout.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(2);
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;

/// Makes channels to cluster ports.
#[derive(Clone, Debug)]
pub struct Dialer {
    tls: ClusterTls,
    names: Arc<Names>,
}

impl Dialer {
    pub fn new(tls: ClusterTls) -> Dialer {
        Dialer { tls, names: Arc::default() }
    }

    /// A channel to `host:cluster_port`. The first call connects it. If the connection breaks, the next call connects
    /// again, after a new look-up of the name.
    ///
    /// # Errors
    /// The text is not an address.
    pub fn channel(&self, cluster_address: &str) -> Result<Channel, tonic::transport::Error> {
        let names = self.names.clone();
        let address: Arc<str> = Arc::from(cluster_address);
        let connect = service_fn(move |_: Uri| {
            let (names, address) = (names.clone(), address.clone());
            async move { names.connect(&address).await.map(TokioIo::new) }
        });
        Ok(Endpoint::from_shared(format!("https://{cluster_address}"))?
            .tls_config(self.tls.client())?
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .http2_keep_alive_interval(KEEP_ALIVE_INTERVAL)
            .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
            .keep_alive_while_idle(true)
            .connect_with_connector_lazy(connect))
    }
}

/// The last addresses of each name, for when the name server does not answer in time.
#[derive(Debug, Default)]
struct Names(Mutex<HashMap<Arc<str>, Vec<SocketAddr>>>);

impl Names {
    async fn connect(&self, address: &Arc<str>) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{address} has no address"));
        for socket in self.resolve(address).await? {
            match tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(socket)).await {
                Ok(Ok(stream)) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Ok(Err(error)) => last = error,
                Err(_) => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }

    async fn resolve(&self, address: &Arc<str>) -> io::Result<Vec<SocketAddr>> {
        let looked_up = tokio::time::timeout(LOOKUP_TIMEOUT, tokio::net::lookup_host(&**address)).await;
        let error = match looked_up {
            Ok(Ok(found)) => {
                let found: Vec<SocketAddr> = found.collect();
                let mut names = self.0.lock();
                if names.len() < NAMES_MAX || names.contains_key(address) {
                    names.insert(address.clone(), found.clone());
                }
                return Ok(found);
            }
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, format!("looking up {address} takes too long")),
        };
        self.0.lock().get(address).cloned().ok_or(error)
    }
}
