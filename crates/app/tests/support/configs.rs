//! Configurations that come and go, and those who listen to them: long polls as they are sent, and listening over gRPC.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use dyad_app::Bounds;
use dyad_config::{Change, ConfigCommand, Draft, GrayRule, Publish, PublishGray, Source};
use dyad_grpc::GrpcLimits;
use dyad_http::Limits;
use dyad_state::CpCommand;
use dyad_state::ports::Propose;
use dyad_types::{ConfigKey, Md5};
use serde_json::json;

use super::sdk::{Message, Sdk};
use super::{Answer, Server, read_answer};

pub const LISTENER: &str = "/nacos/v1/cs/configs/listener";

pub fn start() -> Server {
    let limits = GrpcLimits { sweep: Duration::from_millis(10), ..GrpcLimits::default() };
    Server::start_all(Limits::default(), Bounds::default(), limits)
}

pub fn propose(server: &Server, change: Change) {
    let command = ConfigCommand { source: Source::default(), change };
    futures::executor::block_on(server.propose.propose(CpCommand::Config(command))).unwrap();
}

pub fn publish(server: &Server, (namespace, group, data_id): (&str, &str, &str), content: &str) {
    let key = ConfigKey::new(namespace, group, data_id);
    propose(server, Change::Publish(Publish { key, draft: Draft::text(content), cas: None, enforce: false }));
}

pub fn publish_gray(server: &Server, data_id: &str, name: &str, rule: GrayRule, content: &str) {
    let (key, draft) = (ConfigKey::new("", "G", data_id), Draft::text(content));
    let gray = PublishGray { key, name: name.into(), rule: rule.into(), draft, cas: None };
    propose(server, Change::PublishGray(gray));
}

pub fn remove(server: &Server, data_id: &str, gray: Option<&str>) {
    propose(server, Change::Remove { key: ConfigKey::new("", "G", data_id), gray: gray.map(Box::from) });
}

pub fn md5(content: &str) -> String {
    Md5::of(content.as_bytes()).to_string()
}

/// A record of a poll.
pub fn record(data_id: &str, group: &str, md5: &str, tenant: &str) -> String {
    let tenant = if tenant.is_empty() { String::new() } else { format!("\u{2}{tenant}") };
    format!("{data_id}\u{2}{group}\u{2}{md5}{tenant}\u{1}")
}

/// Sends a poll and leaves it; the records are encoded twice, as SDKs do.
pub fn begin(server: &Server, records: &str, headers: &[(&str, &str)]) -> TcpStream {
    let once: String = records.bytes().map(|b| format!("%{b:02X}")).collect();
    let body = format!("Listening-Configs={}", once.replace('%', "%25"));
    let mut stream = server.connect();
    let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let head = format!(
        "POST {LISTENER} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/x-www-form-urlencoded\r\n{headers}\
         Content-Length: {}\r\n\r\n{body}",
        server.addr,
        body.len()
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

pub const HANG: (&str, &str) = ("Long-Pulling-Timeout", "30000");
pub const SOON: (&str, &str) = ("Long-Pulling-Timeout", "1000");
pub const NO_HANGUP: (&str, &str) = ("Long-Pulling-Timeout-No-Hangup", "true");

pub fn poll(server: &Server, records: &str, headers: &[(&str, &str)]) -> Answer {
    read_answer(&mut begin(server, records, headers))
}

/// Waits until this many polls hang, on this many configurations in all.
pub fn hang_on(server: &Server, polls: usize, configs: usize) {
    let began = Instant::now();
    let now = || (server.app.listeners.polls(), server.app.listeners.count());
    while now() != (polls, configs) {
        assert!(began.elapsed() < Duration::from_secs(10), "polls, configurations: {:?}", now());
        std::thread::yield_now();
    }
}

/// Waits until this many polls of one configuration each hang.
pub fn hang(server: &Server, polls: usize) {
    hang_on(server, polls, polls);
}

pub fn listening(data_id: &str, tenant: Option<&str>, md5: Option<&str>, on: bool) -> String {
    let mut context = json!({ "dataId": data_id, "group": "G" });
    if let Some(tenant) = tenant {
        context["tenant"] = tenant.into();
    }
    if let Some(md5) = md5 {
        context["md5"] = md5.into();
    }
    json!({ "listen": on, "configListenContexts": [context], "module": "config" }).to_string()
}

pub async fn listen(sdk: &Sdk, data_id: &str, tenant: Option<&str>, md5: Option<&str>) -> Message {
    sdk.call("ConfigBatchListenRequest", &listening(data_id, tenant, md5, true)).await
}
