//! Configurations over gRPC: requests, and who listens on a stream: each change once, repeats, gray releases, fuzzy watches.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering;

use dyad_config::GrayRule;
use dyad_types::{ConfigKey, Md5};
use serde_json::json;
use support::configs::{listen, listening, md5, publish, publish_gray, remove, start};
use support::sdk::{Sdk, until};

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
    // Nor is one repeated to a client that says it has it.
    listen(&sdk, "d", None, Some(&md5("2"))).await;
    server.clock.advance(6_000);
    sdk.call("HealthCheckRequest", "{}").await;
    until("given up", || failed() == 5).await;
    assert!(sdk.is_quiet(100).await);
}

#[tokio::test]
async fn a_change_that_the_answer_to_listening_told_is_not_told_again() {
    let server = start();
    let key = ConfigKey::new("", "G", "d");
    publish(&server, ("", "G", "d"), "0");
    let mut sdk = Sdk::registered(&server).await;
    listen(&sdk, "d", None, Some(&md5("0"))).await;
    // The client has the content before the change that waits to be told, or has read the new one by itself.
    for (before, now, has, differs) in [("0", "1", "0", true), ("1", "2", "2", false)] {
        // Without a stream it waits.
        sdk.half_close();
        assert_eq!(sdk.push().await, None);
        publish(&server, ("", "G", "d"), now);
        let seen = || server.app.listeners.listeners(&key)[0].told().seen;
        until("about to be told", || seen() == Some(Md5::of(now.as_bytes()))).await;
        let answer = listen(&sdk, "d", None, Some(&md5(has))).await;
        assert_eq!(answer.json()["changedConfigs"] != json!([]), differs, "{before} to {now}");
        sdk.setup().await;
        assert!(sdk.is_quiet(100).await, "{before} to {now} was told twice");
    }
    publish(&server, ("", "G", "d"), "3");
    assert_eq!(sdk.push().await.unwrap().kind, "ConfigChangeNotifyRequest");
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

#[tokio::test]
async fn a_publish_keeps_the_texts_that_it_does_not_give_and_clears_empty_tags() {
    let server = start();
    let sdk = Sdk::registered(&server).await;
    let publish = async |content: &str, more: serde_json::Value| {
        let body =
            serde_json::json!({ "dataId": "d", "group": "G", "content": content, "additionMap": more });
        let answer = sdk.call("ConfigPublishRequest", &body.to_string()).await;
        assert_eq!(answer.json()["resultCode"], 200, "{}", answer.json());
    };
    let given = serde_json::json!({
        "desc": "what", "use": "how", "effect": "then", "schema": "s", "type": "yaml", "config_tags": "t1,t2",
    });
    publish("a: 1", given).await;
    publish("a: 2", serde_json::json!([])).await;
    let item = server.app.configs.item(&ConfigKey::new("", "G", "d")).unwrap();
    let extra = item.formal().unwrap().extra().clone();
    let texts = [&*extra.desc, &*extra.used_for, &*extra.effect, &*extra.schema];
    assert_eq!(texts, ["what", "how", "then", "s"]);
    assert_eq!(extra.tags.len(), 2, "tags that are not given stay");
    publish("a: 3", serde_json::json!({ "config_tags": "", "desc": "" })).await;
    let item = server.app.configs.item(&ConfigKey::new("", "G", "d")).unwrap();
    let extra = item.formal().unwrap().extra();
    assert_eq!((extra.tags.len(), &*extra.desc, &*extra.used_for), (0, "", "how"));
}

#[tokio::test]
async fn a_content_that_no_answer_could_hold_is_refused() {
    let server = start();
    let sdk = Sdk::registered(&server).await;
    let content = "\n".repeat(6 * 1024 * 1024);
    let body = serde_json::json!({ "dataId": "d", "group": "G", "content": format!("a{content}") });
    let refused = server.send(
        "POST",
        "/nacos/v1/cs/configs",
        &[("Content-Type", "application/x-www-form-urlencoded")],
        format!("dataId=d&group=G&content=a{content}").as_bytes(),
    );
    assert_eq!(refused.status, 413, "{}", refused.body);
    assert!(refused.body.contains("10485760"), "{}", refused.body);
    let body = body.to_string().replace("\\n", "n");
    assert_eq!(
        sdk.call("ConfigPublishRequest", &body).await.json()["resultCode"],
        200,
        "6 MiB of plain text"
    );
}
