//! A client of the SDK port with the life cycle of Nacos's own, one method for each of its steps.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::net::SocketAddr;
use std::time::Duration;

use dyad_proto::sdk::bi_request_stream_client::BiRequestStreamClient;
use dyad_proto::sdk::request_client::RequestClient;
use dyad_proto::sdk::{Body, Metadata, Payload};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::{Channel, Endpoint};

/// Longest wait for any answer.
const ANSWER: Duration = Duration::from_secs(5);

/// A registered client; its connection ends when it is dropped.
pub(crate) struct Sdk {
    channel: Channel,
    out: mpsc::Sender<Payload>,
    pushes: Streaming<Payload>,
}

fn payload(kind: &str, json: &Value) -> Payload {
    let metadata = Metadata { r#type: kind.into(), client_ip: "127.0.0.1".into(), ..Metadata::default() };
    Payload {
        metadata: Some(metadata),
        body: Some(Body { value: json.to_string().into(), ..Body::default() }),
    }
}

fn read(payload: &Payload) -> (String, Value) {
    let kind = payload.metadata.clone().unwrap_or_default().r#type;
    (kind, serde_json::from_slice(&payload.body.as_ref().unwrap().value).unwrap())
}

async fn call(channel: &Channel, kind: &str, json: Value) -> Result<Value, String> {
    let mut client = RequestClient::new(channel.clone());
    let answer = timeout(ANSWER, client.request(payload(kind, &json))).await;
    let answer = answer.map_err(|_| format!("{kind}: no answer"))?.map_err(|status| status.to_string())?;
    let (_, answer) = read(&answer.into_inner());
    if answer["resultCode"] == 200 { Ok(answer) } else { Err(format!("{kind}: {answer}")) }
}

impl Sdk {
    /// Connects and registers, as an SDK that negotiates abilities.
    pub(crate) async fn connect(grpc: SocketAddr) -> Result<Sdk, String> {
        let endpoint = Endpoint::from_shared(format!("http://{grpc}")).unwrap().connect_timeout(ANSWER);
        let channel = endpoint.connect().await.map_err(|error| error.to_string())?;
        call(&channel, "ServerCheckRequest", json!({})).await?;
        let (out, queue) = mpsc::channel(64);
        let labels = json!({ "source": "sdk", "module": "naming" });
        let setup =
            json!({ "clientVersion": "Nacos-Java-Client:v2.5.1", "labels": labels, "abilityTable": {} });
        out.send(payload("ConnectionSetupRequest", &setup)).await.unwrap();
        let mut client = BiRequestStreamClient::new(channel.clone());
        let stream = client.request_bi_stream(ReceiverStream::new(queue)).await;
        let mut sdk = Sdk { channel, out, pushes: stream.map_err(|status| status.to_string())?.into_inner() };
        let ack = timeout(ANSWER, sdk.push("SetupAckRequest")).await.map_err(|_| "no SetupAck")?;
        ack.map(|_| sdk).ok_or_else(|| "the stream ended before the SetupAck".to_owned())
    }

    pub(crate) async fn register(&self, service: &str, ip: &str) -> Result<(), String> {
        let instance = json!({ "ip": ip, "port": 80 });
        let request = json!({
            "namespace": "public", "serviceName": service, "groupName": "DEFAULT_GROUP",
            "type": "registerInstance", "instance": instance,
        });
        call(&self.channel, "InstanceRequest", request).await.map(drop)
    }

    pub(crate) async fn subscribe(&self, service: &str) -> Result<(), String> {
        let request = json!({
            "namespace": "public", "serviceName": service, "groupName": "DEFAULT_GROUP",
            "subscribe": true, "clusters": "",
        });
        call(&self.channel, "SubscribeServiceRequest", request).await.map(drop)
    }

    /// Waits to be sent elsewhere: the HTTP address of the member to go to. `None` when the stream ended without that.
    pub(crate) async fn until_reset(&mut self) -> Option<SocketAddr> {
        let reset = self.push("ConnectResetRequest").await?;
        let text = |name: &str| reset[name].as_str().unwrap_or_default().to_owned();
        format!("{}:{}", text("serverIp"), text("serverPort")).parse().ok()
    }

    /// The next push of this type; each one on the way is acknowledged. `None` when the stream has ended.
    async fn push(&mut self, wanted: &str) -> Option<Value> {
        loop {
            let (kind, json) = read(&self.pushes.message().await.ok().flatten()?);
            let answer = json!({ "resultCode": 200, "errorCode": 0, "requestId": json["requestId"] });
            self.out.send(payload(&kind.replace("Request", "Response"), &answer)).await.ok()?;
            if kind == wanted {
                return Some(json);
            }
        }
    }
}
