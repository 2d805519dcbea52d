//! The SDK port over real transports: what Nacos 2.5.1 was recorded to answer, and how connections live and end.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::time::Duration;

use dyad_app::Bounds;
use dyad_grpc::GrpcLimits;
use dyad_http::Limits;
use dyad_naming::ports::{Connections as _, Ending, EphemeralError};
use dyad_types::{ClientId, Place};
use serde_json::Value;
use support::Server;
use support::places::{PLACES, used};
use support::sdk::{Sdk, until};

/// Sweeps often, so that a test that moves the clock does not wait for it.
fn limits() -> GrpcLimits {
    GrpcLimits { sweep: Duration::from_millis(10), ..GrpcLimits::default() }
}

fn start() -> Server {
    start_with(limits())
}

fn start_with(limits: GrpcLimits) -> Server {
    Server::start_all(Limits::default(), Bounds::default(), limits)
}

/// The text without what changes from run to run, as in the recording.
fn plain(text: &str) -> String {
    let mut out = text.to_owned();
    for (name, quoted) in [("lastRefTime", false), ("requestId", true), ("connectionId", true)] {
        let key = format!("\"{name}\":");
        let Some(at) = out.find(&key).map(|at| at + key.len() + usize::from(quoted)) else { continue };
        let end = if quoted { '"' } else { ',' };
        let to = at + out[at..].find(end).unwrap();
        let value = if name == "connectionId" { "" } else { "0" };
        out.replace_range(at..to, value);
    }
    out
}

/// The code of a client's mistake. Recorded refusals with it come under the request's own type here, with the same code and
/// words: the Java client leaves its connection after some answers of the type `ErrorResponse`.
const MISTAKE: u32 = 400;

#[tokio::test]
async fn recorded_exchanges_are_answered_byte_by_byte() {
    let server = start();
    let mut sdk = Sdk::connect(&server, false).await;
    let mut set_up = false;
    let recorded = include_str!("../../../tests/compat/sdk_naming.jsonl");
    for line in recorded.lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        let text = |name: &str| line[name].as_str().unwrap();
        if line["push"].is_string() {
            // The order of pushes and answers, and pushes of the same state, are free.
            loop {
                let push = sdk.push().await.expect("the stream ended");
                sdk.ack(&push).await;
                if plain(&push.text) == text("body") {
                    assert_eq!(push.kind, text("push"));
                    break;
                }
            }
            continue;
        }
        if !set_up && text("name") == "HealthCheck" {
            sdk.setup().await;
            set_up = true;
        }
        // Nacos takes out all that the connection published, whatever address is named; here it is that address alone.
        let named = if text("name") == "deregister" { "1.2.3.8" } else { "1.2.3.6" };
        let answer = sdk.call(text("type"), &text("request").replace("1.2.3.6", named)).await;
        let recorded: Value = serde_json::from_str(text("body")).unwrap();
        if text("answer") == "ErrorResponse" && recorded["errorCode"] == MISTAKE {
            assert_ne!(answer.kind, "ErrorResponse", "{}", text("name"));
            for field in ["errorCode", "message", "success"] {
                assert_eq!(answer.json()[field], recorded[field], "{}", text("name"));
            }
            continue;
        }
        assert_eq!(
            (&*answer.kind, &*plain(&answer.text)),
            (text("answer"), text("body")),
            "{}",
            text("name")
        );
    }
    assert!(set_up);
}

