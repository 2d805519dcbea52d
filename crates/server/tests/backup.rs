//! Backups of real servers: taken under load, checked, damaged, restored after kills, and compared by the digests of the states.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "support/server.rs"]
mod server;

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dyad_config::Revision;
use serde_json::Value;
use server::{Server, dyad, outcome, serve};

const LIMIT: Duration = Duration::from_secs(60);

fn run(directory: &Path, line: &str) -> (i32, String, String) {
    outcome(dyad(directory).args(line.split(' ')).output().unwrap())
}

fn ok(directory: &Path, line: &str) -> String {
    let (code, out, errors) = run(directory, line);
    assert_eq!(code, 0, "{line}: {errors}");
    out
}

fn json(directory: &Path, line: &str) -> Value {
    serde_json::from_str(&ok(directory, &format!("{line} --output json"))).unwrap()
}

/// A server on the `data` of a directory.
fn server_on(directory: tempfile::TempDir) -> Server {
    let (child, url) = serve(directory.path(), "0");
    Server { child, url, directory }
}

fn fill(server: &Server, configs: usize) {
    server.ok("ns create dev", "");
    for n in 0..configs {
        let namespace = ["public", "dev"][n % 2];
        server.ok(&format!("config set c{n}.txt -n {namespace}"), &format!("{n} {}", "x".repeat(n * 997)));
        server.ok(&format!("config set c{n}.txt -n {namespace} --desc second"), &format!("second {n}"));
    }
    server.ok("config set c0.txt --beta-ips 10.0.0.1", "gray");
    server.ok("config rm c2.txt", "");
    for port in 1..=configs {
        server.post(&format!(
            "/nacos/v1/ns/instance?serviceName=s{}&ip=10.0.0.1&port={port}&ephemeral=false",
            port % 5
        ));
    }
}

fn digests(directory: &Path, file: &str) -> Value {
    let shown = json(directory, &format!("backup show {file}"));
    assert!(shown["digests"]["config"].as_str().unwrap().len() == 64);
    shown["digests"].clone()
}

/// Of what the server has now.
fn digests_of(server: &Server) -> Value {
    server.ok("backup now.backup --force --data-dir data", "");
    digests(server.directory.path(), "now.backup")
}

