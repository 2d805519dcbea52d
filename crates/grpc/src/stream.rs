//! The stream of a client. The client sends the setup that registers it and then acknowledgements; the server sends
//! pushes and requests of its own.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use dyad_naming::ports::Ending;
use dyad_proto::sdk::Payload;
use h2::{RecvStream, SendStream};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::{Sleep, sleep};

use crate::config;
use crate::connection::{Connection, Setup};
use crate::dto::{Number, Pairs, Text};
use crate::frame::{self, Messages, decode};
use crate::front::Front;
use crate::outbox::{Channel, News, Next};
use crate::transport::{end, poll_message};
use dyad_push::naming::Update;

/// What this server can do beyond the first version of the protocol, as `SetupAckRequest` carries it.
const SETUP_ACK: &str = "{\"headers\":{},\"abilityTable\":{\"supportPersistentInstanceByGrpc\":true,\
                         \"fuzzyWatch\":true},\"module\":\"internal\"}";
/// Labels of a client, and characters of each text in its setup: what SDKs send, many times over.
const LABELS_MAX: usize = 64;
const TEXT_MAX: usize = 1024;

/// A `requestBiStream`, both halves.
pub(crate) struct Stream {
    front: Arc<Front>,
    connection: Arc<Connection>,
    channel: Arc<Channel>,
    body: RecvStream,
    messages: Messages,
    out: SendStream<Bytes>,
    /// When the message that has begun must be there.
    late: Option<Pin<Box<Sleep>>>,
    /// There may be something to send.
    news: bool,
    /// Something was sent.
    said: bool,
}

impl Stream {
    pub(crate) fn new(
        front: Arc<Front>,
        connection: Arc<Connection>,
        body: RecvStream,
        messages: Messages,
        out: SendStream<Bytes>,
    ) -> Stream {
        let channel = Arc::<Channel>::default();
        Stream { front, connection, channel, body, messages, out, late: None, news: false, said: false }
    }

    /// Anything sent since it was last asked?
    pub(crate) fn said(&mut self) -> bool {
        std::mem::take(&mut self.said)
    }

