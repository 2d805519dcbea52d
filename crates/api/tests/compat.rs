//! Replays what a real Nacos 2.5.1 was asked and compares its answers with ours, line by line.
//!
//! `tests/compat/naming_v1.jsonl` holds the recorded exchanges in their order; `naming_v1.names` those that count (a
//! second real server answered the others differently: times, races); `naming_v1.differs` those that are meant to
//! differ, each with its reason. A line outside that list must be the same, and a line in it must differ.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use dyad_api::Limits;
use dyad_api::routes::ROUTES;
use serde_json::Value;
use support::{Answer, Server};

const LINES: &str = include_str!("../../../tests/compat/naming_v1.jsonl");
const CLIENTS: &str = include_str!("../../../tests/compat/clients_v1.jsonl");
const NAMES: &str = include_str!("../../../tests/compat/naming_v1.names");
const DIFFERS: &str = include_str!("../../../tests/compat/naming_v1.differs");
/// Most lines that may differ on purpose.
const DIFFERS_MAX: usize = 15;

/// Fields that differ from run to run: compared by type only.
const VOLATILE: &[&str] = &[
    "lastRefTime",
    "checksum",
    "createTime",
    "modifyTime",
    "createdTime",
    "lastModifiedTime",
    "id",
    "lastBeat",
    "lastHeartBeat",
    "revision",
    "timestamp",
    "address",
    "ip",
    "addrStr",
    "lastRefreshTime",
    "raftMetaData",
    "abilities",
    "version",
    "lastUpdatedTime",
    "clientIp",
    "clientId",
    "instanceId",
    "failAccessCnt",
    "path",
];

#[test]
fn recorded_exchanges_get_the_same_answers() {
    let server = Server::start(Limits::default());
    let counted: BTreeSet<&str> = NAMES.lines().map(|line| line.split_once(':').unwrap().1).collect();
    let differs = differs();
    assert!(differs.len() <= DIFFERS_MAX, "{} lines differ on purpose", differs.len());
    let mut wrong = Vec::new();
    let mut seen = 0;
    for line in LINES.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let name = case["name"].as_str().unwrap();
        let answer = replay(&server, &case["request"]);
        if !counted.contains(name) {
            continue;
        }
        seen += 1;
        let found = compare(&case["response"], &answer);
        match (differs.contains_key(name), found.is_empty()) {
            (false, false) => wrong.push(format!("{name}: {}", found.join("; "))),
            (true, true) => wrong.push(format!("{name}: is in naming_v1.differs and is the same")),
            _ => {}
        }
    }
    assert_eq!(seen, counted.len(), "naming_v1.names has a name without a line");
    assert!(differs.keys().all(|name| counted.contains(name)), "naming_v1.differs has an unknown name");
    assert!(wrong.is_empty(), "{} of {seen} lines:\n{}", wrong.len(), wrong.join("\n"));
}

/// Requests as 1.x clients send them: Java 1.2.1 (modelled on recorded calls: all in the query, an empty form body, the beat in the body, a
/// beat before its registration), Python 0.1.x (the beat in the query, numbers as text), Go 1.x (all in the body).
#[test]
fn requests_of_1_x_clients_are_understood() {
    let server = Server::start(Limits::default());
    for line in CLIENTS.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let answer = replay(&server, &case["request"]);
        assert_eq!(compare(&case["response"], &answer), Vec::<String>::new(), "{}", case["name"]);
    }
}

#[test]
fn every_recorded_line_belongs_to_a_route() {
    for line in LINES.lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let (method, path) = (case["request"]["method"].as_str(), case["request"]["path"].as_str());
        let known = ROUTES.iter().any(|r| Some(r.method.as_str()) == method && Some(r.path) == path);
        assert!(known, "{}", case["name"]);
    }
}

