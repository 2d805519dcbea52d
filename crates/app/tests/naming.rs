//! What the recorded exchanges do not show: refusals of the cores, the lifetime rule, limits, members, and bad input.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use dyad_app::Bounds;
use dyad_http::Limits;
use dyad_http::routes::ROUTES;
use dyad_naming::cp::Limit;
use dyad_naming::cp::NamingReply;
use dyad_naming::ports::EphemeralError;
use dyad_state::ports::ProposeError;
use serde_json::json;
use support::{Server, WALL_MS};

const I: &str = "/instance?serviceName=s&ip=10.0.0.1&port=80";
const KNOWN: &str = r#"{"clientBeatInterval":5000,"code":10200,"lightBeatEnabled":true}"#;
const UNKNOWN: &str = r#"{"clientBeatInterval":5000,"code":20404,"lightBeatEnabled":true}"#;

fn start() -> Server {
    Server::start(Limits::default())
}

#[test]
fn bad_input_is_400_with_nacoss_words() {
    let server = start();
    let ok_service = server.ns("POST", "/service?serviceName=there");
    assert_eq!(ok_service.brief(), (200, "ok"));
    for (method, target, want) in [
        ("POST", "/instance?ip=1&port=1", "Param 'serviceName' is required."),
        ("POST", "/instance?serviceName=+&ip=1&port=1", "Param 'serviceName' is required."),
        ("POST", "/instance?serviceName=s&port=1", "Param 'ip' is required."),
        ("POST", "/instance?serviceName=s&ip=1", "Param 'port' is required."),
        ("POST", &format!("{I}&weight=1x"), "For input string: \"1x\""),
        ("POST", &format!("{I}&weight=inf"), "For input string: \"inf\""),
        (
            "POST",
            &format!("{I}&weight=-0.1"),
            "instance format invalid: The weights range from 0.0 to 10000.0",
        ),
        (
            "PATCH",
            &format!("{I}&weight=10001"),
            "instance format invalid: The weights range from 0.0 to 10000.0",
        ),
        ("POST", &format!("{I}&metadata=a%3Db%3Dc"), "metadata format incorrect:a=b=c"),
        ("POST", &format!("{I}&metadata=%5B1%5D"), "metadata format incorrect:[1]"),
        ("PUT", &format!("{I}&metadata=abc"), "metadata format incorrect:abc"),
        (
            "POST",
            &format!("{I}&clusterName=c_1"),
            "Instance 'clusterName' should be characters with only 0-9a-zA-Z-. (current: c_1)",
        ),
        (
            "POST",
            &format!("{I}&metadata=preserved.instance.id.generator%3Dnone"),
            "no instance id generator has the name none",
        ),
        ("DELETE", &format!("{I}&port=x"), ""),
        ("GET", "/instance/list?serviceName=there&udpPort=x", "For input string: \"x\""),
        ("PUT", "/instance/beat?serviceName=s&beat=%7B%22ip%22%3A%22%22%7D", "Param 'ip' is required."),
        ("POST", "/service", "Parameter 'serviceName' is missing"),
        ("POST", "/service?serviceName=n&protectThreshold=x", "For input string: \"x\""),
        (
            "POST",
            "/service?serviceName=n&selector=%7B%22type%22%3A%22x%22%7D",
            "not match any type of selector!",
        ),
        ("PUT", "/service?serviceName=there", "Param 'protectThreshold' is required."),
        ("GET", "/service/list?pageNo=1", "Param 'pageSize' is required."),
        ("GET", "/service/list?pageNo=x&pageSize=1", "For input string: \"x\""),
        ("PUT", "/operator/switches?value=1", "Parameter 'entry' is missing"),
        (
            "PUT",
            "/operator/switches?entry=x&value=1",
            "there is no switch with the name x; GET of this path shows all",
        ),
        ("PUT", "/operator/switches?entry=x", "Parameter 'value' is missing"),
        (
            "PUT",
            "/operator/switches?entry=defaultCacheMillis&value=1",
            "defaultCacheMillis is too small(<1000)",
        ),
    ] {
        let answer = server.ns(method, target);
        if want.is_empty() {
            assert_eq!(answer.status, 200, "the first of two values counts: {target}");
        } else {
            assert_eq!(answer.brief(), (400, want), "{method} {target}");
            assert_eq!(answer.header("content-type"), Some("text/plain;charset=UTF-8"), "{target}");
        }
    }
    assert_eq!(server.app.registry.counts().ephemeral_instances, 0);
}

