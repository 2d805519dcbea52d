//! Each limit of the front end, over real sockets: what a client sees when it goes beyond.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::io::{Read, Write};
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use dyad_http::{Drained, Limits};
use dyad_types::Place;
use support::places::PLACES;
use support::{Server, read_answer};

const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

fn small() -> Limits {
    Limits {
        head_read: Duration::from_millis(100),
        body_read: Duration::from_millis(200),
        idle: Duration::from_secs(2),
        drain: Duration::from_millis(500),
        ..Limits::default()
    }
}

/// Waits until the predicate holds; a server that never gets there fails the test.
fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_head_that_is_too_long_is_414_or_431() {
    let server = Server::start(Limits::default());
    let list = "/nacos/v1/ns/instance/list?serviceName=s&x=";
    for (length, status) in [(15 * 1024, 200), (16 * 1024, 431), (16 * 1024 + 1, 414), (20 * 1024, 414)] {
        let target = format!("{list}{}", "a".repeat(length - list.len()));
        assert_eq!(server.get(&target).status, status, "{length} bytes of request line");
    }
    for (size, status) in [(15 * 1024, 200), (17 * 1024, 431), (40 * 1024, 431)] {
        let big = "a".repeat(size);
        let answer = server.send("GET", "/nacos/v1/ns/instance/list?serviceName=s", &[("X-Big", &big)], b"");
        assert_eq!(answer.status, status, "{size} bytes of headers");
    }
    let many: Vec<(String, String)> = (0..120).map(|n| (format!("X-{n}"), "1".into())).collect();
    let many: Vec<(&str, &str)> = many.iter().map(|(name, value)| (&**name, &**value)).collect();
    assert_eq!(server.send("GET", "/nacos/v1/ns/instance/list?serviceName=s", &many, b"").status, 431);
}

#[test]
fn a_body_that_is_too_large_is_413_whether_announced_or_chunked() {
    let server = Server::start(Limits::default());
    let form = |len: usize| {
        let start = "serviceName=s&ip=10.0.0.1&port=80&x=";
        format!("{start}{}", "a".repeat(len - start.len()))
    };
    let post = |body: &str| server.send("POST", "/nacos/v1/ns/instance", &[FORM], body.as_bytes()).status;
    assert_eq!(post(&form(64 * 1024)), 200);
    assert_eq!(post(&form(64 * 1024 + 1)), 413);

    let mut stream = server.connect();
    let head = format!("POST /nacos/v1/ns/instance HTTP/1.1\r\nHost: h\r\n{}: {}\r\n", FORM.0, FORM.1);
    stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).unwrap();
    for _ in 0..17 {
        let chunk = format!("1000\r\n{}\r\n", "a".repeat(0x1000));
        if stream.write_all(chunk.as_bytes()).is_err() {
            break;
        }
    }
    assert_eq!(read_answer(&mut stream).status, 413);

    let chunked = "1b\r\nserviceName=s&ip=10.0.0.1&p\r\n6\r\nort=80\r\n0\r\n\r\n";
    let mut stream = server.connect();
    stream.write_all(format!("{head}Transfer-Encoding: chunked\r\n\r\n{chunked}").as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream).brief(), (200, "ok"));
}

#[test]
fn a_body_that_stays_away_is_408_and_one_that_breaks_off_changes_nothing() {
    let server = Server::start(small());
    let head = format!("POST /nacos/v1/ns/instance HTTP/1.1\r\nHost: h\r\n{}: {}\r\n", FORM.0, FORM.1);
    let mut stream = server.connect();
    stream.write_all(format!("{head}Content-Length: 100\r\n\r\nserviceName=s").as_bytes()).unwrap();
    assert_eq!(read_answer(&mut stream).status, 408);

    let mut stream = server.connect();
    let whole = "serviceName=s&ip=10.0.0.1&port=80";
    stream.write_all(format!("{head}Content-Length: {}\r\n\r\n{whole}", whole.len() + 1).as_bytes()).unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    read_answer(&mut stream);
    assert_eq!(server.app.registry.counts().ephemeral_instances, 0);
}