#[test]
fn the_comparison_sees_each_kind_of_difference() {
    let want =
        r#"{"status":200,"body":{"a":1,"hosts":[{"ip":"1","weight":1.0},{"ip":"2","weight":2.0}],"ip":"x"}}"#;
    let want: Value = serde_json::from_str(want).unwrap();
    let of = |body: &str| Answer { status: 200, headers: Vec::new(), body: body.into() };
    let same = r#"{"hosts":[{"ip":"2","weight":2},{"ip":"1","weight":1.0}],"a":1,"ip":"y","more":0}"#;
    assert_eq!(compare(&want, &of(same)), Vec::<String>::new());
    for body in [
        "ok",
        r#"{"hosts":[{"ip":"2","weight":2.0},{"ip":"1","weight":1.0}],"ip":"y"}"#,
        r#"{"a":2,"hosts":[{"ip":"2","weight":2.0},{"ip":"1","weight":1.0}],"ip":"y"}"#,
        r#"{"a":1,"hosts":[{"ip":"2","weight":2.0},{"ip":"3","weight":1.0}],"ip":"y"}"#,
        r#"{"a":1,"hosts":[{"ip":"2","weight":2.0}],"ip":"y"}"#,
        r#"{"a":1,"hosts":[{"ip":"2","weight":2.0},{"ip":"1","weight":1.5}],"ip":"y"}"#,
        r#"{"a":1,"hosts":[{"ip":"2","weight":2.0},{"ip":"1","weight":1.0}],"ip":1}"#,
        r#"{"a":true,"hosts":[{"ip":"2","weight":2.0},{"ip":"1","weight":1.0}],"ip":"y"}"#,
    ] {
        assert_ne!(compare(&want, &of(body)), Vec::<String>::new(), "{body}");
    }
    assert_ne!(compare(&want, &Answer { status: 201, ..of(same) }), Vec::<String>::new());
}

/// Name and reason of each line that differs on purpose.
fn differs() -> BTreeMap<&'static str, &'static str> {
    let line = |line: &'static str| {
        let (name, reason) = line.split_once(' ').unwrap_or_else(|| panic!("{line}: no reason"));
        assert!(reason.starts_with("policy ") || reason.starts_with("later "), "{line}");
        (name, reason)
    };
    DIFFERS.lines().filter(|l| !l.starts_with('#')).map(line).collect()
}

fn replay(server: &Server, request: &Value) -> Answer {
    let query = request["query"].as_str().filter(|query| !query.is_empty());
    let path = request["path"].as_str().unwrap();
    let target = query.map_or(path.to_owned(), |query| format!("{path}?{query}"));
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        headers.push((name.clone(), value.as_str().unwrap().to_owned()));
    }
    let body = match &request["form"] {
        Value::Object(form) => {
            headers.push(("Content-Type".into(), "application/x-www-form-urlencoded".into()));
            let pair = |(key, value): (&String, &Value)| {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                format!(
                    "{key}={}",
                    percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC)
                )
            };
            form.iter().map(pair).collect::<Vec<_>>().join("&")
        }
        Value::Null => request["body"].as_str().unwrap_or_default().to_owned(),
        other => panic!("form {other}"),
    };
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    server.send(request["method"].as_str().unwrap(), &target, &headers, body.as_bytes())
}

/// What differs in status and body; an error's text must be the same too.
fn compare(want: &Value, got: &Answer) -> Vec<String> {
    let status = want["status"].as_u64().unwrap();
    if status != u64::from(got.status) {
        return vec![format!("status {status} != {} ({})", got.status, got.body)];
    }
    let body = if got.body.starts_with(['{', '[']) {
        serde_json::from_str(&got.body).unwrap_or_else(|_| Value::from(&*got.body))
    } else {
        Value::from(&*got.body)
    };
    let mut found = Vec::new();
    differences(&want["body"], &body, "$", false, &mut found);
    found
}

fn differences(want: &Value, got: &Value, at: &str, volatile: bool, out: &mut Vec<String>) {
    if volatile {
        if kind(want) != kind(got) && !want.is_null() && !got.is_null() {
            out.push(format!("{at}: {} != {}", kind(want), kind(got)));
        }
        return;
    }
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => {
            let registered = want.contains_key("clusterName") || want.contains_key("weight");
            for (key, value) in want {
                let volatile = VOLATILE.contains(&&**key) && !(registered && key == "ip");
                match got.get(key) {
                    Some(have) => differences(value, have, &format!("{at}.{key}"), volatile, out),
                    None if value.is_null() => {}
                    None => out.push(format!("{at}.{key}: missing")),
                }
            }
        }
        (Value::Array(want), Value::Array(got)) if want.len() != got.len() => {
            out.push(format!("{at}: {} items != {}", want.len(), got.len()));
        }
        // A set: each recorded item takes the item that is nearest to it.
        (Value::Array(want), Value::Array(got)) => {
            let mut left: Vec<&Value> = got.iter().collect();
            for (n, item) in want.iter().enumerate() {
                let distance = |have: &&Value| {
                    let mut found = Vec::new();
                    differences(item, have, "", false, &mut found);
                    found.len()
                };
                let best = (0..left.len()).min_by_key(|&n| distance(&left[n])).unwrap();
                differences(item, left.remove(best), &format!("{at}[{n}]"), false, out);
            }
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            if (a - b).abs() >= 1e-9 {
                out.push(format!("{at}: {a} != {b}"));
            }
        }
        _ if want == got => {}
        _ => out.push(format!("{at}: {want} != {got}")),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
