//! Writers of instances and configurations that remember what was acknowledged, and when.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::shim::{Promises, now_ns};
use crate::fleet::{Fleet, MEMBERS, Member};
use crate::http::Request;
use crate::load::PERSISTENT_TIMEOUT;
use crate::nacos::{self, Config, Instance, Listing};

/// Writers at a time.
pub(super) const WRITERS: usize = 32;
/// Disks that must have promised a write.
const MAJORITY: usize = MEMBERS / 2 + 1;
/// Instances in one service, well below the server's limit; further ones go to `NAME.1`, `NAME.2`, …
const PER_SERVICE: usize = 2500;
/// After a refused write.
const PAUSE: Duration = Duration::from_millis(10);
/// Longest wait for a cluster to take writes.
const TAKES_MAX: Duration = Duration::from_secs(15);

/// What writers write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    Ephemeral,
    Persistent,
    Configs,
    /// Persistent instances and configurations in turn.
    Mixed,
}

/// What one write wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Thing {
    Instance(Instance),
    Config(Config),
}

impl Thing {
    /// The `n`-th of a label.
    fn new(load: Load, label: &str, n: usize) -> Thing {
        if load == Load::Configs || load == Load::Mixed && n.is_multiple_of(2) {
            return Thing::Config(Config::new(format!("{label}-{n}"), n as u64 / 2));
        }
        let ip = format!("10.3.{}.{}", n / 250 % 250, n % 250 + 1);
        let port = u16::try_from(1000 + n / 62_500).unwrap_or(u16::MAX);
        let service = match n / PER_SERVICE {
            0 => label.to_owned(),
            more => format!("{label}.{more}"),
        };
        Thing::Instance(Instance { service, ip, port, persistent: load != Load::Ephemeral })
    }

    fn write(&self) -> Request {
        match self {
            Thing::Instance(instance) => instance.register(),
            Thing::Config(config) => config.publish(),
        }
    }
}

impl std::fmt::Display for Thing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Thing::Instance(instance) => write!(f, "{} {}:{}", instance.service, instance.ip, instance.port),
            Thing::Config(config) => write!(f, "{} {}", config.data_id, config.version),
        }
    }
}

/// One acknowledged write, times in the shim's clock.
#[derive(Clone, Debug)]
pub(super) struct Acked {
    pub(super) thing: Thing,
    pub(super) sent: u64,
    pub(super) acknowledged: u64,
}

/// What writers share.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    next: AtomicUsize,
    acked: Mutex<Vec<Acked>>,
    refused: AtomicUsize,
}

/// Writers at work.
#[derive(Debug)]
pub(super) struct Writers {
    shared: Arc<Shared>,
    tasks: JoinSet<()>,
}

impl Writers {
    /// Starts writers of distinct things named after `label`, at `members` in turn.
    pub(super) fn start(members: &[Arc<Member>], label: &str, load: Load, count: usize) -> Writers {
        let shared = Arc::<Shared>::default();
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            tasks.spawn(write(members.to_vec(), label.to_owned(), load, shared.clone()));
        }
        Writers { shared, tasks }
    }

    /// Writes acknowledged until now.
    pub(super) fn count(&self) -> usize {
        self.shared.acked.lock().expect("no holder panics").len()
    }

    /// Waits for `count` acknowledged writes; false if that takes too long.
    pub(super) async fn until(&self, count: usize, within: Duration) -> bool {
        let began = Instant::now();
        while self.count() < count {
            if began.elapsed() > within {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        true
    }

    /// Ends them without waiting for answers: the acknowledged writes, and how many were refused.
    pub(super) async fn stop(mut self) -> (Vec<Acked>, usize) {
        self.shared.stop.store(true, Ordering::SeqCst);
        self.tasks.shutdown().await;
        let acked = std::mem::take(&mut *self.shared.acked.lock().expect("no holder panics"));
        (acked, self.shared.refused.load(Ordering::SeqCst))
    }
}

async fn write(members: Vec<Arc<Member>>, label: String, load: Load, shared: Arc<Shared>) {
    while !shared.stop.load(Ordering::SeqCst) {
        let n = shared.next.fetch_add(1, Ordering::Relaxed);
        let thing = Thing::new(load, &label, n);
        let request = thing.write();
        let sent = now_ns();
        let answer = members[n % members.len()].http.call(&request, PERSISTENT_TIMEOUT).await;
        let acknowledged = now_ns();
        if answer.is_ok_and(|answer| answer.status == 200) {
            shared.acked.lock().expect("no holder panics").push(Acked { thing, sent, acknowledged });
        } else {
            shared.refused.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(PAUSE).await;
        }
    }
}

/// Those that were acknowledged before a majority of disks had promised anything since they were sent.
pub(super) fn too_early<'a>(acked: &'a [Acked], promises: &[Promises]) -> Vec<&'a Acked> {
    let covered = |write: &Acked| {
        promises.iter().filter(|disk| disk.any_within(write.sent, write.acknowledged)).count() >= MAJORITY
    };
    acked.iter().filter(|write| !covered(write)).collect()
}

/// Acknowledged writes that `member` does not show: instances in the list of their service, configurations by a get, with
/// their whole content. None: one of the questions was not answered.
pub(super) async fn missing<'a>(member: &Member, acked: &'a [Acked]) -> Option<Vec<&'a Acked>> {
    let mut services: HashMap<&str, HashSet<(String, u16)>> = HashMap::new();
    let mut missing = Vec::new();
    for write in acked {
        let there = match &write.thing {
            Thing::Instance(instance) => {
                let service = instance.service.as_str();
                if !services.contains_key(service) {
                    services.insert(service, listed(member, service).await?);
                }
                services[service].contains(&(instance.ip.clone(), instance.port))
            }
            Thing::Config(config) => {
                let answer = member.http.call(&config.get(), PERSISTENT_TIMEOUT).await.ok()?;
                match answer.status {
                    200 => config.version_of(&answer.body) == Some(config.version),
                    404 => false,
                    _ => return None,
                }
            }
        };
        if !there {
            missing.push(write);
        }
    }
    Some(missing)
}

/// Addresses in the list of a service.
async fn listed(member: &Member, service: &str) -> Option<HashSet<(String, u16)>> {
    let answer = member.http.call(&nacos::list(service), PERSISTENT_TIMEOUT).await.ok()?;
    let listing = Listing::parse(&answer.body).ok().filter(|_| answer.status == 200)?;
    Some(listing.hosts.iter().map(|host| (host.ip.to_string(), host.port)).collect())
}

/// Sends `request` to the members in turn until one says yes.
pub(super) async fn until_ok(fleet: &Fleet, request: &Request, timeout: Duration) -> bool {
    let began = Instant::now();
    while began.elapsed() < TAKES_MAX {
        for at in fleet.up() {
            if fleet.members[at].http.call(request, timeout).await.is_ok_and(|answer| answer.status == 200) {
                return true;
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
    false
}
