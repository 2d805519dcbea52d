//! The configuration center over HTTP: what is not in the recorded exchanges.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use dyad_http::Limits;
use dyad_state::ports::ProposeError;
use serde_json::{Value, json};
use support::Server;
use support::config_requests::{FORM, data, form, get, publish, published, server};

#[test]
fn a_large_content_is_read_from_the_store_byte_for_byte() {
    let server = server();
    let content = "中\n=%&+ ".repeat(20_000);
    published(&server, "", "large", &content);
    let answer = get(&server, "/v1/cs/configs?dataId=large&group=G");
    assert_eq!((answer.status, &answer.body), (200, &content));
    assert_eq!(answer.header("content-md5"), Some(&*dyad_types::Md5::of(content.as_bytes()).to_string()));
    let in_v2 = get(&server, "/v2/cs/config?dataId=large&group=G");
    assert_eq!(in_v2.json()["data"], content);
    let head = server.send("HEAD", "/nacos/v1/cs/configs?dataId=large&group=G", &[], b"");
    assert_eq!(head.header("length"), Some(&*content.len().to_string()));
    server.propose.contents.rows.lock().clear();
    let lost = get(&server, "/v1/cs/configs?dataId=large&group=G");
    assert_eq!(lost.status, 409, "never an empty answer: {}", lost.body);
}

#[test]
fn all_spellings_of_the_default_namespace_are_one() {
    let server = server();
    for (n, written) in ["", "public", "PUBLIC", "null"].iter().enumerate() {
        let content = format!("c{n}");
        let fields = [("dataId", "d"), ("group", "G"), ("content", &*content), ("tenant", written)];
        assert_eq!(form(&server, "POST", "/v1/cs/configs", &[], &fields).brief(), (200, "true"));
        for read in ["", "&tenant=", "&tenant=public", "&namespaceId=Public", "&tenant=null"] {
            let answer = get(&server, &format!("/v1/cs/configs?dataId=d&group=G{read}"));
            assert_eq!(answer.brief(), (200, &*content), "written {written:?}, read {read:?}");
        }
    }
    let list =
        get(&server, "/v1/cs/configs?search=blur&dataId=*&group=&tenant=public&pageNo=1&pageSize=10").json();
    assert_eq!((&list["totalCount"], &list["pageItems"][0]["tenant"]), (&json!(1), &json!("")));
    let removed = form(&server, "DELETE", "/v3/admin/cs/config", &[], &[("dataId", "d"), ("groupName", "G")]);
    assert_eq!(removed.status, 200);
    assert_eq!(get(&server, "/v1/cs/configs?dataId=d&group=G&tenant=public").status, 404);
}

#[test]
fn cas_in_each_generation() {
    let server = server();
    published(&server, "", "d", "old");
    for (path, group, want, code) in [
        ("/v1/cs/configs", "group", 500, None),
        ("/v2/cs/config", "group", 500, Some(20_005)),
        ("/v3/admin/cs/config", "groupName", 409, Some(20_005)),
    ] {
        let fields = [("dataId", "d"), (group, "G"), ("content", "new")];
        for wrong in ["00000000000000000000000000000000", "no md5"] {
            let answer = form(&server, "POST", path, &[("casMd5", wrong)], &fields);
            assert_eq!(answer.status, want, "{path} {wrong}");
            if let Some(code) = code {
                assert_eq!(answer.json()["code"], code);
            }
        }
    }
    assert_eq!(get(&server, "/v1/cs/configs?dataId=d&group=G").body, "old");
}

