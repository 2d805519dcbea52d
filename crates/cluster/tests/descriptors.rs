//! A process without a descriptor left. It has a test binary of its own, since it uses up those of the whole process.
#![allow(clippy::unwrap_used)]

mod member;

use std::fs::File;
use std::time::Duration;

use dyad_cluster::PortLimits;
use member::{serve, until_admitted};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};
use tokio::net::{TcpListener, TcpStream};

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn without_a_descriptor_the_port_waits_and_does_not_spin() {
    let hard = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum: hard }).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (address, _serving) = serve(listener, PortLimits::default());
    let open = descriptors();
    until_admitted(address).await;
    // Until both sides of that connection are closed.
    while descriptors() > open {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let mut files = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        files.push(file);
    }
    files.pop();
    // The last descriptor is the client's: the port has none for its side.
    let _client = TcpStream::connect(address).await.unwrap();
    let before = cpu();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = cpu() - before;
    assert!(spent < Duration::from_millis(200), "{spent:?} of CPU in a second");
    files.clear();
    until_admitted(address).await;
}
