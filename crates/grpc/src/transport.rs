//! One transport: HTTP/2 and everything that is sent over it, in one task. A request that need not wait is read,
//! answered and written in one step. A push is written by the task that its change woke.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use h2::server::{self, SendResponse};
use h2::{RecvStream, SendStream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::connection::Connection;
use crate::dispatch::{self, Begun, Pending};
use crate::frame::{Code, Messages, Status, decode};
use crate::front::Front;
use crate::stream::Stream;
use dyad_types::budget::{Lease, Part, SMALL};

/// Calls of one client at a time; SDKs have a few, load programs hundreds.
const CALLS_MAX: u32 = 1_000;
/// Streams of one client at a time; SDKs have one.
const STREAMS_MAX: usize = 8;
/// Answers that wait on behalf of one client: a client that takes its calls back does not have more under way than one that
/// waits for them.
const WAITING_MAX: usize = CALLS_MAX as usize;
/// Bytes that a client may send ahead of what is read, per call and in all: large batches in one go, and a bound.
const CALL_WINDOW: u32 = 256 * 1024;
const WINDOW: u32 = 1024 * 1024;
/// Requests of one client that have not all arrived hold as many bytes as this many largest messages; then the latest gives
/// way.
const ARRIVING_MAX: usize = 2;
/// Calls of one client that arrive or wait for their answers before each further one needs room.
const CALLS_FREE: usize = 32;
/// The room of such a call, beside that of a message that is not small: the message, what was read of it, and the work.
const CALL_BYTES: usize = 2 * SMALL;
/// Bytes that wait for the socket on behalf of one call before no more are made.
const UNSENT_MAX: usize = 400 * 1024;
/// Bytes of one call's headers; Nacos's SDKs send a few hundred.
const HEADERS_MAX: u32 = 16 * 1024;

const UNARY: &str = "/Request/request";
const STREAM: &str = "/BiRequestStream/requestBiStream";
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

pub(crate) struct Transport<T> {
    front: Arc<Front>,
    connection: Arc<Connection>,
    http: server::Connection<T, Bytes>,
    accepted: Vec<(Request<RecvStream>, SendResponse<Bytes>)>,
    arriving: Vec<Arriving>,
    /// When the first of those that arrive must be there.
    late: Option<Pin<Box<Sleep>>>,
    waiting: FuturesUnordered<Waiting>,
    streams: Vec<Stream>,
}

/// A request that is not all there.
struct Arriving {
    body: RecvStream,
    messages: Messages,
    until: Instant,
    respond: SendResponse<Bytes>,
    _place: Option<Lease>,
}

/// A call whose answer waits.
struct Waiting {
    pending: Pending,
    respond: Option<SendResponse<Bytes>>,
    _place: Option<Lease>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Transport<T> {
    /// Waits for the client's preface.
    pub(crate) async fn accept(
        io: T,
        front: Arc<Front>,
        connection: Arc<Connection>,
    ) -> Result<Transport<T>, h2::Error> {
        let mut builder = server::Builder::new();
        builder
            .max_concurrent_streams(CALLS_MAX)
            .initial_window_size(CALL_WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_send_buffer_size(UNSENT_MAX)
            .max_header_list_size(HEADERS_MAX);
        let http = builder.handshake(io).await?;
        Ok(Transport {
            front,
            connection,
            http,
            accepted: Vec::new(),
            arriving: Vec::new(),
            late: None,
            waiting: FuturesUnordered::new(),
            streams: Vec::new(),
        })
    }

    /// Serves until the transport ends.
    pub(crate) async fn serve(&mut self) -> Result<(), h2::Error> {
        poll_fn(|cx| self.poll(cx)).await
    }

    /// No new calls are taken; [`Transport::serve`] ends with the last one.
    pub(crate) fn graceful_shutdown(&mut self) {
        self.http.graceful_shutdown();
    }

    /// Reads all that is there, then answers it, then writes the answers while it reads again. Tokio's budget for reads
    /// gives others their turn.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            if let Poll::Ready(ended) = self.read_and_write(cx) {
                return Poll::Ready(ended);
            }
            if !self.speak(cx) {
                return Poll::Pending;
            }
        }
    }

    fn read_and_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            match ready!(self.http.poll_accept(cx)) {
                Some(Ok(call)) => self.accepted.push(call),
                Some(Err(error)) => return Poll::Ready(Err(error)),
                None => return Poll::Ready(Ok(())),
            }
        }
    }

    /// Answers what was read and sends what is new. True if there is anything to be written.
    fn speak(&mut self, cx: &mut Context<'_>) -> bool {
        let mut said = false;
        for (request, respond) in std::mem::take(&mut self.accepted) {
            said |= self.call(request, respond, cx);
        }
        said |= self.read_arriving(cx);
        while let Poll::Ready(Some((respond, bytes))) = self.waiting.poll_next_unpin(cx) {
            self.give(respond, bytes);
            said = true;
        }
        self.streams.retain_mut(|stream| {
            let going = stream.poll(cx).is_pending();
            said |= stream.said() || !going;
            going
        });
        said
    }

    /// One call. What is wrong with the transport is a status of gRPC; everything else is an answer of Nacos's. True if
    /// anything is to be written.
    fn call(
        &mut self,
        request: Request<RecvStream>,
        mut respond: SendResponse<Bytes>,
        cx: &mut Context<'_>,
    ) -> bool {
        self.connection.touch(self.front.app.clock.now());
        let (head, body) = request.into_parts();
        let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
        if !head.headers.get(CONTENT_TYPE).is_some_and(is_grpc) {
            let mut response = Response::new(());
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            // Fails when the client has taken the call back.
            let _gone = respond.send_response(response, true);
            return true;
        }
        let (room, address) = (self.front.app.budget.room(Part::Messages), self.connection.peer().ip());
        let messages = Messages::new(self.front.connections.limits().message, room.clone(), address);
        match head.uri.path() {
            UNARY => {
                let until = Instant::now() + self.front.connections.limits().body_read;
                let mut arriving = Arriving { body, messages, until, respond, _place: None };
                if let Poll::Ready(message) = arriving.poll(cx) {
                    return self.answer(message, arriving.respond, cx);
                }
                match self.place() {
                    Ok(place) => {
                        if self.late.is_none() {
                            self.late = Some(Box::pin(sleep_until(until)));
                        }
                        self.arriving.push(Arriving { _place: place, ..arriving });
                        false
                    }
                    Err(status) => {
                        refuse(arriving.respond, &status);
                        true
                    }
                }
            }
            STREAM if self.streams.len() >= STREAMS_MAX => {
                let message = "a client has one stream; this one has too many";
                refuse(respond, &Status { code: Code::ResourceExhausted, message });
                true
            }
            STREAM => {
                if let Ok(out) = respond.send_response(head_of_answer(), false) {
                    let (front, connection) = (self.front.clone(), self.connection.clone());
                    self.streams.push(Stream::new(front, connection, body, messages, out));
                }
                true
            }
            _ => {
                refuse(respond, &Status { code: Code::Unimplemented, message: "no such method" });
                true
            }
        }
    }

    fn answer(
        &mut self,
        message: Result<Bytes, Status>,
        respond: SendResponse<Bytes>,
        cx: &mut Context<'_>,
    ) -> bool {
        let payload = message.and_then(decode).and_then(|payload| {
            let full =
                Status { code: Code::ResourceExhausted, message: "too many calls wait for their answers" };
            if self.waiting.len() < WAITING_MAX { Ok((payload, self.place()?)) } else { Err(full) }
        });
        match payload {
            Ok((payload, place)) => match dispatch::begin(&self.front, &self.connection, payload, cx) {
                Begun::Answered(bytes) => self.give(respond, bytes),
                Begun::Waits(pending) => {
                    self.waiting.push(Waiting { pending, respond: Some(respond), _place: place });
                    return false;
                }
            },
            Err(status) => refuse(respond, &status),
        }
        true
    }

    /// Room for one more call that is not answered yet; the first of a client need none.
    fn place(&self) -> Result<Option<Lease>, Status> {
        if self.arriving.len() + self.waiting.len() < CALLS_FREE {
            return Ok(None);
        }
        let room = self.front.app.budget.room(Part::Messages);
        room.take(self.connection.peer().ip(), CALL_BYTES).map(Some).map_err(Status::full)
    }

    /// Sends an answer, if there is room until the client has taken it.
    fn give(&self, respond: SendResponse<Bytes>, message: Bytes) {
        match self.connection.hold(&self.front.app, message) {
            Ok(message) => answer(respond, message),
            Err(full) => refuse(respond, &Status::full(full)),
        }
    }

    fn read_arriving(&mut self, cx: &mut Context<'_>) -> bool {
        if self.arriving.is_empty() {
            return false;
        }
        let mut said = false;
        for mut arriving in std::mem::take(&mut self.arriving) {
            match arriving.poll(cx) {
                Poll::Ready(message) => said |= self.answer(message, arriving.respond, cx),
                Poll::Pending => self.arriving.push(arriving),
            }
        }
        let max = ARRIVING_MAX * self.front.connections.limits().message;
        while self.arriving.iter().map(|arriving| arriving.messages.len()).sum::<usize>() > max {
            let Some(latest) = self.arriving.pop() else { break };
            let message = "too many requests arrive at the same time";
            refuse(latest.respond, &Status { code: Code::ResourceExhausted, message });
            said = true;
        }
        self.wait_for_late(cx) || said
    }

    /// Refuses what did not arrive in time, and has this task woken when the next is late.
    fn wait_for_late(&mut self, cx: &mut Context<'_>) -> bool {
        let mut said = false;
        while let Some(first) = self.arriving.iter().map(|arriving| arriving.until).min() {
            let late = self.late.get_or_insert_with(|| Box::pin(sleep_until(first)));
            if late.deadline() != first {
                late.as_mut().reset(first);
            }
            if late.as_mut().poll(cx).is_pending() {
                return said;
            }
            let status =
                Status { code: Code::DeadlineExceeded, message: "the message did not arrive in time" };
            for arriving in self.arriving.extract_if(.., |arriving| arriving.until <= first) {
                refuse(arriving.respond, &status);
                said = true;
            }
        }
        self.late = None;
        said
    }
}