#[test]
fn gray_releases_by_address_tag_and_label() {
    let server = server();
    let with = |content: &str, headers: &[(&str, &str)], more: &[(&str, &str)]| {
        let fields = [&[("dataId", "d"), ("groupName", "G"), ("content", content)], more].concat();
        publish(&server, &fields, headers).status
    };
    assert_eq!(with("formal", &[], &[]), 200);
    assert_eq!(with("beta", &[("betaIps", "9.9.9.9,8.8.8.8")], &[]), 200);
    assert_eq!(with("tagged", &[], &[("tag", "t1")]), 200);
    assert_eq!(
        with("labelled", &[], &[("grayName", "label"), ("grayRuleExp", "zone=a,b"), ("grayPriority", "7")]),
        200
    );
    #[expect(clippy::type_complexity, reason = "headers, query, status, body")]
    let table: &[(&[(&str, &str)], &str, u16, &str)] = &[
        (&[], "", 200, "formal"),
        (&[("X-Forwarded-For", "9.9.9.9, 1.1.1.1")], "", 200, "beta"),
        (&[("X-Real-IP", "8.8.8.8")], "", 200, "beta"),
        (&[("Vipserver-Tag", "t1")], "", 200, "tagged"),
        (&[("Vipserver-Tag", "t2")], "", 200, "formal"),
        (&[], "&tag=t1", 200, "tagged"),
        (&[], "&tag=t2", 404, "config data not exist\n"),
    ];
    for (headers, query, status, body) in table {
        let target = format!("/nacos/v1/cs/configs?dataId=d&group=G{query}");
        let answer = server.send("GET", &target, headers, b"");
        assert_eq!(answer.brief(), (*status, *body), "{headers:?} {query}");
        assert_eq!(answer.header("isbeta"), (*body == "beta").then_some("true"));
        assert_eq!(answer.header("tag"), (*body == "tagged").then_some("t1"));
    }
    let grays = data(&get(&server, "/v3/admin/cs/config/grays?dataId=d&groupName=G"));
    let names: Vec<&str> =
        grays.as_array().unwrap().iter().map(|gray| gray["grayName"].as_str().unwrap()).collect();
    assert_eq!(names, ["beta", "tag_t1", "label"], "the order of priorities");
    assert_eq!(grays[2]["grayRule"], r#"{"type":"tagv2","version":"1.1.0","expr":"zone=a,b","priority":7}"#);
    for (fields, code) in [
        (&[("grayName", "label"), ("grayRuleExp", "zone")][..], 20_011),
        (&[("grayName", "label"), ("grayRuleExp", "zone=a"), ("grayVersion", "9")], 20_012),
        (&[("grayName", "a b"), ("grayRuleExp", "zone=a")], 20_013),
        (&[("grayName", "tag_t2"), ("grayRuleExp", "zone=a")], 20_013),
        (&[("grayName", "label")], 10_000),
    ] {
        let fields = [&[("dataId", "d"), ("groupName", "G"), ("content", "x")], fields].concat();
        let answer = publish(&server, &fields, &[]);
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!(code)), "{fields:?}");
    }
    // A tag's release goes by the tag, or by its own name.
    assert_eq!(
        form(&server, "DELETE", "/v1/cs/configs", &[], &[("dataId", "d"), ("group", "G"), ("tag", "t1")])
            .status,
        200
    );
    assert_eq!(
        form(&server, "DELETE", "/v3/admin/cs/config/beta", &[], &[("dataId", "d"), ("groupName", "G")])
            .status,
        200
    );
    let grays = data(&get(&server, "/v3/admin/cs/config/grays?dataId=d&groupName=G"));
    assert_eq!(grays.as_array().unwrap().len(), 1);
}

#[test]
fn a_content_of_another_type_is_published_with_a_warning() {
    let server = server();
    for (kind, content, warned) in [
        ("json", "{", true),
        ("json", "{}", false),
        ("yaml", "a: [", true),
        ("text", "{", false),
        ("bogus", "{", false),
    ] {
        let answer = publish(
            &server,
            &[("dataId", "d"), ("groupName", "G"), ("content", content), ("type", kind)],
            &[],
        );
        assert_eq!(answer.status, 200);
        let warning = answer.header("dyad-warning");
        assert_eq!(warning.is_some(), warned, "{kind} {content}: {warning:?}");
        assert!(
            warning.is_none_or(|w| w.starts_with(&format!("the content is no valid {kind}: "))),
            "{warning:?}"
        );
    }
}

