//! A process whose descriptors are all taken. The limit is the process's, so that this test has one to itself.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::fs::File;

use common::{Cluster, eventually};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// As few as a container that was set up without thought has.
const LIMIT: u64 = 256;

#[test]
fn without_a_descriptor_left_snapshots_go_on_or_wait() {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(LIMIT), maximum }).unwrap();
    let cluster = Cluster::new(1, |config| {
        config.snapshot_every = 20;
        config.keep_entries = 5;
    });
    let member = &cluster.members[0];
    member.register(1);
    let taken: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(File::open("/dev/null").is_err());
    let mut port = 1;
    for _ in 0..5 {
        let before = member.handle().status().snapshot;
        eventually("a further snapshot", || {
            port += 1;
            member.register(port);
            (member.handle().status().snapshot > before).then_some(())
        });
        assert_eq!(member.handle().on_fatal().borrow().clone(), None);
    }
    assert!(File::open("/dev/null").is_err(), "nothing was given back");
    drop(taken);
    let snapshots = member.dir.join("snapshots");
    for entry in std::fs::read_dir(&snapshots).unwrap().map(Result::unwrap) {
        if entry.path().extension().is_some_and(|extension| extension == "tmp") {
            std::fs::remove_file(entry.path()).unwrap();
        }
    }
    let before = member.handle().status().snapshot;
    eventually("a snapshot though somebody tidied up", || {
        port += 1;
        member.register(port);
        (member.handle().status().snapshot > before).then_some(())
    });
    assert_eq!(member.handle().on_fatal().borrow().clone(), None);
    assert!((1..=port).all(|port| member.has(port)));
}