#[test]
fn the_parameter_check_answers_before_anything_else_on_every_naming_route() {
    let server = start();
    for route in ROUTES.iter().filter(|route| route.path.starts_with("/nacos/v1/ns/")) {
        if !route.params.iter().any(|key| key.name() == "namespaceId") {
            continue;
        }
        let answer = server.send(route.method.as_str(), &format!("{}?namespaceId=a.b", route.path), &[], b"");
        let want =
            "Param 'namespaceId/tenant' is illegal, illegal characters should not appear in the param.\r\n";
        assert_eq!(answer.brief(), (400, want), "{} {}", route.method, route.path);
        assert_eq!(answer.header("content-type"), None);
        assert_eq!(answer.header("cache-control"), Some("no-cache"));
    }
}

#[test]
fn every_route_takes_a_trailing_slash_and_no_other_method() {
    let server = start();
    for route in ROUTES.iter() {
        let plain = server.send(route.method.as_str(), route.path, &[], b"");
        let slash =
            server.send(route.method.as_str(), &format!("{}/", route.path.trim_end_matches('/')), &[], b"");
        assert_eq!(plain.status, slash.status, "{} {}", route.method, route.path);
        assert!(!matches!(plain.status, 404 | 501), "{} {}", route.method, route.path);
        let other = server.send("OPTIONS", route.path, &[], b"");
        let want = if route.path.starts_with("/nacos/v1/ns/") { 501 } else { 404 };
        assert_eq!(other.status, want, "OPTIONS {}", route.path);
    }
}

#[test]
fn unknown_paths_are_answered_as_spring_answers_them() {
    let server = start();
    let error = |status: u16, error: &str, message: &str, path: &str| json!({"timestamp": "2026-11-21T00:50:20.757+00:00", "status": status, "error": error, "message": message, "path": path});
    assert_eq!(WALL_MS, 1_795_222_220_757);
    let path = "/nacos/v1/ns/nosuch";
    let want = error(501, "Not Implemented", "no such api:GET:/nacos/v1/ns/nosuch", path);
    assert_eq!(server.get("/nacos/v1/ns/nosuch?a=b").json(), want);
    for path in ["/nacos/v1/foo", "/x", "/nacos/v1/nsx", "/nacos//v1/ns/operator/switches", "/nacos/v3"] {
        let answer = server.get(path);
        assert_eq!(
            (answer.status, answer.json()),
            (404, error(404, "Not Found", "No message available", path))
        );
    }
}

#[test]
fn a_service_takes_either_lifetime_until_it_has_instances_of_one() {
    let server = start();
    let refused = |is: &str, wanted: &str| {
        format!(
            "errCode: 400, errMsg: Current service DEFAULT_GROUP@@s is {is} service, can't register {wanted} instance. "
        )
    };
    let ephemeral = || server.ns("POST", I);
    let persistent = || server.ns("POST", "/instance?serviceName=s&ip=10.0.0.2&port=80&ephemeral=false");
    assert_eq!(server.ns("POST", "/service?serviceName=s").brief(), (200, "ok"));
    assert_eq!(ephemeral().brief(), (200, "ok"));
    assert_eq!(persistent().brief(), (400, &*refused("ephemeral", "persistent")));
    assert_eq!(server.ns("DELETE", I).brief(), (200, "ok"));
    server.clock.advance(59_999);
    assert_eq!(persistent().brief(), (400, &*refused("ephemeral", "persistent")), "60 s after the last one");
    server.clock.advance(1);
    assert_eq!(persistent().brief(), (200, "ok"));
    assert_eq!(ephemeral().brief(), (400, &*refused("persistent", "ephemeral")));
    let beat = "/instance/beat?serviceName=s&ip=10.0.0.1&port=80";
    assert_eq!(server.ns("PUT", beat).brief(), (200, UNKNOWN));
    let full = "/instance/beat?serviceName=s&beat=%7B%22ip%22%3A%2210.0.0.1%22%2C%22port%22%3A80%7D";
    assert_eq!(server.ns("PUT", full).brief(), (400, &*refused("persistent", "ephemeral")));
}

