//! Transports: accepting them, serving HTTP/2 on each in a task of its own, and telling how each ended.

use std::convert::Infallible;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dyad_naming::ports::Ending;
use dyad_proto::sdk::Payload;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use prost::Message;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::body::GrpcBody;
use super::connection::Connection;
use super::frame::{Code, Messages, Status};
use super::{Connections, dispatch, stream};
use crate::state::AppState;

/// Wait after `accept` failed, e.g. for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Calls of one client at a time; SDKs have a few, load programs hundreds.
const CALLS_MAX: u32 = 1_000;
/// Bytes that a client may send ahead of what is read, per call and in all: large batches in one go, and a bound.
const CALL_WINDOW: u32 = 256 * 1024;
const WINDOW: u32 = 1024 * 1024;
/// Bytes of one call's headers; Nacos's SDKs send a few hundred.
const HEADERS_MAX: u32 = 16 * 1024;
/// A client whose connection is closed by this server may read what was sent for this long.
const FAREWELL: Duration = Duration::from_secs(1);
/// When the server stops, transports get this long to end.
const STOP: Duration = Duration::from_secs(2);

const UNARY: &str = "/Request/request";
const STREAM: &str = "/BiRequestStream/requestBiStream";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// What every call needs.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) app: Arc<AppState>,
    pub(crate) connections: Arc<Connections>,
}

/// Serves the SDK port until `shutdown` completes, then closes every transport. Returns how many had to be cut.
pub async fn serve(listener: TcpListener, app: Arc<AppState>, shutdown: impl Future<Output = ()>) -> usize {
    let connections = app.connections.clone();
    let front = Arc::new(Front { app, connections: connections.clone() });
    let transports = TaskTracker::new();
    let stop = CancellationToken::new();
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
                    transports.spawn(transport(stream, connection, front.clone(), stop.clone()));
                }
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a connection failed; is the limit of open files reached?");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    stop.cancel();
    transports.close();
    let ended = timeout(STOP, transports.wait()).await;
    if ended.is_ok() { 0 } else { transports.len() }
}

async fn transport(
    stream: TcpStream,
    connection: Arc<Connection>,
    front: Arc<Front>,
    stop: CancellationToken,
) {
    let peer = connection.peer();
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, %peer, "TCP_NODELAY was refused");
    }
    let end = Arc::new(ReadEnd::default());
    let wire = Wire { stream, end: end.clone() };
    let calls = (front.clone(), connection.clone());
    let service = service_fn(move |request| call(calls.0.clone(), calls.1.clone(), request));
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(CALLS_MAX)
        .initial_stream_window_size(CALL_WINDOW)
        .initial_connection_window_size(WINDOW)
        .max_header_list_size(HEADERS_MAX);
    let mut served = pin!(builder.serve_connection(TokioIo::new(wire), service));
    let by_client = tokio::select! {
        result = &mut served => Some(result),
        () = connection.cut.cancelled() => None,
        () = stop.cancelled() => None,
    };
    match by_client {
        Some(Ok(())) => front.connections.end(&connection, Ending::Orderly),
        Some(Err(error)) => {
            tracing::debug!(%error, %peer, "a transport broke off");
            let ending = if end.is_fin() { Ending::Orderly } else { Ending::Abnormal };
            front.connections.end(&connection, ending);
        }
        None => {
            if stop.is_cancelled() {
                // The process ends and the clients go elsewhere: what they published is for rule 25 of docs/distro.md.
                connection.outbox.lock().close();
            } else {
                front.connections.end(&connection, Ending::Abnormal);
            }
            served.as_mut().graceful_shutdown();
            let _late = timeout(FAREWELL, served).await;
        }
    }
    front.connections.closed();
}

/// One call. What is wrong with the transport is a status of gRPC; everything else is an answer of Nacos's.
async fn call(
    front: Arc<Front>,
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<GrpcBody>, Infallible> {
    connection.touch(front.app.clock.now());
    let (head, body) = request.into_parts();
    let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    if !head.headers.get(CONTENT_TYPE).is_some_and(is_grpc) {
        let mut response = Response::new(GrpcBody::Empty);
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Ok(response);
    }
    let messages = Messages::new(body, front.connections.limits().message);
    let answer = match head.uri.path() {
        UNARY => unary(&front, &connection, messages).await.map(|bytes| GrpcBody::Message(Some(bytes))),
        STREAM => Ok(GrpcBody::Stream(stream::open(front, connection, messages))),
        _ => Err(Status { code: Code::Unimplemented, message: "no such method" }),
    };
    let mut response = Response::new(GrpcBody::Empty);
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    match answer {
        Ok(body) => *response.body_mut() = body,
        Err(status) => {
            let headers = response.headers_mut();
            headers.insert("grpc-status", HeaderValue::from(status.code as u16));
            headers.insert("grpc-message", HeaderValue::from_static(status.message));
            // What a client may use instead of a compression that is not read.
            headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
        }
    }
    Ok(response)
}

async fn unary(
    front: &Arc<Front>,
    connection: &Arc<Connection>,
    mut messages: Messages<Incoming>,
) -> Result<Bytes, Status> {
    let read = timeout(front.connections.limits().body_read, messages.next());
    let late = Status { code: Code::DeadlineExceeded, message: "the message did not arrive in time" };
    let none = Status { code: Code::Internal, message: "no message" };
    let message = read.await.map_err(|_| late)??.ok_or(none)?;
    let payload = decode(message)?;
    Ok(dispatch::answer(front, connection, payload).await)
}

pub(super) fn decode(message: Bytes) -> Result<Payload, Status> {
    Payload::decode(message).map_err(|_| Status { code: Code::Internal, message: "no payload" })
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
