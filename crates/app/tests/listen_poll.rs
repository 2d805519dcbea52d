//! Long polls over a real port: what is answered at once, what waits, races, gray releases, limits.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dyad_config::GrayRule;
use dyad_http::Limits;
use dyad_types::{ConfigKey, Place};
use support::configs::{
    HANG, NO_HANGUP, SOON, begin, hang, hang_on, md5, poll, publish, publish_gray, record, remove, start,
};
use support::places::PLACES;
use support::{Server, read_answer};

#[test]
fn a_poll_that_differs_is_answered_at_once_with_all_that_differs() {
    let server = start();
    for key in [("", "G", "a"), ("", "G", "b"), ("dev", "G", "t")] {
        publish(&server, key, "k=v");
    }
    let (same, other) = (md5("k=v"), md5("x"));
    let upper = same.to_uppercase();
    for (records, want) in [
        (record("a", "G", &other, ""), "a%02G%01\n"),
        (record("a", "G", &upper, ""), "a%02G%01\n"),
        (record("a", "G", "zz", ""), "a%02G%01\n"),
        (record("a", "G", "", ""), "a%02G%01\n"),
        (record("t", "G", &other, "dev"), "t%02G%02dev%01\n"),
        (record("a", "G", &other, "public"), "a%02G%02public%01\n"),
        (record("nope", "G", &other, ""), "nope%02G%01\n"),
        (record("nope", "G", "", ""), ""),
        (record("a", "G", &same, ""), ""),
        (record("a", "G", &same, "public"), ""),
        (
            record("a", "G", &other, "") + &record("b", "G", &same, "") + &record("t", "G", "", "dev"),
            "a%02G%01t%02G%02dev%01\n",
        ),
    ] {
        let answer = poll(&server, &records, &[SOON, NO_HANGUP]);
        assert_eq!(answer.brief(), (200, want), "{records:?}");
        assert_eq!(answer.header("content-type"), Some("application/json;charset=UTF-8"));
        assert_eq!(answer.header("cache-control"), Some("no-cache,no-store"));
    }
    assert_eq!(server.app.listeners.count(), 0);
}

#[test]
fn without_a_time_old_clients_find_the_result_in_headers() {
    let server = start();
    publish(&server, ("", "G", "a:b"), "k=v");
    let headers = |records: &str, headers: &[(&str, &str)]| {
        let answer = poll(&server, records, headers);
        assert_eq!(answer.brief(), (200, ""));
        let header = |name| answer.header(name).map(str::to_owned);
        (header("probe-modify-response"), header("probe-modify-response-new"))
    };
    let some = |old: &str, new: &str| (Some(old.to_owned()), Some(new.to_owned()));
    let (differs, same) = (record("a:b", "G", "", ""), record("a:b", "G", &md5("k=v"), ""));
    assert_eq!(headers(&differs, &[]), some("a:b:G;", "a%3Ab%02G%01"));
    assert_eq!(headers(&same, &[]), some("", ""));
    assert_eq!(headers(&differs, &[("Client-Version", "2.0.3")]), some("a:b:G;", "a%3Ab%02G%01"));
    assert_eq!(headers(&differs, &[("Client-Version", "2.0.4")]), (None, None));
}

#[test]
fn what_is_no_poll_is_refused_with_what_is_wrong() {
    let server = start();
    let bad_name = "Param 'dataId' is illegal, illegal characters should not appear in the param.\r\n";
    for (records, want) in [
        ("", "caused: invalid probeModify;"),
        ("abc", "caused: invalid probeModify;"),
        ("abc\u{2}def\u{1}", "caused: invalid probeModify;"),
        ("a\u{2}b\u{2}c\u{2}d\u{2}e\u{1}", "caused: invalid probeModify;"),
        ("a/b\u{2}G\u{2}\u{1}", bad_name),
    ] {
        assert_eq!(poll(&server, records, &[HANG]).brief(), (400, want), "{records:?}");
    }
    let answer = poll(&server, &record("a", "G", "", ""), &[("Long-Pulling-Timeout", "soon")]);
    assert_eq!(answer.brief(), (400, "caused: long-pulling-timeout: \"soon\" is no number of milliseconds;"));
}

