//! Listening over real ports: long polls and gRPC clients, races, last states, gray releases, limits, who listens.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use dyad_api::{Bounds, GrpcLimits, Limits, ListenLimits};
use dyad_config::{Change, ConfigCommand, Draft, GrayRule, Publish, PublishGray, Source};
use dyad_naming::cp::CpCommand;
use dyad_naming::ports::Propose;
use dyad_types::{ConfigKey, Md5};
use serde_json::json;
use support::sdk::{Message, Sdk, until};
use support::{Answer, Server, read_answer};

const LISTENER: &str = "/nacos/v1/cs/configs/listener";

fn start() -> Server {
    let limits = GrpcLimits { sweep: Duration::from_millis(10), ..GrpcLimits::default() };
    Server::start_all(Limits::default(), Bounds::default(), limits)
}

fn propose(server: &Server, change: Change) {
    let command = ConfigCommand { request: 0, source: Source::default(), change };
    futures::executor::block_on(server.propose.propose(CpCommand::Config(command))).unwrap();
}

fn publish(server: &Server, (namespace, group, data_id): (&str, &str, &str), content: &str) {
    let key = ConfigKey::new(namespace, group, data_id);
    propose(server, Change::Publish(Publish { key, draft: Draft::text(content), cas: None, enforce: false }));
}

fn publish_gray(server: &Server, data_id: &str, name: &str, rule: GrayRule, content: &str) {
    let (key, draft) = (ConfigKey::new("", "G", data_id), Draft::text(content));
    let gray = PublishGray { key, name: name.into(), rule: rule.into(), draft, cas: None };
    propose(server, Change::PublishGray(gray));
}

fn remove(server: &Server, data_id: &str, gray: Option<&str>) {
    propose(server, Change::Remove { key: ConfigKey::new("", "G", data_id), gray: gray.map(Box::from) });
}

fn md5(content: &str) -> String {
    Md5::of(content.as_bytes()).to_string()
}

/// A record of a poll.
fn record(data_id: &str, group: &str, md5: &str, tenant: &str) -> String {
    let tenant = if tenant.is_empty() { String::new() } else { format!("\u{2}{tenant}") };
    format!("{data_id}\u{2}{group}\u{2}{md5}{tenant}\u{1}")
}

/// Sends a poll and leaves it; the records are encoded twice, as SDKs do.
fn begin(server: &Server, records: &str, headers: &[(&str, &str)]) -> TcpStream {
    use std::io::Write;
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

const HANG: (&str, &str) = ("Long-Pulling-Timeout", "30000");
const SOON: (&str, &str) = ("Long-Pulling-Timeout", "1000");
const NO_HANGUP: (&str, &str) = ("Long-Pulling-Timeout-No-Hangup", "true");

fn poll(server: &Server, records: &str, headers: &[(&str, &str)]) -> Answer {
    read_answer(&mut begin(server, records, headers))
}

/// Waits until this many polls hang, on this many configurations in all.
fn hang_on(server: &Server, polls: u64, configs: u64) {
    let began = Instant::now();
    let now = || (server.app.listeners.polls(), server.app.listeners.count());
    while now() != (polls, configs) {
        assert!(began.elapsed() < Duration::from_secs(10), "polls, configurations: {:?}", now());
        std::thread::yield_now();
    }
}

/// Waits until this many polls of one configuration each hang.
fn hang(server: &Server, polls: u64) {
    hang_on(server, polls, polls);
}

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
    assert_eq!(answer.brief(), (400, "caused: For input string: \"soon\";"));
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
    let limits = ListenLimits { polls: 1, listenings: 3, ..ListenLimits::default() };
    let server = Server::start_listening(Limits::default(), Bounds::default(), GrpcLimits::default(), limits);
    let keys = |n: usize| (0..n).map(|n| record(&format!("d{n}"), "G", "", "")).collect::<String>();
    let first = begin(&server, &keys(1), &[HANG]);
    hang(&server, 1);
    let refused = poll(&server, &keys(1), &[HANG]);
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("1 long polls wait on this member"), "{}", refused.body);
    drop(first);
    hang(&server, 0);
    let refused = poll(&server, &keys(4), &[HANG]);
    assert_eq!(refused.status, 503);
    assert!(refused.body.contains("listen to 3 configurations"), "{}", refused.body);
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

