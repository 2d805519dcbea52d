//! docs/cli.md shows the JSON of every command, and this is what the commands print: the same names, with values of the same
//! kinds. A shape that changes has to change on the page, and programs that read it are told by the changelog.

#![allow(clippy::unwrap_used, reason = "tests")]

#[path = "support/server.rs"]
mod server;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};
use server::Server;

/// What a value is, without what it says: texts and numbers by their kind, a list by the shapes that are in it.
fn shape(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Bool(_) => "true or false".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "text".into(),
        Value::Array(items) => {
            let shapes: BTreeSet<String> = items.iter().map(|item| shape(item).to_string()).collect();
            shapes.into_iter().collect()
        }
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), shape(value))).collect(),
    }
}

/// The page's examples: each by the command in the heading above it.
fn documented() -> BTreeMap<String, Value> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/cli.md");
    let page = std::fs::read_to_string(path).unwrap();
    let mut examples = BTreeMap::new();
    for section in page.split("\n### `dyad ").skip(1) {
        let (command, text) = section.split_once('`').unwrap();
        let (_, rest) = text.split_once("```json\n").unwrap_or_else(|| panic!("{command}: no example"));
        let (example, _) = rest.split_once("```").unwrap();
        let example = serde_json::from_str(example).unwrap_or_else(|error| panic!("{command}: {error}"));
        examples.insert(command.to_owned(), example);
    }
    examples
}

/// What each command prints, in an order in which they can be said.
fn printed() -> BTreeMap<String, Value> {
    let server = Server::start();
    let mut printed = BTreeMap::new();
    let mut add = |name: &str, value: Value| assert!(printed.insert(name.to_owned(), value).is_none());
    let json = |line: &str, input: &str| -> Value {
        serde_json::from_str(&server.ok(&format!("{line} --output json"), input)).unwrap()
    };
    add("ns create", json("ns create dev", ""));
    add("ns update", json("ns update dev --desc try", ""));
    add("ns ls", json("ns ls", ""));
    server.ok("config set app.yaml --desc shop --app order --tags a,b --reason first", "port: 1\n");
    add("config set", json("config set app.yaml --cas current", "port: 2\n"));
    server.ok("config set app.yaml --beta-ips 10.0.0.1", "port: 3\n");
    add("config get", json("config get app.yaml", ""));
    add("config get --gray", json("config get app.yaml --gray beta", ""));
    let history = json("config history app.yaml", "");
    let nid = history[1]["nid"].as_str().unwrap().to_owned();
    add("config history", history);
    add("config get --version", json(&format!("config get app.yaml --version {nid}"), ""));
    add("config ls", json("config ls", ""));
    add("config grep", json("config grep port", ""));
    add("config diff", json(&format!("config diff app.yaml --to {nid}"), ""));
    add("config diff FILE", json("config diff app.yaml -", "port: 4\n"));
    add("config diff --with", json("config diff --with dev", ""));
    add("config export", json("config export all.zip", ""));
    add("config import --dry-run", json("config import all.zip -n dev --dry-run", ""));
    server.ok("config import all.zip -n dev", "");
    add("config import", json("config import all.zip -n dev --policy skip", ""));
    add("ns delete", json("ns delete dev --force", ""));
    let mut command = server.dyad("config watch app.yaml --output json");
    let mut watch = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(watch.stdout.take().unwrap()).read_line(&mut line).unwrap();
    watch.kill().and_then(|()| watch.wait()).unwrap();
    add("config watch", serde_json::from_str(&line).unwrap());
    add("config rollback", json(&format!("config rollback app.yaml {nid}"), ""));
    add("config rm", json("config rm app.yaml", ""));
    server.ok("config set other.yaml", "x");
    add("backup", json("backup b.backup --data-dir data", ""));
    add("backup show", json("backup show b.backup", ""));
    add("backup verify", json("backup verify b.backup", ""));
    add("restore", json("restore b.backup --data-dir new", ""));
    add("restore --namespace", json("restore b.backup --namespace public --policy skip", ""));
    add("cluster status", json("cluster status --data-dir data", ""));
    let bench = format!("bench http list --url {} --connections 2 --seconds 1 --warmup 0", server.url);
    server.ok(&format!("{bench} --json figures.json --pid {}", server.child.id()), "");
    add("bench", serde_json::from_slice(&std::fs::read(server.path("figures.json")).unwrap()).unwrap());
    printed
}

#[test]
fn the_page_shows_what_the_commands_print() {
    let (documented, printed) = (documented(), printed());
    for (command, value) in &printed {
        let want = documented.get(command).map(shape);
        assert_eq!(want, Some(shape(value)), "docs/cli.md, dyad {command}:\n{value:#}");
    }
    let names = |map: &BTreeMap<String, Value>| map.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&documented), names(&printed), "every example is of a command that was run");
}

/// A thing has one name in all shapes: what is a namespace, group, data id, version or member is called so everywhere.
#[test]
fn one_name_for_one_thing() {
    fn names<'v>(value: &'v Value, found: &mut BTreeSet<&'v str>) {
        match value {
            Value::Array(items) => items.iter().for_each(|item| names(item, found)),
            Value::Object(fields) => fields.iter().for_each(|(name, value)| {
                found.insert(name);
                names(value, found);
            }),
            _ => {}
        }
    }
    let documented = documented();
    let mut found = BTreeSet::new();
    documented.values().for_each(|example| names(example, &mut found));
    for other in ["id", "me", "member", "version", "namespace", "tenant", "group", "opType", "was"] {
        assert!(!found.contains(other), "{other:?} is another name of something");
    }
}

#[test]
fn a_consistent_read_has_the_shape_of_a_read_and_what_is_absent_is_told() {
    let server = Server::start();
    server.ok("config set d -n public", "x");
    let names =
        |line: &str| -> Vec<String> { server.json(line).as_object().unwrap().keys().cloned().collect() };
    assert_eq!(names("config get d --consistent"), names("config get d"));
    server.ok("config rm d", "");
    let absent = server.json("config rm d --force");
    assert_eq!((&absent["result"], &absent["md5"]), (&json!("absent"), &Value::Null));
}
