//! `/metrics` follows the rules of Prometheus's text format, has the metrics of docs/metrics.md and no others, and what the alerts
//! use is among them.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "support/server.rs"]
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;

use server::Server;

/// Units that are not the base units of Prometheus, and what the end of a name may not be.
const UNITS: [&str; 10] =
    ["ms", "us", "ns", "milliseconds", "microseconds", "minutes", "hours", "kib", "mib", "percent"];

fn page(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The content type and the body.
fn metrics(server: &Server, accept: &str) -> (String, String) {
    let mut stream = TcpStream::connect(server.url.strip_prefix("http://").unwrap()).unwrap();
    write!(stream, "GET /metrics HTTP/1.0\r\nAccept: {accept}\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{head}");
    let kind = head.lines().find_map(|line| line.strip_prefix("content-type: ")).unwrap();
    (kind.to_owned(), body.to_owned())
}

/// The families by name, with their types. Panics where the text breaks a rule.
fn families(text: &str) -> BTreeMap<String, String> {
    let mut families = BTreeMap::new();
    let mut series = BTreeSet::new();
    // The last family: its name and whether its help and its type were there.
    let (mut now, mut kind) = (String::new(), String::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').unwrap_or((rest, ""));
            assert!(!help.trim().is_empty(), "{name} has no help");
            assert!(!families.contains_key(name), "{name} is there twice");
            (now, kind) = (name.to_owned(), String::new());
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, of) = rest.split_once(' ').unwrap();
            assert!(name == now && kind.is_empty(), "the type of {name} does not follow its help");
            assert!(["counter", "gauge", "histogram"].contains(&of), "{name} is a {of}");
            kind = of.to_owned();
            families.insert(name.to_owned(), kind.clone());
        } else {
            let (labelled, value) = line.rsplit_once(' ').unwrap();
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(series.insert(labelled.to_owned()), "{labelled} is there twice");
            let name = labelled.split('{').next().unwrap();
            let ends: &[&str] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            let own = ends.iter().any(|end| name.strip_suffix(end) == Some(now.as_str()));
            assert!(own, "{name} stands below {now}, a {kind}");
        }
    }
    for (name, kind) in &families {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        assert!(name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(plain), "{name}");
        assert_eq!(name.ends_with("_total"), kind == "counter", "{name} is a {kind}");
        let reserved = ["_bucket", "_sum", "_count", "_gauge", "_counter", "_histogram"];
        assert!(!reserved.iter().any(|end| name.ends_with(end)), "{name}");
        assert!(!name.split('_').any(|word| UNITS.contains(&word)), "{name}");
    }
    families
}

/// The names in the tables of docs/metrics.md, whole.
fn documented() -> BTreeSet<String> {
    let page = page("docs/metrics.md");
    let mut names = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| `")) {
        let cell = row.trim_start_matches("| ").split(" | ").next().unwrap();
        let listed = cell.split(", by ").next().unwrap();
        for name in listed.split(", ").map(|name| name.trim_matches('`')) {
            let whole = if name.starts_with("process_") { name.to_owned() } else { format!("dyad_{name}") };
            assert!(names.insert(whole), "{name} is on the page twice");
        }
    }
    names
}

#[test]
fn the_text_follows_the_rules_and_the_page_has_every_metric() {
    let server = Server::start();
    server.ok("config set a.txt", "a");
    let (kind, text) = metrics(&server, "*/*");
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    let families = families(&text);
    let exposed: BTreeSet<String> = families.keys().cloned().collect();
    let page = documented();
    let (only_exposed, only_page) =
        (exposed.difference(&page).collect::<Vec<_>>(), page.difference(&exposed).collect::<Vec<_>>());
    assert!(only_exposed.is_empty(), "docs/metrics.md lacks {only_exposed:?}");
    assert!(only_page.is_empty(), "nothing gives {only_page:?} of docs/metrics.md");
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(&format!("{name} "))).unwrap();
    for name in ["dyad_ready", "dyad_healthy", "dyad_raft_has_leader", "dyad_raft_voters_up"] {
        assert_eq!(value(name), "1", "{name}");
    }
    assert!(value("process_start_time_seconds").parse::<f64>().unwrap() > 1.7e9);
    assert!(value("process_open_fds").parse::<f64>().unwrap() > 5.0);
}

#[test]
fn openmetrics_is_given_to_those_who_ask_for_it() {
    let server = Server::start();
    let (kind, text) = metrics(&server, "application/openmetrics-text; version=1.0.0");
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(text.ends_with("# EOF\n"));
    assert!(text.contains("# TYPE dyad_http_requests counter\n"));
}

/// Every word of the expressions that could be a series.
fn used(rules: &str) -> BTreeSet<String> {
    let words = rules.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words
        .filter(|word| word.starts_with("dyad_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

#[test]
fn alerts_use_metrics_that_exist_and_the_page_names_every_alert() {
    let rules = page("deploy/prometheus/alerts.yml");
    let page_of_metrics = documented();
    let used = used(&rules);
    assert!(used.len() > 10, "{used:?}");
    for name in &used {
        let family = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
        let known = page_of_metrics.contains(name) || family.is_some_and(|of| page_of_metrics.contains(of));
        assert!(known, "docs/metrics.md lacks {name} of alerts.yml");
    }
    let alerts: BTreeSet<&str> = rules.lines().filter_map(|l| l.trim().strip_prefix("- alert: ")).collect();
    let operations = page("docs/operations.md");
    let cells = operations.lines().filter(|line| line.starts_with('|')).flat_map(|line| line.split('|'));
    let named: BTreeSet<&str> = cells
        .filter_map(|cell| cell.trim().strip_prefix('`')?.strip_suffix('`'))
        .filter(|name| name.starts_with("Dyad"))
        .collect();
    assert_eq!(alerts, named, "the table of alerts in docs/operations.md");
    let tests = page("deploy/prometheus/alerts_test.yml");
    for alert in alerts {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "alerts_test.yml never looks at {alert}");
    }
}
