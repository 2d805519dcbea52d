//! Listening sockets: the connections, their limits and their end.
//!
//! hyper serves each connection. Some limits are not known to hyper: a deadline for the headers that does not count
//! idle time, and the number of connections. This file keeps them by a sweep over all connections once per second, so a
//! request costs no timer.

use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, interval, sleep, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::dispatch::Front;
use crate::metrics::HttpMetrics;
use dyad_app::App;
use dyad_push::udp::Udp;

/// The answer to a head that did not arrive in time; hyper has none of its own.
const HEAD_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
/// How often connections are looked at for their deadlines; deadlines are met within this.
const SWEEP: Duration = Duration::from_secs(1);
/// Wait after `accept` failed, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Bytes of a body or of small answers that wait in the buffer of a connection, and beside the budget.
const BUFFER_MAX: usize = 64 * 1024;
/// Header lines of one request; hyper's own default.
const HEADERS_MAX: usize = 100;

/// The limits of the HTTP front end. Those that a user may need to change are settings.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Most bytes of a request body; a larger one is refused with 413. Default 10 MiB.
    pub body: usize,
    /// Most bytes of a request body below `/nacos/v1/ns`; a larger one is refused with 413. Default 64 KiB.
    pub naming_body: usize,
    /// Most bytes of a request body to the configuration center, since a content in a form can take three times its
    /// size; a larger one is refused with 413. Default 40 MiB.
    pub config_body: usize,
    /// Most bytes of the request line (otherwise 414), and of the request line and the headers together (otherwise
    /// 431). Default 16 KiB.
    pub head: usize,
    /// The longest time from the first byte of a request to the end of its headers; then the answer is 408. Default 10 s.
    pub head_read: Duration,
    /// The longest time for the whole body; then the answer is 408. Default 30 s.
    pub body_read: Duration,
    /// The longest time for which a connection may rest between two requests. Default 75 s, which is longer than any
    /// client waits between polls.
    pub idle: Duration,
    /// The longest time for which a client may take nothing of an answer. Then the connection is closed. Default 30 s.
    pub unread: Duration,
    /// Most open connections; further ones are closed at once. Default 16,384. Each client of 1.x that listens to
    /// configurations holds one.
    pub connections: usize,
    /// The longest time for requests that are under way when the server stops. Default 5 s.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            body: 10 * 1024 * 1024,
            naming_body: 64 * 1024,
            config_body: 40 * 1024 * 1024,
            head: 16 * 1024,
            head_read: Duration::from_secs(10),
            body_read: Duration::from_secs(30),
            idle: Duration::from_secs(75),
            unread: Duration::from_secs(30),
            connections: 16_384,
            drain: Duration::from_secs(5),
        }
    }
}

/// How the server stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// The number of connections that were cut at the deadline. 0 means that all ended by themselves.
    pub cut: usize,
}

