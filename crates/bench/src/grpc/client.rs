//! A client of the SDK port with the life cycle of Nacos's own: check, stream, setup, then requests one way and
//! acknowledged pushes the other.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dyad_proto::sdk::Payload;
use futures::StreamExt;
use prost::Message;
use serde::Deserialize;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::h2::{Connection, Sender};
use super::wire::{self, Listing, RequestId, ServiceInfo};
use crate::error::Failed;

/// Longest wait for a connection, and for what each step of the life cycle answers.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A server that negotiates no abilities gives no sign that the setup was read; its clients wait this long.
const UNACKNOWLEDGED: Duration = Duration::from_millis(100);
/// Connections that are opened at a time.
const OPENING: usize = 64;

const UNARY: &str = "/Request/request";
const STREAM: &str = "/BiRequestStream/requestBiStream";

/// What a registered client sends over. When it is dropped, and its [`Pushes`] are, the connection ends.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    connection: Arc<Connection>,
}

/// What the server sends to a client.
#[derive(Debug)]
pub(crate) struct Pushes {
    messages: mpsc::Receiver<Bytes>,
    out: Sender,
}

/// Why no more pushes come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The stream or its transport ended.
    Closed,
    /// The server asked the client to go elsewhere.
    Reset,
}

/// A push or other request of the server.
enum Event {
    Setup,
    Notify(Payload),
    Changed(Payload),
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
    pub(crate) async fn connect(address: SocketAddr) -> Result<(Client, Pushes), Failed> {
        match timeout(CONNECT_MAX, Client::try_connect(address)).await {
            Ok(result) => result,
            Err(_) => Err(Failed::Timeout),
        }
    }

    async fn try_connect(address: SocketAddr) -> Result<(Client, Pushes), Failed> {
        let connection = Connection::open(address).await.map_err(|error| Failed::Connect(error.kind()))?;
        let client = Client { connection: connection.clone() };
        let check = client.call("ServerCheckRequest", wire::EMPTY.into()).await?;
        let check: ServerCheck = serde_json::from_slice(wire::body(&check))
            .map_err(|_| Failed::Answer("not the JSON of ServerCheckResponse"))?;
        let (out, messages) = connection.stream(STREAM)?;
        out.send(&wire::payload("ConnectionSetupRequest", wire::SETUP.into()).encode_to_vec())?;
        let mut pushes = Pushes { messages, out };
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
    pub(crate) async fn call(&self, kind: &str, json: String) -> Result<Payload, Failed> {
        let request = wire::payload(kind, json).encode_to_vec();
        let answer = timeout(ANSWER_MAX, self.connection.call(UNARY, &request)).await;
        let answer = answer.map_err(|_| Failed::Timeout)??;
        let answer = Payload::decode(answer).map_err(|_| Failed::Answer("no payload"))?;
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
                    self.acknowledge("NotifySubscriberResponse", &push);
                }
                Some(Event::Changed(push)) => self.acknowledge("ConfigChangeNotifyResponse", &push),
                Some(Event::Setup) => {}
                Some(Event::Reset) => return End::Reset,
                None => return End::Closed,
            }
        }
    }

    /// Waits until a configuration changed, and acknowledges it; None when no more comes.
    pub(crate) async fn changed(&mut self) -> Option<()> {
        loop {
            match self.next().await? {
                Event::Changed(push) => {
                    self.acknowledge("ConfigChangeNotifyResponse", &push);
                    return Some(());
                }
                Event::Reset => return None,
                Event::Setup | Event::Notify(_) => {}
            }
        }
    }

    /// The next event that is not dealt with here; None when the stream has ended.
    async fn next(&mut self) -> Option<Event> {
        loop {
            let push = Payload::decode(self.messages.recv().await?).ok()?;
            let kind = push.metadata.as_ref().map_or("", |metadata| metadata.r#type.as_str());
            match kind {
                "NotifySubscriberRequest" => return Some(Event::Notify(push)),
                "ConfigChangeNotifyRequest" => return Some(Event::Changed(push)),
                "SetupAckRequest" => return Some(Event::Setup),
                "ConnectResetRequest" => {
                    self.acknowledge("ConnectResetResponse", &push);
                    return Some(Event::Reset);
                }
                "ClientDetectionRequest" => self.acknowledge("ClientDetectionResponse", &push),
                _ => {}
            }
        }
    }

    fn acknowledge(&self, kind: &str, push: &Payload) {
        let Ok(RequestId { request_id: Some(id) }) = serde_json::from_slice(wire::body(push)) else { return };
        // Fails only when the stream has ended, which the next read tells.
        let _ended = self.out.send(&wire::payload(kind, wire::acknowledgement(&id)).encode_to_vec());
    }
}
