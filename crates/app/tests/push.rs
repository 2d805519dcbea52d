//! Push over real transports: pace, order, acknowledgements, slow clients, fuzzy watches.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use dyad_app::Bounds;
use dyad_grpc::GrpcLimits;
use dyad_http::Limits;
use dyad_naming::ports::Ending;
use support::Server;
use support::sdk::{Message, Sdk, until};

fn start() -> Server {
    let limits = GrpcLimits { sweep: Duration::from_millis(10), ..GrpcLimits::default() };
    Server::start_all(Limits::default(), Bounds::default(), limits)
}

#[tokio::test]
async fn a_change_reaches_every_subscriber_as_the_same_message() {
    let server = start();
    let provider = Sdk::registered(&server).await;
    let (mut a, mut b) = (Sdk::registered(&server).await, Sdk::registered(&server).await);
    let answer = a.subscribe("s", "", true).await;
    b.subscribe("s", "", true).await;
    let first = a.push_with(&[]).await;
    assert!(first.stamp() > answer.stamp(), "SDKs drop what is not newer than the answer");
    b.push_with(&[]).await;
    provider.register("s", "10.0.0.1", 1).await;
    let (in_a, in_b) = (a.push_with(&["10.0.0.1:1"]).await, b.push_with(&["10.0.0.1:1"]).await);
    assert_eq!(in_a, in_b);
    assert!(in_a.stamp() > first.stamp());
    a.subscribe("s", "", false).await;
    provider.register("s", "10.0.0.1", 2).await;
    b.push_with(&["10.0.0.1:2"]).await;
    assert!(a.is_quiet(700).await, "an ended subscription is not pushed to");
    let metrics = &server.app.push.metrics;
    until("acknowledged", || metrics.acked.load(Ordering::Relaxed) >= 4).await;
}

#[tokio::test]
async fn times_are_those_of_the_member_whose_clock_is_ahead_and_never_go_back() {
    let server = start();
    let push = &server.app.push;
    let wall = push.now_ms();
    push.ahead(5_000);
    let mut sdk = Sdk::registered(&server).await;
    let answer = sdk.subscribe("s", "", true).await.stamp();
    assert!((wall + 5_000..wall + 30_000).contains(&answer), "{answer} is not 5 s after {wall}");
    let first = sdk.push_with(&[]).await.stamp();
    assert!(first > answer);
    push.ahead(1_000);
    assert!(push.now_ms() >= answer, "it stands still");
    sdk.register("s", "10.0.0.1", 1).await;
    assert!(sdk.push_with(&["10.0.0.1:1"]).await.stamp() > first);
}

#[tokio::test]
async fn changes_in_quick_succession_are_one_push_and_the_last_state_always_comes() {
    let server = start();
    let provider = Sdk::registered(&server).await;
    let mut sdk = Sdk::registered(&server).await;
    sdk.subscribe("s", "", true).await;
    sdk.push_with(&[]).await;
    let began = Instant::now();
    for port in 1..=100 {
        provider.register("s", "10.0.0.1", port).await;
    }
    let mut pushes: Vec<Message> = Vec::new();
    while pushes.last().is_none_or(|push| push.hosts() != ["10.0.0.1:100"]) {
        pushes.push(sdk.push().await.unwrap());
    }
    let most = 2 + began.elapsed().as_millis() / 500;
    assert!(pushes.len() as u128 <= most, "{} pushes for 100 changes, at most {most}", pushes.len());
    let stamps: Vec<u64> = pushes.iter().map(Message::stamp).collect();
    assert!(stamps.windows(2).all(|pair| pair[0] < pair[1]), "{stamps:?}");
    assert!(sdk.is_quiet(700).await, "nothing more to say");
}

