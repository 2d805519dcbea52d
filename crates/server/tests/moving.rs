//! Three real members and sixty gRPC clients, each with an instance: a drain and its end, rebalancing, and the end of a member.
//! Whatever moves the clients, each one is asked to, and no member's list ever lacks an instance or shows one twice.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

#[path = "support/sdk.rs"]
mod sdk;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use dyad_testkit::fleet::{Fleet, Life, MEMBERS, Member, Options};
use dyad_testkit::http::Request;
use parking_lot::Mutex;
use sdk::Sdk;
use serde_json::Value;

/// Clients, the same number at each member to begin with, and services, which they share evenly.
const CLIENTS: usize = 60;
const SERVICES: usize = 3;
/// Longest wait for what should be soon.
const SOON: Duration = Duration::from_secs(25);
/// Between two looks, and before a client that was refused tries the next member.
const PAUSE: Duration = Duration::from_millis(20);
const ASK: Duration = Duration::from_secs(2);

/// Clients and what is seen of them.
struct World {
    members: Vec<Arc<Member>>,
    /// Which member each client is registered with; none while it is on its way.
    at: Vec<AtomicUsize>,
    /// Clients that were asked to go, and connections that ended without that.
    asked: AtomicUsize,
    lost: AtomicUsize,
    /// Lists that were looked at, and what was wrong with some.
    looks: AtomicUsize,
    wrong: Mutex<Vec<String>>,
    over: AtomicBool,
}

const NOWHERE: usize = usize::MAX;

fn ip(who: usize) -> String {
    format!("10.0.0.{}", who + 1)
}

fn service(who: usize) -> String {
    format!("moving-{}", who % SERVICES)
}

impl World {
    fn grpc(&self, member: usize) -> SocketAddr {
        let http = self.members[member].http.address();
        SocketAddr::new(http.ip(), http.port() + 1_000)
    }

    /// A client: goes where it is told, else to the next member. It gives up its old connection before it has registered
    /// anew, as the Java client does.
    async fn live(self: Arc<World>, who: usize, mut member: usize) {
        while !self.over.load(Ordering::Relaxed) {
            let Ok(mut client) = Sdk::connect(self.grpc(member)).await else {
                member = (member + 1) % MEMBERS;
                tokio::time::sleep(PAUSE).await;
                continue;
            };
            if client.register(&service(who), &ip(who)).await.is_ok() {
                self.at[who].store(member, Ordering::SeqCst);
            }
            let to = client.until_reset().await;
            self.at[who].store(NOWHERE, Ordering::SeqCst);
            member = match to {
                Some(to) => {
                    self.asked.fetch_add(1, Ordering::SeqCst);
                    self.members.iter().position(|member| member.http.address() == to).unwrap()
                }
                None => {
                    self.lost.fetch_add(1, Ordering::SeqCst);
                    (member + 1) % MEMBERS
                }
            };
        }
    }

    /// Addresses in a member's list; none when it does not answer.
    async fn list(&self, member: usize, service: &str) -> Option<Vec<String>> {
        let request = Request::new("GET", format!("/nacos/v1/ns/instance/list?serviceName={service}"));
        let answer = self.members[member].http.call(&request, ASK).await.ok()?;
        let json: Value = serde_json::from_slice(&answer.body).ok().filter(|_| answer.status == 200)?;
        let hosts = json["hosts"].as_array()?.iter();
        let mut ips: Vec<String> = hosts.filter_map(|host| Some(host["ip"].as_str()?.to_owned())).collect();
        ips.sort();
        Some(ips)
    }

    fn whole(&self, of: usize) -> Vec<String> {
        let mut ips: Vec<String> = (of..CLIENTS).step_by(SERVICES).map(ip).collect();
        ips.sort();
        ips
    }

    async fn shows_all(&self, member: usize) -> bool {
        for of in 0..SERVICES {
            if self.list(member, &service(of)).await != Some(self.whole(of)) {
                return false;
            }
        }
        true
    }

    /// Looks at a member's lists again and again, as long as it answers.
    async fn observe(self: Arc<World>, member: usize) {
        while !self.over.load(Ordering::Relaxed) {
            for of in 0..SERVICES {
                let before = self.members[member].moment().life();
                if let Some(ips) = self.list(member, &service(of)).await {
                    self.looks.fetch_add(1, Ordering::Relaxed);
                    if ips != self.whole(of) && before == Life::Up {
                        let found = format!("member {} shows {} of {}", member + 1, ips.len(), service(of));
                        self.wrong.lock().push(found);
                    }
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Clients by member.
    fn counts(&self) -> [usize; MEMBERS] {
        let at: Vec<usize> = self.at.iter().map(|at| at.load(Ordering::SeqCst)).collect();
        std::array::from_fn(|member| at.iter().filter(|&&at| at == member).count())
    }

    /// So many were asked to go, and nothing else happened.
    fn assert_unseen(&self, asked: std::ops::RangeInclusive<usize>) {
        assert_eq!(*self.wrong.lock(), Vec::<String>::new());
        assert_eq!(self.lost.load(Ordering::SeqCst), 0, "connections ended without a ConnectReset");
        let were = self.asked.load(Ordering::SeqCst);
        assert!(asked.contains(&were), "{were} clients were asked to go, not {asked:?}");
    }
}

async fn until<F: Future<Output = bool>>(what: &str, mut holds: impl FnMut() -> F) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < SOON, "{what}: not within {SOON:?}");
        tokio::time::sleep(PAUSE).await;
    }
}

fn dyad() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_dyad"))
}

