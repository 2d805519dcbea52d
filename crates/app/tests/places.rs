//! What clients hold by number: no address has all of it, and who finds no place hears why.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use dyad_http::Limits;
use dyad_types::Place;
use support::places::{PLACES, used};
use support::sdk::{Sdk, until};
use support::{Server, read_answer};
use tokio::net::TcpSocket;

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

/// Waits until the predicate holds; a server that never gets there fails the test.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

fn from_other_address(server: &Server) -> TcpStream {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().unwrap();
    let stream = runtime.block_on(async {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.2:0".parse().unwrap()).unwrap();
        socket.connect(server.addr).await.unwrap().into_std().unwrap()
    });
    stream.set_nonblocking(false).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
}

#[test]
fn who_finds_no_place_can_ask_how_the_member_is_and_others_have_theirs() {
    PLACES.set(vec![(Place::Http, 4), (Place::Spare, 2)]);
    let server = Server::start(Limits::default());
    let held: Vec<_> = (0..2).map(|_| server.connect()).collect();
    let open = &server.http_metrics.connections;
    eventually("two connections are open", || open.load(Relaxed) == 2);
    for path in ["/nacos/v1/console/health/liveness", "/nacos/v2/console/health/readiness", "/metrics"] {
        let answer = server.get(path);
        assert_eq!((answer.status, answer.header("connection")), (200, Some("close")), "{path}");
        eventually("the spare one is free", || open.load(Relaxed) == 2);
    }
    // It is not kept, even if the client would keep it.
    let mut spare = server.connect();
    spare.write_all(b"GET /nacos/v1/ns/instance/list?serviceName=s HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    let refused = read_answer(&mut spare);
    assert_eq!((refused.status, refused.header("connection")), (503, Some("close")));
    assert!(refused.body.contains("share of the 4 HTTP connections"), "{}", refused.body);
    assert_eq!(spare.read(&mut [0]).unwrap(), 0);
    // One that asks nothing does not stay.
    let mut silent = server.connect();
    assert_eq!(silent.read(&mut [0]).unwrap(), 0);
    // Another address.
    let mut other = from_other_address(&server);
    other.write_all(b"GET /nacos/v1/ns/instance/list?serviceName=s HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut other).status, 200);
    drop(held);
}

#[test]
fn who_rests_makes_room_when_all_places_are_taken() {
    PLACES.set(vec![(Place::Http, 1), (Place::Spare, 0)]);
    let server = Server::start(Limits::default());
    let mut resting = server.connect();
    resting.write_all(b"GET /nacos/v1/console/health/liveness HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut resting).status, 200);
    let began = Instant::now();
    eventually("there is room for another", || {
        let mut other = from_other_address(&server);
        let request = b"GET /nacos/v1/console/health/liveness HTTP/1.1\r\nHost: h\r\n\r\n";
        // Fails when the connection is closed already.
        let _closed = other.write_all(request);
        read_answer(&mut other).status == 200
    });
    assert!(began.elapsed() < Duration::from_secs(9));
    assert_eq!(resting.read(&mut [0]).unwrap(), 0, "it is closed in order");
}

/// A client that hangs up is noticed although another request of its waits to be read.
#[test]
fn who_hangs_up_with_a_request_behind_is_noticed() {
    let server = Server::start(Limits::default());
    let body = "Listening-Configs=d%02G%02%01";
    let poll = format!(
        "POST /nacos/v1/cs/configs/listener HTTP/1.1\r\nHost: h\r\nLong-Pulling-Timeout: 60000\r\n{}: {}\r\n\
         Content-Length: {}\r\n\r\n{body}GET /nacos/v1/console/health/liveness HTTP/1.1\r\nHost: h\r\n\r\n",
        FORM.0,
        FORM.1,
        body.len()
    );
    let mut stream = server.connect();
    stream.write_all(poll.as_bytes()).unwrap();
    eventually("the poll waits", || server.app.listeners.polls() == 1);
    drop(stream);
    eventually("the poll is over", || server.app.listeners.polls() == 0);
    eventually("the connection is closed", || server.http_metrics.connections.load(Relaxed) == 0);
}

/// A client that closes its half behind a request is answered if the answer is there at once.
#[test]
fn who_closes_its_half_behind_a_body_is_answered() {
    let server = Server::start(Limits::default());
    let body = format!("serviceName=s&ip=10.0.0.1&port=80&x={}", "a".repeat(60_000));
    let head = format!("POST /nacos/v1/ns/instance HTTP/1.1\r\nHost: h\r\n{}: {}\r\n", FORM.0, FORM.1);
    for _ in 0..20 {
        let mut stream = server.connect();
        stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(read_answer(&mut stream).brief(), (200, "ok"));
    }
}

#[tokio::test]
async fn an_address_has_its_share_of_what_clients_ask_to_hear_of() {
    PLACES.set(vec![
        (Place::Subscriptions, 2),
        (Place::Listenings, 2),
        (Place::ServicePatterns, 2),
        (Place::ConfigPatterns, 2),
        (Place::Watches, 20),
    ]);
    let server = Server::start(Limits::default());
    let sdk = Sdk::registered(&server).await;
    let subscribe = |n: u32, on: bool| {
        (
            "SubscribeServiceRequest",
            format!(
                r#"{{"namespace":"public","serviceName":"s{n}","groupName":"G","clusters":"","subscribe":{on}}}"#
            ),
        )
    };
    let listen = |n: u32, on: bool| {
        let context = format!(r#"{{"dataId":"d{n}","group":"G","tenant":"","md5":""}}"#);
        ("ConfigBatchListenRequest", format!(r#"{{"listen":{on},"configListenContexts":[{context}]}}"#))
    };
    let watch = |kind: &'static str, n: u32, on: bool| {
        let way = if on { "WATCH" } else { "CANCEL_WATCH" };
        let rest = r#""initializing":true,"receivedGroupKeys":[]"#;
        (kind, format!(r#"{{"groupKeyPattern":"public>>G>>w{n}*","watchType":"{way}",{rest}}}"#))
    };
    let services = |n, on| watch("NamingFuzzyWatchRequest", n, on);
    let configs = |n, on| watch("ConfigFuzzyWatchRequest", n, on);
    type Ask<'a> = &'a dyn Fn(u32, bool) -> (&'static str, String);
    let kinds: [(Ask<'_>, (u64, u64), &str); 4] = [
        (&subscribe, (500, 503), "share of the 2 subscriptions"),
        (&listen, (503, 503), "share of the 2 configurations that clients listen to"),
        (&services, (500, 50_310), "share of the 2 fuzzy watch patterns of services"),
        (&configs, (500, 50_310), "share of the 2 fuzzy watch patterns of configurations"),
    ];
    for (ask, codes, words) in kinds {
        let (kind, first) = ask(1, true);
        assert_eq!(sdk.call(kind, &first).await.codes(), (200, 0), "{first}");
        let refused = sdk.call(kind, &ask(2, true).1).await;
        assert_eq!(refused.codes(), codes, "{kind}");
        assert!(refused.text.contains(words), "{}", refused.text);
        assert_eq!(sdk.call(kind, &first).await.codes(), (200, 0), "what is there stays: {first}");
        assert_eq!(sdk.call(kind, &ask(1, false).1).await.codes(), (200, 0), "{kind}");
        assert_eq!(
            sdk.call(kind, &ask(2, true).1).await.codes(),
            (200, 0),
            "its place is given back: {kind}"
        );
    }
    drop(sdk);
    until("all is given back", || Place::ALL.iter().all(|&place| used(&server, place) == 0)).await;
}
