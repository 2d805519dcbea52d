//! Bodies of responses: one message and its trailers, or the server's half of a stream.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use hyper::body::{Body, Frame};

use super::connection::Connection;
use super::outbox::{Channel, Next};
use super::{frame, watch};
use crate::grpc::listen::Front;
use crate::push::Update;

static GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");

#[derive(Debug)]
pub(crate) enum GrpcBody {
    /// Nothing: the status is in the head.
    Empty,
    /// A message, taken when it was sent; then the trailers.
    Message(Option<Bytes>),
    Stream(Stream),
    /// After the trailers.
    Done,
}

/// The server's half of a `requestBiStream`.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(super) front: Arc<Front>,
    pub(super) connection: Arc<Connection>,
    pub(super) channel: Arc<Channel>,
    /// The client has ended its half.
    pub(super) ended: Arc<AtomicBool>,
}

fn trailers() -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
    let mut map = HeaderMap::with_capacity(1);
    map.insert(GRPC_STATUS.clone(), HeaderValue::from_static("0"));
    Poll::Ready(Some(Ok(Frame::trailers(map))))
}

impl Body for GrpcBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let body = &mut *self;
        let frame = match body {
            GrpcBody::Empty | GrpcBody::Done => return Poll::Ready(None),
            GrpcBody::Message(message) => message.take(),
            GrpcBody::Stream(stream) => match stream.poll(cx) {
                Poll::Ready(frame) => frame,
                Poll::Pending => return Poll::Pending,
            },
        };
        if let Some(bytes) = frame {
            return Poll::Ready(Some(Ok(Frame::data(bytes))));
        }
        *body = GrpcBody::Done;
        trailers()
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, GrpcBody::Empty | GrpcBody::Done)
    }
}

impl Stream {
    /// The next message, or the end. Called only when the transport can send: what is not taken stays a flag.
    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        self.channel.waker.register(cx.waker());
        loop {
            if self.ended.load(Ordering::Acquire) {
                return Poll::Ready(None);
            }
            let now = self.front.app.clock.now();
            let next = self.connection.outbox.lock().next(&self.channel, now);
            match next {
                Next::End => return Poll::Ready(None),
                Next::Nothing => return Poll::Pending,
                Next::Request(bytes) => return Poll::Ready(Some(bytes)),
                Next::Push(subscription) => {
                    let push = &self.front.app.push;
                    let update = subscription.update(push);
                    let bytes = update.encoded(|update| self.encode(update));
                    self.connection.outbox.lock().sent(&subscription, &update, now);
                    let took: Option<Duration> = update.changed.map(|changed| changed.elapsed());
                    push.metrics.observe(took);
                    return Poll::Ready(Some(bytes));
                }
                Next::Watch(watching) => {
                    let Some(step) = watching.step() else { continue };
                    let id = self.front.app.push.next_id();
                    let bytes = watch::encode(watching.pattern(), &step, id, self.own_ip());
                    let mut outbox = self.connection.outbox.lock();
                    outbox.noticed(id, now);
                    // There may be more; the next turn finds out.
                    outbox.watch(&watching);
                    return Poll::Ready(Some(bytes));
                }
            }
        }
    }

    fn own_ip(&self) -> &str {
        &self.front.connections.limits().own_ip
    }

    /// `NotifySubscriberRequest`.
    fn encode(&self, update: &Update) -> Bytes {
        let query = dyad_naming::ListQuery { clusters: &update.clusters, healthy_only: false };
        let info = update.view.service_info(&query);
        let (mut id, mut stamp) = (itoa::Buffer::new(), itoa::Buffer::new());
        let (id, stamp) = (id.format(update.id).as_bytes(), stamp.format(update.last_ref_ms));
        let [a, b, c, d, e] = info.pieces(stamp);
        let (head, middle) = (b"{\"headers\":{},\"requestId\":\"", b"\",\"serviceInfo\":");
        let json: &[&[u8]] = &[head, id, middle, a, b, c, d, e, b",\"module\":\"naming\"}"];
        frame::payload("NotifySubscriberRequest", self.own_ip(), json)
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.outbox.lock().detach(&self.channel);
    }
}