#[test]
fn ephemeral_writes_and_queries_need_no_leader_and_persistent_ones_say_so() {
    let server = start();
    assert_eq!(server.ns("POST", I).brief(), (200, "ok"));
    let reason = ProposeError::NoLeader("2 of 3 members are unreachable".into());
    *server.propose.refuse.lock() = Some(reason.clone());
    let list = "/instance/list?serviceName=s";
    let beat = "/instance/beat?serviceName=s&ip=10.0.0.1&port=80";
    for (method, target, status) in [
        ("POST", "/instance?serviceName=s&ip=10.0.0.2&port=80", 200),
        ("PUT", beat, 200),
        ("GET", list, 200),
        ("GET", I, 200),
        ("DELETE", "/instance?serviceName=s&ip=10.0.0.2&port=80", 200),
        ("GET", "/service?serviceName=s", 200),
        ("GET", "/service/list?pageNo=1&pageSize=10", 200),
        ("GET", "/operator/switches", 200),
    ] {
        assert_eq!(server.ns(method, target).status, status, "{method} {target}");
    }
    for (method, target) in [
        ("GET", "/instance/list?serviceName=s&consistent=true"),
        ("POST", "/instance?serviceName=p&ip=10.0.0.2&port=80&ephemeral=false"),
        ("DELETE", "/instance?serviceName=p&ip=10.0.0.2&port=80&ephemeral=false"),
        ("PUT", I),
        ("PATCH", I),
        ("POST", "/service?serviceName=new"),
        ("PUT", "/service?serviceName=s&protectThreshold=0.5"),
        ("DELETE", "/service?serviceName=gone"),
        ("PUT", "/operator/switches?entry=check&value=true"),
    ] {
        assert_eq!(server.ns(method, target).brief(), (503, &*reason.to_string()), "{method} {target}");
    }
    assert_eq!(server.ns("GET", "/raft/leader").status, 503);
    assert_eq!(server.get("/nacos/v1/console/health/readiness").brief(), (200, "OK"));
    assert_eq!(server.get("/nacos/v1/console/health/readiness?cp=true").status, 500);
    assert_eq!(server.get("/nacos/v2/console/health/readiness?cp=true").json()["code"], 30_000);
    assert_eq!(server.get("/nacos/dyad/overview").json()["leader"], json!(null));
}

#[test]
fn a_member_that_does_not_serve_answers_503_so_that_clients_go_elsewhere() {
    let server = start();
    assert_eq!(server.ns("POST", I).brief(), (200, "ok"));
    *server.ephemeral.refuse.lock() = Some(EphemeralError::Starting);
    let beat = "/instance/beat?serviceName=s&ip=10.0.0.1&port=80";
    for (method, target) in [
        ("POST", I),
        ("DELETE", I),
        ("GET", I),
        ("PUT", beat),
        ("GET", "/instance/list?serviceName=s"),
        ("GET", "/instance/list?serviceName=none"),
        ("GET", "/service?serviceName=s"),
        ("GET", "/service/list?pageNo=1&pageSize=10"),
        ("POST", "/service?serviceName=n"),
    ] {
        let want = "server is STARTING now, please try again later!";
        assert_eq!(server.ns(method, target).brief(), (503, want), "{method} {target}");
    }
    assert_eq!(server.get("/nacos/v1/console/health/liveness").brief(), (200, "OK"));
}

