//! The listening socket, and the serving of one connection by hyper.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{Instant, interval, timeout_at};
use tokio_util::sync::CancellationToken;

use crate::connections::{Connections, OpenGuard, Phase, SWEEP, Watch, Watched};
use crate::dispatch::Front;
use crate::limits::Limits;
use crate::metrics::HttpMetrics;
use dyad_app::App;
use dyad_net::{Acceptor, Line, Wire};
use dyad_push::udp::Udp;

/// The answer to a head that did not arrive in time; hyper has none of its own.
const HEAD_TIMEOUT: &[u8] = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
/// Bytes of a body or of small answers that wait in the buffer of a connection, and beside the budget.
const BUFFER_MAX: usize = 64 * 1024;
/// Header lines of one request; hyper's own default.
const HEADERS_MAX: usize = 100;

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
    let connections = Connections::new(app.places.clone(), metrics.clone());
    let pushing = CancellationToken::new();
    let udp = push_by_udp(&listener, &app, &pushing).await;
    let front = Front::new(app.clone(), metrics.clone(), limits, udp);
    let (stop, stopping) = watch::channel(false);
    let mut shutdown = pin!(shutdown);
    let mut sweep = interval(SWEEP);
    let mut acceptor = Acceptor::new(listener, "HTTP");
    loop {
        tokio::select! {
            biased;
            () = &mut shutdown => break,
            _ = sweep.tick() => connections.sweep(&limits),
            (stream, peer) = acceptor.next() => if let Some(open) = connections.open(peer.ip()) {
                tokio::spawn(connection(stream, peer, front.clone(), open, limits, stopping.clone()));
            },
        }
    }
    drop(acceptor);
    app.listeners.release();
    stop.send_replace(true);
    let deadline = Instant::now() + limits.drain;
    while connections.len() > 0 {
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
        Ok(own) => Udp::bind(own.ip(), app.push.clone(), app.switches.clone(), app.places.clone()).await,
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
    let watch = open.watch.clone();
    let wire = Wire::new(stream, watch.clone());
    let line = wire.line();
    let service = service_fn(|request: Request<Incoming>| {
        let (watch, line) = (watch.clone(), line.clone());
        let refused = watch.spare().filter(|_| !is_of_health(request.uri().path()));
        let refused = refused.map(|refused| front.refuse(&refused.into(), request.uri().path()));
        let answer = front.call(request.map(|body| Watched::new(body, &watch)), peer.ip());
        async move {
            let response = match refused {
                Some(refused) => refused,
                None => tokio::select! {
                    biased;
                    response = answer => response,
                    () = gone(&line, &watch) => return Err(HungUp),
                },
            };
            watch.enter(Phase::Idle);
            Ok(response)
        }
    });
    let mut builder = http1::Builder::new();
    // `Front` tells a request line that is too long from headers that are; this one bounds the buffer.
    builder.max_header_size(2 * limits.head).max_headers(HEADERS_MAX).header_read_timeout(None);
    builder.max_buf_size(BUFFER_MAX.max(2 * limits.head));
    builder.keep_alive(watch.spare().is_none());
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
                watch.drain();
                std::pin::Pin::new(&mut served).graceful_shutdown();
            }
        }
    }
    if watch.is(Phase::Head) {
        line.farewell(HEAD_TIMEOUT);
    }
}

/// What every probe of a member's health asks for, and what shows why it is not well.
fn is_of_health(path: &str) -> bool {
    const ENDS: [&str; 4] = ["/liveness", "/readiness", "/health", "/prometheus"];
    let path = path.trim_end_matches('/');
    path == "/metrics" || ENDS.iter().any(|end| path.ends_with(end))
}

/// The client of a request does not wait for the answer any more.
#[derive(Debug, thiserror::Error)]
#[error("the client hung up")]
struct HungUp;

/// Waits until nobody waits for the answer. hyper notices that only while it reads, and it does not read while it has bytes of
/// another request. A client may close its half behind a request's body, so the body is read first.
async fn gone(line: &Line, watch: &Watch) {
    line.hung_up().await;
    // What reads the body is polled just before this, in the same task.
    poll_fn(|_| if watch.is(Phase::Busy) { Poll::Ready(()) } else { Poll::Pending }).await;
}