#[test]
fn a_head_that_stays_away_is_408_and_idling_between_requests_does_not() {
    let server = Server::start(small());
    let mut slow = server.connect();
    slow.write_all(b"GET /nacos/v1/ns/instance/list?serviceName=s HTTP/1.1\r\nHo").unwrap();
    let started = Instant::now();
    let mut idle = server.connect();
    let request = b"GET /nacos/v1/console/health/liveness HTTP/1.1\r\nHost: h\r\n\r\n";
    idle.write_all(request).unwrap();
    assert_eq!(read_answer(&mut idle).status, 200);
    assert_eq!(read_answer(&mut slow).status, 408);
    assert_eq!(slow.read(&mut [0]).unwrap(), 0, "and the connection is closed");
    assert!(started.elapsed() < Duration::from_secs(5));
    idle.write_all(request).unwrap();
    assert_eq!(
        read_answer(&mut idle).status,
        200,
        "still open although it idled longer than a head may take"
    );
    let mut rest = [0; 1];
    assert_eq!(idle.read(&mut rest).unwrap_or(0), 0, "closed once it idled too long");
}

#[test]
fn connections_beyond_the_limit_are_closed_at_once_and_counted() {
    PLACES.set(vec![(Place::Http, 6), (Place::Spare, 0)]);
    let server = Server::start(small());
    let held: Vec<_> = (0..3).map(|_| server.connect()).collect();
    let open = &server.http_metrics.connections;
    eventually("three connections are open", || open.load(Relaxed) == 3);
    let mut one_more = server.connect();
    assert_eq!(read_answer(&mut one_more).status, 0, "it would be more than the half");
    assert_eq!(server.http_metrics.refused.load(Relaxed), 1);
    drop(held);
    eventually("places are free again", || open.load(Relaxed) == 0);
    assert_eq!(server.get("/nacos/v1/console/health/liveness").status, 200);
}

#[test]
fn a_stopping_server_ends_requests_under_way_and_cuts_what_outlasts_the_deadline() {
    let server = Server::start(small());
    let mut idle = server.connect();
    let request = b"GET /nacos/v1/console/health/liveness HTTP/1.1\r\nHost: h\r\n\r\n";
    idle.write_all(request).unwrap();
    assert_eq!(read_answer(&mut idle).status, 200);
    assert_eq!(server.stop(), Drained { cut: 0 });
    assert_eq!(read_answer(&mut idle).status, 0);

    let server = Server::start(Limits { body_read: Duration::from_secs(60), ..small() });
    let mut stuck = server.connect();
    let head = "PUT /nacos/v1/ns/instance/beat HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n";
    stuck.write_all(head.as_bytes()).unwrap();
    let open = &server.http_metrics.connections;
    eventually("the connection is open", || open.load(Relaxed) == 1);
    // A second answer shows that the first connection's head has been read.
    assert_eq!(server.get("/nacos/v1/console/health/liveness").status, 200);
    assert_eq!(server.stop(), Drained { cut: 1 });
}

#[test]
fn a_foreign_origin_is_403_and_no_header_grants_anything() {
    let server = Server::start(Limits::default());
    let own = format!("http://{}", server.addr);
    let target = "/nacos/v1/ns/instance?serviceName=s&ip=10.0.0.1&port=80";
    for (headers, status) in [
        (vec![("Origin", "http://evil.example")], 403),
        (vec![("Origin", "null")], 403),
        (vec![("Origin", "http://evil.example"), ("User-Agent", "Nacos-Server")], 403),
        (vec![("Origin", &*own)], 200),
        (vec![("User-Agent", "Nacos-Server:v2.5.1")], 200),
    ] {
        assert_eq!(server.send("POST", target, &headers, b"").status, status, "{headers:?}");
    }
    let foreign = server.send("GET", "/nacos/dyad/overview", &[("Origin", "http://evil.example")], b"");
    assert_eq!(foreign.json()["error"], "Forbidden");
}

#[test]
fn requests_on_one_connection_are_answered_in_order() {
    let server = Server::start(Limits::default());
    let mut stream = server.connect();
    let register = "POST /nacos/v1/ns/instance?serviceName=s&ip=10.0.0.1&port=80 HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n";
    let beat = "PUT /nacos/v1/ns/instance/beat?serviceName=s&ip=10.0.0.1&port=80 HTTP/1.1\r\nHost: h\r\n\r\n";
    stream.write_all([register, beat].concat().as_bytes()).unwrap();
    let mut all = String::new();
    let deadline = Instant::now() + Duration::from_secs(10);
    let mut piece = [0; 1024];
    while !all.contains("10200") && Instant::now() < deadline {
        let n = stream.read(&mut piece).unwrap();
        all.push_str(&String::from_utf8_lossy(&piece[..n]));
    }
    assert!(all.contains("\r\n\r\nokHTTP/1.1 200 OK"), "{all}");
}