    /// Reads what there is and sends what the transport takes. Ready when the stream has ended.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.read(cx).is_ready() || self.write(cx).is_ready() {
            // The server's half ends with the client's; the client stays registered while its transport lives.
            end(&mut self.out);
            return Poll::Ready(());
        }
        Poll::Pending
    }

    fn read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let Poll::Ready(message) = poll_message(&mut self.body, &mut self.messages, cx) else {
                return self.wait_for_rest(cx);
            };
            self.late = None;
            let payload = match message.and_then(|message| message.map(decode).transpose()) {
                Ok(Some(payload)) => payload,
                Ok(None) => return Poll::Ready(()),
                Err(status) => {
                    tracing::debug!(client = %self.connection.id(), message = status.message, "a stream broke off");
                    return Poll::Ready(());
                }
            };
            self.connection.touch(self.front.app.clock.now());
            if !self.take(payload) {
                return Poll::Ready(());
            }
        }
    }

    /// Ready when the rest of a message is late: the stream ends then.
    fn wait_for_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.messages.len() == 0 {
            return Poll::Pending;
        }
        let within = self.front.connections.limits().body_read;
        let late = self.late.get_or_insert_with(|| Box::pin(sleep(within)));
        ready!(late.as_mut().poll(cx));
        tracing::debug!(client = %self.connection.id(), "a message on a stream did not arrive in time");
        Poll::Ready(())
    }

    /// What is not taken because the transport cannot send stays a flag.
    fn write(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.news |= self.channel.has_news(cx);
        while self.news {
            if self.out.capacity() == 0 {
                self.out.reserve_capacity(1);
                match ready!(self.out.poll_capacity(cx)) {
                    Some(Ok(0)) => continue,
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return Poll::Ready(()),
                }
            }
            let now = self.front.app.clock.now();
            let next = self.connection.outbox.lock().next(&self.channel, now);
            let bytes = match next {
                Next::End => return Poll::Ready(()),
                Next::Nothing => {
                    self.news = false;
                    return Poll::Pending;
                }
                Next::Request(bytes) => bytes,
                Next::News(News::Push(subscription)) => {
                    let push = &self.front.app.push;
                    let update = subscription.update(push);
                    let bytes = update.encoded(|update| self.encode(update));
                    let Ok(bytes) = self.connection.hold(&self.front.app, bytes) else {
                        // The sweep over all connections wakes this stream again.
                        self.connection.outbox.lock().put(News::Push(subscription));
                        self.news = false;
                        return Poll::Pending;
                    };
                    self.connection.outbox.lock().sent(&subscription, &update, now);
                    let took: Option<Duration> = update.changed.map(|changed| changed.elapsed());
                    push.metrics.observe(took);
                    bytes
                }
                Next::News(News::Config(listening)) => {
                    let id = self.front.app.push.next_id();
                    let bytes = config::encode(&listening, id, self.own_ip());
                    let Ok(bytes) = self.connection.hold(&self.front.app, bytes) else {
                        // As for a push.
                        self.connection.outbox.lock().put(News::Config(listening));
                        self.news = false;
                        return Poll::Pending;
                    };
                    let took = listening.notified(self.front.app.clock.wall_ms());
                    self.connection.outbox.lock().sent_config(&listening, id, now);
                    self.front.app.listeners.metrics.observe(took);
                    bytes
                }
                Next::News(News::Watch(watching)) => {
                    let id = self.front.app.push.next_id();
                    let Some(bytes) = watching.message(id, self.own_ip()) else { continue };
                    let Ok(bytes) = self.connection.hold(&self.front.app, bytes) else {
                        // The step is gone: with another stream the client begins anew with what it has.
                        return Poll::Ready(());
                    };
                    let mut outbox = self.connection.outbox.lock();
                    outbox.noticed(id, now);
                    // There may be more; the next turn finds out.
                    outbox.put(News::Watch(watching));
                    bytes
                }
            };
            if self.out.send_data(bytes, false).is_err() {
                return Poll::Ready(());
            }
            self.said = true;
        }
        Poll::Pending
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

    /// False when the stream is to end.
    fn take(&self, payload: Payload) -> bool {
        let metadata = payload.metadata.unwrap_or_default();
        let body = payload.body.map(|body| body.value).unwrap_or_default();
        let kind = &*metadata.r#type;
        if kind == "ConnectionSetupRequest" {
            return self.setup(&metadata.client_ip, &body);
        }
        // By the number alone: SDKs acknowledge under names of other requests.
        let id = match serde_json::from_slice::<Acknowledgement>(&body) {
            Ok(Acknowledgement { id, code }) if kind.ends_with("Response") => {
                id.0.parse().ok().map(|id| (id, code.int().unwrap_or(OK)))
            }
            _ => None,
        };
        match id {
            Some((id, code)) => self.front.connections.acknowledged(&self.connection, id, code == OK, &body),
            None => tracing::debug!(client = %self.connection.id(), kind, "ignored on a stream"),
        }
        true
    }

    /// Registers the client. Refused: the stream and the transport end, without a message.
    fn setup(&self, client_ip: &str, body: &[u8]) -> bool {
        let read = serde_json::from_slice::<SetupRequest<'_>>(body);
        let serves = self.front.app.ephemeral.admit(true).is_ok();
        let (Ok(request), true) = (read, serves) else {
            self.front.connections.end(&self.connection, Ending::Orderly);
            return false;
        };
        let text = |text: &str| text.chars().take(TEXT_MAX).collect::<String>();
        let own_ip = || self.connection.peer().ip().to_canonical().to_string();
        let labels = request.labels.0.iter().take(LABELS_MAX);
        let setup = Setup {
            version: text(&request.client_version.0),
            ip: if client_ip.is_empty() { own_ip() } else { text(client_ip) },
            labels: labels
                .map(|(k, v)| (text(k), v.as_ref().map_or_else(String::new, |v| text(&v.0))))
                .collect(),
        };
        tracing::debug!(client = %self.connection.id(), version = setup.version, "a client registered");
        if !self.front.connections.register(&self.connection, setup) {
            self.front.connections.end(&self.connection, Ending::Orderly);
            return false;
        }
        let mut outbox = self.connection.outbox.lock();
        // A repeated setup is accepted and changes nothing, but a new stream takes over from one that is gone.
        let attached = outbox.attach(&self.channel);
        if attached && request.ability_table.is_some() {
            let now = self.front.app.clock.now();
            let own_ip = &self.front.connections.limits().own_ip;
            outbox.request(frame::payload("SetupAckRequest", own_ip, &[SETUP_ACK.as_bytes()]), None, now);
        }
        true
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.outbox.lock().detach(&self.channel);
    }
}

const OK: i32 = 200;

/// Any `…Response` on the stream.
#[derive(Deserialize)]
struct Acknowledgement<'a> {
    #[serde(rename = "requestId", borrow, default)]
    id: Text<'a>,
    /// Absent is taken for success.
    #[serde(rename = "resultCode", default)]
    code: Number,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetupRequest<'a> {
    #[serde(borrow, default)]
    client_version: Text<'a>,
    #[serde(borrow, default)]
    labels: Pairs<'a>,
    /// Present, even if empty: the client waits for a `SetupAckRequest`.
    ability_table: Option<IgnoredAny>,
}