#[tokio::test]
async fn subscriptions_with_other_clusters_are_others_and_end_alone() {
    let server = start();
    let provider = Sdk::registered(&server).await;
    let mut sdk = Sdk::registered(&server).await;
    sdk.subscribe("s", "c2,DEFAULT", true).await;
    provider.register("s", "10.0.0.1", 1).await;
    let push = sdk.push_with(&["10.0.0.1:1"]).await;
    assert_eq!(push.json()["serviceInfo"]["clusters"], "c2,DEFAULT");
    sdk.subscribe("s", "c2", true).await;
    let push = sdk.push_with(&[]).await;
    assert_eq!(push.json()["serviceInfo"]["clusters"], "c2");
    assert_eq!(server.app.push.count(), 2);
    sdk.subscribe("s", "DEFAULT,c2", true).await;
    assert_eq!(server.app.push.count(), 2, "the order of clusters makes no other subscription");
    sdk.subscribe("s", "c2", false).await;
    assert_eq!(server.app.push.count(), 1);
    provider.register("s", "10.0.0.2", 2).await;
    let push = sdk.push_with(&["10.0.0.2:2"]).await;
    assert_eq!(push.json()["serviceInfo"]["clusters"], "DEFAULT,c2", "the other one, as it was spelled last");
    drop(sdk);
    until("the subscription ended", || server.app.push.count() == 0).await;
}

#[tokio::test]
async fn a_push_without_acknowledgement_is_repeated_and_then_left() {
    let server = start();
    let mut sdk = Sdk::registered(&server).await;
    sdk.subscribe("s", "", true).await;
    let first = sdk.push().await.unwrap();
    for _ in 0..3 {
        assert!(sdk.is_quiet(100).await);
        server.clock.advance(6_000);
        sdk.call("HealthCheckRequest", "{}").await;
        let again = sdk.push().await.unwrap();
        assert_eq!(again.kind, first.kind);
    }
    server.clock.advance(6_000);
    sdk.call("HealthCheckRequest", "{}").await;
    assert!(sdk.is_quiet(200).await);
    assert_eq!(server.app.push.metrics.failed.load(Ordering::Relaxed), 4);
}

