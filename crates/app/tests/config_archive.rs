//! Export, import and clone over HTTP.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::io::{Cursor, Write};

use dyad_state::ports::ProposeError;
use serde_json::{Value, json};
use support::config_requests::{data, form, get, publish, published, server};
use support::{Answer, Server};

fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in entries {
        writer.start_file(*name, zip::write::SimpleFileOptions::default()).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn import(server: &Server, query: &str, file: &[u8]) -> Answer {
    let head = b"--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"x.zip\"\r\n\r\n";
    let body = [&head[..], file, b"\r\n--b--\r\n"].concat();
    let kind = [("Content-Type", "multipart/form-data; boundary=b")];
    server.send("POST", &format!("/nacos/v3/admin/cs/config/import?{query}"), &kind, &body)
}

#[test]
fn an_import_tells_what_became_of_each_item() {
    let server = server();
    published(&server, "", "b", "old");
    let archive = zip(&[("G/a", b"1"), ("G/b", b"2"), ("G/c", b"3"), ("readme", b"x")]);
    let name = |data_id: &str| json!({ "dataId": data_id, "group": "G" });
    let mut want = json!({
        "succCount": 1, "skipCount": 1, "failData": [{ "dataId": "b", "group": "G", "reason": "exists" }],
        "skipData": [name("c")],
        "unrecognizedCount": 1, "unrecognizedData": [{ "itemName": "readme" }],
    });
    assert_eq!(data(&import(&server, "", &archive)), want, "ABORT: what was before the conflict stays");
    want["skipData"] = json!([name("a"), name("b")]);
    want["skipCount"] = json!(2);
    want.as_object_mut().unwrap().remove("failData");
    assert_eq!(data(&import(&server, "policy=SKIP", &archive)), want);
    assert_eq!(get(&server, "/v1/cs/configs?dataId=b&group=G").body, "old");
    assert_eq!(data(&import(&server, "policy=OVERWRITE", &archive))["succCount"], 3);
    assert_eq!(get(&server, "/v1/cs/configs?dataId=b&group=G").body, "2");
    *server.propose.refuse.lock() = Some(ProposeError::NoLeader("election".into()));
    let refused = import(&server, "policy=OVERWRITE", &archive);
    assert_eq!((refused.status, &refused.json()["data"]["succCount"]), (503, &json!(0)));
    assert_eq!(refused.json()["data"]["failData"].as_array().unwrap().len(), 3);
    *server.propose.refuse.lock() = Some(ProposeError::Timeout(5_000));
    let unsure = import(&server, "policy=OVERWRITE", &archive);
    assert_eq!((unsure.status, unsure.json()["data"]["unknownData"].as_array().unwrap().len()), (503, 3));
}

#[test]
fn bad_archives_write_nothing_and_say_what_is_wrong() {
    let server = server();
    let many: Vec<(String, Vec<u8>)> = (0..2).map(|n| (format!("G/{n}"), b"fine".to_vec())).collect();
    let with = |name: &str, bytes: &[u8]| {
        let mut entries: Vec<(&str, &[u8])> = many.iter().map(|(name, bytes)| (&**name, &**bytes)).collect();
        entries.push((name, bytes));
        zip(&entries)
    };
    let bomb = vec![0; 13 * 1024 * 1024];
    for (archive, want) in [
        (with("../etc", b"x"), "entry \"../etc\": its name leads out of the archive"),
        (with("G/gbk", &[0xd6, 0xd0]), "entry \"G/gbk\": is not UTF-8 at byte 0"),
        (with("G/bomb", &bomb), "entry \"G/bomb\": inflates to more than 12582912 bytes"),
        (with("G/blank", b" \n"), "entry \"G/blank\": content is blank : "),
        (
            with("G/a b", b"x"),
            "entry \"G/a b\": Param 'dataId' is illegal, illegal characters should not appear in the param.",
        ),
    ] {
        let answer = import(&server, "", &archive);
        assert_eq!((answer.status, &answer.json()["data"]), (400, &json!(want)));
    }
    for (archive, code) in [
        (with(".metadata.yml", b"metadata: x"), 100_002),
        (with(".meta.yml", b"x"), 100_002),
        (b"x".to_vec(), 100_005),
    ] {
        let answer = import(&server, "", &archive);
        assert_eq!((answer.status, &answer.json()["code"]), (200, &json!(code)), "{}", answer.body);
        assert!(answer.json()["data"]["reason"].is_string());
    }
    assert_eq!(import(&server, "namespaceId=nope", &with("G/x", b"x")).json()["code"], 22_001);
    assert_eq!(import(&server, "policy=OTHER", &with("G/x", b"x")).status, 400);
    assert_eq!(data(&get(&server, "/v3/admin/cs/config/list"))["totalCount"], 0);
}

#[test]
fn what_a_desktop_adds_to_an_archive_is_named_and_the_rest_is_imported() {
    let server = server();
    let archive = zip(&[
        ("G/mac.yml", b"a: 1"),
        ("G/.DS_Store", b"\x00\x00\x00\x01Bud1\xff\xfe"),
        ("__MACOSX/G/._mac.yml", b"\x00\x05\x16\x07\xff\xff"),
        ("G/deep/x.yml", b"b: 1"),
        (".meta.yml", b"G.mac~yml.app=shop\rG.x.app=y\r\n"),
    ]);
    let report = data(&import(&server, "", &archive));
    let names =
        ["G/.DS_Store", "__MACOSX/G/._mac.yml", "G/deep/x.yml"].map(|name| json!({ "itemName": name }));
    assert_eq!((&report["succCount"], &report["unrecognizedData"]), (&json!(1), &json!(names)), "{report}");
    let shown = get(&server, "/v1/cs/configs?dataId=mac.yml&group=G&show=all").json();
    assert_eq!((&shown["content"], &shown["appName"]), (&json!("a: 1"), &json!("shop")));
}

#[test]
fn the_old_archive_keeps_the_application_of_each_item() {
    let server = server();
    let items = [("g", "a.b.yml", "one"), ("g.a", "b.yml", "two"), ("g", "c.yml", "three")];
    for (group, data_id, app) in items {
        let fields = [("dataId", data_id), ("groupName", group), ("content", "x"), ("appName", app)];
        assert_eq!(publish(&server, &fields, &[]).status, 200);
    }
    let archive = server.get_bytes("/nacos/v1/cs/configs?export=true&tenant=&group=&dataId=&appName=&ids=");
    let fields = [("namespaceId", "n7"), ("namespaceName", "n7")];
    assert_eq!(form(&server, "POST", "/v3/admin/core/namespace", &[], &fields).status, 200);
    assert_eq!(data(&import(&server, "namespaceId=n7", &archive))["succCount"], 3);
    for (group, data_id, app) in items {
        let path = format!("/v1/cs/configs?dataId={data_id}&group={group}&tenant=n7&show=all");
        assert_eq!(get(&server, &path).json()["appName"], app, "{group}/{data_id}");
    }
}

#[test]
fn what_is_exported_is_imported_and_cloned() {
    let server = server();
    let fields = [
        ("dataId", "a.yaml"),
        ("groupName", "G"),
        ("content", "a: 1"),
        ("type", "yaml"),
        ("desc", "d: \"x\""),
    ];
    assert_eq!(
        publish(&server, &[&fields[..], &[("configTags", "t1,t2"), ("appName", "app")]].concat(), &[]).status,
        200
    );
    for id in ["dev", "test"] {
        let fields = [("namespaceId", id), ("namespaceName", id)];
        assert_eq!(form(&server, "POST", "/v3/admin/core/namespace", &[], &fields).status, 200);
    }
    let exported = server.get_bytes("/nacos/v3/admin/cs/config/export?groupName=G");
    assert_eq!(data(&import(&server, "namespaceId=dev", &exported))["succCount"], 1);
    let detail = |namespace: &str, data_id: &str| {
        data(&get(
            &server,
            &format!("/v3/admin/cs/config?namespaceId={namespace}&groupName=G&dataId={data_id}"),
        ))
    };
    let facts = |value: &Value| {
        ["content", "type", "desc", "configTags", "appName"]
            .map(|field| value[field].as_str().unwrap_or_default().to_owned())
    };
    let first = detail("", "a.yaml");
    assert_eq!(facts(&first), ["a: 1", "yaml", "d: \"x\"", "t1,t2", "app"]);
    assert_eq!(facts(&detail("dev", "a.yaml")), facts(&first));
    let body = json!([{ "configId": first["id"], "targetDataId": "b.yaml" }]).to_string();
    let kind = [("Content-Type", "application/json")];
    let cloned =
        server.send("POST", "/nacos/v3/admin/cs/config/clone?namespaceId=test", &kind, body.as_bytes());
    assert_eq!(data(&cloned), json!({ "succCount": 1, "skipCount": 0 }));
    assert_eq!(facts(&detail("test", "b.yaml")), facts(&first));
    for (body, status) in [("{}", 400), ("[{}]", 400), ("x", 400), ("[]", 200), ("[{\"cfgId\":1}]", 200)] {
        let answer =
            server.send("POST", "/nacos/v3/admin/cs/config/clone?namespaceId=test", &kind, body.as_bytes());
        assert_eq!(answer.status, status, "{body}");
    }
}
