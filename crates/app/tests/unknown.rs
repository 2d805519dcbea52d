//! A member that has never had the state of its cluster calls nothing absent.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use dyad_http::Limits;
use dyad_state::ports::Knowledge;
use serde_json::json;
use support::Server;
use support::sdk::Sdk;

/// Reads of the state.
const STATE: [&str; 11] = [
    "/v1/cs/configs?dataId=absent&group=G",
    "/v1/cs/configs?search=blur&dataId=&group=&pageNo=1&pageSize=10",
    "/v1/cs/history?search=accurate&dataId=absent&group=G&pageNo=1&pageSize=10",
    "/v2/cs/config?dataId=absent&group=G",
    "/v2/cs/history/list?dataId=absent&group=G&pageNo=1&pageSize=10",
    "/v3/client/cs/config?dataId=absent&groupName=G",
    "/v3/admin/cs/config?dataId=absent&groupName=G",
    "/v3/admin/cs/config/list?dataId=&groupName=&pageNo=1&pageSize=10",
    "/v1/console/namespaces",
    "/v2/console/namespace/list",
    "/v3/admin/core/namespace/list",
];

/// Lists of services that the member does not know.
const SERVICES: [&str; 3] = [
    "/v1/ns/instance/list?serviceName=absent",
    "/v1/ns/service/list?pageNo=1&pageSize=10",
    "/v1/ns/instance?serviceName=absent&ip=10.0.0.1&port=80",
];

fn listen(server: &Server) -> u16 {
    let body = "Listening-Configs=absent%02G%025d41402abc4b2a76b9719d911017c592%01";
    let headers = [("Content-Type", "application/x-www-form-urlencoded"), ("Long-Pulling-Timeout", "10000")];
    server.send("POST", "/nacos/v1/cs/configs/listener", &headers, body.as_bytes()).status
}

#[test]
fn what_may_be_elsewhere_is_503_and_not_absent() {
    let server = Server::start(Limits::default());
    let status = |path: &str| server.get(&format!("/nacos{path}")).status;
    let set = |knowledge| *server.propose.knowledge.lock() = knowledge;
    let ready = "/v1/console/health/readiness";
    assert_eq!(server.ns("POST", "/instance?serviceName=known&ip=10.0.0.1&port=80").status, 200);
    let durable = "/instance?serviceName=durable&ip=10.0.0.2&port=80&ephemeral=false";
    assert_eq!(server.ns("POST", durable).status, 200);
    let known = "/v1/ns/instance/list?serviceName=known";
    // A member that was sent the beginning of the state may know some of its instances.
    let partly = "/v1/ns/instance/list?serviceName=durable";

    let absent = SERVICES.map(status);
    assert!(STATE.iter().all(|path| [200, 404].contains(&status(path))));
    assert!(absent.iter().all(|status| [200, 404].contains(status)));
    assert_eq!(listen(&server), 200, "it is told of the removal");

    set(Knowledge::Joining);
    for path in STATE.iter().chain(&SERVICES) {
        assert_eq!(status(path), 503, "{path}");
    }
    assert_eq!(listen(&server), 503, "it is told nothing");
    assert_eq!((status(known), status(ready)), (200, 500), "ephemeral instances are served");
    assert_eq!((status(partly), status("/prometheus")), (503, 503));
    let refused = server.get("/nacos/v1/cs/configs?dataId=absent&group=G");
    assert!(refused.body.contains("has not received the state of its cluster yet"), "{}", refused.body);

    // Nobody has a state then, so that a service without ephemeral instances is one without instances.
    set(Knowledge::NoCluster);
    for path in STATE {
        assert_eq!(status(path), 503, "{path}");
    }
    assert_eq!(SERVICES.map(status), absent);
    assert_eq!((status(known), status(partly), status(ready)), (200, 200, 200));
}

#[tokio::test]
async fn over_grpc_no_client_is_told_that_what_it_has_is_gone() {
    let server = Server::start(Limits::default());
    let mut sdk = Sdk::registered(&server).await;
    let config = json!({ "groupKeyPattern": "public>>G>>*", "receivedGroupKeys": ["has+G+public"], "watchType": "WATCH",
        "initializing": true, "module": "config" });
    let naming = json!({ "groupKeyPattern": "public>>DEFAULT_GROUP>>*", "receivedGroupKeys": ["public@@DEFAULT_GROUP@@has"],
        "watchType": "WATCH", "initializing": true, "namespace": "public", "module": "naming" });
    let listen = json!({ "listen": true, "module": "config",
        "configListenContexts": [{ "dataId": "has", "group": "G", "tenant": "", "md5": "5d41402abc4b2a76b9719d911017c592" }] });
    let requests = [
        ("ConfigFuzzyWatchRequest", config),
        ("NamingFuzzyWatchRequest", naming),
        ("ConfigBatchListenRequest", listen),
        ("ConfigQueryRequest", json!({ "dataId": "has", "group": "G", "tenant": "", "module": "config" })),
    ];
    *server.propose.knowledge.lock() = Knowledge::Joining;
    for (kind, request) in &requests {
        let answer = sdk.call(kind, &request.to_string()).await;
        assert_eq!(answer.codes(), (500, 500), "{kind}");
    }
    assert!(sdk.is_quiet(100).await);
    *server.propose.knowledge.lock() = Knowledge::Known;
    let answer = sdk.call(requests[0].0, &requests[0].1.to_string()).await;
    assert_eq!(answer.codes(), (200, 0));
    assert_eq!(
        sdk.push().await.unwrap().json()["contexts"][0]["changedType"],
        "DELETE_CONFIG",
        "it knows by now"
    );
}
