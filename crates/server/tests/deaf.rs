//! The end of a member whose cluster port is gone. To its clients it would look well, but it would hear nobody.
#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use dyad_testkit::fleet::{ServerProcess, free_ports};
use rustix::net::Shutdown;
use rustix::process::{Pid, PidfdFlags, PidfdGetfdFlags, pidfd_getfd, pidfd_open};
use tokio::process::Command;

const READY: Duration = Duration::from_secs(30);
const END: Duration = Duration::from_secs(10);

/// The inode of the socket that listens on this port.
fn listening(pid: u32, port: u16) -> Option<String> {
    let row = |line: &str| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let here = fields.get(1)?.ends_with(&format!(":{port:04X}")) && *fields.get(3)? == "0A";
        here.then(|| fields.get(9).map(|inode| (*inode).to_owned())).flatten()
    };
    let table = |name: &str| fs::read_to_string(format!("/proc/{pid}/net/{name}")).unwrap_or_default();
    table("tcp").lines().chain(table("tcp6").lines()).find_map(row)
}

/// A descriptor of the other process's socket.
fn take(pid: u32, inode: &str) -> OwnedFd {
    let is_it = |path: &Path| {
        fs::read_link(path).is_ok_and(|to| to.as_os_str() == format!("socket:[{inode}]").as_str())
    };
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().map(|entry| entry.unwrap().path());
    let path = descriptors.into_iter().find(|path| is_it(path)).unwrap();
    let number: i32 = path.file_name().unwrap().to_str().unwrap().parse().unwrap();
    let process = pidfd_open(Pid::from_raw(pid as i32).unwrap(), PidfdFlags::empty()).unwrap();
    pidfd_getfd(process, number, PidfdGetfdFlags::empty()).unwrap()
}

#[tokio::test]
async fn a_member_without_its_cluster_port_ends_and_says_why() {
    let root = tempfile::tempdir().unwrap();
    let (data, log) = (root.path().join("data"), root.path().join("log"));
    let token = root.path().join("token");
    fs::write(&token, "a token of this test, of more than thirty-two bytes").unwrap();
    let http = free_ports(1).unwrap()[0];
    let cluster = http + 1_001;
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyad"));
    command.args(["server", "--bind", "127.0.0.1", "--port", &http.to_string(), "--data-dir"]).arg(&data);
    command.args(["--members", &format!("127.0.0.1:{http}"), "--advertise", &format!("127.0.0.1:{http}")]);
    command.arg("--cluster-token-file").arg(&token);
    let mut server = ServerProcess::spawn(command, &log).unwrap();
    let pid = server.pid().unwrap();
    let said = || fs::read_to_string(&log).unwrap();
    let deadline = Instant::now() + READY;
    while !said().contains("\"ready\":true") {
        assert!(Instant::now() < deadline, "not ready: {}", said());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let inode = listening(pid, cluster).unwrap();
    rustix::net::shutdown(take(pid, &inode), Shutdown::Both).unwrap();
    assert_eq!(server.end(END).await.unwrap(), Some(1), "{}", said());
    assert!(
        said().contains("the cluster port cannot be served: the system accepts no connection on it any more"),
        "{}",
        said()
    );
}