#[test]
fn reached_limits_are_429_and_name_the_limit() {
    let server = start();
    let register = "/instance?serviceName=a&ip=1&port=80&ephemeral=false";
    for (limit, text) in [
        (Limit::Instances(7), "the registry is full: the limit is 7 instances"),
        (Limit::Services(7), "the registry is full: the limit is 7 services"),
        (Limit::InstancesPerService(7), "the service is full: the limit is 7 instances"),
    ] {
        *server.propose.reply.lock() = Some(NamingReply::Limit(limit).into());
        for target in [register, "/service?serviceName=b"] {
            assert_eq!(server.ns("POST", target).brief(), (429, text));
        }
    }
}

#[test]
fn the_bounds_of_a_member_refuse_what_is_new_and_never_what_is_there() {
    let bounds = Bounds { instances: 3, services: 2, per_service: 2, page: 5, ..Bounds::default() };
    let server = Server::start_with(Limits::default(), bounds);
    let register = |service: &str, ip: &str, ephemeral: bool| {
        let answer = server
            .ns("POST", &format!("/instance?serviceName={service}&ip={ip}&port=80&ephemeral={ephemeral}"));
        (answer.status, answer.body)
    };
    let ok = (200, "ok".to_owned());
    let full = |text: &str| (429, text.to_owned());
    assert_eq!(register("a", "1", true), ok);
    assert_eq!(register("a", "2", true), ok);
    assert_eq!(register("a", "3", true), full("the service is full: the limit is 2 instances"));
    assert_eq!(register("b", "1", false), ok);
    assert_eq!(register("b", "2", false), full("the registry is full: the limit is 3 instances"));
    assert_eq!(register("a", "2", true), ok, "a sign of life of an instance that is there");
    assert_eq!(register("b", "1", false), ok);
    assert_eq!(server.ns("DELETE", "/instance?serviceName=a&ip=1&port=80").status, 200);
    assert_eq!(register("c", "1", true), full("the registry is full: the limit is 2 services"));
    for size in ["6", "2147483647"] {
        let page = server.ns("GET", &format!("/service/list?pageNo=1&pageSize={size}"));
        assert_eq!(page.json(), json!({"count": 2, "doms": ["a", "b"]}), "names are not cut to limits.page");
    }
}

#[test]
fn a_beat_of_a_known_instance_leaves_its_time_and_an_unhealthy_one_asks_the_core() {
    let server = start();
    assert_eq!(server.ns("POST", I).brief(), (200, "ok"));
    let slot = server.ephemeral.slots.lock().values().next().unwrap().clone();
    server.clock.advance(1_234);
    let beat = || server.ns("PUT", "/instance/beat?serviceName=s&ip=10.0.0.1&port=80");
    assert_eq!(beat().brief(), (200, KNOWN));
    assert_eq!(slot.last().0, 1_234);
    slot.set_open(false);
    server.clock.advance(1);
    assert_eq!(beat().brief(), (200, KNOWN));
    assert_eq!(slot.last().0, 1_234, "a closed slot takes nothing: the core was asked");
    server.ephemeral.slots.lock().clear();
    assert_eq!(beat().brief(), (200, UNKNOWN), "the core no longer has it");
}

#[test]
fn switches_act_on_beats_and_registrations_at_once() {
    let server = start();
    let set = |entry: &str, value: &str| {
        assert_eq!(
            server.ns("PUT", &format!("/ops/switches?entry={entry}&value={value}")).brief(),
            (200, "ok")
        );
    };
    set("clientBeatInterval", "7000");
    set("lightBeatEnabled", "false");
    set("defaultInstanceEphemeral", "false");
    assert_eq!(server.ns("POST", I).brief(), (200, "ok"));
    let counts = server.app.registry.counts();
    assert_eq!((counts.ephemeral_instances, counts.persistent_instances), (0, 1));
    let beat = server.ns("PUT", "/instance/beat?serviceName=t&ip=10.0.0.1&port=80");
    assert_eq!(beat.json(), json!({"clientBeatInterval": 7000, "code": 20404, "lightBeatEnabled": false}));
}

