//! The crates and the edges between them, from `cargo metadata`: what a crate may use is said here, and nothing else may be
//! used.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;

/// What each crate may use of the others: the layout of ARCHITECTURE.md. `server` puts everything together.
const MAY_USE: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("proto", &[]),
    ("config", &["types"]),
    ("naming", &["types"]),
    ("state", &["types", "naming", "config"]),
    ("backup", &["types", "config", "state"]),
    ("distro", &["types"]),
    ("raft", &["types", "proto", "config", "naming", "state"]),
    ("cluster", &["types", "proto", "naming", "distro"]),
    ("push", &["types", "naming", "config"]),
    ("net", &[]),
    ("app", &["types", "naming", "config", "state", "push"]),
    ("http", &["types", "naming", "config", "state", "net", "push", "app"]),
    ("grpc", &["types", "proto", "naming", "config", "state", "net", "push", "app"]),
    ("bench", &["proto"]),
    ("cli", &["types", "config", "state", "backup", "bench"]),
    (
        "server",
        &[
            "types", "config", "naming", "state", "backup", "distro", "raft", "cluster", "push", "app",
            "http", "grpc", "cli",
        ],
    ),
    ("testkit", &["types", "naming", "state", "distro"]),
];

/// Crates below which nothing may use a runtime, randomness or a store.
pub(crate) const PURE: &[&str] = &["types", "config", "naming", "state", "distro"];
/// What pure crates must not reach, through whatever.
const IMPURE: &[&str] = &["tokio", "rand", "openraft", "sled", "tonic", "axum", "hyper"];
/// Crates that must not know by which protocol they are asked, and what would tell them.
const SPEECHLESS: &[&str] = &["push", "app"];
const PROTOCOLS: &[&str] = &["hyper", "h2", "axum", "tonic"];

/// Packages: what each uses directly, build scripts and tests left out.
struct Packages(BTreeMap<String, BTreeSet<String>>);

impl Packages {
    fn read(root: &Path) -> Packages {
        let run = |program: &str, args: &[&str]| {
            let out = Command::new(program).args(args).current_dir(root).output().unwrap();
            assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
            String::from_utf8(out.stdout).unwrap()
        };
        // Packages of other platforms need not have been downloaded.
        let version = run("rustc", &["-vV"]);
        let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let text = run(&cargo, &["metadata", "--format-version", "1", "--filter-platform", host]);
        let meta: serde_json::Value = serde_json::from_str(&text).unwrap();
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        let list = |value: &serde_json::Value| value.as_array().unwrap().clone();
        let names: BTreeMap<String, String> = list(&meta["packages"])
            .iter()
            .map(|package| (text(&package["id"]), text(&package["name"])))
            .collect();
        let normal =
            |dep: &serde_json::Value| list(&dep["dep_kinds"]).iter().any(|kind| kind["kind"].is_null());
        let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for node in list(&meta["resolve"]["nodes"]) {
            let deps = list(&node["deps"]);
            let deps = deps.iter().filter(|dep| normal(dep)).map(|dep| names[&text(&dep["pkg"])].clone());
            // Two versions of one package count as one: what either reaches is reached.
            used.entry(names[&text(&node["id"])].clone()).or_default().extend(deps);
        }
        Packages(used)
    }

    /// Ours, by their short names, with what they use of ours.
    fn crates(&self) -> BTreeMap<String, BTreeSet<String>> {
        let short = |name: &String| match name.as_str() {
            "dyad" => Some("server".to_owned()),
            name => name.strip_prefix("dyad-").map(str::to_owned),
        };
        let ours = self.0.iter().filter_map(|(name, used)| Some((short(name)?, used)));
        ours.map(|(name, used)| (name, used.iter().filter_map(short).collect())).collect()
    }

    fn reached(&self, from: &str) -> BTreeSet<&str> {
        let mut seen: BTreeSet<&str> = BTreeSet::new();
        let mut open: Vec<&str> = self.0[from].iter().map(String::as_str).collect();
        seen.extend(&open);
        while let Some(next) = open.pop() {
            open.extend(self.0[next].iter().map(String::as_str).filter(|used| seen.insert(*used)));
        }
        seen
    }
}

/// Every edge that is not of the layout, and every crate that the layout does not know.
pub(crate) fn check(root: &Path) {
    let packages = Packages::read(root);
    let crates = packages.crates();
    let layout: BTreeMap<&str, &[&str]> = MAY_USE.iter().copied().collect();
    let mut wrong = Vec::new();
    for (name, used) in &crates {
        let may = layout.get(name.as_str()).copied().unwrap_or_default();
        let stray = used.iter().filter(|other| !may.contains(&other.as_str()));
        wrong.extend(stray.map(|other| format!("{name} uses {other}")));
        if !layout.contains_key(name.as_str()) {
            wrong.push(format!("{name} is a crate that the layout does not know"));
        }
    }
    for (names, forbidden) in [(PURE, IMPURE), (SPEECHLESS, PROTOCOLS)] {
        for name in names {
            let reached = packages.reached(&format!("dyad-{name}"));
            let found = forbidden.iter().filter(|what| reached.contains(*what));
            wrong.extend(found.map(|what| format!("{name} reaches {what}")));
        }
    }
    assert!(wrong.is_empty(), "tidy/edges.rs has the layout: {wrong:#?}");
}