#[test]
fn versions_are_compared_and_gone_back_to() {
    let server = server();
    for content in ["a\nb\nc\n", "a\nB\nc\n", "a\nB\nc\nd\n"] {
        published(&server, "dev", "d", content);
    }
    let name = "namespaceId=dev&dataId=d&groupName=G";
    let list = data(&get(&server, &format!("/v3/admin/cs/history/list?{name}")));
    let nid = |n: usize| list["pageItems"][n]["id"].as_str().unwrap().to_owned();
    assert_eq!((&list["totalCount"], &list["pageItems"][0]["srcUser"]), (&json!(3), &json!("me")));
    let newest = data(&get(&server, &format!("/v3/admin/cs/history/diff?{name}")));
    assert_eq!((&newest["added"], &newest["removed"]), (&json!(1), &json!(0)));
    let all = data(&get(&server, &format!("/v3/admin/cs/history/diff?{name}&from={}&to={}", nid(2), nid(0))));
    assert_eq!((&all["added"], &all["removed"]), (&json!(2), &json!(1)));
    let want = format!("--- {}\n+++ {}\n@@ -1,3 +1,4 @@\n a\n-b\n+B\n c\n+d\n", nid(2), nid(0));
    assert_eq!(all["diff"], want);
    let fields =
        [("namespaceId", "dev"), ("dataId", "d"), ("groupName", "G"), ("nid", &*nid(2)), ("reason", "oops")];
    let back = data(&form(&server, "POST", "/v3/admin/cs/history/rollback", &[], &fields));
    assert_eq!(get(&server, "/v1/cs/configs?dataId=d&group=G&tenant=dev").body, "a\nb\nc\n");
    let detail =
        data(&get(&server, &format!("/v3/admin/cs/history?{name}&nid={}", back["nid"].as_str().unwrap())));
    assert_eq!((&detail["content"], &detail["reason"]), (&json!("a\nB\nc\nd\n"), &json!("oops")));
    let unknown = [("namespaceId", "dev"), ("dataId", "d"), ("groupName", "G"), ("nid", "1")];
    assert_eq!(form(&server, "POST", "/v3/admin/cs/history/rollback", &[], &unknown).status, 404);
    assert_eq!(get(&server, &format!("/v3/admin/cs/history/diff?{name}&from=1")).status, 404);
    let other = format!("/v1/cs/history?dataId=other&group=G&tenant=dev&nid={}", nid(0));
    assert_eq!(get(&server, &other).brief(), (403, "caused: Please check dataId, group or namespaceId.;"));
}

#[test]
fn going_back_to_a_gray_version_makes_it_no_ones_else() {
    let server = server();
    published(&server, "", "d", "formal");
    let gray = |content| [("dataId", "d"), ("groupName", "G"), ("content", content)];
    for content in ["one", "two"] {
        assert_eq!(publish(&server, &gray(content), &[("betaIps", "9.9.9.9")]).status, 200);
    }
    let list = data(&get(&server, "/v3/admin/cs/history/list?dataId=d&groupName=G"));
    let first = list["pageItems"][1]["id"].as_str().unwrap();
    let removed =
        form(&server, "DELETE", "/v3/admin/cs/config/beta", &[], &[("dataId", "d"), ("groupName", "G")]);
    assert_eq!(removed.status, 200);
    let fields = [("dataId", "d"), ("groupName", "G"), ("nid", first), ("reason", "oops")];
    let back = data(&form(&server, "POST", "/v3/admin/cs/history/rollback", &[], &fields));
    assert_eq!(back["grayName"], "beta");
    let read = |ip| {
        let target = "/nacos/v1/cs/configs?dataId=d&group=G";
        server.send("GET", target, &[("X-Forwarded-For", ip)], b"").body
    };
    assert_eq!((read("1.1.1.1"), read("9.9.9.9")), ("formal".into(), "one".into()));
    let newest = &data(&get(&server, "/v3/admin/cs/history/list?dataId=d&groupName=G"))["pageItems"][0];
    assert_eq!((&newest["id"], &newest["reason"]), (&back["nid"], &json!("oops")));
}

#[test]
fn what_is_not_utf_8_is_not_published() {
    let server = server();
    for (path, group) in
        [("/v1/cs/configs", "group"), ("/v2/cs/config", "group"), ("/v3/admin/cs/config", "groupName")]
    {
        for (fields, want) in [
            (&b"content=a%ff"[..], "content is not UTF-8 at byte 1"),
            (b"content=\xc5\xe4", "content is not UTF-8 at byte 0"),
            (b"content=x&desc=%c3", "desc is not UTF-8 at byte 0"),
        ] {
            let body = [format!("dataId=d&{group}=G&").as_bytes(), fields].concat();
            let answer = server.send("POST", &format!("/nacos{path}"), &[FORM], &body);
            assert_eq!((answer.status, answer.body.contains(want)), (400, true), "{path} {}", answer.body);
        }
    }
    assert_eq!(get(&server, "/v1/cs/configs?dataId=d&group=G").status, 404);
}