#[test]
fn a_snowflake_id_is_kept_by_a_repeated_registration() {
    let server = start();
    let target = format!("{I}&metadata=preserved.instance.id.generator%3Dsnowflake");
    let id = || {
        assert_eq!(server.ns("POST", &target).brief(), (200, "ok"));
        server.ns("GET", I).json()["instanceId"].as_str().unwrap().to_owned()
    };
    let first = id();
    assert!(first.ends_with("#DEFAULT#DEFAULT_GROUP@@s"), "{first}");
    assert!(first.split('#').next().unwrap().parse::<u64>().is_ok(), "{first}");
    assert_eq!(id(), first);
}

#[test]
fn members_and_leader_are_shown_as_nacos_shows_them() {
    let server = start();
    let nodes = server.get("/nacos/v1/core/cluster/nodes").json();
    let node = &nodes["data"][0];
    assert_eq!((&nodes["code"], &nodes["message"]), (&json!(200), &json!(null)));
    assert_eq!(
        (&node["ip"], &node["port"], &node["state"]),
        (&json!("127.0.0.1"), &json!(8848), &json!("UP"))
    );
    let group = &node["extendInfo"]["raftMetaData"]["metaDataMap"]["naming_persistent_service_v2"];
    assert_eq!(group["leader"], "127.0.0.1:8848");
    assert_eq!(server.get("/nacos/v1/core/cluster/nodes?keyword=10.").json()["data"], json!([]));
    let leader = server.ns("GET", "/raft/leader").json();
    let peer: serde_json::Value = serde_json::from_str(leader["leader"].as_str().unwrap()).unwrap();
    assert_eq!(
        (&peer["ip"], &peer["state"], &peer["term"]),
        (&json!("127.0.0.1:8848"), &json!("LEADER"), &json!(3))
    );
}

#[test]
fn the_page_and_its_data_are_served_and_metrics_count_each_route() {
    let server = start();
    let root = server.get("/");
    assert_eq!((root.status, root.header("location")), (302, Some("nacos/")));
    assert_eq!(server.get("//").status, 404);
    let page = server.get("/nacos/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html;charset=UTF-8")));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert_eq!(server.send("HEAD", "/nacos/", &[], b"").status, 200);
    assert_eq!(server.ns("POST", &format!("{I}&weight=2&healthy=false")).brief(), (200, "ok"));
    let overview = server.get("/nacos/dyad/overview").json();
    assert_eq!(overview["members"][0]["leader"], true);
    let want = json!([{
        "address": "10.0.0.1:80", "cluster": "DEFAULT", "weight": 2.0, "healthy": false, "enabled": true,
        "lifetime": "ephemeral",
    }]);
    assert_eq!(overview["services"][0]["instances"], want);
    assert_eq!(
        (&overview["services"][0]["total"], &overview["services"][0]["healthy"]),
        (&json!(1), &json!(0))
    );
    let status = server.ns("GET", "/operator/metrics").json();
    assert_eq!(status, json!({"status": "UP"}));
    assert_eq!(server.ns("GET", "/operator/metrics?onlyStatus=false").json()["instanceCount"], 1);
    let metrics = server.get("/metrics").body;
    let line = r#"http_requests_total{method="POST",path="/nacos/v1/ns/instance",status="2xx"} 1"#;
    assert!(metrics.contains(line), "{metrics}");
    assert!(metrics.contains(r#"http_request_seconds_count{method="POST",path="/nacos/v1/ns/instance"} 1"#));
}
