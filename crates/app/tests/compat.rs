//! Replays what a real Nacos 2.5.1 was asked and compares its answers with ours, line by line.
//!
//! `tests/compat/naming_v1.jsonl` holds the recorded exchanges in their order; `naming_v1.names` those that count (a
//! second real server answered the others differently: times, races); `naming_v1.differs` those that are meant to
//! differ, each with its reason. A line outside that list must be the same, and a line in it must differ.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::collections::BTreeSet;

use dyad_http::Limits;
use dyad_http::routes::ROUTES;
use serde_json::Value;
use support::recorded::{compare, differs, replay};
use support::{Answer, Server};

const LINES: &str = include_str!("../../../tests/compat/naming_v1.jsonl");
const CLIENTS: &str = include_str!("../../../tests/compat/clients_v1.jsonl");
const NAMES: &str = include_str!("../../../tests/compat/naming_v1.names");
const DIFFERS: &str = include_str!("../../../tests/compat/naming_v1.differs");
/// Most lines that may differ on purpose.
const DIFFERS_MAX: usize = 25;

#[test]
fn recorded_exchanges_get_the_same_answers() {
    let server = Server::start(Limits::default());
    let counted: BTreeSet<&str> = NAMES.lines().map(|line| line.split_once(':').unwrap().1).collect();
    let differs = differs(DIFFERS);
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
