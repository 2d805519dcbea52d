//! Accepts transports, serves HTTP/2 on each in a task of its own, and says how each ended.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use dyad_naming::ports::Ending;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::connection::Connection;
use crate::cut::Why;
use crate::front::Front;
use crate::table::Connections;
use crate::transport::Transport;
use dyad_app::App;

/// Wait after `accept` failed, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// A client whose connection is closed by this server may read what was sent for this long.
const FAREWELL: Duration = Duration::from_secs(1);
/// When the server stops, transports get this long to end.
const STOP: Duration = Duration::from_secs(2);

/// Serves the gRPC port until `shutdown` completes, and then closes every transport. Returns how many of them had to be cut.
pub async fn serve(
    listener: TcpListener,
    app: Arc<App>,
    connections: Arc<Connections>,
    shutdown: impl Future<Output = ()>,
) -> usize {
    let front = Arc::new(Front { app, connections: connections.clone() });
    let transports = TaskTracker::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                if let Some(connection) = connections.open(peer) {
                    transports.spawn(transport(stream, connection, front.clone()));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed; is the limit of open files reached?");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.stop();
    transports.close();
    let ended = timeout(STOP, transports.wait()).await;
    if ended.is_ok() { 0 } else { transports.len() }
}

async fn transport(stream: TcpStream, connection: Arc<Connection>, front: Arc<Front>) {
    let peer = connection.peer();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "TCP_NODELAY was refused");
    }
    let end = Arc::new(ReadEnd::default());
    let wire = Wire { stream, end: end.clone() };
    match serve_until_cut(wire, &connection, &front).await {
        Served::Ended(Ok(())) => front.connections.end(&connection, Ending::Orderly),
        Served::Ended(Err(error)) => {
            tracing::debug!(%error, %peer, "a transport broke off");
            let ending = if end.is_fin() { Ending::Orderly } else { Ending::Abnormal };
            front.connections.end(&connection, ending);
        }
        Served::Cut(why, transport) => {
            match why {
                // The process ends and the clients go elsewhere: what they published is for rule 25 of docs/distro.md.
                Why::Stopped => connection.outbox.lock().close(),
                Why::Ended => front.connections.end(&connection, Ending::Abnormal),
            }
            if let Some(mut transport) = transport {
                transport.graceful_shutdown();
                let _late = timeout(FAREWELL, transport.serve()).await;
            }
        }
    }
    front.connections.closed();
}

/// How the serving of a transport came to its end.
enum Served {
    Ended(Result<(), h2::Error>),
    /// By this server; there is no transport if the client had not begun.
    Cut(Why, Option<Box<Transport<Wire>>>),
}

async fn serve_until_cut(wire: Wire, connection: &Arc<Connection>, front: &Arc<Front>) -> Served {
    let mut accept = Box::pin(Transport::accept(wire, front.clone(), connection.clone()));
    let accepted = poll_fn(|cx| match accept.as_mut().poll(cx) {
        Poll::Ready(accepted) => Poll::Ready(Ok(accepted)),
        Poll::Pending => connection.cut.poll(cx).map(Err),
    });
    let mut transport = match accepted.await {
        Ok(Ok(transport)) => Box::new(transport),
        Ok(Err(error)) => return Served::Ended(Err(error)),
        Err(why) => return Served::Cut(why, None),
    };
    drop(accept);
    let mut serve = Box::pin(transport.serve());
    let ended = poll_fn(|cx| match serve.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Ok(ended)),
        Poll::Pending => connection.cut.poll(cx).map(Err),
    })
    .await;
    drop(serve);
    match ended {
        Ok(ended) => Served::Ended(ended),
        Err(why) => Served::Cut(why, Some(transport)),
    }
}

/// How reading a socket ended.
#[derive(Debug, Default)]
struct ReadEnd(AtomicU8);

const FIN: u8 = 1;
const BROKEN: u8 = 2;

impl ReadEnd {
    fn is_fin(&self) -> bool {
        self.0.load(Ordering::Relaxed) == FIN
    }

    /// The first end counts.
    fn set(&self, end: u8) {
        let _ended = self.0.compare_exchange(0, end, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// A socket that remembers how it ended: a client that closed it or whose process died has said goodbye, one whose
/// connection was reset may live.
#[derive(Debug)]
struct Wire {
    stream: TcpStream,
    end: Arc<ReadEnd>,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buf.filled().len(), buf.remaining() > 0);
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        match &polled {
            Poll::Ready(Ok(())) if room && buf.filled().len() == before => self.end.set(FIN),
            Poll::Ready(Err(_)) => self.end.set(BROKEN),
            _ => {}
        }
        polled
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.wrote(polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Wire {
    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Err(_)) = polled {
            self.end.set(BROKEN);
        }
        polled
    }
}
