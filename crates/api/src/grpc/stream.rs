//! The client's half of its stream: the setup that registers it, then acknowledgements.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use dyad_naming::ports::Ending;
use dyad_proto::sdk::Payload;
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::body::Stream;
use super::connection::{Connection, Setup};
use super::frame::{self, Messages};
use super::listen::{Front, decode};
use super::outbox::Channel;

/// What this server can do beyond the first version of the protocol, as `SetupAckRequest` carries it.
const SETUP_ACK: &str = "{\"headers\":{},\"abilityTable\":{\"supportPersistentInstanceByGrpc\":true,\
                         \"fuzzyWatch\":true},\"module\":\"internal\"}";
/// Labels of a client, and characters of each text in its setup: what SDKs send, many times over.
const LABELS_MAX: usize = 64;
const TEXT_MAX: usize = 1024;

/// Opens the server's half and starts to read the client's.
pub(super) fn open(front: Arc<Front>, connection: Arc<Connection>, messages: Messages<Incoming>) -> Stream {
    let (channel, ended) = (Arc::<Channel>::default(), Arc::new(AtomicBool::new(false)));
    let reader = Reader {
        front: front.clone(),
        connection: connection.clone(),
        channel: channel.clone(),
        ended: ended.clone(),
    };
    // Ends with the client's half, which ends with the transport at the latest.
    tokio::spawn(reader.run(messages));
    Stream { front, connection, channel, ended }
}

struct Reader {
    front: Arc<Front>,
    connection: Arc<Connection>,
    channel: Arc<Channel>,
    ended: Arc<AtomicBool>,
}

impl Reader {
    async fn run(self, mut messages: Messages<Incoming>) {
        loop {
            let payload = match messages.next().await.and_then(|message| message.map(decode).transpose()) {
                Ok(Some(payload)) => payload,
                Ok(None) => break,
                Err(status) => {
                    tracing::debug!(client = %self.connection.id(), message = status.message, "a stream broke off");
                    break;
                }
            };
            self.connection.touch(self.front.app.clock.now());
            if !self.take(payload) {
                break;
            }
        }
        // The server's half ends with the client's; the client stays registered while its transport lives.
        self.connection.outbox.lock().detach(&self.channel);
        self.ended.store(true, Ordering::Release);
        self.channel.waker.wake();
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
            Ok(Acknowledgement { id: Some(id), code }) if kind.ends_with("Response") => {
                id.parse().ok().map(|id| (id, code))
            }
            _ => None,
        };
        match id {
            Some((id, code)) => self.front.connections.acknowledged(&self.connection, id, code == OK),
            None => tracing::debug!(client = %self.connection.id(), kind, "ignored on a stream"),
        }
        true
    }

    /// Registers the client. Refused: the stream and the transport end, without a message.
    fn setup(&self, client_ip: &str, body: &[u8]) -> bool {
        let read = serde_json::from_slice::<SetupRequest>(body);
        let serves = self.front.app.ephemeral.admit(true).is_ok();
        let (Ok(request), true) = (read, serves) else {
            self.front.connections.end(&self.connection, Ending::Orderly);
            return false;
        };
        let text = |text: String| text.chars().take(TEXT_MAX).collect::<String>();
        let own_ip = || self.connection.peer().ip().to_canonical().to_string();
        let labels = request.labels.unwrap_or_default().into_iter().take(LABELS_MAX);
        let setup = Setup {
            version: text(request.client_version.unwrap_or_default()),
            ip: if client_ip.is_empty() { own_ip() } else { text(client_ip.to_owned()) },
            labels: labels.map(|(k, v)| (text(k), text(v.unwrap_or_default()))).collect(),
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

const OK: i64 = 200;

/// Any `…Response` on the stream.
#[derive(Deserialize)]
struct Acknowledgement<'a> {
    #[serde(rename = "requestId", borrow, default)]
    id: Option<std::borrow::Cow<'a, str>>,
    /// Absent is taken for success.
    #[serde(rename = "resultCode", default = "ok")]
    code: i64,
}

fn ok() -> i64 {
    OK
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct SetupRequest {
    client_version: Option<String>,
    labels: Option<BTreeMap<String, Option<String>>>,
    /// Present, even if empty: the client waits for a `SetupAckRequest`.
    ability_table: Option<IgnoredAny>,
}
