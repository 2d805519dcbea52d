//! A member whose log is gone, or was replaced by an older copy, does not start as if nothing had happened.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "support/server.rs"]
mod server;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use server::{Server, dyad};

/// A server that serves instead is killed after this time.
const LIMIT: Duration = Duration::from_secs(20);

/// What a start says that must end by itself.
fn start(directory: &Path) -> Output {
    let line = "server --bind 127.0.0.1 --grpc-port 0 --port 0 --log-level warn --data-dir data";
    let mut child = dyad(directory);
    let child = child.args(line.split(' ')).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (id, ended) = (child.id().to_string(), Arc::new(AtomicBool::new(false)));
    let watched = Arc::clone(&ended);
    let watch = std::thread::spawn(move || {
        let deadline = Instant::now() + LIMIT;
        while !watched.load(Ordering::Relaxed) {
            if Instant::now() > deadline {
                Command::new("kill").args(["-KILL", &id]).status().unwrap();
                return;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
    });
    let output = child.wait_with_output().unwrap();
    ended.store(true, Ordering::Relaxed);
    watch.thread().unpark();
    watch.join().unwrap();
    output
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to)
        } else {
            fs::copy(entry.path(), to).map(drop).unwrap()
        }
    }
}

#[test]
fn an_emptied_or_older_log_is_refused_and_nothing_is_removed() {
    let mut server = Server::start();
    server.ok("config set first.txt", "1");
    server.kill();
    let (raft, older, kept) = (server.path("data/raft"), server.path("older"), server.path("kept"));
    copy(&raft, &older);
    server.restart();
    server.ok("config set second.txt", "2");
    server.kill();
    copy(&raft, &kept);

    type Damage<'a> = (&'a str, &'a dyn Fn());
    let size = fs::metadata(raft.join("db")).unwrap().len();
    let damages: [Damage; 4] = [
        ("it is empty", &|| {}),
        ("it is empty", &|| {
            fs::create_dir(&raft).unwrap();
            fs::write(raft.join("db"), "").unwrap();
        }),
        ("it is empty", &|| {
            fs::create_dir(&raft).unwrap();
            fs::write(raft.join("db"), vec![0; usize::try_from(size).unwrap()]).unwrap();
        }),
        ("it is an older copy", &|| copy(&older, &raft)),
    ];
    for (n, (why, damage)) in damages.into_iter().enumerate() {
        fs::remove_dir_all(&raft).unwrap();
        damage();
        let output = start(server.directory.path());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{n}: {said}");
        assert!(
            said.contains("data/raft/db") && said.contains(why) && said.contains("recover --discard"),
            "{n}: {said}"
        );
        assert!(output.stdout.is_empty(), "{n}: it never says that it is ready");
    }

    fs::remove_dir_all(&raft).unwrap();
    copy(&kept, &raft);
    server.restart();
    assert_eq!(server.ok("config get second.txt", ""), "2");

    // The contents are on the disk after an orderly end, and know that there was a log when nothing else does.
    let stopped = Command::new("kill").args(["-TERM", &server.child.id().to_string()]).status().unwrap();
    assert!(stopped.success() && server.child.wait().unwrap().success());
    fs::remove_dir_all(&raft).unwrap();
    fs::remove_file(server.path("data/logged")).unwrap();
    for _ in 0..3 {
        let output = start(server.directory.path());
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(4), "{said}");
        assert!(said.contains("it is empty, and ") && said.contains("data/contents"), "{said}");
    }
}
