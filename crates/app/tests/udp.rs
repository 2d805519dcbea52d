//! Push by UDP over real sockets: who is pushed to, what a datagram holds, what happens without an acknowledgement, and
//! who is listed as a subscriber.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::io::Read;
use std::net::UdpSocket;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dyad_http::Limits;
use flate2::read::GzDecoder;
use serde_json::{Value, json};
use support::Server;

const JAVA: &str = "Nacos-Java-Client:v1.4.8";
const LIST: &str = "/nacos/v1/ns/instance/list?serviceName=a";

/// A client that asked for the service once.
struct Client {
    socket: UdpSocket,
    port: u16,
}

impl Client {
    fn subscribed(server: &Server) -> Client {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        let port = socket.local_addr().unwrap().port();
        let client = Client { socket, port };
        client.ask(server);
        client
    }

    fn ask(&self, server: &Server) {
        let target = format!("{LIST}&udpPort={}&app=shop&clientIP=192.0.2.1", self.port);
        assert_eq!(server.send("GET", &target, &[("User-Agent", JAVA)], b"").status, 200);
    }

    /// The next datagram: what came, and its JSON.
    fn next(&self) -> (Vec<u8>, Value) {
        let mut bytes = vec![0; 65_536];
        let (length, _) = self.socket.recv_from(&mut bytes).expect("a datagram");
        bytes.truncate(length);
        let mut plain = Vec::new();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            GzDecoder::new(&*bytes).read_to_end(&mut plain).unwrap();
        } else {
            plain.clone_from(&bytes);
        }
        let json = serde_json::from_slice(&plain).unwrap();
        (bytes, json)
    }

    /// Acknowledges the next datagram, with the number as the Java client writes it or as others do; the ports it tells.
    fn take(&self, as_text: bool) -> Vec<u64> {
        let mut bytes = vec![0; 65_536];
        let (_, from) = self.socket.peek_from(&mut bytes).expect("a datagram");
        let (_, packet) = self.next();
        let number = packet["lastRefTime"].clone();
        let number = if as_text { json!(number.to_string()) } else { number };
        let ack = json!({"type": "push-ack", "lastRefTime": number, "data": ""});
        self.socket.send_to(ack.to_string().as_bytes(), from).unwrap();
        ports(&packet)
    }
}

fn ports(packet: &Value) -> Vec<u64> {
    let list: Value = serde_json::from_str(packet["data"].as_str().unwrap()).unwrap();
    list["hosts"].as_array().unwrap().iter().map(|host| host["port"].as_u64().unwrap()).collect()
}

fn register(server: &Server, port: u16, metadata: &str) {
    let answer =
        server.ns("POST", &format!("/instance?serviceName=a&ip=10.0.0.1&port={port}&metadata={metadata}"));
    assert_eq!(answer.body, "ok");
}

