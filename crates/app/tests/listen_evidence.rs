//! Who listens, with what, and heard of the last change: as this member sees it, and as clients say.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::sync::Arc;

use serde_json::json;
use support::configs::{HANG, begin, hang_on, listen, md5, publish, record, start};
use support::sdk::{Sdk, until};

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
    until("registered", || server.connections.len() == 1).await;
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