#[test]
fn contents_are_searched_in_all_namespaces() {
    let server = server();
    let large = "x\n".repeat(5_000) + "needle = 1\n";
    for (namespace, data_id, content) in
        [("", "a", "no\nthe needle here\n"), ("dev", "b", &*large), ("dev", "c", "nothing")]
    {
        published(&server, namespace, data_id, content);
    }
    let found = |query: &str| {
        let page = data(&get(&server, &format!("/v3/admin/cs/config/grep?{query}")));
        let items = page["pageItems"].as_array().unwrap().clone();
        let name = |item: &Value| {
            format!(
                "{}/{}:{}",
                item["namespaceId"].as_str().unwrap(),
                item["dataId"].as_str().unwrap(),
                item["lines"][0]["line"]
            )
        };
        items.iter().map(name).collect::<Vec<String>>()
    };
    assert_eq!(found("content=needle"), ["public/a:2", "dev/b:5001"]);
    assert_eq!(found("content=needle&namespaceId=dev"), ["dev/b:5001"]);
    assert_eq!(found("content=needle*1"), ["dev/b:5001"]);
    assert_eq!(found("content=needle&dataId=z*"), Vec::<String>::new());
    assert_eq!(get(&server, "/v3/admin/cs/config/grep").status, 400);
}

#[test]
fn a_namespace_that_is_not_empty_goes_only_by_force() {
    let server = server();
    let path = "/v3/admin/core/namespace";
    let delete = |fields: &[(&str, &str)]| form(&server, "DELETE", path, &[], fields);
    let create = [("namespaceId", "dev"), ("namespaceName", "Dev")];
    assert_eq!(form(&server, "POST", path, &[], &create).status, 200);
    assert_eq!(server.ns("POST", "/instance?namespaceId=dev&serviceName=s&ip=10.0.0.1&port=80").status, 200);
    let refused = |configs: u32| {
        let answer = delete(&[("namespaceId", "dev")]);
        assert_eq!((answer.status, &answer.json()["code"]), (409, &json!(20_005)));
        let want = format!("the namespace holds {configs} configurations and 1 services: ");
        assert!(answer.json()["data"].as_str().unwrap().starts_with(&want), "{}", answer.body);
    };
    refused(0);
    published(&server, "dev", "d", "x");
    published(&server, "", "d", "kept");
    let gray = [("namespaceId", "dev"), ("dataId", "d"), ("groupName", "G"), ("content", "gray")];
    assert_eq!(publish(&server, &gray, &[("betaIps", "10.0.0.1")]).status, 200);
    assert_eq!(data(&get(&server, &format!("{path}?namespaceId=dev")))["configCount"], 1);
    refused(1);
    // The default one stays as it is, whatever is asked; what only Dyad can be asked does not claim to be done.
    assert_eq!(delete(&[("namespaceId", "public")]).status, 200);
    for default in ["public", ""] {
        assert_eq!(delete(&[("namespaceId", default), ("force", "true")]).status, 400, "{default:?}");
    }
    assert_eq!(get(&server, "/v1/cs/configs?dataId=d&group=G").body, "kept");
    let fields = [("namespaceId", "dev"), ("force", "true"), ("reason", "done")];
    assert_eq!(delete(&fields).status, 200);
    assert_eq!(data(&get(&server, &format!("{path}/check?namespaceId=dev"))), json!(0));
    assert_eq!(get(&server, &format!("{path}?namespaceId=dev")).status, 404);
    assert_eq!(get(&server, "/v1/cs/configs?dataId=d&group=G&tenant=dev").status, 404);
    let list = "/v3/admin/cs/history/list?namespaceId=dev&dataId=d&groupName=G";
    let items = data(&get(&server, list))["pageItems"].clone();
    let shown = |n: usize| ["opType", "grayName", "reason"].map(|field| items[n][field].clone());
    assert_eq!(shown(0), ["D         ", "", "done"].map(Value::from));
    assert_eq!(shown(1), ["D         ", "beta", "done"].map(Value::from));
    let services = server.ns("GET", "/instance/list?namespaceId=dev&serviceName=s").json();
    assert_eq!(services["hosts"].as_array().unwrap().len(), 1, "services are their clients'");
    published(&server, "nobodys", "d", "x");
    assert_eq!(delete(&[("namespaceId", "nobodys"), ("force", "true")]).status, 200);
    assert_eq!(get(&server, "/v1/cs/configs?dataId=d&group=G&tenant=nobodys").status, 404);
}

