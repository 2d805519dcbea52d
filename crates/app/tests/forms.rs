//! What a request's body may be, and paths that probes, charts and clients expect of any Nacos server.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use dyad_http::Limits;
use support::Server;

const CONFIGS: &str = "/nacos/v1/cs/configs";

fn content(server: &Server, data_id: &str) -> (u16, String) {
    let answer = server.get(&format!("{CONFIGS}?dataId={data_id}&group=G"));
    (answer.status, answer.body)
}

#[test]
fn the_fields_of_a_multipart_body_are_parameters() {
    let server = Server::start(Limits::default());
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let kind = ("Content-Type", "multipart/form-data; boundary=b");
    let body = [part("dataId", "mp"), part("group", "G"), part("content", "a=1&b=%"), "--b--\r\n".into()];
    let answer = server.send("POST", CONFIGS, &[kind], body.concat().as_bytes());
    assert_eq!(answer.brief(), (200, "true"));
    assert_eq!(content(&server, "mp"), (200, "a=1&b=%".into()));
    let body = [part("serviceName", "mp"), part("ip", "10.0.0.1"), part("port", "80"), "--b--\r\n".into()];
    let answer = server.send("POST", "/nacos/v1/ns/instance", &[kind], body.concat().as_bytes());
    assert_eq!(answer.brief(), (200, "ok"));
    let broken = server.send("POST", CONFIGS, &[kind], b"--b");
    assert_eq!(broken.brief(), (400, "caused: the multipart body breaks off;"));
}

#[test]
fn a_form_is_read_in_its_charset_unless_it_is_utf_8() {
    let server = Server::start(Limits::default());
    let gbk = ("Content-Type", "application/x-www-form-urlencoded; charset=GBK");
    for (data_id, body) in [("gbk", "%D6%D0%CE%C4"), ("utf8", "%E4%B8%AD%E6%96%87")] {
        let body = format!("dataId={data_id}&group=G&content={body}");
        assert_eq!(server.send("POST", CONFIGS, &[gbk], body.as_bytes()).brief(), (200, "true"));
        assert_eq!(content(&server, data_id), (200, "\u{4e2d}\u{6587}".into()));
    }
    let zipped = [("Content-Type", "application/x-www-form-urlencoded"), ("Content-Encoding", "gzip")];
    let answer = server.send("POST", CONFIGS, &zipped, b"\x1f\x8b\x08");
    assert_eq!(answer.status, 415, "{}", answer.body);
    assert!(answer.body.contains("Content-Encoding gzip"), "{}", answer.body);
}

#[test]
fn an_origin_of_the_same_host_is_not_foreign_whatever_its_port() {
    let server = Server::start(Limits::default());
    for (host, origin, status) in [
        ("nacos.corp", "https://nacos.corp", 200),
        ("nacos.corp", "https://nacos.corp:8443", 200),
        ("nacos.corp:8848", "http://Nacos.corp", 200),
        ("[::1]:8848", "http://[::1]:9000", 200),
        ("nacos.corp", "https://nacos.corp.evil", 403),
        ("nacos.corp", "https://evil", 403),
        ("[::1]:8848", "http://[::2]:8848", 403),
        ("nacos.corp", "null", 403),
    ] {
        let headers = [("Host", host), ("Origin", origin)];
        let answer = server.send("GET", "/nacos/v1/console/namespaces", &headers, b"");
        assert_eq!(answer.status, status, "{host} {origin}");
    }
}

#[test]
fn a_login_is_answered_with_a_token_while_there_are_no_users() {
    let server = Server::start(Limits::default());
    for path in ["/nacos/v1/auth/login", "/nacos/v1/auth/users/login", "/nacos/v3/auth/user/login"] {
        let answer = server.send("POST", &format!("{path}?username=ann&password=x"), &[], b"").json();
        assert_eq!((&answer["username"], &answer["tokenTtl"]), (&"ann".into(), &18_000.into()));
        assert!(answer["accessToken"].is_string());
    }
}

#[test]
fn probes_and_charts_find_their_paths() {
    let server = Server::start(Limits::default());
    let up = serde_json::json!({ "status": "UP" });
    assert_eq!(server.get("/nacos/actuator/health").json(), up);
    assert!(server.get("/nacos/actuator/prometheus").body.contains("http_connections"));
    assert_eq!(server.get("/nacos/v1/console/server/state").json()["startup_mode"], "standalone");
    assert_eq!(server.get("/nacos/v3/admin/core/state").json()["data"]["maxContent"], "10485760");
    for path in ["/nacos/v3/admin/core/state/liveness", "/nacos/v3/admin/core/state/readiness"] {
        assert_eq!(server.get(path).json()["data"], "ok");
    }
    assert_eq!(server.get("/nacos/v1/ns/health/checkers").json()["HTTP"]["expectedResponseCode"], 200);
    assert_eq!(server.send("POST", "/nacos/v3/admin/cs/ops/localCache", &[], b"").json()["code"], 0);
}

#[test]
fn prometheus_discovers_the_instances_of_every_group_and_namespace() {
    let server = Server::start(Limits::default());
    let metadata = "metadata=%7B%22a.b-c%22%3A%221%22%7D";
    for target in [
        format!("/instance?serviceName=sd&ip=10.0.0.7&port=9100&groupName=OTHER&{metadata}"),
        "/instance?serviceName=sd&ip=10.0.0.8&port=9100&namespaceId=dev".into(),
        "/instance?serviceName=sd&ip=10.0.0.9&port=9100&enabled=false".into(),
    ] {
        assert_eq!(server.ns("POST", &target).status, 200);
    }
    let all = server.get("/nacos/prometheus").json();
    let targets: Vec<&str> =
        all.as_array().unwrap().iter().map(|entry| entry["targets"][0].as_str().unwrap()).collect();
    assert_eq!(targets, ["10.0.0.8:9100", "10.0.0.7:9100"]);
    assert_eq!(all[1]["labels"]["a_b_c"], "1");
    assert_eq!(all[1]["labels"]["__meta_groupName"], "OTHER");
    assert_eq!(server.get("/nacos/prometheus?namespaceId=dev").json().as_array().unwrap().len(), 1);
}

#[test]
fn a_member_is_answered_by_get_routes_only() {
    let server = Server::start(Limits::default());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let ask = |target: &str| runtime.block_on(dyad_http::answer(&server.app, target));
    let (status, body) = ask("/nacos/v1/ns/service/subscribers?aggregation=false&serviceName=a");
    assert_eq!((status, &body[..]), (200, &br#"{"subscribers":[],"count":0}"#[..]));
    assert_eq!(ask("/nacos/v1/ns/service/subscribers?aggregation=false").0, 400);
    assert_eq!(ask("/nacos/v1/ns/instance/beat").0, 404);
    assert_eq!(ask("no path").0, 400);
}
