//! What can be checked about the source is checked here: the crate graph, file headers, and words that do not belong.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// The platform that this runs on: packages of other platforms need not have been downloaded.
fn host() -> String {
    let out = Command::new("rustc").arg("-vV").output().unwrap();
    let text = String::from_utf8(out.stdout).unwrap();
    text.lines().find_map(|line| line.strip_prefix("host: ")).unwrap().to_owned()
}

/// Package name → names of all packages that it reaches through normal dependencies.
fn reach() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let out = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--filter-platform", &host()])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let meta: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let mut edges: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for package in meta["packages"].as_array().unwrap() {
        names.insert(package["id"].as_str().unwrap().into(), package["name"].as_str().unwrap().into());
    }
    for node in meta["resolve"]["nodes"].as_array().unwrap() {
        let normal = node["deps"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|dep| dep["dep_kinds"].as_array().unwrap().iter().any(|kind| kind["kind"].is_null()));
        edges.insert(
            node["id"].as_str().unwrap().into(),
            normal.map(|dep| dep["pkg"].as_str().unwrap().to_owned()).collect(),
        );
    }
    let mut reached = BTreeMap::new();
    for (id, name) in names.iter().filter(|(_, name)| name.starts_with("dyad")) {
        let mut seen = BTreeSet::new();
        let mut open = vec![id.clone()];
        while let Some(next) = open.pop() {
            for dep in &edges[&next] {
                if seen.insert(names[dep].clone()) {
                    open.push(dep.clone());
                }
            }
        }
        reached.insert(name.clone(), seen);
    }
    reached
}

#[test]
fn the_pure_crates_reach_no_runtime_no_randomness_and_no_store() {
    let reached = reach();
    for pure in ["dyad-types", "dyad-config", "dyad-naming", "dyad-state", "dyad-distro"] {
        for forbidden in ["tokio", "rand", "openraft", "sled", "tonic", "axum", "hyper"] {
            assert!(!reached[pure].contains(forbidden), "{pure} reaches {forbidden}");
        }
    }
}

#[test]
fn only_raft_names_openraft_and_sled() {
    let listed = |name: &str, what: &str| {
        let manifest = root().join("crates").join(name).join("Cargo.toml");
        let text = std::fs::read_to_string(manifest).unwrap();
        text.lines().any(|line| line.starts_with(what))
    };
    for dir in std::fs::read_dir(root().join("crates")).unwrap() {
        let name = dir.unwrap().file_name().into_string().unwrap();
        for what in ["openraft", "sled"] {
            assert_eq!(listed(&name, what), name == "raft", "crates/{name} and {what}");
        }
    }
}

#[test]
fn the_front_ends_and_shells_do_not_reach_each_other() {
    let reached = reach();
    for (from, to) in [
        ("dyad-app", "dyad-raft"),
        ("dyad-app", "dyad-cluster"),
        ("dyad-app", "dyad-distro"),
        ("dyad-http", "dyad-grpc"),
        ("dyad-http", "dyad-raft"),
        ("dyad-http", "dyad-cluster"),
        ("dyad-http", "dyad-distro"),
        ("dyad-grpc", "dyad-http"),
        ("dyad-grpc", "dyad-raft"),
        ("dyad-grpc", "dyad-cluster"),
        ("dyad-grpc", "dyad-distro"),
        ("dyad-push", "dyad-state"),
        ("dyad-push", "hyper"),
        ("dyad-push", "dyad-proto"),
        ("dyad-app", "hyper"),
        ("dyad-app", "dyad-proto"),
        ("dyad-raft", "dyad-cluster"),
        ("dyad-cluster", "dyad-raft"),
        // What measures a server shares nothing with it but the wire.
        ("dyad-bench", "dyad-app"),
        ("dyad-bench", "dyad-types"),
        // What operators do comes from outside.
        ("dyad-cli", "dyad-http"),
        ("dyad-cli", "dyad-raft"),
        ("dyad-cli", "dyad-cluster"),
        ("dyad-cli", "dyad-naming"),
        ("dyad-config", "dyad-naming"),
        ("dyad-naming", "dyad-config"),
        ("dyad-cluster", "dyad-config"),
        ("dyad-config", "dyad-proto"),
        ("dyad-naming", "dyad-distro"),
        ("dyad-distro", "dyad-naming"),
        ("dyad-naming", "dyad-proto"),
        ("dyad-distro", "dyad-proto"),
        ("dyad-types", "dyad-proto"),
    ] {
        assert!(!reached[from].contains(to), "{from} reaches {to}");
    }
}

fn sources() -> Vec<PathBuf> {
    let mut files = Vec::new();
    let mut open = vec![root().join("crates")];
    while let Some(dir) = open.pop() {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                files.push(path);
            }
        }
    }
    files
}

#[test]
fn every_source_file_says_why_it_exists() {
    let bare: Vec<PathBuf> = sources()
        .into_iter()
        .filter(|path| !std::fs::read_to_string(path).unwrap().trim_start().starts_with("//!"))
        .collect();
    assert!(bare.is_empty(), "files without a //! header: {bare:#?}");
}

/// Words that the clock, the randomness and the environment come in by. Only shells may use them.
#[test]
fn the_pure_crates_read_no_clock_and_no_environment() {
    for path in sources() {
        let text = path.to_string_lossy().into_owned();
        if !["/types/src/", "/config/src/", "/naming/src/", "/state/src/", "/distro/src/"]
            .iter()
            .any(|part| text.contains(part))
        {
            continue;
        }
        let source = std::fs::read_to_string(&path).unwrap();
        for word in ["Instant::now", "SystemTime", "env::var", "std::net::Tcp", "std::fs", "thread::spawn"] {
            assert!(!source.contains(word), "{text} uses {word}");
        }
    }
}
