//! Two of three members are lost: what the third has becomes a new cluster, an empty member joins it, and one of the lost that comes
//! back with its old disk has no part in it.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "support/server.rs"]
mod server;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use dyad_testkit::fleet::{Fleet, MEMBERS, Options};
use server::{dyad, outcome};

/// Longest wait for what should be soon.
const SOON: Duration = Duration::from_secs(30);
const PAUSE: Duration = Duration::from_millis(50);

fn run(directory: &Path, line: &str) -> (i32, String, String) {
    outcome(dyad(directory).args(line.split(' ')).output().unwrap())
}

/// Runs a line until it succeeds.
async fn soon(directory: &Path, line: &str) -> String {
    let deadline = Instant::now() + SOON;
    loop {
        let (code, out, errors) = run(directory, line);
        if code == 0 {
            return out;
        }
        assert!(Instant::now() < deadline, "{line}: {errors}");
        tokio::time::sleep(PAUSE).await;
    }
}

fn url(fleet: &Fleet, at: usize) -> String {
    format!("http://{}", fleet.members[at].http.address())
}

/// Voters of the raft of a member. Whether it finds the cluster healthy does not matter.
fn voters(fleet: &Fleet, directory: &Path, at: usize) -> usize {
    let line = format!("cluster status --output json --data-dir {}", data(fleet, at));
    let status: serde_json::Value = serde_json::from_str(&run(directory, &line).1).unwrap_or_default();
    status["raft"]["voters"].as_array().map_or(0, Vec::len)
}

fn data(fleet: &Fleet, at: usize) -> String {
    format!("{}/{}", fleet.place(), at + 1)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_three_goes_on_as_a_new_cluster() {
    let flags = ["--min-free-disk", "0"].map(String::from).to_vec();
    let binary = PathBuf::from(env!("CARGO_BIN_EXE_dyad"));
    let mut fleet = Fleet::loopback(Options { binary, flags, ..Options::default() }).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    std::fs::write(directory.join("content"), "x".repeat(9_000)).unwrap();
    fleet.start(&[0, 1, 2]).await.unwrap();
    for member in 0..MEMBERS {
        fleet.ready(member).await.unwrap();
    }
    for n in 0..12 {
        soon(directory, &format!("config set c{n} content --server {}", url(&fleet, n % 3))).await;
    }
    let recover = format!("recover --new-cluster --data-dir {}", data(&fleet, 0));
    // The others lead: nothing is lost.
    fleet.kill(&[0]).await.unwrap();
    soon(directory, &format!("config set late content --server {}", url(&fleet, 1))).await;
    let (code, _, errors) = run(directory, &format!("{recover} --the-others-are-lost"));
    assert!(code == 1 && errors.contains("the cluster has a leader"), "{code} {errors}");
    fleet.start(&[0]).await.unwrap();
    fleet.ready(0).await.unwrap();
    soon(directory, &format!("config get late --consistent --server {}", url(&fleet, 0))).await;
    fleet.kill(&[0, 1, 2]).await.unwrap();
    let (code, _, errors) = run(directory, &recover);
    assert!(code == 1 && errors.contains("--the-others-are-lost"), "{errors}");
    let said = soon(directory, &format!("{recover} --the-others-are-lost")).await;
    assert!(said.contains("any of them may have had more"), "{said}");
    let members: Vec<String> = (0..MEMBERS).map(|at| fleet.members[at].http.address().to_string()).collect();
    assert!(members.iter().all(|address| said.contains(address)), "{said}");

    // Alone among three it is not ready for load balancers, but it serves.
    fleet.start(&[0]).await.unwrap();
    soon(directory, &format!("config set new content --server {}", url(&fleet, 0))).await;
    soon(directory, &format!("config get late --server {}", url(&fleet, 0))).await;
    fleet.wipe(1).await.unwrap();
    fleet.start(&[1]).await.unwrap();
    let deadline = Instant::now() + SOON;
    while voters(&fleet, directory, 0) != 2 {
        assert!(Instant::now() < deadline, "the empty member does not join");
        tokio::time::sleep(PAUSE).await;
    }
    soon(directory, &format!("config get new --consistent --server {}", url(&fleet, 1))).await;

    // The third one comes back with what it had.
    fleet.start(&[2]).await.unwrap();
    let deadline = Instant::now() + SOON;
    loop {
        let (code, out, _) = run(directory, &format!("config get c0 --server {}", url(&fleet, 2)));
        if code == 0 && !out.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "it serves what it has");
        tokio::time::sleep(PAUSE).await;
    }
    for n in 0..5 {
        soon(directory, &format!("config set after{n} content --server {}", url(&fleet, n % 2))).await;
        let (code, _, errors) =
            run(directory, &format!("config set foreign content --server {}", url(&fleet, 2)));
        assert!(code != 0, "it has no majority: {errors}");
    }
    assert_eq!(
        run(directory, &format!("config get after0 --server {}", url(&fleet, 2))).0,
        6,
        "nothing reaches it"
    );
    assert_eq!(run(directory, &format!("config get foreign --server {}", url(&fleet, 0))).0, 6);
    assert_eq!((voters(&fleet, directory, 0), voters(&fleet, directory, 2)), (2, 3));
    // It gives a backup of what it has, and says what that is.
    let said = soon(directory, &format!("backup foreign.backup --data-dir {}", data(&fleet, 2))).await;
    assert!(
        said.contains("the member heard no leader") && said.contains("other members may have more"),
        "{said}"
    );
    let said = soon(directory, &format!("backup new.backup --data-dir {}", data(&fleet, 1))).await;
    assert!(!said.contains("heard no leader"), "{said}");
    fleet.close(false).await;
}
