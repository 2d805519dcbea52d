//! A client of the SDK port with the life cycle of Nacos's own: check, stream, setup, then requests one way and
//! acknowledged pushes the other.

use std::net::SocketAddr;
use std::time::Duration;

use dyad_proto::sdk::Payload;
use dyad_proto::sdk::bi_request_stream_client::BiRequestStreamClient;
use dyad_proto::sdk::request_client::RequestClient;
use futures::StreamExt;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

use super::wire::{self, Listing, RequestId, ServiceInfo};
use crate::error::Failed;

/// Longest wait for a connection, and for what each step of the life cycle answers.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A server that negotiates no abilities gives no sign that the setup was read; its clients wait this long.
const UNACKNOWLEDGED: Duration = Duration::from_millis(100);
/// Bytes of a push or an answer: 64 MiB, above what 100,000 instances need.
const MESSAGE_MAX: usize = 64 * 1024 * 1024;
/// Bytes that the server may send ahead; the protocol's 64 KiB would make a long list wait for us.
const WINDOW: u32 = 1024 * 1024;
/// Acknowledgements that wait; a server has about one push a service on its way.
const OUT_MAX: usize = 64;
/// Connections that are opened at a time.
const OPENING: usize = 64;

/// What a registered client sends over. When it is dropped, and its [`Pushes`] are, the connection ends.
#[derive(Clone, Debug)]
pub(super) struct Client {
    requests: RequestClient<Channel>,
}

/// What the server sends to a client.
#[derive(Debug)]
pub(super) struct Pushes {
    stream: Streaming<Payload>,
    out: mpsc::Sender<Payload>,
}

/// Why no more pushes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The stream or its transport ended.
    Closed,
    /// The server asked the client to go elsewhere.
    Reset,
}

/// A push or other request of the server.
enum Event {
    Setup,
    Notify(Payload),
    Reset,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServerCheck {
    #[serde(default)]
    support_ability_negotiation: bool,
}

impl Client {
    /// Connects and registers.
    pub(super) async fn connect(address: SocketAddr) -> Result<(Client, Pushes), Failed> {
        match timeout(CONNECT_MAX, Client::try_connect(address)).await {
            Ok(result) => result,
            Err(_) => Err(Failed::Timeout),
        }
    }

    async fn try_connect(address: SocketAddr) -> Result<(Client, Pushes), Failed> {
        let endpoint = Endpoint::from_shared(format!("http://{address}")).map_err(|_| Failed::Broken)?;
        let endpoint = endpoint.initial_stream_window_size(WINDOW).initial_connection_window_size(WINDOW);
        let channel = endpoint.connect().await.map_err(|error| Failed::Connect(kind(&error)))?;
        let requests = RequestClient::new(channel.clone()).max_decoding_message_size(MESSAGE_MAX);
        let client = Client { requests };
        let check = client.call("ServerCheckRequest", wire::EMPTY.into()).await?;
        let check: ServerCheck = serde_json::from_slice(wire::body(&check))
            .map_err(|_| Failed::Answer("not the JSON of ServerCheckResponse"))?;
        let (out, queue) = mpsc::channel(OUT_MAX);
        let setup = wire::payload("ConnectionSetupRequest", wire::SETUP.into());
        out.send(setup).await.map_err(|_| Failed::Broken)?;
        let mut stream = BiRequestStreamClient::new(channel).max_decoding_message_size(MESSAGE_MAX);
        let opened = stream.request_bi_stream(ReceiverStream::new(queue)).await;
        let stream = opened.map_err(|status| Failed::Grpc(status.code()))?.into_inner();
        let mut pushes = Pushes { stream, out };
        if check.support_ability_negotiation {
            match pushes.next().await {
                Some(Event::Setup) => {}
                Some(_) => return Err(Failed::Answer("a push before SetupAckRequest")),
                None => return Err(Failed::Broken),
            }
        } else {
            sleep(UNACKNOWLEDGED).await;
        }
        Ok((client, pushes))
    }

    /// Connects `count` clients, a few at a time.
    pub(super) async fn connect_all(
        address: SocketAddr,
        count: usize,
    ) -> Result<Vec<(Client, Pushes)>, Failed> {
        let connects = futures::stream::iter(0..count).map(|_| Client::connect(address));
        let mut connected = Vec::with_capacity(count);
        let mut connects = connects.buffer_unordered(OPENING);
        while let Some(result) = connects.next().await {
            connected.push(result?);
        }
        Ok(connected)
    }

    /// One request and its answer, which is a success.
    pub(super) async fn call(&self, kind: &str, json: String) -> Result<Payload, Failed> {
        let mut requests = self.requests.clone();
        let answer = timeout(ANSWER_MAX, requests.request(wire::payload(kind, json))).await;
        let answer = answer.map_err(|_| Failed::Timeout)?.map_err(|status| match status.code() {
            tonic::Code::Unavailable | tonic::Code::Unknown | tonic::Code::Cancelled => Failed::Broken,
            code => Failed::Grpc(code),
        })?;
        let answer = answer.into_inner();
        wire::success(&answer).map(|()| answer)
    }

    pub(super) async fn register(&self, service: &str, ip: &str, version: u32) -> Result<(), Failed> {
        self.call("InstanceRequest", wire::register(service, ip, version)).await.map(drop)
    }

    pub(super) async fn query(&self, service: &str) -> Result<Payload, Failed> {
        self.call("ServiceQueryRequest", wire::query(service)).await
    }

    pub(super) async fn subscribe(&self, service: &str) -> Result<Payload, Failed> {
        self.call("SubscribeServiceRequest", wire::subscribe(service)).await
    }

    pub(super) async fn health_check(&self) -> Result<(), Failed> {
        self.call("HealthCheckRequest", wire::EMPTY.into()).await.map(drop)
    }
}

fn kind(error: &tonic::transport::Error) -> std::io::ErrorKind {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return io.kind();
        }
        cause = inner.source();
    }
    std::io::ErrorKind::Other
}

impl Pushes {
    /// Gives each pushed list, with its bytes on the wire, to `on` and acknowledges it, until no more come.
    pub(super) async fn run(&mut self, mut on: impl FnMut(&ServiceInfo<'_>, usize) + Send) -> End {
        loop {
            match self.next().await {
                Some(Event::Notify(push)) => {
                    let body = wire::body(&push);
                    if let Ok(listing) = serde_json::from_slice::<Listing<'_>>(body) {
                        on(&listing.service_info, body.len());
                    }
                    self.acknowledge("NotifySubscriberResponse", &push).await;
                }
                Some(Event::Setup) => {}
                Some(Event::Reset) => return End::Reset,
                None => return End::Closed,
            }
        }
    }

    /// The next event that is not dealt with here; None when the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let push = self.stream.message().await.ok().flatten()?;
            let kind = push.metadata.as_ref().map_or("", |metadata| metadata.r#type.as_str());
            match kind {
                "NotifySubscriberRequest" => return Some(Event::Notify(push)),
                "SetupAckRequest" => return Some(Event::Setup),
                "ConnectResetRequest" => {
                    self.acknowledge("ConnectResetResponse", &push).await;
                    return Some(Event::Reset);
                }
                "ClientDetectionRequest" => self.acknowledge("ClientDetectionResponse", &push).await,
                _ => {}
            }
        }
    }

    async fn acknowledge(&self, kind: &str, push: &Payload) {
        let Ok(RequestId { request_id: Some(id) }) = serde_json::from_slice(wire::body(push)) else { return };
        // Fails only when the stream has ended, which the next read tells.
        let _ended = self.out.send(wire::payload(kind, wire::acknowledgement(&id))).await;
    }
}