/// A client that does not read gets the last state and not the ones between, whatever came in the meantime.
#[tokio::test]
async fn a_slow_client_costs_a_flag_and_is_closed_when_it_stays_so() {
    let server = Server::start_all(
        Limits::default(),
        Bounds::default(),
        GrpcLimits {
            sweep: Duration::from_millis(10),
            blocked: Duration::from_secs(60),
            ..GrpcLimits::default()
        },
    );
    let provider = Sdk::registered(&server).await;
    let mut slow = Sdk::registered(&server).await;
    slow.subscribe("s", "", true).await;
    // 900 characters of metadata for 500 instances: a third of the window of the stream.
    let batch = |port: u16| {
        let text = "x".repeat(900);
        let list: Vec<String> = (0..500)
            .map(|n| {
                format!(
                    r#"{{"ip":"10.0.{}.{}","port":{port},"metadata":{{"k":"{text}"}}}}"#,
                    n / 250,
                    n % 250
                )
            })
            .collect();
        format!(
            r#"{{"serviceName":"s","groupName":"G","type":"batchRegisterInstance","instances":[{}]}}"#,
            list.join(",")
        )
    };
    for port in 1..=8 {
        assert_eq!(provider.call("BatchInstanceRequest", &batch(port)).await.codes(), (200, 0));
        tokio::time::sleep(Duration::from_millis(600)).await;
    }
    let mut seen = Vec::new();
    loop {
        let push = slow.push().await.unwrap();
        let ports: Vec<String> =
            push.hosts().iter().map(|h| h.rsplit(':').next().unwrap().to_owned()).collect();
        seen.push(ports.first().cloned().unwrap_or_default());
        if seen.last().is_some_and(|port| port == "8") {
            break;
        }
    }
    seen.dedup();
    // What fits into the windows of the transport, and the last.
    assert!(seen.len() <= 6, "states between were sent: {seen:?}");
    // It never reads again, but keeps calling.
    let until_closed = async {
        let mut port = 9;
        while server.connections.len() == 2 {
            provider.call("BatchInstanceRequest", &batch(port)).await;
            slow.try_call("HealthCheckRequest", "{}").await.ok();
            server.clock.advance(15_000);
            port += 1;
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
        port
    };
    let port = tokio::time::timeout(Duration::from_secs(30), until_closed).await.unwrap();
    assert!(port > 12, "closed after {} s", u32::from(port - 9) * 15);
    assert_eq!(server.ephemeral.ended.lock().last().unwrap().1, Ending::Abnormal);
}

#[tokio::test]
async fn fuzzy_watches_are_told_what_is_there_and_what_changes() {
    let server = start();
    let provider = Sdk::registered(&server).await;
    provider.register("s-1", "10.0.0.1", 1).await;
    provider.register("other", "10.0.0.1", 1).await;
    let mut sdk = Sdk::registered(&server).await;
    let watch = |received: &str, kind: &str, initializing: bool| {
        format!(
            r#"{{"namespace":"public","groupKeyPattern":"public>>G>>s-*","receivedGroupKeys":[{received}],"watchType":"{kind}","initializing":{initializing}}}"#
        )
    };
    let answer = sdk.call("NamingFuzzyWatchRequest", &watch("", "WATCH", true)).await;
    assert_eq!((&*answer.kind, answer.codes()), ("NamingFuzzyWatchResponse", (200, 0)));
    let brief = |message: &Message| {
        let json = message.json();
        let contexts = json["contexts"].as_array().cloned().unwrap_or_else(|| vec![json.clone()]);
        let of = |c: &serde_json::Value| {
            format!(
                "{} {}",
                c["changedType"].as_str().unwrap_or("-"),
                c["serviceKey"].as_str().unwrap_or("-")
            )
        };
        (json["syncType"].as_str().unwrap().to_owned(), contexts.iter().map(of).collect::<Vec<_>>().join(","))
    };
    let expect = |sync: &str, what: &str| (sync.to_owned(), what.to_owned());
    let next = sdk.push().await.unwrap();
    assert_eq!(brief(&next), expect("FUZZY_WATCH_INIT_NOTIFY", "ADD_SERVICE public@@G@@s-1"));
    assert_eq!(brief(&sdk.push().await.unwrap()).0, "FINISH_FUZZY_WATCH_INIT_NOTIFY");
    provider.register("s-2", "10.0.0.1", 1).await;
    let next = sdk.push().await.unwrap();
    assert_eq!(next.kind, "NamingFuzzyWatchChangeNotifyRequest");
    assert_eq!(brief(&next), expect("FUZZY_WATCH_RESOURCE_CHANGED", "ADD_SERVICE public@@G@@s-2"));
    // A reconnected client says what it has and gets the difference.
    let mut back = Sdk::registered(&server).await;
    let received = r#""public@@G@@s-2","public@@G@@s-3""#;
    back.call("NamingFuzzyWatchRequest", &watch(received, "WATCH", false)).await;
    let next = back.push().await.unwrap();
    let want = "DELETE_SERVICE public@@G@@s-3,ADD_SERVICE public@@G@@s-1";
    assert_eq!(brief(&next), expect("FUZZY_WATCH_DIFF_SYNC_NOTIFY", want));
    sdk.call("NamingFuzzyWatchRequest", &watch("", "CANCEL_WATCH", false)).await;
    drop(provider);
    until("both are gone", || server.app.registry.counts().ephemeral_instances == 0).await;
    server.clock.advance(60_000);
    server.app.registry.sweep(server.clock_now());
    let mut gone = Vec::new();
    while gone.len() < 2 {
        let push = back.push().await.unwrap();
        // The clock that was moved made the client silent as well.
        if push.kind != "ClientDetectionRequest" {
            gone.push(brief(&push).1);
        }
    }
    gone.sort();
    assert_eq!(gone, ["DELETE_SERVICE public@@G@@s-1", "DELETE_SERVICE public@@G@@s-2"]);
}

#[tokio::test]
async fn fuzzy_watches_have_nacoss_limits() {
    let server = start();
    let sdk = Sdk::registered(&server).await;
    let watch = |n: usize| {
        format!(r#"{{"groupKeyPattern":"public>>G>>p{n}-*","watchType":"WATCH","initializing":true}}"#)
    };
    for n in 0..20 {
        assert_eq!(sdk.call("NamingFuzzyWatchRequest", &watch(n)).await.codes(), (200, 0));
    }
    let refused = sdk.call("NamingFuzzyWatchRequest", &watch(20)).await;
    assert_eq!((&*refused.kind, refused.codes()), ("NamingFuzzyWatchResponse", (500, 50310)));
    drop(sdk);
    until("the watches ended", || server.connections.is_empty()).await;
    let mut sdk = Sdk::registered(&server).await;
    for n in 0..501 {
        sdk.register(&format!("p0-{n:03}"), "10.0.0.1", 1).await;
    }
    assert_eq!(sdk.call("NamingFuzzyWatchRequest", &watch(0)).await.codes(), (500, 50311));
    let mut told = 0;
    while let Some(contexts) = sdk.push().await.unwrap().json()["contexts"].as_array() {
        told += contexts.len();
    }
    assert_eq!(told, 500);
}