fn until(what: &str, holds: impl Fn() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_change_is_pushed_as_the_list_that_a_query_gives() {
    let server = Server::start(Limits::default());
    let client = Client::subscribed(&server);
    register(&server, 8001, "");
    let (bytes, packet) = client.next();
    assert!(bytes.len() < 1_024 && bytes[0] == b'{');
    assert_eq!((packet["type"].as_str(), packet["lastRefTime"].is_u64()), (Some("dom"), true));
    let mut pushed: Value = serde_json::from_str(packet["data"].as_str().unwrap()).unwrap();
    let mut asked = server.get(LIST).json();
    for list in [&mut pushed, &mut asked] {
        assert!(list["lastRefTime"].take().is_u64());
    }
    assert_eq!(pushed, asked);
}

#[test]
fn an_acknowledged_datagram_is_not_repeated_and_another_is_once() {
    let server = Server::start(Limits::default());
    let client = Client::subscribed(&server);
    let metrics = &server.app.push.metrics;
    for (port, as_text, ports) in [(8000, false, vec![8000]), (8001, true, vec![8000, 8001])] {
        let before = metrics.acked.load(Ordering::Relaxed);
        register(&server, port, "");
        assert_eq!(client.take(as_text), ports);
        until("acknowledged", || metrics.acked.load(Ordering::Relaxed) == before + 1);
    }
    server.clock.advance(9_000);
    client.ask(&server);
    register(&server, 8002, "");
    let (first, packet) = client.next();
    assert_eq!(ports(&packet), [8000, 8001, 8002]);
    server.clock.advance(10_000);
    client.ask(&server);
    assert_eq!(client.next().0, first, "the same bytes again");
    server.clock.advance(10_000);
    client.ask(&server);
    until("given up", || metrics.failed.load(Ordering::Relaxed) == 1);
    register(&server, 8003, "");
    assert_eq!(client.take(false), [8000, 8001, 8002, 8003], "nothing but the next change");
}

#[test]
fn a_large_datagram_is_compressed() {
    let server = Server::start(Limits::default());
    let client = Client::subscribed(&server);
    register(&server, 8001, &format!("a%3D{}", "x".repeat(1_000)));
    let (bytes, packet) = client.next();
    assert!(bytes.len() < 800 && packet["data"].as_str().unwrap().len() > 1_000);
}

#[test]
fn who_stops_asking_is_forgotten() {
    let server = Server::start(Limits::default());
    let client = Client::subscribed(&server);
    server.clock.advance(10_500);
    client.ask(&server);
    server.clock.advance(10_500);
    client.ask(&server);
    assert_eq!(server.app.push.count(), 1);
    server.clock.advance(11_000);
    until("forgotten", || server.app.push.count() == 0);
}

#[test]
fn only_clients_that_understand_it_are_subscribed() {
    let server = Server::start(Limits::default());
    for (agent, port) in [
        ("curl/8.0", "4000"),
        ("Nacos-Python-Client:v0.1.17", "4000"),
        ("Nacos-Java-Client:v0.0.9", "4000"),
        (JAVA, "0"),
        (JAVA, "-1"),
        (JAVA, "65536"),
    ] {
        let target = format!("{LIST}&udpPort={port}");
        assert_eq!(server.send("GET", &target, &[("User-Agent", agent)], b"").status, 200, "{agent} {port}");
        assert_eq!(server.app.push.count(), 0, "{agent} {port}");
    }
    assert_eq!(server.send("GET", &format!("{LIST}&udpPort=4000"), &[], b"").status, 200);
    assert_eq!(server.ns("PUT", "/operator/switches?entry=pushEnabled&value=false").body, "ok");
    Client::subscribed(&server);
    assert_eq!(server.app.push.count(), 0, "push is switched off");
}

#[test]
fn subscribers_are_listed_by_parts_of_name_and_group() {
    let server = Server::start(Limits::default());
    let client = Client::subscribed(&server);
    let row = json!({
        "addrStr": format!("127.0.0.1:{}", client.port), "agent": JAVA, "app": "shop", "ip": "127.0.0.1",
        "port": client.port, "namespaceId": "public", "serviceName": "DEFAULT_GROUP@@a", "cluster": "",
    });
    for (query, found) in [
        ("serviceName=a", true),
        ("serviceName=DEFAULT_GROUP%40%40a&aggregation=false", true),
        ("serviceName=a&groupName=GROUP", true),
        ("serviceName=a&pageNo=2", false),
        ("serviceName=ab", false),
        ("serviceName=a&groupName=other", false),
        ("serviceName=a&namespaceId=other", false),
    ] {
        let answer = server.ns("GET", &format!("/service/subscribers?{query}")).json();
        let listed = if found { vec![row.clone()] } else { vec![] };
        assert_eq!(answer["subscribers"], json!(listed), "{query}");
        assert_eq!(answer["count"], json!(usize::from(found || query.ends_with("pageNo=2"))), "{query}");
    }
    let metrics = server.ns("GET", "/operator/metrics?onlyStatus=false").json();
    assert_eq!(metrics["subscribeCount"], json!(1));
}
