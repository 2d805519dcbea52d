//! What can be checked about the source is checked here: the crate graph, circles between files, sizes, file headers, and
//! words that do not belong. What is not yet as it should be is listed, and the lists only become shorter.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

#[path = "tidy/edges.rs"]
mod edges;
#[path = "tidy/imports.rs"]
mod imports;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use imports::Imports;

/// Lines of a file: what a reader keeps in mind.
const LINES_MAX: usize = 500;
/// Files that are longer, with how long they may be.
const LONG: &[(&str, usize)] = &[];

/// Files that may use each other, in a circle that can still be read as one thing.
const CIRCLE_MAX: usize = 6;
/// The circles that there are, by crate, each with the reason.
const CIRCLES: &[(&str, &[&str], &str)] = &[
    ("cluster", &["ask.rs", "directory.rs"], "who answers where, and what is asked there"),
    ("config", &["apply.rs", "namespace.rs", "state.rs"], "one state and its two mutators"),
    (
        "config",
        &["archive/entries.rs", "archive/metadata.rs", "archive/mod.rs"],
        "the parts of an archive fail with its one error",
    ),
    ("config", &["capacity.rs", "codec.rs", "command.rs", "row.rs"], "each message knows its bytes"),
    ("distro", &["api.rs", "message.rs"], "inputs carry messages, messages carry inputs of forwarded writes"),
    ("distro", &["codec/convert.rs", "codec/mod.rs"], "a message is read and written by one module"),
    (
        "distro",
        &["store/log.rs", "store/mod.rs", "store/record.rs"],
        "a store is its logs, and these its records",
    ),
    (
        "distro",
        &["conns.rs", "core.rs", "relay.rs", "stash.rs", "timers.rs", "write.rs"],
        "one state machine, a file for each of its inputs",
    ),
    (
        "naming",
        &["registry/beats.rs", "registry/entry.rs", "registry/mod.rs"],
        "one map and what is in it, under one lock",
    ),
    (
        "grpc",
        &["connection.rs", "outbox.rs", "watched.rs"],
        "a connection has its watches and what waits for it, and a watch is looked up in its connection",
    ),
    ("grpc", &["stream.rs", "transport.rs"], "a transport, and the one of its calls that lasts as long"),
    (
        "http",
        &["routes/mod.rs", "routes/v1.rs", "routes/v2.rs", "routes/v3.rs"],
        "one table, a file for each generation",
    ),
    ("push", &["config/mod.rs", "config/topic.rs"], "the listeners and one topic of them"),
    (
        "push",
        &["naming/mod.rs", "naming/schedule.rs", "naming/topic.rs"],
        "the subscribers, one topic of them, and when it is due",
    ),
    ("naming", &["view/json.rs", "view/mod.rs"], "a view is its bytes"),
    ("raft", &["contents/mod.rs", "contents/writer.rs"], "a handle and its thread"),
    (
        "raft",
        &["contact.rs", "handle.rs", "network/service.rs", "propose.rs", "status.rs", "steward.rs"],
        "the handle and what is done with it",
    ),
    (
        "app",
        &["caller.rs", "config/turn.rs", "config/write.rs", "fault.rs", "state.rs"],
        "a use case works on the state, in a turn that the state has, and ends with a fault that a turn can be",
    ),
    (
        "app",
        &["naming/delegate.rs", "naming/register.rs"],
        "a registration is delegated, if its list has room",
    ),
    ("bench", &["config/listen.rs", "config/mod.rs"], "one mode of several, and what all of them begin with"),
    ("server", &["settings/mod.rs", "settings/show.rs"], "the settings carry how they are shown"),
    (
        "server",
        &["wire/members.rs", "wire/rebalance.rs"],
        "who is there, with how many clients, and who sends some to whom",
    ),
    ("testkit", &["bench/mod.rs", "bench/operations.rs", "bench/server.rs"], "one program"),
    (
        "testkit",
        &["durability/disks.rs", "durability/full.rs", "durability/mod.rs", "durability/rounds.rs"],
        "one program",
    ),
    (
        "testkit",
        &[
            "sim/actions.rs",
            "sim/clients.rs",
            "sim/faults.rs",
            "sim/raft.rs",
            "sim/sdk/mod.rs",
            "sim/world.rs",
        ],
        "one world, whose actors act on it",
    ),
    ("testkit", &["fleet/compose.rs", "fleet/loopback.rs", "fleet/mod.rs"], "two ways to have members"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn crates() -> Vec<String> {
    let crates = std::fs::read_dir(root().join("crates")).unwrap();
    let mut names: Vec<String> = crates.map(|dir| dir.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Every source file below `crates`, by its path there.
fn sources() -> Vec<(String, String)> {
    let crates = root().join("crates");
    let mut files = Vec::new();
    let mut open = vec![crates.clone()];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let name = path.strip_prefix(&crates).unwrap().to_string_lossy().into_owned();
                files.push((name, std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

#[test]
fn the_crates_use_each_other_as_the_layout_says() {
    edges::check(&root());
}

/// What measures a server is no part of it, and the command line's `dyad bench` is the one way to it.
#[test]
fn nothing_that_ships_reaches_what_measures_it_but_the_command() {
    let allowed = |name: &str| {
        let tests = name.starts_with("testkit/") || name.starts_with("bench/") || name.contains("/tests/");
        tests || name == "cli/src/bench.rs"
    };
    for (name, text) in sources().into_iter().filter(|(name, _)| !allowed(name)) {
        for word in ["dyad_bench", "dyad_testkit"] {
            assert!(!text.contains(word), "{name} names {word}");
        }
    }
}

/// What they show of the configurations comes from a `View`, which asks whether the caller may see it.
#[test]
fn the_front_ends_do_not_read_the_state_of_the_configurations() {
    let is_front_end = |name: &str| name.starts_with("http/src/") || name.starts_with("grpc/src/");
    for (name, text) in sources().into_iter().filter(|(name, _)| is_front_end(name)) {
        for words in ["app.configs", "Catalog", "ConfigState"] {
            assert!(!text.contains(words), "{name} names {words}");
        }
    }
}

#[test]
fn only_raft_names_openraft_and_sled() {
    for name in crates() {
        let manifest = std::fs::read_to_string(root().join("crates").join(&name).join("Cargo.toml")).unwrap();
        for what in ["openraft", "sled"] {
            let listed = manifest.lines().any(|line| line.starts_with(what));
            assert_eq!(listed, name == "raft", "crates/{name} and {what}");
        }
    }
}

#[test]
fn files_use_each_other_in_no_circles_but_those_with_a_reason() {
    let mut wrong = Vec::new();
    for name in crates() {
        for circle in Imports::of(&root().join("crates").join(&name).join("src")).circles() {
            let listed = CIRCLES.iter().filter(|(of, ..)| *of == name).any(|(_, files, _)| {
                let files: BTreeSet<String> = files.iter().map(|file| (*file).to_owned()).collect();
                circle.is_subset(&files)
            });
            if !listed || circle.len() > CIRCLE_MAX {
                wrong.push(format!("{name}: {} files: {circle:?}", circle.len()));
            }
        }
    }
    assert!(wrong.is_empty(), "break the circle, or list it with its reason: {wrong:#?}");
}

#[test]
fn no_file_is_too_long() {
    let mut wrong = Vec::new();
    for (name, text) in sources().iter().filter(|(name, _)| name.contains("/src/")) {
        let most = LONG.iter().find(|(of, _)| of == name).map_or(LINES_MAX, |(_, most)| *most);
        let lines = text.lines().count();
        if lines > most {
            wrong.push(format!("{name} has {lines} lines, {most} are the limit"));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn every_source_file_says_why_it_exists() {
    let bare: Vec<String> = sources()
        .into_iter()
        .filter(|(_, text)| !text.trim_start().starts_with("//!"))
        .map(|(name, _)| name)
        .collect();
    assert!(bare.is_empty(), "files without a //! header: {bare:#?}");
}

/// Words that the clock, the randomness and the environment come in by. Only shells may use them.
#[test]
fn the_pure_crates_read_no_clock_and_no_environment() {
    let pure = |name: &str| edges::PURE.iter().any(|part| name.starts_with(&format!("{part}/src/")));
    for (name, text) in sources().into_iter().filter(|(name, _)| pure(name)) {
        for word in ["Instant::now", "SystemTime", "env::var", "std::net::Tcp", "std::fs", "thread::spawn"] {
            assert!(!text.contains(word), "{name} uses {word}");
        }
    }
}