/// Serves HTTP on `listener` until `shutdown` completes. Then the requests that are under way may end within [`Limits::drain`].
pub async fn serve(
    listener: TcpListener,
    app: Arc<App>,
    metrics: Arc<HttpMetrics>,
    limits: Limits,
    shutdown: impl Future<Output = ()>,
) -> Drained {
    let connections = Arc::new(Connections::default());
    let pushing = CancellationToken::new();
    let udp = push_by_udp(&listener, &app, &pushing).await;
    let front = Front::new(app.clone(), metrics.clone(), limits, udp);
    let (stop, stopping) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    let mut sweep = interval(SWEEP);
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            _ = sweep.tick() => {
                connections.sweep(&limits);
                continue;
            }
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) if connections.len() >= limits.connections => {
                metrics.refused.fetch_add(1, Ordering::Relaxed);
                drop(stream);
            }
            Ok((stream, peer)) => {
                let open = connections.open(&metrics);
                tokio::spawn(connection(stream, peer, front.clone(), open, limits, stopping.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed; is the limit of open files reached?");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    app.listeners.release();
    stop.send_replace(true);
    let deadline = Instant::now() + limits.drain;
    while !connections.is_empty() {
        if timeout_at(deadline, connections.closed.notified()).await.is_err() {
            break;
        }
    }
    let cut = connections.len();
    connections.cut_all();
    pushing.cancel();
    Drained { cut }
}

/// Opens the socket that pushes to clients of 1.x, on the address on which they ask. Without it they poll.
async fn push_by_udp(listener: &TcpListener, app: &App, pushing: &CancellationToken) -> Option<Arc<Udp>> {
    let opened = match listener.local_addr() {
        Ok(own) => Udp::bind(own.ip(), app.push.clone(), app.switches.clone()).await,
        Err(error) => Err(error),
    };
    match opened {
        Ok(udp) => {
            let udp = Arc::new(udp);
            tokio::spawn(udp.clone().run(pushing.clone()));
            Some(udp)
        }
        Err(error) => {
            tracing::warn!(%error, "no push by UDP: clients of 1.x see changes by polling");
            None
        }
    }
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    front: Front,
    open: OpenGuard,
    limits: Limits,
    mut stopping: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "TCP_NODELAY was refused");
    }
    let watch = open.watch.clone();
    let wire = Wire { stream, watch: watch.clone() };
    let service = service_fn(|request| {
        let watch = watch.clone();
        let answer = front.call(request, peer.ip());
        async move {
            watch.enter(Phase::Busy);
            let response = answer.await;
            watch.enter(Phase::Idle);
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let mut builder = http1::Builder::new();
    // `Front` tells a request line that is too long from headers that are; this one bounds the buffer.
    builder.max_header_size(2 * limits.head).max_headers(HEADERS_MAX).header_read_timeout(None);
    builder.max_buf_size(BUFFER_MAX.max(2 * limits.head));
    let mut served = builder.serve_connection(TokioIo::new(wire), service);
    loop {
        tokio::select! {
            result = &mut served => {
                if let Err(error) = result {
                    tracing::debug!(%error, %peer, "a connection broke off");
                }
                return;
            }
            () = watch.expired.notified() => break,
            _ = stopping.wait_for(|&stop| stop), if !watch.is_draining() => {
                watch.draining.store(1, Ordering::Relaxed);
                Pin::new(&mut served).graceful_shutdown();
            }
        }
    }
    if watch.is(Phase::Head) {
        let Wire { mut stream, .. } = served.into_parts().io.into_inner();
        // Best effort: the client may be gone, and nothing waits for it.
        let _ = stream.try_write(HEAD_TIMEOUT);
        let _ = stream.shutdown().await;
    }
}

/// What a connection is doing, for its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Phase {
    Idle = 0,
    /// Bytes of a head have arrived.
    Head = 1,
    /// A request is being answered; its body has a deadline of its own.
    Busy = 2,
}

/// The state of one connection that the sweep sees. Relaxed atomics: a deadline that is a sweep late harms nobody.
#[derive(Debug, Default)]
struct Watch {
    phase: AtomicU8,
    /// The sweep in which the phase began.
    since: AtomicU64,
    /// Sweeps so far.
    now: Arc<AtomicU64>,
    draining: AtomicU8,
    /// The sweep since which the client takes nothing of an answer, and 1; 0 when nothing waits for it.
    blocked: AtomicU64,
    expired: Notify,
}

impl Watch {
    fn enter(&self, phase: Phase) {
        self.since.store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Relaxed) == phase as u8
    }

    fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed) != 0
    }

    fn is_overdue(&self, limits: &Limits) -> bool {
        let now = self.now.load(Ordering::Relaxed);
        let over = |since: u64, allowed: Duration| {
            SWEEP * u32::try_from(now.saturating_sub(since)).unwrap_or(u32::MAX) > allowed
        };
        let blocked = self.blocked.load(Ordering::Relaxed);
        if blocked != 0 && over(blocked - 1, limits.unread) {
            return true;
        }
        let allowed = match self.phase.load(Ordering::Relaxed) {
            0 => limits.idle,
            1 => limits.head_read,
            _ => return false,
        };
        over(self.since.load(Ordering::Relaxed), allowed)
    }

    /// The socket took something, or has no room.
    fn wrote(&self, some: bool) {
        let blocked = self.blocked.load(Ordering::Relaxed);
        if some && blocked != 0 {
            self.blocked.store(0, Ordering::Relaxed);
        } else if !some && blocked == 0 {
            self.blocked.store(self.now.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
    }
}

/// All open connections.
#[derive(Debug, Default)]
struct Connections {
    open: Mutex<Vec<Arc<Watch>>>,
    sweeps: Arc<AtomicU64>,
    closed: Notify,
}

impl Connections {
    fn open(self: &Arc<Connections>, metrics: &Arc<HttpMetrics>) -> OpenGuard {
        let watch = Arc::new(Watch { now: self.sweeps.clone(), ..Watch::default() });
        watch.enter(Phase::Idle);
        self.open.lock().push(watch.clone());
        metrics.connections.fetch_add(1, Ordering::Relaxed);
        OpenGuard { connections: self.clone(), metrics: metrics.clone(), watch }
    }

    fn len(&self) -> usize {
        self.open.lock().len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn sweep(&self, limits: &Limits) {
        self.sweeps.fetch_add(1, Ordering::Relaxed);
        for watch in self.open.lock().iter().filter(|watch| watch.is_overdue(limits)) {
            watch.expired.notify_one();
        }
    }

    fn cut_all(&self) {
        for watch in self.open.lock().iter() {
            watch.expired.notify_one();
        }
    }
}

/// Takes the connection off the list when its task ends, in whatever way.
#[derive(Debug)]
struct OpenGuard {
    connections: Arc<Connections>,
    metrics: Arc<HttpMetrics>,
    watch: Arc<Watch>,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock();
        if let Some(at) = open.iter().position(|watch| Arc::ptr_eq(watch, &self.watch)) {
            open.swap_remove(at);
        }
        drop(open);
        self.metrics.connections.fetch_sub(1, Ordering::Relaxed);
        self.connections.closed.notify_one();
    }
}

/// The socket, noting when the first bytes of a request arrive and that an answer is being read.
#[derive(Debug)]
struct Wire {
    stream: TcpStream,
    watch: Arc<Watch>,
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buf);
        if polled.is_ready() && buf.filled().len() > before && self.watch.is(Phase::Idle) {
            self.watch.enter(Phase::Head);
        }
        polled
    }
}

impl Wire {
    /// A client that still reads a long answer is not idle.
    fn wrote(&self, polled: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        self.watch.wrote(polled.is_ready());
        if polled.is_ready() && self.watch.is(Phase::Idle) {
            self.watch.enter(Phase::Idle);
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
