//! A client of the SDK port that sends what a test says, and shows what comes back byte by byte.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use dyad_proto::sdk::bi_request_stream_client::BiRequestStreamClient;
use dyad_proto::sdk::request_client::RequestClient;
use dyad_proto::sdk::{Body, Metadata, Payload};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint, Uri};

use super::Server;

const WAIT: Duration = Duration::from_secs(10);

pub struct Sdk {
    channel: Channel,
    out: Option<mpsc::Sender<Payload>>,
    pushes: Option<tonic::Streaming<Payload>>,
}

/// Type and JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: String,
    pub text: String,
}

impl Message {
    fn of(payload: Payload) -> Message {
        let kind = payload.metadata.unwrap_or_default().r#type;
        Message { kind, text: String::from_utf8(payload.body.unwrap().value.to_vec()).unwrap() }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    pub fn id(&self) -> String {
        self.json()["requestId"].as_str().unwrap().to_owned()
    }

    /// The hosts of a `serviceInfo` as `ip:port`.
    pub fn hosts(&self) -> Vec<String> {
        let json = self.json();
        let host = |h: &Value| format!("{}:{}", h["ip"].as_str().unwrap(), h["port"]);
        json["serviceInfo"]["hosts"].as_array().unwrap().iter().map(host).collect()
    }

    pub fn stamp(&self) -> u64 {
        self.json()["serviceInfo"]["lastRefTime"].as_u64().unwrap()
    }

    /// `resultCode`, `errorCode`.
    pub fn codes(&self) -> (u64, u64) {
        let json = self.json();
        (json["resultCode"].as_u64().unwrap(), json["errorCode"].as_u64().unwrap())
    }
}

pub fn payload(kind: &str, json: &str) -> Payload {
    let metadata = Metadata { r#type: kind.into(), client_ip: "10.9.9.9".into(), ..Metadata::default() };
    let body = Body { value: json.to_owned().into(), ..Body::default() };
    Payload { metadata: Some(metadata), body: Some(body) }
}

impl Sdk {
    /// A transport of its own. `reset`: it ends by a reset instead of a farewell.
    pub async fn connect(server: &Server, reset: bool) -> Sdk {
        let address = server.grpc;
        let connector = tower::service_fn(move |_: Uri| async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            if reset {
                stream.set_zero_linger()?;
            }
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        });
        let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
        let channel = endpoint.connect_with_connector(connector).await.unwrap();
        Sdk { channel, out: None, pushes: None }
    }

    /// Registered, as Java 2.5 does it; `SetupAckRequest` is taken.
    pub async fn registered(server: &Server) -> Sdk {
        let mut sdk = Sdk::connect(server, false).await;
        sdk.setup().await;
        sdk
    }

    pub async fn setup(&mut self) {
        self.open("{\"clientVersion\":\"Nacos-Java-Client:v2.5.1\",\"labels\":{\"module\":\"naming\"},\"abilityTable\":{}}")
            .await;
        let ack = self.push().await.unwrap();
        assert_eq!(ack.kind, "SetupAckRequest");
    }

    /// Opens the stream and sends this setup.
    pub async fn open(&mut self, setup: &str) {
        let (out, queue) = mpsc::channel(64);
        out.send(payload("ConnectionSetupRequest", setup)).await.unwrap();
        let mut client = BiRequestStreamClient::new(self.channel.clone()).max_decoding_message_size(64 << 20);
        let response = client.request_bi_stream(ReceiverStream::new(queue)).await.unwrap();
        self.out = Some(out);
        self.pushes = Some(response.into_inner());
    }

    pub async fn try_call(&self, kind: &str, json: &str) -> Result<Message, tonic::Status> {
        let mut client = RequestClient::new(self.channel.clone()).max_decoding_message_size(64 << 20);
        Ok(Message::of(client.request(payload(kind, json)).await?.into_inner()))
    }

    pub async fn call(&self, kind: &str, json: &str) -> Message {
        self.try_call(kind, json).await.unwrap()
    }

    pub async fn register(&self, service: &str, ip: &str, port: u16) {
        let json = format!(
            r#"{{"namespace":"public","serviceName":"{service}","groupName":"G","type":"registerInstance","instance":{{"ip":"{ip}","port":{port}}}}}"#
        );
        assert_eq!(self.call("InstanceRequest", &json).await.codes(), (200, 0));
    }

    pub async fn subscribe(&self, service: &str, clusters: &str, on: bool) -> Message {
        let json = format!(
            r#"{{"namespace":"","serviceName":"{service}","groupName":"G","subscribe":{on},"clusters":"{clusters}"}}"#
        );
        self.call("SubscribeServiceRequest", &json).await
    }

    pub async fn query(&self, service: &str) -> Vec<String> {
        let json = format!(r#"{{"serviceName":"{service}","groupName":"G"}}"#);
        self.call("ServiceQueryRequest", &json).await.hosts()
    }

    /// The next push; `None` when the stream has ended.
    pub async fn push(&mut self) -> Option<Message> {
        let next = timeout(WAIT, self.pushes.as_mut().unwrap().message()).await.expect("no push came");
        next.ok().flatten().map(Message::of)
    }

    /// Is there no push for this long?
    pub async fn is_quiet(&mut self, ms: u64) -> bool {
        timeout(Duration::from_millis(ms), self.pushes.as_mut().unwrap().message()).await.is_err()
    }

    /// The first push with these hosts; those before it are acknowledged as it is.
    pub async fn push_with(&mut self, hosts: &[&str]) -> Message {
        loop {
            let push = self.push().await.expect("the stream ended");
            if push.kind != "NotifySubscriberRequest" {
                continue;
            }
            self.ack(&push).await;
            if push.hosts() == hosts {
                return push;
            }
        }
    }

    /// Acknowledges under a wrong name, as the Go client does.
    pub async fn ack(&self, push: &Message) {
        let json = format!(r#"{{"resultCode":200,"errorCode":0,"requestId":"{}"}}"#, push.id());
        self.send("NotifySubscriberResponse", &json).await;
    }

    pub async fn send(&self, kind: &str, json: &str) {
        self.out.as_ref().unwrap().send(payload(kind, json)).await.unwrap();
    }

    /// Ends the client's half of the stream.
    pub fn half_close(&mut self) {
        self.out = None;
    }

    pub async fn connection_id(&self) -> String {
        let answer = self.call("ServerCheckRequest", "{}").await;
        answer.json()["connectionId"].as_str().unwrap().to_owned()
    }
}

/// Waits until it holds.
pub async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..1_000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("{what}: not within 10 s");
}