impl Arriving {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Status>> {
        poll_message(&mut self.body, &mut self.messages, cx).map(|message| {
            message.and_then(|message| message.ok_or(Status { code: Code::Internal, message: "no message" }))
        })
    }
}

impl Future for Waiting {
    type Output = (SendResponse<Bytes>, Bytes);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let bytes = ready!(Pin::new(&mut self.pending).poll(cx));
        Poll::Ready((self.respond.take().expect("polled no more once it is done"), bytes))
    }
}

/// The next message of a call; `None` at its end.
pub(crate) fn poll_message(
    body: &mut RecvStream,
    messages: &mut Messages,
    cx: &mut Context<'_>,
) -> Poll<Result<Option<Bytes>, Status>> {
    loop {
        if let Some(message) = messages.take()? {
            return Poll::Ready(Ok(Some(message)));
        }
        match ready!(body.poll_data(cx)) {
            Some(Ok(data)) => {
                // What is read is given back at once: the bounds are those of a message. Fails when the call is over.
                let _over = body.flow_control().release_capacity(data.len());
                messages.hold(data);
            }
            Some(Err(_)) => {
                let broken = Status { code: Code::Internal, message: "the message broke off" };
                return Poll::Ready(Err(broken));
            }
            None => return Poll::Ready(messages.end().map(|()| None)),
        }
    }
}

fn head_of_answer() -> Response<()> {
    let mut response = Response::new(());
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// Fails only when the client has taken the call back, or is gone.
fn answer(mut respond: SendResponse<Bytes>, message: Bytes) {
    let Ok(mut out) = respond.send_response(head_of_answer(), false) else { return };
    if out.send_data(message, false).is_ok() {
        end(&mut out);
    }
}

/// The server's half of a call ends well.
pub(crate) fn end(out: &mut SendStream<Bytes>) {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS.clone(), HeaderValue::from_static("0"));
    // Fails when the call is over already.
    let _over = out.send_trailers(trailers);
}

fn refuse(mut respond: SendResponse<Bytes>, status: &Status) {
    let mut response = head_of_answer();
    let headers = response.headers_mut();
    headers.insert(GRPC_STATUS.clone(), HeaderValue::from(status.code as u16));
    headers.insert("grpc-message", HeaderValue::from_static(status.message));
    // What a client may use instead of a compression that is not read.
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity"));
    let _gone = respond.send_response(response, true);
}
