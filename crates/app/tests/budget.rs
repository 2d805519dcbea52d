//! Bytes in flight over real sockets: what does not fit is refused at once, small requests go on, and what clients never send or
//! never take is given up.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::Bytes;
use dyad_app::Bounds;
use dyad_grpc::GrpcLimits;
use dyad_http::Limits;
use dyad_proto::sdk::Payload;
use dyad_types::{ConfigKey, Part};
use prost::Message as _;
use support::sdk::{Sdk, payload, until};
use support::{BUDGET, Server, read_answer};

const MIB: usize = 1024 * 1024;
const PUBLISH: &str = "POST /nacos/v1/cs/configs?dataId=d&group=G HTTP/1.1\r\nHost: h\r\n\
                       Content-Type: application/x-www-form-urlencoded\r\n";
const WAIT: Duration = Duration::from_secs(10);

/// A server whose parts have 3, 3 and 4 MiB.
fn server(limits: Limits, grpc: GrpcLimits) -> Server {
    BUDGET.set(10 * MIB);
    Server::start_all(limits, Bounds::default(), grpc)
}

fn used(server: &Server, part: Part) -> usize {
    server.app.budget.room(part).used()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

/// A socket with a body that is announced and begun.
fn begun(server: &Server, announced: usize) -> TcpStream {
    let mut stream = server.connect();
    stream.write_all(format!("{PUBLISH}Content-Length: {announced}\r\n\r\ncontent=").as_bytes()).unwrap();
    stream
}

fn small_requests_go_on(server: &Server) {
    assert_eq!(server.ns("POST", "/instance?serviceName=s&ip=10.0.0.1&port=80").brief(), (200, "ok"));
    assert_eq!(server.ns("GET", "/instance/list?serviceName=s").status, 200);
    assert_eq!(server.get("/nacos/v1/console/health/liveness").status, 200);
}

#[test]
fn bodies_that_do_not_fit_are_refused_at_once_and_small_requests_go_on() {
    let server = server(Limits::default(), GrpcLimits::default());
    let held: Vec<TcpStream> = vec![begun(&server, MIB), begun(&server, MIB / 4)];
    eventually("both have their room", || used(&server, Part::Bodies) == 5 * MIB / 4);
    let refused = read_answer(&mut begun(&server, MIB));
    assert_eq!(refused.status, 429, "{refused:?}");
    assert!(refused.body.contains("has its share"), "{refused:?}");

    let mut alone = begun(&server, 3 * MIB);
    assert_eq!(read_answer(&mut alone).status, 503);
    small_requests_go_on(&server);
    assert_eq!(server.app.budget.room(Part::Bodies).refused(), 2);

    drop(held);
    eventually("the room is free again", || used(&server, Part::Bodies) == 0);
    let body = format!("content={}", "x".repeat(MIB));
    let whole = server.send("POST", "/nacos/v1/cs/configs?dataId=d&group=G", &FORM, body.as_bytes());
    assert_eq!(whole.brief(), (200, "true"));
    assert_eq!(used(&server, Part::Bodies), 0);
}

const FORM: [(&str, &str); 1] = [("Content-Type", "application/x-www-form-urlencoded")];

#[test]
fn a_body_that_is_not_announced_takes_room_as_it_grows() {
    let server = server(Limits::default(), GrpcLimits::default());
    let mut stream = server.connect();
    stream
        .write_all(format!("{PUBLISH}Transfer-Encoding: chunked\r\n\r\n8\r\ncontent=\r\n").as_bytes())
        .unwrap();
    let chunk = format!("10000\r\n{}\r\n", "a".repeat(0x10000));
    stream.write_all(chunk.as_bytes()).unwrap();
    eventually("what has arrived is counted", || used(&server, Part::Bodies) > 0x10000);
    for _ in 0..80 {
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    let refused = read_answer(&mut stream).status;
    // The answer is lost when the client still sends; that it is over is enough.
    assert!(refused == 0 || refused == 503 || refused == 429, "{refused}");
    eventually("the room is free again", || used(&server, Part::Bodies) == 0);
    assert!(server.app.budget.room(Part::Bodies).refused() > 0);
}

#[test]
fn an_answer_holds_its_room_until_it_is_read_or_its_reader_is_cut() {
    let limits = Limits { unread: Duration::from_secs(1), ..Limits::default() };
    let server = server(limits, GrpcLimits::default());
    BUDGET.set(1 << 30);
    let content = "x".repeat(2 * MIB);
    // Larger than what the sockets of both ends take.
    let body = format!("content={content}");
    let published = server.send("POST", "/nacos/v1/cs/configs?dataId=d&group=G", &FORM, body.as_bytes());
    assert_eq!(published.brief(), (200, "true"));
    let target = "/nacos/v1/cs/configs?dataId=d&group=G";
    let held: Vec<TcpStream> = (0..4)
        .map(|_| {
            let mut stream = server.connect();
            for _ in 0..8 {
                stream.write_all(format!("GET {target} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
            }
            stream
        })
        .collect();
    eventually("answers are refused", || server.app.budget.room(Part::Answers).refused() > 0);
    assert!(used(&server, Part::Answers) >= 2 * MIB);
    small_requests_go_on(&server);
    eventually("readers who do not read are cut", || used(&server, Part::Answers) == 0);
    // The requests that a held connection has queued may be answered late, and take the room once more.
    drop(held);
    eventually("the content is answered again", || server.get(target).body == content);
}

/// A client of HTTP/2, registered or not, whose windows are those of the test.
struct Raw {
    client: h2::client::SendRequest<Bytes>,
    connection: tokio::task::JoinHandle<()>,
}

impl Raw {
    async fn connect(server: &Server, window: u32) -> Raw {
        let stream = tokio::net::TcpStream::connect(server.grpc).await.unwrap();
        let mut builder = h2::client::Builder::new();
        let (client, connection) = builder.initial_window_size(window).handshake(stream).await.unwrap();
        let connection = tokio::spawn(async move {
            let _ended = connection.await;
        });
        Raw { client, connection }
    }

    async fn begin(
        &mut self,
        path: &str,
        bytes: Bytes,
        end: bool,
    ) -> (h2::client::ResponseFuture, h2::SendStream<Bytes>) {
        let request = http::Request::post(format!("http://h{path}"))
            .header("content-type", "application/grpc")
            .body(())
            .unwrap();
        self.client = self.client.clone().ready().await.unwrap();
        let (response, mut out) = self.client.send_request(request, false).unwrap();
        out.send_data(bytes, end).unwrap();
        (response, out)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// The prefix of a message, and what is there of it.
fn message(len: usize, bytes: &[u8]) -> Bytes {
    [&[0][..], &(len as u32).to_be_bytes(), bytes].concat().into()
}

fn whole(payload: &Payload) -> Bytes {
    let bytes = payload.encode_to_vec();
    message(bytes.len(), &bytes)
}

const UNARY: &str = "/Request/request";
const STREAM: &str = "/BiRequestStream/requestBiStream";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn half_sent_messages_hold_their_room_and_others_are_refused() {
    let grpc = GrpcLimits { body_read: Duration::from_secs(2), ..GrpcLimits::default() };
    let server = server(Limits::default(), grpc);
    for path in [UNARY, STREAM] {
        let mut first = Raw::connect(&server, 65_535).await;
        let _held = first.begin(path, message(2 * MIB, b"begun"), false).await;
        until("it has its room", || used(&server, Part::Messages) == 2 * MIB).await;
        let mut second = Raw::connect(&server, 65_535).await;
        let (answer, _out) = second.begin(UNARY, message(2 * MIB, b"begun"), false).await;
        let answer = tokio::time::timeout(WAIT, answer).await.unwrap().unwrap();
        assert_eq!(answer.headers()["grpc-status"], "8", "{path}: RESOURCE_EXHAUSTED");
        // A small one goes on.
        let check = whole(&payload("ServerCheckRequest", "{}"));
        let (answer, _out) = second.begin(UNARY, check, true).await;
        assert!(answer.await.unwrap().headers().get("grpc-status").is_none(), "{path}");
        until("what is late is given up", || used(&server, Part::Messages) == 0).await;
    }
}

type Begun = (h2::client::ResponseFuture, h2::SendStream<Bytes>);

/// A client that has asked so often for a list of so many instances, and takes none of the answers; its stream, and the calls.
async fn unread(server: &Server, instances: usize, queries: usize) -> (Raw, Begun, Vec<Begun>) {
    for n in 0..instances {
        let instance = format!("/instance?serviceName=s&groupName=G&ip=10.0.0.{n}&port=80");
        assert_eq!(server.ns("POST", &instance).status, 200);
    }
    let mut raw = Raw::connect(server, 0).await;
    let setup = whole(&payload("ConnectionSetupRequest", "{\"labels\":{\"source\":\"sdk\"}}"));
    let stream = raw.begin(STREAM, setup, false).await;
    until("the client is registered", || server.connections.len() == 1).await;
    let query = whole(&payload("ServiceQueryRequest", r#"{"serviceName":"s","groupName":"G"}"#));
    let mut answers = Vec::new();
    for _ in 0..queries {
        answers.push(raw.begin(UNARY, query.clone(), true).await);
    }
    (raw, stream, answers)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_takes_no_answer_is_closed() {
    let server = server(Limits::default(), GrpcLimits::default());
    let (mut raw, _stream, mut answers) = unread(&server, 100, 3).await;
    until("the answers hold their room", || used(&server, Part::Answers) > 30_000).await;
    server.clock.advance(19_000);
    // A sign of life is no reading.
    for _ in 0..5 {
        let check = whole(&payload("ServerCheckRequest", "{}"));
        answers.push(raw.begin(UNARY, check, true).await);
        let before = server.app.clock.now();
        until("it is heard", || server.connections.list().first().is_none_or(|c| c.active() >= before)).await;
        server.clock.advance(10_000);
    }
    until("it is closed", || server.connections.is_empty() && used(&server, Part::Answers) == 0).await;
}

#[test]
fn the_answer_of_a_reader_who_reads_is_whole() {
    let server = server(Limits::default(), GrpcLimits::default());
    let content = "y".repeat(MIB);
    let body = format!("content={content}");
    server.send("POST", "/nacos/v1/cs/configs?dataId=d&group=G", &FORM, body.as_bytes());
    let mut stream = server.connect();
    for _ in 0..6 {
        stream.write_all(b"GET /nacos/v1/cs/configs?dataId=d&group=G HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
        let answer = read_answer(&mut stream);
        assert_eq!((answer.status, answer.body.len()), (200, MIB));
    }
    stream.set_nonblocking(true).unwrap();
    assert!(stream.read(&mut [0]).is_err(), "nothing follows");
    eventually("the room is free again", || used(&server, Part::Answers) == 0);
}

/// A form with a content that is in the store.
fn large(server: &Server, data_id: &str, len: usize, more: &str) {
    let body = format!("content={}{more}", "z".repeat(len));
    let target = format!("/nacos/v1/cs/configs?dataId={data_id}&group=G");
    assert_eq!(server.send("POST", &target, &FORM, body.as_bytes()).brief(), (200, "true"), "{data_id}");
}

#[test]
fn a_content_is_not_read_when_there_is_no_room_for_the_answer() {
    let server = server(Limits::default(), GrpcLimits::default());
    let server = &server;
    for content in [MIB, MIB + 1] {
        large(server, "d", content, "");
    }
    let nid = server
        .app
        .configs
        .state()
        .item(&ConfigKey::new("", "G", "d"))
        .unwrap()
        .history()
        .next()
        .unwrap()
        .revision;
    let id = server.app.configs.item(&ConfigKey::new("", "G", "d")).unwrap().formal().unwrap().id;
    let of = "dataId=d&group=G&groupName=G";
    let cases = [
        (format!("/v1/cs/configs?{of}"), 0),
        (format!("/v1/cs/configs?{of}&consistent=true"), 0),
        (format!("/v1/cs/configs?{of}&show=all"), 0),
        (format!("/v1/cs/configs?{of}&search=blur&pageNo=1&pageSize=10"), 0),
        (format!("/v2/cs/config?{of}"), 0),
        (format!("/v3/client/cs/config?{of}"), 0),
        (format!("/v3/admin/cs/config?{of}"), 0),
        // Nobody knows the size of a version before it is read.
        (format!("/v3/admin/cs/history?{of}&nid={nid}"), 2),
        (format!("/v3/admin/cs/history/diff?{of}"), 2),
        (format!("/v2/cs/history/detail?{of}&nid={nid}"), 2),
    ];
    let get = |path: &str| server.get(&format!("/nacos{path}"));
    for (path, _) in &cases {
        let answer = get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.len() > 100, "{path}");
        eventually("its room is free again", || used(server, Part::Answers) == 0);
    }
    let export = format!("/nacos/v3/admin/cs/config/export?{of}&ids={id}");
    assert!(server.get_bytes(&export).starts_with(b"PK"));

    let address = [10, 0, 0, 9].into();
    let _held = server.app.budget.room(Part::Answers).take(address, 3 * MIB).unwrap();
    let reads = || server.propose.contents.reads.load(Ordering::Relaxed);
    for (path, may_read) in &cases {
        let before = reads();
        let answer = get(path);
        assert_eq!(answer.status, 503, "{path}: {}", answer.body.len());
        assert!(answer.body.contains("has no room"), "{path}: {}", answer.body);
        assert_eq!(reads() - before, *may_read, "{path}");
    }
    small_requests_go_on(server);

    let wish = format!("[{{\"cfgId\":\"{id}\",\"dataId\":\"e\"}}]");
    let clone = || server.send("POST", "/nacos/v3/admin/cs/config/clone", &[], wish.as_bytes());
    let full = server.app.budget.room(Part::Bodies).take(address, 5 * MIB / 2).unwrap();
    let before = reads();
    assert_eq!((clone().status, reads()), (503, before));
    drop(full);
    assert_eq!(clone().status, 200);
    assert_eq!(used(server, Part::Bodies), 0);
}

#[test]
fn a_page_takes_its_room_while_it_grows() {
    let server = server(Limits::default(), GrpcLimits::default());
    // Each character is six bytes in JSON.
    large(&server, "d", 8, &"%01".repeat(MIB / 4));
    let address = [10, 0, 0, 9].into();
    let room = server.app.budget.room(Part::Answers);
    let path = "/nacos/v1/cs/configs?dataId=d&group=G&search=blur&pageNo=1&pageSize=10";
    let held = room.take(address, 3 * MIB).unwrap();
    let refused = server.get(path);
    assert_eq!(refused.status, 503, "{}", refused.body);
    assert_eq!(room.used(), 3 * MIB);
    drop(held);
    assert_eq!(server.get(path).json()["pageItems"][0]["content"].as_str().unwrap().len(), MIB / 4 + 8);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_content_without_room_is_refused_over_grpc_before_it_is_read() {
    let server = server(Limits::default(), GrpcLimits::default());
    large(&server, "d", MIB, "");
    let sdk = Sdk::registered(&server).await;
    let query = r#"{"dataId":"d","group":"G"}"#;
    assert_eq!(sdk.call("ConfigQueryRequest", query).await.codes(), (200, 0));
    until("its room is free again", || used(&server, Part::Answers) == 0).await;
    let _held = server.app.budget.room(Part::Answers).take([10, 0, 0, 9].into(), 3 * MIB).unwrap();
    let before = server.propose.contents.reads.load(Ordering::Relaxed);
    let refused = sdk.call("ConfigQueryRequest", query).await;
    assert_eq!((&*refused.kind, refused.codes()), ("ErrorResponse", (503, 503)), "{}", refused.text);
    assert_eq!(server.propose.contents.reads.load(Ordering::Relaxed), before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_calls_that_are_not_finished_take_room_together() {
    let server = server(Limits::default(), GrpcLimits::default());
    let mut raw = Raw::connect(&server, 65_535).await;
    let mut held = Vec::new();
    for _ in 0..132 {
        held.push(raw.begin(UNARY, message(100, b"begun"), false).await);
    }
    until("all but the first have their room", || used(&server, Part::Messages) == 100 * 8 * 1024).await;
    drop((raw, held));
    until("it is free again", || used(&server, Part::Messages) == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_small_answers_that_are_not_taken_take_room_together() {
    let server = server(Limits::default(), GrpcLimits::default());
    let (raw, _stream, answers) = unread(&server, 10, 60).await;
    until("what is over the first 64 KiB has its room", || used(&server, Part::Answers) > 10_000).await;
    assert!(used(&server, Part::Answers) < 60 * 4 * 1024, "the first have none");
    drop((raw, answers));
    until("it is free again", || used(&server, Part::Answers) == 0).await;
}