#[test]
fn a_waiting_poll_gets_the_first_change_or_nothing_when_its_time_is_over() {
    let server = start();
    publish(&server, ("", "G", "a"), "1");
    publish(&server, ("dev", "G", "t"), "1");
    let both = record("a", "G", &md5("1"), "") + &record("t", "G", &md5("1"), "dev");
    let records = |data_id: &str, md5: &str| record(data_id, "G", md5, "");

    let mut stream = begin(&server, &both, &[HANG]);
    hang_on(&server, 1, 2);
    publish(&server, ("dev", "G", "t"), "2");
    assert_eq!(read_answer(&mut stream).brief(), (200, "t%02G%02dev%01\n"));
    hang(&server, 0);

    let mut stream = begin(&server, &records("a", &md5("1")), &[HANG]);
    hang(&server, 1);
    remove(&server, "a", None);
    assert_eq!(read_answer(&mut stream).brief(), (200, "a%02G%01\n"));

    let mut stream = begin(&server, &records("a", ""), &[HANG]);
    hang(&server, 1);
    publish(&server, ("", "G", "other"), "x");
    publish(&server, ("", "G", "a"), "3");
    assert_eq!(read_answer(&mut stream).brief(), (200, "a%02G%01\n"));

    let began = Instant::now();
    assert_eq!(poll(&server, &records("a", &md5("3")), &[SOON]).brief(), (200, ""));
    assert!(began.elapsed() >= Duration::from_millis(300), "answered after {:?}", began.elapsed());
}

#[test]
fn a_poll_whose_client_goes_away_listens_no_more_and_a_stop_answers_the_others() {
    let server = start();
    let gone = begin(&server, &record("a", "G", "", ""), &[HANG]);
    hang(&server, 1);
    drop(gone);
    hang(&server, 0);
    let mut stays = begin(&server, &record("a", "G", "", ""), &[HANG]);
    hang(&server, 1);
    let began = Instant::now();
    let drained = server.stop();
    assert_eq!(read_answer(&mut stays).brief(), (200, ""));
    assert_eq!(drained.cut, 0);
    assert!(began.elapsed() < Duration::from_secs(4), "the stop waited for a poll");
}

#[test]
fn more_than_may_wait_are_told_why() {
    PLACES.set(vec![(Place::Polls, 2), (Place::Listenings, 8)]);
    let server = Server::start(Limits::default());
    let keys = |n: usize| (0..n).map(|n| record(&format!("d{n}"), "G", "", "")).collect::<String>();
    let first = begin(&server, &keys(1), &[HANG]);
    hang(&server, 1);
    let refused = poll(&server, &keys(1), &[HANG]);
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("share of the 2 long polls that wait"), "{}", refused.body);
    drop(first);
    hang(&server, 0);
    let refused = poll(&server, &keys(6), &[HANG]);
    assert_eq!(refused.status, 503);
    assert!(
        refused.body.contains("share of the 8 configurations that clients listen to"),
        "{}",
        refused.body
    );
    // What a refused poll had is given back.
    hang(&server, 0);
}

#[test]
fn polls_hear_of_the_gray_release_that_is_for_them() {
    let server = start();
    publish(&server, ("", "G", "a"), "formal");
    let formal = record("a", "G", &md5("formal"), "");
    let beta_ip = ("X-Forwarded-For", "10.0.0.1");
    let mut inside = begin(&server, &formal, &[HANG, beta_ip]);
    let mut tagged = begin(&server, &formal, &[HANG, ("Vipserver-Tag", "blue")]);
    let outside = begin(&server, &formal, &[HANG]);
    hang(&server, 3);
    publish_gray(&server, "a", "beta", GrayRule::beta("10.0.0.1").unwrap(), "gray");
    assert_eq!(read_answer(&mut inside).body, "a%02G%01\n");
    hang(&server, 2);
    publish_gray(&server, "a", "tag_blue", GrayRule::tag("blue").unwrap(), "gray");
    assert_eq!(read_answer(&mut tagged).body, "a%02G%01\n");
    hang(&server, 1);
    // Who has the gray content hears of its end; the one outside of nothing.
    let mut inside = begin(&server, &record("a", "G", &md5("gray"), ""), &[HANG, beta_ip]);
    hang(&server, 2);
    remove(&server, "a", Some("beta"));
    assert_eq!(read_answer(&mut inside).body, "a%02G%01\n");
    hang(&server, 1);
    drop(outside);
}

/// Publishes and polls race: whoever has something old is told, whatever the interleaving.
#[test]
fn no_change_is_lost_between_comparing_and_waiting() {
    let server = start();
    let done = AtomicBool::new(false);
    let last = "799";
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let mut has = String::new();
                let mut polls = 0;
                while has != last {
                    let began = Instant::now();
                    let md5 = if has.is_empty() { String::new() } else { md5(&has) };
                    let answer = poll(&server, &record("d", "G", &md5, ""), &[HANG]);
                    assert_eq!(answer.brief(), (200, "d%02G%01\n"), "after {:?}", began.elapsed());
                    let item = server.app.configs.item(&ConfigKey::new("", "G", "d")).unwrap();
                    has = item.formal().unwrap().inline.as_deref().unwrap().to_owned();
                    polls += 1;
                }
                assert!(polls > 1);
            });
        }
        scope.spawn(|| {
            for n in 0..800 {
                publish(&server, ("", "G", "d"), &n.to_string());
                if n % 3 == 0 {
                    std::thread::yield_now();
                }
            }
            done.store(true, Ordering::Release);
        });
    });
    assert!(done.load(Ordering::Acquire));
    hang(&server, 0);
}