/// A client reads a content by its type, whichever way it asks.
#[test]
fn a_gray_release_without_a_type_has_that_of_the_formal_one() {
    let server = server();
    let id = [("groupName", "G"), ("dataId", "d.yaml")];
    let release = |content: &str, kind: Option<&str>, gray: bool| {
        let fields: Vec<_> =
            id.into_iter().chain([("content", content)]).chain(kind.map(|kind| ("type", kind))).collect();
        let headers = if gray { vec![("betaIps", "10.0.0.1")] } else { Vec::new() };
        assert_eq!(publish(&server, &fields, &headers).status, 200);
    };
    let shown = || {
        let v1 =
            get(&server, "/v1/cs/configs?beta=true&dataId=d.yaml&group=G").json()["data"]["type"].clone();
        let v3 = data(&get(&server, "/v3/admin/cs/config/beta?dataId=d.yaml&groupName=G"))["type"].clone();
        let list =
            data(&get(&server, "/v3/admin/cs/config/grays?dataId=d.yaml&groupName=G"))[0]["type"].clone();
        [v1, v3, list]
    };
    release("a: 1", None, true);
    assert_eq!(shown(), [Value::Null, "text".into(), "text".into()], "nobody gave one");
    release("a: 1", Some("yaml"), false);
    assert_eq!(shown(), ["yaml"; 3].map(Value::from));
    release("a=1", Some("properties"), true);
    assert_eq!(shown(), ["properties"; 3].map(Value::from), "its own");
}

/// Each handler reads its own spelling of a parameter: a legal one must not hide another.
#[test]
fn names_are_checked_in_every_spelling() {
    let server = server();
    let long = "n".repeat(100_000);
    let id = [("groupName", "G"), ("dataId", "d"), ("content", "x")];
    let hidden = [("group", "G"), ("groupName", &*long), ("dataId", "d"), ("content", "x")];
    let space = [("customNamespaceId", "z"), ("namespaceName", "Z"), ("namespaceDesc", "D")];
    let described = [("customNamespaceId", "z"), ("namespaceName", "Z"), ("namespaceDesc", &*long)];
    let capacity = [("group", "G"), ("groupName", &*long), ("quota", "5")];
    let shown = [("namespace", "z"), ("namespaceName", "Z"), ("namespaceShowName", &*long)];
    for (method, path, fields, want) in [
        ("POST", "/v3/admin/cs/config", &id[..], 200),
        ("POST", "/v3/admin/cs/config", &hidden, 400),
        ("POST", "/v3/admin/cs/capacity", &capacity, 400),
        ("POST", "/v3/console/core/namespace", &described, 400),
        ("POST", "/v3/console/core/namespace", &space, 200),
        ("PUT", "/v1/console/namespaces", &shown, 400),
    ] {
        let answer = form(&server, method, path, &[], fields);
        assert_eq!(answer.status, want, "{method} {path}: {}", answer.body);
    }
}

#[test]
fn without_a_leader_reads_go_on_and_consistent_reads_and_writes_are_503() {
    let server = server();
    published(&server, "", "d", "x");
    *server.propose.refuse.lock() = Some(ProposeError::NoLeader("election".into()));
    let plain = "/nacos/v1/cs/configs?dataId=d&group=G";
    assert_eq!(server.get(plain).brief(), (200, "x"));
    assert_eq!(server.get(&format!("{plain}&consistent=true")).status, 503);
    assert_eq!(server.send("GET", plain, &[("Dyad-Consistent", "true")], b"").status, 503);
    assert_eq!(publish(&server, &[("dataId", "d"), ("groupName", "G"), ("content", "y")], &[]).status, 503);
    assert!(get(&server, "/v1/cs/health").body.starts_with("WARN:"));
    *server.propose.refuse.lock() = None;
    assert_eq!(server.get(&format!("{plain}&consistent=true")).brief(), (200, "x"));
}

#[test]
fn bodies_and_pages_are_bounded() {
    let server = Server::start(Limits { config_body: 1_000, ..Limits::default() });
    let long = "x".repeat(1_000);
    assert_eq!(publish(&server, &[("dataId", "d"), ("groupName", "G"), ("content", &long)], &[]).status, 413);
    for query in ["pageNo=0&pageSize=1", "pageNo=1&pageSize=0", "pageNo=x&pageSize=1", "pageNo=1&pageSize=-1"]
    {
        let answer = get(&server, &format!("/v1/cs/configs?search=blur&dataId=&group=&{query}"));
        assert_eq!(answer.status, 400, "{query}");
    }
}