fn listening(data_id: &str, tenant: Option<&str>, md5: Option<&str>, on: bool) -> String {
    let mut context = json!({ "dataId": data_id, "group": "G" });
    if let Some(tenant) = tenant {
        context["tenant"] = tenant.into();
    }
    if let Some(md5) = md5 {
        context["md5"] = md5.into();
    }
    json!({ "listen": on, "configListenContexts": [context], "module": "config" }).to_string()
}

async fn listen(sdk: &Sdk, data_id: &str, tenant: Option<&str>, md5: Option<&str>) -> Message {
    sdk.call("ConfigBatchListenRequest", &listening(data_id, tenant, md5, true)).await
}

#[tokio::test]
async fn requests_of_configurations_answer_as_nacos_does() {
    let server = start();
    let sdk = Sdk::registered(&server).await;
    let ok = r#"{"resultCode":200,"errorCode":0,"success":true}"#;
    let fail = |code: u32, message: &str| {
        format!(r#"{{"resultCode":500,"errorCode":{code},"message":"{message}","success":false}}"#)
    };
    let missing = r#"{"resultCode":500,"errorCode":300,"message":"config data not exist","lastModified":0,"beta":false,"success":false}"#;
    let found = |content: &str, kind: &str, rest: &str, beta: bool| {
        let (md5, modified) = (md5(content), support::WALL_MS);
        format!(
            r#"{{"resultCode":200,"errorCode":0,"content":"{content}","encryptedDataKey":"","contentType":"{kind}","md5":"{md5}","lastModified":{modified},{rest}"beta":{beta},"success":true}}"#
        )
    };
    let bad_cas = fail(500, "Cas publish fail, server md5 may have changed.");
    let bad_id = fail(
        400,
        "Param check invalid:Param 'dataId' is illegal, illegal characters should not appear in the param.",
    );
    let cas = format!(r#"{{"dataId":"d","group":"G","content":"a=2","casMd5":"{}"}}"#, md5("a=1"));
    let large = "x".repeat(100_000);
    let publish_large = json!({ "dataId": "large", "group": "G", "content": large }).to_string();
    let (query, publish, remove) = ("ConfigQuery", "ConfigPublish", "ConfigRemove");
    for (kind, json, want) in [
        (query, r#"{"dataId":"d","group":"G","tenant":""}"#, missing.to_owned()),
        (
            publish,
            r#"{"dataId":"d","group":"G","content":"a=1","additionMap":{"type":"yaml","tag":null}}"#,
            ok.into(),
        ),
        (query, r#"{"dataId":"d","group":"G","tenant":"public"}"#, found("a=1", "yaml", "", false)),
        (publish, r#"{"dataId":"d","group":"G","content":"a=9","casMd5":"no"}"#, bad_cas.clone()),
        (publish, &*cas, ok.into()),
        (publish, &*cas, bad_cas),
        (publish, r#"{"dataId":"d","group":"G","content":""}"#, fail(400, "content is blank : ")),
        (publish, r#"{"dataId":"a/b","group":"G","content":"x"}"#, bad_id.clone()),
        (query, r#"{"dataId":"a/b","group":"G"}"#, bad_id),
        (
            publish,
            r#"{"dataId":"d","group":"G","content":"b=1","additionMap":{"betaIps":"10.9.9.9"}}"#,
            ok.into(),
        ),
        (query, r#"{"dataId":"d","group":"G"}"#, found("b=1", "text", "", true)),
        (remove, r#"{"dataId":"d","group":"G"}"#, ok.into()),
        (publish, r#"{"dataId":"t","group":"G","content":"t=1","additionMap":{"tag":"blue"}}"#, ok.into()),
        (
            query,
            r#"{"dataId":"t","group":"G","tag":"blue"}"#,
            found("t=1", "text", r#""tag":"blue","#, false),
        ),
        (query, r#"{"dataId":"t","group":"G","tag":"red"}"#, missing.to_owned()),
        (remove, r#"{"dataId":"t","group":"G","tag":"blue"}"#, ok.into()),
        (query, r#"{"dataId":"t","group":"G","tag":"blue"}"#, missing.to_owned()),
        (remove, r#"{"dataId":"t","group":"G"}"#, ok.into()),
        (publish, &*publish_large, ok.into()),
        (query, r#"{"dataId":"large","group":"G"}"#, found(&large, "text", "", false)),
    ] {
        let answer = sdk.call(&format!("{kind}Request"), json).await;
        assert_eq!(answer.kind, format!("{kind}Response"), "{json}");
        assert_eq!(answer.text, want, "{kind} {json}");
    }
    let broken = sdk.call("ConfigQueryRequest", "{").await;
    assert_eq!((&*broken.kind, broken.codes()), ("ErrorResponse", (500, 502)));
}

#[tokio::test]
async fn a_listening_client_is_told_of_each_change_in_its_own_spelling() {
    let server = start();
    publish(&server, ("", "G", "d"), "1");
    let mut sdk = Sdk::registered(&server).await;
    let changed = |tenant: Option<&str>| match tenant {
        Some(tenant) => json!([{ "group": "G", "dataId": "d", "tenant": tenant }]),
        None => json!([{ "group": "G", "dataId": "d" }]),
    };
    let none = json!([]);
    for (tenant, md5_sent, want) in [
        (Some(""), Some(""), changed(Some(""))),
        (Some("public"), Some("other"), changed(Some("public"))),
        (None, None, changed(None)),
        (None, Some(&*md5("1")), none.clone()),
        (Some("public"), Some(&*md5("1")), none.clone()),
        (Some(""), Some(&*md5("1")), none.clone()),
    ] {
        let answer = listen(&sdk, "d", tenant, md5_sent).await;
        assert_eq!(answer.kind, "ConfigChangeBatchListenResponse");
        assert_eq!(answer.json()["changedConfigs"], want, "{tenant:?} {md5_sent:?}");
    }
    assert_eq!(server.app.listeners.count(), 1, "one for a connection and configuration");
    publish(&server, ("", "G", "d"), "2");
    let push = sdk.push().await.unwrap();
    let id = push.id();
    assert_eq!(push.kind, "ConfigChangeNotifyRequest");
    let want = format!(r#"{{"headers":{{}},"requestId":"{id}","dataId":"d","group":"G","module":"config"}}"#);
    assert_eq!(push.text, want);
    sdk.ack(&push).await;
    until("acknowledged", || server.app.listeners.metrics.acked.load(Ordering::Relaxed) == 1).await;
    assert_eq!(listen(&sdk, "d", Some("public"), Some(&md5("2"))).await.json()["changedConfigs"], none);
    remove(&server, "d", None);
    let push = sdk.push().await.unwrap();
    assert_eq!(push.json()["tenant"], "public");
    sdk.ack(&push).await;
    // A missing configuration: nothing is up to date, the unknown is not.
    assert_eq!(listen(&sdk, "x", Some(""), Some("")).await.json()["changedConfigs"], none);
    assert_ne!(listen(&sdk, "x", Some(""), None).await.json()["changedConfigs"], none);
    sdk.call("ConfigBatchListenRequest", &listening("d", Some("public"), None, false)).await;
    publish(&server, ("", "G", "d"), "3");
    assert!(sdk.is_quiet(200).await, "who listens no more is not told");
    drop(sdk);
    until("the end of the connection ends it", || server.app.listeners.count() == 0).await;
}

#[tokio::test]
async fn a_change_that_is_taken_back_or_published_again_is_none() {
    let server = start();
    publish(&server, ("", "G", "d"), "1");
    let mut sdk = Sdk::registered(&server).await;
    listen(&sdk, "d", None, Some(&md5("1"))).await;
    publish(&server, ("", "G", "d"), "1");
    assert!(sdk.is_quiet(100).await);
    // There and back: whatever was coalesced, a client that was told of the first is told of the second.
    for content in ["2", "1"] {
        publish(&server, ("", "G", "d"), content);
        let push = sdk.push().await.unwrap();
        sdk.ack(&push).await;
    }
    assert!(sdk.is_quiet(100).await);
}

#[tokio::test]
async fn a_notification_without_acknowledgement_is_repeated_and_then_left() {
    let server = start();
    let mut sdk = Sdk::registered(&server).await;
    listen(&sdk, "d", None, Some("")).await;
    publish(&server, ("", "G", "d"), "1");
    let first = sdk.push().await.unwrap();
    for _ in 0..3 {
        assert!(sdk.is_quiet(50).await);
        server.clock.advance(6_000);
        sdk.call("HealthCheckRequest", "{}").await;
        let again = sdk.push().await.unwrap();
        assert_eq!((&again.kind, again.json()["dataId"].as_str()), (&first.kind, Some("d")));
    }
    server.clock.advance(6_000);
    sdk.call("HealthCheckRequest", "{}").await;
    assert!(sdk.is_quiet(200).await);
    let failed = || server.app.listeners.metrics.failed.load(Ordering::Relaxed);
    until("given up", || failed() == 4).await;
    publish(&server, ("", "G", "d"), "2");
    assert_eq!(sdk.push().await.unwrap().kind, first.kind, "the next change is told all the same");
}

#[tokio::test]
async fn gray_releases_are_told_to_those_who_read_them() {
    let server = start();
    publish(&server, ("", "G", "d"), "formal");
    let mut beta = Sdk::registered(&server).await;
    let mut labelled = Sdk::connect(&server, false).await;
    labelled
        .open(r#"{"clientVersion":"x","labels":{"module":"config","app_env":"test"},"abilityTable":{}}"#)
        .await;
    labelled.push().await.unwrap();
    let formal = md5("formal");
    listen(&beta, "d", None, Some(&formal)).await;
    listen(&labelled, "d", None, Some(&formal)).await;
    let rule = GrayRule::parse("tagv2", "1.1.0", "app_env=test", 1).unwrap();
    publish_gray(&server, "d", "env", rule, "gray");
    let push = labelled.push().await.unwrap();
    labelled.ack(&push).await;
    assert!(beta.is_quiet(100).await, "the rule is not for it");
    // Both SDKs say that they are 10.9.9.9: beta wins over the label.
    publish_gray(&server, "d", "beta", GrayRule::beta("10.9.9.9").unwrap(), "beta");
    let push = beta.push().await.unwrap();
    beta.ack(&push).await;
    let push = labelled.push().await.unwrap();
    labelled.ack(&push).await;
    remove(&server, "d", Some("env"));
    assert!(labelled.is_quiet(100).await, "what it reads did not change");
}

#[tokio::test]
async fn fuzzy_watches_follow_what_appears_and_goes() {
    let server = start();
    publish(&server, ("", "G", "app.a"), "1");
    let mut sdk = Sdk::registered(&server).await;
    let watch = |kind: &str, initial: bool| {
        json!({
            "groupKeyPattern": "public>>G>>app.*", "receivedGroupKeys": ["gone+G+public", "app.old+G+public"],
            "watchType": kind, "initializing": initial, "module": "config"
        })
        .to_string()
    };
    let answer = sdk.call("ConfigFuzzyWatchRequest", &watch("WATCH", true)).await;
    assert_eq!((&*answer.kind, answer.codes()), ("ConfigFuzzyWatchResponse", (200, 0)));
    let sync = sdk.push().await.unwrap();
    assert_eq!(sync.kind, "ConfigFuzzyWatchSyncRequest");
    let (added, deleted) = ("ADD_CONFIG", "DELETE_CONFIG");
    let context = |key: &str, change: &str| json!({ "groupKey": key, "changedType": change });
    let want = json!([
        context("app.old+G+public", deleted),
        context("gone+G+public", deleted),
        context("app.a+G+public", added)
    ]);
    assert_eq!(sync.json()["contexts"], want);
    let done = sdk.push().await.unwrap();
    assert_eq!(done.json()["syncType"], "FINISH_FUZZY_WATCH_INIT_NOTIFY");
    publish(&server, ("", "G", "app.b"), "1");
    publish(&server, ("", "G", "other"), "1");
    let change = sdk.push().await.unwrap();
    assert_eq!(change.kind, "ConfigFuzzyWatchChangeNotifyRequest");
    assert_eq!(
        (&change.json()["groupKey"], &change.json()["changeType"]),
        (&json!("app.b+G+public"), &json!("CONFIG_CHANGED"))
    );
    publish(&server, ("", "G", "app.b"), "2");
    remove(&server, "app.b", None);
    let change = sdk.push().await.unwrap();
    assert_eq!(change.json()["changeType"], deleted);
    sdk.call("ConfigFuzzyWatchRequest", &watch("CANCEL_WATCH", false)).await;
    publish(&server, ("", "G", "app.c"), "1");
    assert!(sdk.is_quiet(200).await);
}

#[tokio::test]
async fn it_can_be_seen_who_listens_with_what_and_heard_of_the_last_change() {
    let server = start();
    publish(&server, ("", "G", "d"), "1");
    publish(&server, ("dev", "G", "d"), "1");
    let mut sdk = Sdk::registered(&server).await;
    listen(&sdk, "d", None, Some(&md5("1"))).await;
    listen(&sdk, "d", Some("dev"), Some(&md5("1"))).await;
    let waits = begin(&server, &record("d", "G", &md5("1"), ""), &[HANG, ("Client-AppName", "shop")]);
    hang_on(&server, 1, 3);
    let one = md5("1");
    let status = json!({ "10.9.9.9": one, "127.0.0.1": one });
    let by_key = "dataId=d&group=G&tenant=";
    assert_eq!(
        server.get(&format!("/nacos/v1/cs/configs/listener?{by_key}")).json(),
        json!({ "collectStatus": 200, "lisentersGroupkeyStatus": status })
    );
    assert_eq!(
        server.get(&format!("/nacos/v1/cs/communication/configWatchers?{by_key}")).json(),
        json!({ "lisentersGroupkeyStatus": status })
    );
    let dev = json!({ "d+G+dev": one });
    for (query, want) in [
        ("ip=10.9.9.9", json!({ "d+G": one })),
        ("ip=10.9.9.9&tenant=dev", dev),
        ("ip=10.9.9.9&all=true", json!({ "d+G": one, "d+G+dev": one })),
        ("ip=10.1.1.1&all=true", json!({})),
    ] {
        let answer = server.get(&format!("/nacos/v1/cs/listener?{query}")).json();
        assert_eq!(answer, json!({ "collectStatus": 200, "lisentersGroupkeyStatus": want }), "{query}");
    }
    drop(waits);
    hang_on(&server, 0, 2);
    server.clock.advance(5);
    publish(&server, ("", "G", "d"), "2");
    let push = sdk.push().await.unwrap();
    sdk.ack(&push).await;
    let v3 = |path: &str| server.get(&format!("/nacos/v3/{path}&groupName=G&dataId=d")).json();
    let row = || v3("console/cs/config/listener?namespaceId=")["data"]["listeners"][0].clone();
    until("acknowledged", || row()["acked"] == true).await;
    let connection = sdk.connection_id().await;
    assert_eq!(
        v3("admin/cs/config/listener?namespaceId="),
        json!({ "code": 0, "message": "success", "data": {
            "queryType": "config",
            "listenersStatus": { "10.9.9.9": one },
            "total": 1,
            "listeners": [{
                "namespaceId": "public", "groupName": "G", "dataId": "d", "ip": "10.9.9.9", "md5": one,
                "means": "grpc", "client": connection, "app": "unknown", "member": "127.0.0.1:8848",
                "since": support::WALL_MS, "seen": md5("2"), "notified": support::WALL_MS + 5, "acked": true,
            }],
        } })
    );
    let missing = server.get("/nacos/v1/cs/listener");
    assert!(missing.body.contains("parameter &#39;ip&#39;"), "{}", missing.body);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_are_asked_for_their_own_view() {
    let server = Arc::new(start());
    let mut sdk = Sdk::connect(&server, false).await;
    sdk.open(r#"{"clientVersion":"x","labels":{"module":"config"},"abilityTable":{}}"#).await;
    sdk.push().await.unwrap();
    until("registered", || server.app.connections.len() == 1).await;
    let asked = server.clone();
    let target = "/nacos/v1/cs/metrics/cluster?ip=10.9.9.9&dataId=d&group=G";
    let asking = tokio::task::spawn_blocking(move || asked.get(target));
    let request = sdk.push().await.unwrap();
    assert_eq!(request.kind, "ClientConfigMetricRequest");
    assert_eq!(request.json()["metricsKeys"][0], json!({ "type": "cacheData", "key": "d+G" }));
    let json = format!(
        r#"{{"resultCode":200,"errorCode":0,"requestId":"{}","metrics":{{"cacheData:d+G":"1"}}}}"#,
        request.id()
    );
    sdk.send("ClientConfigMetricResponse", &json).await;
    assert_eq!(asking.await.unwrap().json(), json!({ "cacheData:d+G": "1" }));
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

/// The same over gRPC: a client that listens again after each notification ends with the last state.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_changes_ends_with_the_last_state_and_coalesces() {
    let server = Arc::new(start());
    let mut sdk = Sdk::registered(&server).await;
    listen(&sdk, "d", None, Some("")).await;
    let publisher = server.clone();
    let publishing = tokio::task::spawn_blocking(move || {
        for n in 0..2_000 {
            publish(&publisher, ("", "G", "d"), &n.to_string());
        }
    });
    let (mut pushes, last) = (0, md5("1999"));
    let mut has = String::new();
    while has != last {
        let push = sdk.push().await.unwrap();
        sdk.ack(&push).await;
        pushes += 1;
        let answer = sdk.call("ConfigQueryRequest", r#"{"dataId":"d","group":"G"}"#).await;
        has = answer.json()["md5"].as_str().unwrap().to_owned();
        listen(&sdk, "d", None, Some(&has)).await;
    }
    publishing.await.unwrap();
    assert!(pushes <= 2_000);
    assert_eq!(listen(&sdk, "d", None, Some(&last)).await.json()["changedConfigs"], json!([]));
}
