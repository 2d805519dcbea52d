//! Replays what real servers (Nacos 2.5.1 and 3.0.3) were asked about configurations and namespaces, and compares.
//!
//! Each `tests/compat/X.jsonl` is sent in its order to a fresh server. Lines marked `unstable` are sent, but not counted: a
//! second real server answered them otherwise, or they name an id that it had drawn. `X.differs` holds the lines that are
//! meant to differ, each with its reason: a line outside that list must be the same, and a line in it must differ. A reason that
//! begins with `mistake` is a client's mistake that Nacos answers with 500, and this server with 400.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

mod support;

use std::collections::BTreeSet;

use dyad_http::Limits;
use serde_json::Value;
use support::Server;
use support::recorded::{compare_answer, differs, replay};

macro_rules! recorded {
    ($name:literal) => {
        (
            $name,
            include_str!(concat!("../../../tests/compat/", $name, ".jsonl")),
            include_str!(concat!("../../../tests/compat/", $name, ".differs")),
        )
    };
}

/// Of all lines at least so many of a hundred must be the same. Not counted: what needs authentication, which is not here yet,
/// mistakes of the client that are 400 instead of 500, and what Nacos 3 answers by the API of Nacos 2, which contradicts
/// Nacos 2 itself.
const SAME_MIN: usize = 92;
const CONTRADICTS: &str = "config_v1_on_v3";

#[test]
fn recorded_exchanges_get_the_same_answers() {
    let files = [
        recorded!("config_v1"),
        recorded!("config_v2"),
        recorded!("namespaces"),
        recorded!("config_v3"),
        recorded!("console_v3"),
        recorded!("config_v1_on_v3"),
    ];
    let (mut wrong, mut counted, mut same) = (Vec::new(), 0, 0);
    for (file, lines, list) in files {
        let server = Server::start(Limits::default());
        let differs = differs(list);
        let mut names = BTreeSet::new();
        for line in lines.lines() {
            let case: Value = serde_json::from_str(line).unwrap();
            let name = case["name"].as_str().unwrap();
            let answer = replay(&server, &case["request"]);
            if case["unstable"] == true {
                continue;
            }
            names.insert(name.to_owned());
            let found = compare_answer(&case["response"], &answer);
            let reason = |kind: &str| differs.get(name).is_some_and(|reason| reason.starts_with(kind));
            if reason("mistake ") && (&case["response"]["status"], answer.status) != (&500.into(), 400) {
                wrong.push(format!(
                    "{file}: {name}: is no mistake that is 400 instead of 500: {}",
                    answer.body
                ));
            }
            if file != CONTRADICTS && !reason("later ") && !reason("mistake ") {
                counted += 1;
                same += usize::from(found.is_empty());
            }
            match (differs.contains_key(name), found.is_empty()) {
                (false, false) => wrong.push(format!("{file}: {name}: {}", found.join("; "))),
                (true, true) => {
                    wrong.push(format!("{file}: {name}: is in the list of differences and is the same"))
                }
                _ => {}
            }
        }
        let unknown: Vec<_> = differs.keys().filter(|name| !names.contains(**name)).collect();
        assert!(unknown.is_empty(), "{file}.differs has names without a line: {unknown:?}");
    }
    assert!(wrong.is_empty(), "{} lines:\n{}", wrong.len(), wrong.join("\n"));
    assert!(same * 100 >= counted * SAME_MIN, "{same} of {counted} are the same");
}