/// Many large requests that never end: only a bounded part of them is held.
#[tokio::test]
async fn what_arrives_of_one_clients_requests_is_bounded() {
    const MESSAGE: usize = 100_000;
    let server = start_with(GrpcLimits { message: MESSAGE, ..limits() });
    let stream = tokio::net::TcpStream::connect(server.grpc).await.unwrap();
    let (mut client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut calls = Vec::new();
    for _ in 0..5 {
        let request = http::Request::post(format!("http://{}/Request/request", server.grpc));
        let request = request.header("content-type", "application/grpc").body(()).unwrap();
        let (answer, mut body) = client.send_request(request, false).unwrap();
        let mut data = vec![0, 0, 0, 0, 0];
        data[1..].copy_from_slice(&(MESSAGE as u32).to_be_bytes());
        data.resize(60_000, 0xff);
        body.send_data(data.into(), false).unwrap();
        calls.push((answer, body));
    }
    // Three hold 180,000 bytes; a fourth and a fifth would be over twice the largest message.
    let refused = futures::future::select_all(calls.iter_mut().map(|(answer, _)| answer)).await.0.unwrap();
    assert_eq!(refused.headers()["grpc-status"], "8");
    // The first goes on.
    let (answer, body) = &mut calls[0];
    body.send_data(vec![0xff; MESSAGE + 5 - 60_000].into(), true).unwrap();
    assert_eq!(answer.await.unwrap().headers()["grpc-status"], "13");
}

#[tokio::test]
async fn a_client_is_its_transport() {
    let server = start();
    let mut sdk = Sdk::registered(&server).await;
    let id = sdk.connection_id().await;
    assert!(id.ends_with(&format!("_127.0.0.1_{}", id.rsplit('_').next().unwrap())), "{id}");
    sdk.register("s", "10.0.0.1", 80).await;
    let conn = server.connections.get(&ClientId::from_text(&id)).unwrap();
    let setup = conn.setup().unwrap();
    assert_eq!((&*setup.version, &*setup.ip), ("Nacos-Java-Client:v2.5.1", "10.9.9.9"));

    // The end of the stream is not the end of the client.
    sdk.half_close();
    assert_eq!(sdk.push().await, None);
    assert_eq!(sdk.call("HealthCheckRequest", "{}").await.codes(), (200, 0));
    assert_eq!(sdk.query("s").await, ["10.0.0.1:80"]);
    assert_eq!(sdk.connection_id().await, id);

    // The end of the transport is.
    drop(sdk);
    until("the client is gone", || !server.ephemeral.ended.lock().is_empty()).await;
    assert_eq!(*server.ephemeral.ended.lock(), [(ClientId::from_text(&id), Ending::Orderly)]);
    let other = Sdk::registered(&server).await;
    assert_eq!(other.query("s").await, Vec::<String>::new());
}

/// The task that drives a transport is dropped with its runtime: no farewell, and a reset instead of a FIN.
#[test]
fn a_reset_is_no_farewell() {
    let server = start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (sdk, id) = runtime.block_on(async {
        let mut sdk = Sdk::connect(&server, true).await;
        sdk.setup().await;
        let id = sdk.connection_id().await;
        (sdk, ClientId::from_text(&id))
    });
    runtime.shutdown_background();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(until("the core is told", || !server.ephemeral.ended.lock().is_empty()));
    assert_eq!(*server.ephemeral.ended.lock(), [(id, Ending::Abnormal)]);
    drop(sdk);
}

#[tokio::test]
async fn without_abilities_there_is_no_setup_ack() {
    let server = start();
    let mut sdk = Sdk::connect(&server, false).await;
    sdk.open(
        r#"{"clientVersion":"Nacos-Go-Client:v2.3.5","clientAbilities":{},"labels":null,"tenant":null}"#,
    )
    .await;
    until("registered", || server.connections.len() == 1).await;
    assert!(sdk.is_quiet(100).await);
    assert_eq!(sdk.call("HealthCheckRequest", "{}").await.codes(), (200, 0));
}

#[tokio::test]
async fn silent_clients_are_asked_and_closed_when_they_do_not_answer() {
    let server = start();
    let mut sdk = Sdk::registered(&server).await;
    sdk.register("s", "10.0.0.1", 80).await;
    let id = ClientId::from_text(&sdk.connection_id().await);
    server.clock.advance(19_000);
    assert!(sdk.is_quiet(100).await);
    server.clock.advance(1_000);
    let question = sdk.push().await.unwrap();
    assert_eq!(question.kind, "ClientDetectionRequest");
    sdk.ack(&question).await;
    let now = server.clock_now();
    until("heard", || server.connections.get(&id).is_some_and(|c| c.active() == now)).await;
    server.clock.advance(6_000);
    assert!(sdk.is_quiet(100).await, "an answer is a sign of life");
    server.clock.advance(14_000);
    assert_eq!(sdk.push().await.unwrap().kind, "ClientDetectionRequest");
    server.clock.advance(5_000);
    assert_eq!(sdk.push().await, None);
    until("gone", || used(&server, Place::Grpc) == 0).await;
    assert_eq!(*server.ephemeral.ended.lock(), [(id, Ending::Abnormal)]);
    // SDKs take 301 for the sign to begin anew.
    let again = Sdk::connect(&server, false).await;
    assert_eq!(again.call("HealthCheckRequest", "{}").await.codes(), (500, 301));
}

#[tokio::test]
async fn probes_are_answered_by_the_client_or_by_its_silence() {
    let server = start();
    let mut sdk = Sdk::registered(&server).await;
    let id = ClientId::from_text(&sdk.connection_id().await);
    let gone = ClientId::from_text("1_10.0.0.9_1");
    server.connections.probe(&gone);
    until("an unknown client is dead", || *server.ephemeral.probed.lock() == [(gone.clone(), false)]).await;
    server.connections.probe(&id);
    let question = sdk.push().await.unwrap();
    sdk.ack(&question).await;
    until("alive", || server.ephemeral.probed.lock().last() == Some(&(id.clone(), true))).await;
    server.connections.probe(&id);
    sdk.push().await.unwrap();
    server.clock.advance(3_000);
    until("dead", || server.ephemeral.probed.lock().last() == Some(&(id.clone(), false))).await;
    // Closed, so that a client that lives registers again.
    assert_eq!(sdk.push().await, None);
}

#[tokio::test]
async fn a_member_that_starts_takes_nobody_in_and_keeps_who_is_there() {
    let server = start();
    let sdk = Sdk::registered(&server).await;
    *server.ephemeral.refuse.lock() = Some(EphemeralError::Starting);
    let mut late = Sdk::connect(&server, false).await;
    for kind in ["ServerCheckRequest", "HealthCheckRequest", "NopeRequest"] {
        let answer = late.call(kind, "{}").await;
        assert_eq!((&*answer.kind, answer.codes()), ("ErrorResponse", (500, 300)), "{kind}");
    }
    late.open("{}").await;
    assert_eq!(late.push().await, None);
    assert_eq!(sdk.call("HealthCheckRequest", "{}").await.codes(), (200, 0));
    let query = r#"{"serviceName":"s","groupName":"G"}"#;
    assert_eq!(sdk.call("ServiceQueryRequest", query).await.codes(), (500, 300));
}

#[tokio::test]
async fn transports_over_the_limit_are_closed() {
    PLACES.set(vec![(Place::Grpc, 4)]);
    let server = start_with(GrpcLimits { message: 1_000, ..limits() });
    let first = Sdk::registered(&server).await;
    let second = Sdk::registered(&server).await;
    let stream = tokio::net::TcpStream::connect(server.grpc).await.unwrap();
    let mut end = [0; 64];
    stream.readable().await.unwrap();
    assert_eq!(stream.try_read(&mut end).unwrap_or(0), 0);
    let large = format!("{{\"x\":\"{}\"}}", "y".repeat(1_000));
    let error = first.try_call("HealthCheckRequest", &large).await.unwrap_err();
    assert_eq!(error.code(), tonic::Code::ResourceExhausted);
    drop(first);
    until("a place is free", || used(&server, Place::Grpc) == 1).await;
    let third = Sdk::registered(&server).await;
    drop((second, third));
}

#[tokio::test]
async fn drained_clients_are_sent_elsewhere_and_nobody_comes_in() {
    let server = start();
    let mut sdk = Sdk::registered(&server).await;
    sdk.register("s", "10.0.0.1", 80).await;
    let connections = server.connections.clone();
    connections.begin_drain();
    let drain =
        tokio::spawn(
            async move { connections.drain(&[("10.0.0.2".into(), 8848)], Duration::from_secs(5)).await },
        );
    let reset = sdk.push().await.unwrap();
    assert_eq!(reset.kind, "ConnectResetRequest");
    let json = reset.json();
    assert_eq!((&json["serverIp"], &json["serverPort"]), (&"10.0.0.2".into(), &"8848".into()));
    let late = Sdk::connect(&server, false).await;
    assert_eq!(late.call("ServerCheckRequest", "{}").await.codes(), (500, 300));
    assert_eq!(sdk.query("s").await, ["10.0.0.1:80"], "it is served until it goes");
    drop(sdk);
    let done = drain.await.unwrap();
    assert_eq!((done.asked, done.left), (1, 0));
    until("the core is told", || !server.ephemeral.ended.lock().is_empty()).await;
    // What it published lives on until it is there, although it closed its transport in order.
    assert_eq!(server.ephemeral.ended.lock()[0].1, Ending::Abnormal);
}

#[tokio::test]
async fn a_drain_that_is_over_takes_in_clients_again() {
    let server = start();
    let mut sdk = Sdk::registered(&server).await;
    let connections = server.connections.clone();
    connections.begin_drain();
    let draining = connections.clone();
    let drain = tokio::spawn(async move { draining.drain(&[], Duration::from_secs(60)).await });
    assert_eq!(sdk.push().await.unwrap().kind, "ConnectResetRequest");
    connections.undrain();
    let done = drain.await.unwrap();
    assert_eq!((done.asked, done.left), (1, 1), "it stayed");
    let late = Sdk::registered(&server).await;
    assert_eq!(connections.len(), 2);
    drop(late);
}

#[tokio::test]
async fn the_longest_connected_sdks_are_sent_away_once() {
    let silent = Duration::from_secs(3_600);
    let server = start_with(GrpcLimits { silent, ..limits() });
    let setup = |source: &str| {
        format!(
            r#"{{"clientVersion":"Nacos-Java-Client:v2.5.1","labels":{{"source":"{source}"}},"abilityTable":{{}}}}"#
        )
    };
    let mut clients = Vec::new();
    for (ip, source) in [("1", "cluster"), ("2", "sdk"), ("3", "SDK"), ("4", "sdk"), ("5", "sdk")] {
        let mut sdk = Sdk::connect(&server, false).await;
        sdk.open(&setup(source)).await;
        assert_eq!(sdk.push().await.unwrap().kind, "SetupAckRequest");
        sdk.register("s", &format!("10.0.0.{ip}"), 80).await;
        clients.push(sdk);
        server.clock.advance(1_000);
    }
    let minute = Duration::from_secs(60);
    let to = |n: u16| ("10.9.9.9".to_owned(), n);
    let send = |to: &[(String, u16)]| server.connections.send_away(to, minute);
    assert_eq!(send(&[to(1)]), 0, "nobody has been here for a minute");
    server.clock.advance(57_500);
    assert_eq!(send(&[to(1), to(2)]), 2);
    assert_eq!(send(&[to(3)]), 0, "those who were told are not told again, and the others came too late");
    server.clock.advance(1_000);
    assert_eq!(send(&[to(3), to(4)]), 1);
    let mut told = Vec::new();
    for at in [1, 2, 3] {
        let reset = clients[at].push().await.unwrap();
        assert_eq!((&*reset.kind, &reset.json()["serverIp"]), ("ConnectResetRequest", &"10.9.9.9".into()));
        told.push(reset.json()["serverPort"].as_str().unwrap().to_owned());
    }
    told[..2].sort();
    assert_eq!(told, ["1", "2", "3"]);
    for at in [0, 4] {
        assert!(clients[at].is_quiet(50).await, "client {at} stays");
    }
    // One goes at once, one only much later: its farewell is one.
    let ended = || server.ephemeral.ended.lock().iter().map(|(_, ending)| *ending).collect::<Vec<_>>();
    drop(clients.remove(1));
    until("the first is gone", || ended().len() == 1).await;
    server.clock.advance(31_000);
    drop(clients.remove(1));
    until("the second is gone", || ended().len() == 2).await;
    assert_eq!(ended(), [Ending::Abnormal, Ending::Orderly]);
}

/// Type and JSON of a request; type, codes and words of its answer.
type Refused<'a> = (&'a str, String, &'a str, (u64, u64), &'a str);