/// Publishes one small configuration after another.
fn write_until(over: &AtomicBool, written: &AtomicUsize, directory: &Path, url: &str) {
    while !over.load(Ordering::Relaxed) {
        let n = written.load(Ordering::Relaxed);
        let mut command = dyad(directory);
        let line = format!("config set load{}.txt", n % 7);
        command.args(line.split(' ')).env("DYAD_SERVER", url).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        drop(child.stdin.take().map(|mut stdin| std::io::Write::write_all(&mut stdin, b"load")));
        if child.wait().unwrap().success() {
            written.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What a server says of each version up to the index, by the number that is made of the entry's index, and how many came later.
fn versions(server: &Server, configs: usize, index: u64) -> (Vec<Value>, usize) {
    let of_load = (0..7).map(|n| format!("load{n}.txt"));
    let of_fill = (0..configs).map(|n| format!("c{n}.txt -n {}", ["public", "dev"][n % 2]));
    let (mut upto, mut later) = (Vec::new(), 0);
    for name in of_load.chain(of_fill) {
        let (code, history, errors) =
            server.run(&format!("config history {name} --limit 1000 --output json"), "");
        if code == 6 {
            continue;
        }
        let history: Vec<Value> = serde_json::from_str(&history).expect(&errors);
        for version in history {
            let nid: u64 = version["nid"].as_str().unwrap().parse().unwrap();
            if Revision(nid).index() > index {
                later += 1;
                continue;
            }
            let sides = server.run(&format!("config get {name} --version {nid}"), "");
            upto.push(serde_json::json!({ "version": version, "content": sides.1 }));
        }
    }
    (upto, later)
}

#[test]
fn a_backup_under_load_becomes_a_server_with_the_same_state() {
    let mut source = Server::start();
    fill(&source, 12);
    let over = Arc::new(AtomicBool::new(false));
    let written = Arc::new(AtomicUsize::new(0));
    let writer = std::thread::spawn({
        let (over, written, url) = (Arc::clone(&over), Arc::clone(&written), source.url.clone());
        let directory = source.directory.path().to_owned();
        move || write_until(&over, &written, &directory, &url)
    });
    let wait = |n: usize| {
        let deadline = Instant::now() + LIMIT;
        while written.load(Ordering::Relaxed) < n {
            assert!(Instant::now() < deadline);
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    wait(3);
    let directory = source.directory.path().to_owned();
    let taken: Value = source.json("backup b.backup --data-dir data");
    wait(written.load(Ordering::Relaxed) + 2);
    over.store(true, Ordering::Relaxed);
    writer.join().unwrap();
    let index = taken["index"].as_u64().unwrap();
    let (want, later) = versions(&source, 12, index);
    assert!(later > 0 && !want.is_empty(), "{later}");
    let naming = digests_of(&source)["naming"].clone();
    source.kill();
    assert_eq!(taken["in_quorum"], true);
    assert!(
        taken["index"].as_u64().unwrap() > 30
            && taken["bytes"] == fs::metadata(directory.join("b.backup")).unwrap().len()
    );
    let (code, _, errors) = run(&directory, "backup b.backup --data-dir data");
    assert_eq!(code, 7, "it is not overwritten: {errors}");
    assert!(!directory.join("b.backup.part").exists());
    ok(&directory, "backup verify b.backup");

    let target = tempfile::tempdir().unwrap();
    let data = target.path().join("data").display().to_string();
    let said = ok(&directory, &format!("restore b.backup --data-dir {data}"));
    assert!(said.contains("the only member of a new cluster"), "{said}");
    let (code, _, errors) = run(&directory, &format!("restore b.backup --data-dir {data}"));
    assert!(code == 1 && errors.contains("a directory without a store"), "{errors}");
    let mut restored = server_on(target);
    let got = digests_of(&restored);
    assert_eq!(got, digests(&directory, "b.backup"));
    assert_eq!(got["naming"], naming, "the writer changed no instances");
    assert_eq!(
        versions(&restored, 12, index),
        (want, 0),
        "what the source had at this index, and nothing else"
    );
    let cluster = |server: &Server| {
        server.json("cluster status --data-dir data")["raft"]["cluster_id"].as_str().unwrap().to_owned()
    };
    assert_ne!(cluster(&restored), taken["cluster_id"].as_str().unwrap());
    assert_eq!(restored.ok("config get c3.txt -n dev", ""), "second 3");
    assert_eq!(restored.ok("config get c0.txt --gray beta", ""), "gray");
    let history = restored.json("config history c2.txt");
    assert_eq!(history.as_array().unwrap().len(), 3, "{history}");
    restored.ok("config set c3.txt -n dev", "third");
    restored.kill();
    restored.restart();
    assert_eq!(restored.ok("config get c3.txt -n dev", ""), "third");
}

#[test]
fn a_damaged_backup_is_told_and_makes_no_server() {
    let source = Server::start();
    fill(&source, 4);
    source.ok("backup b.backup --data-dir data", "");
    let (directory, good) = (source.directory.path(), fs::read(source.path("b.backup")).unwrap());
    for n in 0..12 {
        let mut bytes = good.clone();
        let at = n * (good.len() - 1) / 11;
        bytes[at] ^= 0x10;
        fs::write(source.path("bad.backup"), bytes).unwrap();
        let (code, out, errors) = run(directory, "backup verify bad.backup");
        assert_eq!(code, 4, "{at}: {out}{errors}");
        assert!(errors.contains("bad.backup: byte "), "{errors}");
    }
    fs::write(source.path("bad.backup"), &good[..good.len() - 40]).unwrap();
    let (code, _, errors) = run(directory, "restore bad.backup --data-dir other");
    assert_eq!(code, 4, "{errors}");
    let left: Vec<_> =
        fs::read_dir(source.path("other")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["lock"], "nothing is left of what was begun");
    ok(directory, "restore b.backup --data-dir other");
    assert_eq!(run(directory, "backup verify missing.backup").0, 2);
}

/// Wherever it is killed, the same command completes, and until then nothing starts there.
#[test]
fn a_restore_that_was_killed_is_completed_by_the_next() {
    let source = Server::start();
    fill(&source, 30);
    let directory = source.directory.path();
    source.ok("backup b.backup --data-dir data", "");
    let want = digests(directory, "b.backup");
    let mut killed = 0;
    for n in 0..12 {
        let target = tempfile::tempdir().unwrap();
        let line = format!("restore b.backup --data-dir {}", target.path().join("data").display());
        let mut child = dyad(directory).args(line.split(' ')).stdout(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(n * 12));
        killed += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        // The identity comes last: with it all is there, even if the process was killed before it could say so.
        let exited = child.wait().unwrap().success();
        let done = exited || target.path().join("data").join("identity").exists();
        if !done && target.path().join("data").join("refound.part").exists() {
            let data = target.path().join("data").display().to_string();
            let (code, _, errors) =
                run(directory, &format!("server --port 0 --grpc-port 0 --data-dir {data}"));
            assert!(code == 1 && errors.contains("was cut off here"), "{code} {errors}");
        }
        let (code, out, errors) = run(directory, &line);
        assert!(code == 0 || (done && code == 1), "{out}{errors}");
        assert_eq!(digests_of(&server_on(target)), want);
    }
    assert!(killed > 0, "no restore was killed while it ran");
}

/// Text that does not compress well, so that a backup of it takes a while.
fn noise(seed: usize, len: usize) -> String {
    let mut state = seed as u64 + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(33 + (state >> 33) as u8 % 90)
    };
    (0..len).map(|_| next()).collect()
}

/// Whoever is killed while a backup is taken: under its name is a whole file, or the one that was there before.
#[test]
fn a_backup_that_is_killed_leaves_no_half_file() {
    let mut server = Server::start();
    for n in 0..24 {
        server.ok(&format!("config set large{n}"), &noise(n, 1_500_000));
    }
    let directory = server.directory.path().to_owned();
    ok(&directory, "backup kept.backup --data-dir data");
    let kept = fs::read(directory.join("kept.backup")).unwrap();
    let mut cut = 0;
    for n in 0..16_u64 {
        let line = "backup kept.backup --force --data-dir data";
        let mut child = dyad(&directory)
            .args(line.split(' '))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(3 * n + 1));
        let by_server = n % 2 == 0;
        if by_server {
            server.kill();
        } else {
            child.kill().unwrap();
        }
        if !child.wait().unwrap().success() {
            cut += 1;
            assert!(fs::read(directory.join("kept.backup")).unwrap() == kept, "{n}");
        }
        ok(&directory, "backup verify kept.backup");
        if by_server {
            assert!(!directory.join("kept.backup.part").exists());
            server.restart();
        }
        ok(&directory, line);
        assert!(!directory.join("kept.backup.part").exists(), "what a killed one left is written over");
        fs::write(directory.join("kept.backup"), &kept).unwrap();
    }
    assert!(cut > 2, "only {cut} were cut off");
}

#[test]
fn what_one_directory_has_becomes_a_new_cluster_when_the_others_are_lost() {
    let mut server = Server::start();
    fill(&server, 6);
    let want = digests_of(&server);
    let before = server.json("cluster status --data-dir data");
    let (code, _, errors) = server.run("recover --new-cluster --the-others-are-lost --data-dir data", "");
    assert!(code == 3 && errors.contains("in use"), "{errors}");
    server.kill();
    let (code, _, errors) = server.run("recover --new-cluster --data-dir data", "");
    assert!(
        code == 1 && errors.contains("ends at index") && errors.contains("--the-others-are-lost"),
        "{errors}"
    );
    let said = server.ok("recover --new-cluster --the-others-are-lost --data-dir data", "");
    assert!(said.contains("any of them may have had more") && said.contains("raft.lost-1"), "{said}");
    for name in ["identity", "raft", "contents", "snapshots", "logged"] {
        assert!(server.path("data").join(format!("{name}.lost-1")).exists(), "{name}");
    }
    server.restart();
    assert_eq!(digests_of(&server), want);
    let after = server.json("cluster status --data-dir data");
    assert_ne!(before["member_id"], after["member_id"]);
    assert_ne!(before["raft"]["cluster_id"], after["raft"]["cluster_id"]);
    server.ok("config set after.txt", "x");
}

#[test]
fn a_part_of_a_backup_is_published_in_a_running_cluster() {
    let source = Server::start();
    fill(&source, 8);
    let file = source.path("b.backup").display().to_string();
    source.ok("backup b.backup --data-dir data", "");
    let target = Server::start();
    let restore = |rest: &str| target.run(&format!("restore {file} {rest}"), "");
    let (code, _, errors) = restore("--namespace dev");
    assert!(code == 6 && errors.contains("dev"), "the namespace is not there: {code} {errors}");
    target.ok("ns create dev", "");
    let (code, out, errors) = restore("--namespace dev --dry-run");
    assert!(code == 0 && out.contains("create: dev/DEFAULT_GROUP/c1.txt"), "{out}{errors}");
    assert_eq!(restore("--namespace dev --dry-run --exit-code").0, 8);
    assert_eq!(target.run("config get c1.txt -n dev", "").0, 6, "nothing was written");
    let (code, out, errors) = restore("--namespace dev");
    assert!(code == 0 && out.contains("published 4"), "{out}{errors}");
    assert_eq!(target.ok("config get c7.txt -n dev", ""), "second 7");
    let (code, out, errors) =
        restore("--config public/DEFAULT_GROUP/c4.txt --config dev/DEFAULT_GROUP/c1.txt");
    assert!(code == 7, "c1.txt exists: {out}{errors}");
    let (code, out, errors) =
        restore("--config public/DEFAULT_GROUP/c4.txt --config dev/DEFAULT_GROUP/c1.txt --policy overwrite");
    assert!(code == 0, "{out}{errors}");
    assert_eq!(target.ok("config get c4.txt", ""), "second 4");
    assert_eq!(restore("--config public/DEFAULT_GROUP/none").0, 6);
    let (code, out, errors) = restore("--config public/DEFAULT_GROUP/c4.txt --namespace dve");
    assert!(code == 6 && errors.contains("no configuration is in namespace \"dve\""), "{code} {out}{errors}");
    let (code, out, errors) = restore("--namespace dev --namespace dev --policy skip");
    assert!(code == 0 && out.contains("published 0"), "{code} {out}{errors}");
    assert_eq!(restore("--config none").0, 2);
    assert_eq!(restore("--namespace dev --data-dir x").0, 2);
}

/// Without its key nobody can read an encrypted content.
#[test]
fn a_part_is_published_with_everything_that_its_configurations_have() {
    let source = Server::start();
    source.post(
        "/nacos/v3/admin/cs/config?dataId=secret&groupName=G&content=cipher&encryptedDataKey=k1&type=json&appName=shop&configTags=a,b",
    );
    source
        .post("/nacos/v3/admin/cs/config?dataId=texts&groupName=G&content=x&use=u&effect=e&schema=s&desc=d");
    source.ok("config set plain -g G", "x");
    source.ok("backup b.backup --data-dir data", "");
    let file = source.path("b.backup").display().to_string();
    let target = Server::start();
    let restore = |rest: &str| target.run(format!("restore {file} --namespace public {rest}").trim(), "");
    let (code, out, errors) = restore("--dry-run");
    assert!(code == 0 && out.matches("create: public/G/").count() == 3, "{out}{errors}");
    let (code, out, errors) = restore("");
    assert!(code == 0 && out.matches("published 1").count() == 3, "{out}{errors}");
    let whole = |server: &Server, name: &str| {
        let mut shown = server.json(&format!("config get {name} -g G"));
        for field in ["createTime", "modifyTime", "createUser", "createIp"] {
            shown[field] = Value::Null;
        }
        shown
    };
    for name in ["secret", "texts", "plain"] {
        assert_eq!(whole(&target, name), whole(&source, name));
    }
    assert_eq!(whole(&target, "secret")["encryptedDataKey"], "k1");
    target.post("/nacos/v3/admin/cs/config?dataId=secret&groupName=G&content=other&encryptedDataKey=k2");
    // All of it is shown, with what the policy does not reach.
    let (code, out, errors) = restore("--dry-run");
    assert!(code == 7 && errors.contains("is there already, and would end the import"), "{errors}");
    let shown = |action: &str| out.lines().filter(|line| line.starts_with(&format!("{action}: "))).count();
    assert_eq!((shown("conflict"), shown("not reached")), (1, 2), "{out}");
    let (code, out, errors) = restore("--policy skip");
    assert!(code == 0 && out.contains("skipped: G/secret"), "{out}{errors}");
    let (code, out, errors) = restore("--policy overwrite --dry-run");
    assert!(code == 0 && out.contains("encryptedDataKey: \"k2\" becomes \"k1\""), "{out}{errors}");
    let (code, _, errors) = restore("");
    assert!(code == 7 && errors.contains("G/secret is there already"), "{errors}");
    assert_eq!(restore("--policy overwrite").0, 0);
    assert_eq!(whole(&target, "secret"), whole(&source, "secret"));
    assert_eq!(target.run(&format!("restore {file} --config dev/G/secret"), "").0, 6);
}

/// What is for a part must not restore everything.
#[test]
fn flags_of_a_part_alone_restore_nothing() {
    let source = Server::start();
    source.ok("config set a", "x");
    source.ok("backup b.backup --data-dir data", "");
    for flags in ["--dry-run", "--policy skip", "--reason x", "--server http://127.0.0.1:1", "--user me"] {
        let (code, _, errors) = source.run(&format!("restore b.backup --data-dir new {flags}"), "");
        assert_eq!(code, 2, "{flags}: {errors}");
        assert!(errors.contains("--namespace"), "{flags}: {errors}");
        assert!(!source.path("new").exists(), "{flags}");
    }
    // The variable is that of the shell, for other commands.
    source.ok("restore b.backup --data-dir new", "");
}

/// An operator who has no room for backups learns it at the start, and not from the first one that is missing.
#[test]
fn a_server_does_not_start_without_a_place_for_its_backups() {
    let directory = tempfile::tempdir().unwrap();
    let line = "server --bind 127.0.0.1 --port 0 --grpc-port 0 --data-dir data --backup-every 1h --backup-dir missing/b";
    let (code, _, errors) = run(directory.path(), line);
    assert!(code == 2 && errors.contains("setting backup.dir: cannot write to missing/b"), "{code} {errors}");
}

struct Killed(Child);

impl Drop for Killed {
    fn drop(&mut self) {
        let _dead = self.0.kill();
        let _dead = self.0.wait();
    }
}

#[test]
fn a_server_backs_itself_up_and_keeps_the_newest() {
    let directory = tempfile::tempdir().unwrap();
    let dir = directory.path().join("kept");
    fs::create_dir(&dir).unwrap();
    fs::write(dir.join("mine.backup"), "mine").unwrap();
    let line = "server --bind 127.0.0.1 --port 0 --grpc-port 0 --log-level warn --data-dir data --backup-every 1s \
                --backup-keep 2 --backup-dir kept";
    let mut child =
        dyad(directory.path()).args(line.split_whitespace()).stdout(Stdio::piped()).spawn().unwrap();
    let mut ready = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(child.stdout.take().unwrap()), &mut ready)
        .unwrap();
    let _killed = Killed(child);
    let ready: Value = serde_json::from_str(&ready).unwrap();
    let names = || -> Vec<String> {
        let entries =
            fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> =
            entries.filter(|name| name.starts_with("dyad-") && name.ends_with(".backup")).collect();
        names.sort();
        names
    };
    let deadline = Instant::now() + LIMIT;
    let mut seen = std::collections::BTreeSet::new();
    while seen.len() < 4 {
        assert!(Instant::now() < deadline, "{seen:?}");
        seen.extend(names());
        std::thread::sleep(Duration::from_millis(50));
    }
    assert!(names().len() <= 3, "the third is there until an older one goes: {:?}", names());
    assert_eq!(fs::read(dir.join("mine.backup")).unwrap(), b"mine");
    ok(directory.path(), &format!("backup verify kept/{}", names().first().unwrap()));
    let url = format!("http://{}/metrics", ready["http"].as_str().unwrap());
    let metrics = Command::new("curl").args(["-s", &url]).output().unwrap();
    let metrics = String::from_utf8(metrics.stdout).unwrap();
    let value = |name: &str| -> f64 {
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix(&format!("dyad_{name} ")))
            .unwrap_or_else(|| panic!("{name}: {metrics}"));
        line.parse().unwrap()
    };
    assert!(value("backup_last_success_seconds") > 1.7e9 && value("backup_last_bytes") > 100.0);
    assert!(value("backup_failures_total") == 0.0);
}
