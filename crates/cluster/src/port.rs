//! The listening side of the cluster port. Everybody who reaches the port can open a connection, but only a member can
//! finish the handshake. So handshakes and members' connections have limits of their own, and strangers cannot take what
//! members need.

use std::collections::VecDeque;
use std::future::Future;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use rustix::io::Errno;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::service::Routes;
use tonic::transport::server::Connected;

use crate::tls::ClusterTls;

/// Wait after the system had no descriptor or memory for another connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Streams of one connection. Gossip, raft and Hello together stay far below.
const STREAMS_MAX: u32 = 256;
const STREAM_WINDOW: u32 = 4 * 1024 * 1024;
const CONNECTION_WINDOW: u32 = 8 * 1024 * 1024;
/// A member whose host vanished is noticed after the sum of both.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(2);
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(3);

/// Limits of the port.
#[derive(Clone, Copy, Debug)]
pub struct PortLimits {
    /// Most handshakes at a time. Another connection then ends the oldest one: a member finishes its own within
    /// milliseconds, so that the oldest one is a stranger's. Default 64.
    pub handshakes: usize,
    /// The time that one handshake may take. Default 3 s.
    pub handshake: Duration,
    /// Most connections of members; further ones are closed. Default 1,024: a member keeps up to 128 others, and each has
    /// one connection for gossip and a few for raft.
    pub connections: usize,
}

impl Default for PortLimits {
    fn default() -> PortLimits {
        PortLimits { handshakes: 64, handshake: Duration::from_secs(3), connections: 1_024 }
    }
}

/// Why the cluster port is not served any more.
#[derive(Debug, thiserror::Error)]
pub enum PortError {
    #[error("the system accepts no connection on it any more: {0}")]
    Accept(#[source] io::Error),
    #[error("its server failed: {0}")]
    Server(#[source] tonic::transport::Error),
    #[error("its server ended")]
    Ended,
}

/// Serves `routes` to members until `shutdown` ends, and then stops at once.
///
/// # Errors
/// The port cannot be served any more. Want of descriptors or memory is no such error: it passes.
pub async fn serve(
    listener: TcpListener,
    tls: &ClusterTls,
    limits: PortLimits,
    routes: Routes,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), PortError> {
    let (admitted, members) = mpsc::channel(limits.handshakes);
    let server = tonic::transport::Server::builder()
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(KEEP_ALIVE_INTERVAL))
        .http2_keepalive_timeout(Some(KEEP_ALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .add_routes(routes)
        .serve_with_incoming(ReceiverStream::new(members));
    tokio::select! {
        result = server => Err(result.err().map_or(PortError::Ended, PortError::Server)),
        error = accept(listener, tls.acceptor(), limits, admitted) => Err(PortError::Accept(error)),
        () = shutdown => Ok(()),
    }
}

/// Accepts connections until the listener fails for good, and hands those of members on.
async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    limits: PortLimits,
    admitted: mpsc::Sender<io::Result<Member>>,
) -> io::Error {
    let gate = Gate { tls, limits, room: Arc::new(Semaphore::new(limits.connections)), admitted };
    let mut handshakes = JoinSet::new();
    let mut by_age: VecDeque<AbortHandle> = VecDeque::new();
    let mut is_out_of_resources = false;
    loop {
        let accepted = listener.accept().await;
        while handshakes.try_join_next().is_some() {}
        match accepted {
            Ok((stream, peer)) => {
                is_out_of_resources = false;
                by_age.retain(|handshake| !handshake.is_finished());
                while by_age.len() >= limits.handshakes.max(1)
                    && let Some(oldest) = by_age.pop_front()
                {
                    oldest.abort();
                }
                let gate = gate.clone();
                by_age.push_back(handshakes.spawn(async move {
                    if let Err(error) = gate.admit(stream).await {
                        tracing::debug!(%peer, %error, "a connection to the cluster port was closed");
                    }
                }));
            }
            Err(error) if is_final(&error) => return error,
            Err(error) if is_want(&error) => {
                if !std::mem::replace(&mut is_out_of_resources, true) {
                    tracing::warn!(
                        %error,
                        "the cluster port accepts no connection; is the limit of open files reached?"
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
            // The connection itself broke before it was accepted.
            Err(error) => tracing::debug!(%error, "a connection to the cluster port broke off"),
        }
    }
}

/// The listener is none any more.
fn is_final(error: &io::Error) -> bool {
    use Errno as E;
    matches!(Errno::from_io_error(error), Some(E::BADF | E::INVAL | E::NOTSOCK | E::OPNOTSUPP | E::FAULT))
}

/// The system lacks something for another connection: to ask again at once would only take its time.
fn is_want(error: &io::Error) -> bool {
    use Errno as E;
    matches!(Errno::from_io_error(error), Some(E::MFILE | E::NFILE | E::NOBUFS | E::NOMEM) | None)
}

#[derive(Clone)]
struct Gate {
    tls: TlsAcceptor,
    limits: PortLimits,
    room: Arc<Semaphore>,
    admitted: mpsc::Sender<io::Result<Member>>,
}

impl Gate {
    /// Does the handshake and hands the connection on.
    async fn admit(self, stream: TcpStream) -> io::Result<()> {
        // Else one answer behind another waits for the other side's delayed acknowledgement, 40 ms.
        stream.set_nodelay(true)?;
        let handshake = self.tls.accept(stream);
        let stream = tokio::time::timeout(self.limits.handshake, handshake).await??;
        let Ok(room) = self.room.try_acquire_owned() else {
            let most = self.limits.connections;
            tracing::warn!("a member's connection was closed: the cluster port has {most} open, its limit");
            return Ok(());
        };
        // The receiver goes with the server only.
        let _ = self.admitted.send(Ok(Member { stream, _room: room })).await;
        Ok(())
    }
}

/// A connection of a member.
struct Member {
    stream: TlsStream<TcpStream>,
    _room: OwnedSemaphorePermit,
}

impl Connected for Member {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Member {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Member {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use dyad_proto::cluster::HelloRequest;
    use dyad_proto::cluster::cluster_client::ClusterClient;

    use super::*;
    use crate::dial::Dialer;

    #[tokio::test]
    async fn answers_wait_for_no_acknowledgement() {
        let tls = ClusterTls::from_token(b"0123456789abcdef0123456789abcdef").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let (admitted, mut members) = mpsc::channel(1);
        tokio::spawn(accept(listener, tls.acceptor(), PortLimits::default(), admitted));
        let mut client = ClusterClient::new(Dialer::new(tls).channel(&address).unwrap());
        tokio::spawn(async move { client.hello(HelloRequest::default()).await });
        let member = members.recv().await.unwrap().unwrap();
        assert!(member.stream.get_ref().0.nodelay().unwrap());
    }

    #[test]
    fn errors_of_accepting_are_told_apart() {
        let kind = |errno: Errno| {
            let error = io::Error::from(errno);
            (is_final(&error), is_want(&error))
        };
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM] {
            assert_eq!(kind(errno), (false, true), "{errno}");
        }
        for errno in [Errno::BADF, Errno::INVAL, Errno::NOTSOCK] {
            assert_eq!(kind(errno), (true, false), "{errno}");
        }
        for errno in [Errno::CONNABORTED, Errno::INTR, Errno::PROTO, Errno::NETDOWN, Errno::PERM] {
            assert_eq!(kind(errno), (false, false), "{errno}");
        }
    }
}