#[tokio::test]
#[expect(clippy::too_many_lines, reason = "a table")]
async fn bad_requests_have_nacoss_codes() {
    let server = start_with(GrpcLimits { subscriptions: 1, ..limits() });
    let sdk = Sdk::registered(&server).await;
    let of = |rest: &str| format!(r#"{{"namespace":"public","serviceName":"s","groupName":"G",{rest}}}"#);
    let register = |instance: &str| of(&format!(r#""type":"registerInstance","instance":{instance}"#));
    let table: &[Refused<'_>] = &[
        (
            "ServiceQueryRequest",
            r#"{"serviceName":"a b"}"#.into(),
            "QueryServiceResponse",
            (500, 400),
            "'serviceName'",
        ),
        (
            "SubscribeServiceRequest",
            r#"{"serviceName":"s","clusters":"a.b"}"#.into(),
            "SubscribeServiceResponse",
            (500, 400),
            "'cluster'",
        ),
        (
            "ServiceQueryRequest",
            r#"{"groupName":"G"}"#.into(),
            "QueryServiceResponse",
            (500, 400),
            "serviceName",
        ),
        ("ServiceQueryRequest", "{nope".into(), "ErrorResponse", (500, 502), "deserialize"),
        ("InstanceRequest", register(r#"{"ip":"","port":1}"#), "InstanceResponse", (500, 400), "'ip'"),
        (
            "InstanceRequest",
            register(r#"{"ip":"1.1.1.1","port":-1}"#),
            "InstanceResponse",
            (500, 400),
            "'port'",
        ),
        (
            "InstanceRequest",
            register(r#"{"ip":"1.1.1.1","port":1,"clusterName":"c_1"}"#),
            "InstanceResponse",
            (500, 400),
            "clusterName",
        ),
        (
            "InstanceRequest",
            register(r#"{"ip":"1.1.1.1","port":1,"metadata":{"preserved.heart.beat.timeout":"1"}}"#),
            "InstanceResponse",
            (500, 400),
            "heart beat",
        ),
        (
            "BatchInstanceRequest",
            of(r#""type":"batchRegisterInstance""#),
            "BatchInstanceResponse",
            (500, 400),
            "null",
        ),
        (
            "BatchInstanceRequest",
            of(r#""type":"x","instances":[]"#),
            "BatchInstanceResponse",
            (500, 400),
            "Unsupported request type x",
        ),
        (
            "BatchInstanceRequest",
            of(&format!(r#""type":"batchRegisterInstance","instances":[{}{{}}]"#, "{},".repeat(1_000))),
            "BatchInstanceResponse",
            (500, 400),
            "instances: more than 1000 entries",
        ),
        (
            "ConfigBatchListenRequest",
            format!(r#"{{"listen":true,"configListenContexts":[{}{{}}]}}"#, "{},".repeat(20_000)),
            "ConfigChangeBatchListenResponse",
            (500, 400),
            "configListenContexts: more than 20000 entries",
        ),
        (
            "ConfigBatchListenRequest",
            r#"{"configListenContexts":[{"dataId":"a","group":"G"},{"dataId":"a","group":""}]}"#.into(),
            "ConfigChangeBatchListenResponse",
            (500, 400),
            "configListenContexts[1].group: it is empty",
        ),
        (
            "NamingFuzzyWatchRequest",
            format!(r#"{{"groupKeyPattern":"{}","watchType":"WATCH"}}"#, "a".repeat(5_000)),
            "NamingFuzzyWatchResponse",
            (500, 503),
            "groupKeyPattern",
        ),
        (
            "ConfigPublishRequest",
            r#"{"dataId":"a","group":"G","content":"c","additionMap":{"encryptedDataKey":"a\nb"}}"#.into(),
            "ConfigPublishResponse",
            (500, 400),
            "invalid encryptedDataKey",
        ),
        (
            "NamingFuzzyWatchRequest",
            r#"{"groupKeyPattern":"a>>b","watchType":"WATCH"}"#.into(),
            "NamingFuzzyWatchResponse",
            (500, 400),
            "pattern",
        ),
        ("PushAckRequest", "{}".into(), "ErrorResponse", (500, 302), "Not Found"),
        (
            "ServerReloadRequest",
            "{}".into(),
            "ErrorResponse",
            (500, 502),
            " invoke ServerReloadRequest from sdk",
        ),
    ];
    for (kind, json, answer, codes, words) in table {
        let got = sdk.call(kind, json).await;
        assert_eq!((&*got.kind, got.codes()), (*answer, *codes), "{kind} {json}: {}", got.text);
        assert!(got.json()["message"].as_str().unwrap().contains(words), "{}", got.text);
    }
    sdk.subscribe("s", "c1,c2", true).await;
    assert_eq!(sdk.subscribe("s", "c2,c1", true).await.codes(), (200, 0), "the same subscription");
    assert_eq!(sdk.subscribe("s", "c1", true).await.codes(), (500, 503));
}

#[tokio::test]
async fn persistent_instances_outlive_their_connection() {
    let server = start();
    let sdk = Sdk::registered(&server).await;
    let json = |kind: &str| {
        format!(
            r#"{{"serviceName":"p","groupName":"G","type":"{kind}","instance":{{"ip":"10.0.0.1","port":1,"ephemeral":false}}}}"#
        )
    };
    assert_eq!(sdk.call("PersistentInstanceRequest", &json("registerInstance")).await.codes(), (200, 0));
    let refused = sdk.call("InstanceRequest", &json("registerInstance")).await;
    assert_eq!((&*refused.kind, refused.codes()), ("InstanceResponse", (500, 400)), "{}", refused.text);
    drop(sdk);
    until("gone", || server.connections.is_empty()).await;
    let sdk = Sdk::registered(&server).await;
    assert_eq!(sdk.query("p").await, ["10.0.0.1:1"]);
    assert_eq!(sdk.call("PersistentInstanceRequest", &json("deregisterInstance")).await.codes(), (200, 0));
    assert_eq!(sdk.query("p").await, Vec::<String>::new());
}

#[tokio::test]
async fn a_batch_has_as_many_bytes_as_members_can_send_each_other() {
    let server = start();
    let sdk = Sdk::registered(&server).await;
    let text = "\u{4e2d}".repeat(1_000);
    let batch = |count: usize| {
        let instance = |n| format!(r#"{{"ip":"10.0.0.{n}","port":1,"metadata":{{"k":"{text}"}}}}"#);
        let list: Vec<String> = (0..count).map(instance).collect();
        format!(
            r#"{{"serviceName":"s","groupName":"G","type":"batchRegisterInstance","instances":[{}]}}"#,
            list.join(",")
        )
    };
    assert_eq!(sdk.call("BatchInstanceRequest", &batch(100)).await.codes(), (200, 0));
    assert_eq!(sdk.query("s").await.len(), 100);
    assert_eq!(sdk.call("BatchInstanceRequest", &batch(200)).await.codes(), (500, 400));
    assert_eq!(sdk.call("BatchInstanceRequest", &batch(0)).await.codes(), (200, 0));
    assert_eq!(sdk.query("s").await.len(), 0);
}