/// Gives a command of `dyad cluster` to member 1.
fn cluster(fleet: &Fleet, line: &str) -> String {
    let data = Path::new(&fleet.place()).join("1");
    let output = Command::new(dyad())
        .arg("cluster")
        .args(line.split(' '))
        .arg("--data-dir")
        .arg(data)
        .output()
        .unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

async fn subscribers(world: &World, member: usize, aggregation: bool) -> Vec<String> {
    let target =
        format!("/nacos/v1/ns/service/subscribers?serviceName={}&aggregation={aggregation}", service(0));
    let answer = world.members[member].http.call(&Request::new("GET", target), ASK).await.unwrap();
    let json: Value = serde_json::from_slice(&answer.body).unwrap();
    let rows = json["subscribers"].as_array().unwrap().iter();
    rows.map(|row| row["agent"].as_str().unwrap().to_owned()).collect()
}

/// Who subscribes at one member is seen at the others, when these are not asked for their own alone.
async fn a_subscriber_is_seen_everywhere(world: &World) {
    let subscriber = Sdk::connect(world.grpc(0)).await.unwrap();
    subscriber.subscribe(&service(0)).await.unwrap();
    for member in 0..MEMBERS {
        assert_eq!(subscribers(world, member, true).await, ["Nacos-Java-Client:v2.5.1"], "{member}");
    }
    assert_eq!(subscribers(world, 1, false).await, Vec::<String>::new());
    drop(subscriber);
    until("the subscriber is gone", || async { subscribers(world, 1, true).await.is_empty() }).await;
}

async fn drain_and_its_end(fleet: &Fleet, world: &World) {
    let said = cluster(fleet, "drain");
    assert!(said.starts_with("sending 20 clients to 127.0.0.1:"), "{said}");
    until("all have gone", || async { world.counts() == [0, 30, 30] }).await;
    world.assert_unseen(20..=20);
    let refused = Sdk::connect(world.grpc(0)).await.err().unwrap();
    assert!(refused.contains("\"errorCode\":300"), "{refused}");
    assert!(world.shows_all(0).await, "it still answers queries");
    until("the others know", || async {
        let status = fleet.status(1).await.unwrap();
        let drained = &world.members[0].http.address().to_string();
        let row = status.members.iter().find(|row| row.address == *drained).unwrap();
        row.draining && row.clients == Some(0)
    })
    .await;
    assert_eq!(cluster(fleet, "drain --off"), "clients are taken in again; there are 0\n");
    assert_eq!(cluster(fleet, "drain --off"), "clients are taken in as before; there are 0\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_move_and_nobody_notices() {
    let flags = ["--rebalance-after", "2s", "--min-free-disk", "0"].map(String::from).to_vec();
    let mut fleet = Fleet::loopback(Options { binary: dyad(), flags, ..Options::default() }).unwrap();
    fleet.start(&[0, 1, 2]).await.unwrap();
    for member in 0..MEMBERS {
        fleet.ready(member).await.unwrap();
    }
    let world = Arc::new(World {
        members: fleet.members.clone(),
        at: (0..CLIENTS).map(|_| AtomicUsize::new(NOWHERE)).collect(),
        asked: AtomicUsize::new(0),
        lost: AtomicUsize::new(0),
        looks: AtomicUsize::new(0),
        wrong: Mutex::default(),
        over: AtomicBool::new(false),
    });
    for who in 0..CLIENTS {
        tokio::spawn(world.clone().live(who, who % MEMBERS));
    }
    until("all are registered", || async { world.counts() == [20; MEMBERS] }).await;
    for member in 0..MEMBERS {
        until("all are listed", || world.shows_all(member)).await;
        tokio::spawn(world.clone().observe(member));
    }
    a_subscriber_is_seen_everywhere(&world).await;

    drain_and_its_end(&fleet, &world).await;

    // The drained member has none now: the others have 1.5 times the mean. They see each other's numbers late, and leave off
    // when they are about there.
    let even = |counts: [usize; MEMBERS]| counts.iter().all(|count| (19..=21).contains(count));
    until("the clients are shared evenly", || async { even(world.counts()) }).await;
    world.assert_unseen(38..=42);

    let ended = fleet.terminate(2).await.unwrap();
    assert_eq!(ended.code, Some(0), "{}", fleet.end_of_log(2).await);
    assert!(ended.took < Duration::from_secs(10), "{ended:?}");
    let moved = |[first, second, last]: [usize; MEMBERS]| last == 0 && first + second == CLIENTS;
    until("all are with the others", || async { moved(world.counts()) }).await;
    until("the lists are whole", || world.shows_all(0)).await;
    world.assert_unseen(57..=63);
    assert!(world.looks.load(Ordering::Relaxed) > 500, "{:?}", world.looks);
    world.over.store(true, Ordering::Relaxed);
    fleet.close(false).await;
}
