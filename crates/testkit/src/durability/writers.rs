//! Writers of persistent instances that remember what was acknowledged, and when.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use super::shim::{Promises, now_ns};
use crate::fleet::{Fleet, MEMBERS, Member};
use crate::http::Request;
use crate::load::PERSISTENT_TIMEOUT;
use crate::nacos::{self, Instance, Listing};

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

/// One acknowledged write, times in the shim's clock.
#[derive(Clone, Debug)]
pub(super) struct Acked {
    pub(super) instance: Instance,
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
    /// Starts writers that register distinct instances of `service` at `members` in turn.
    pub(super) fn start(members: &[Arc<Member>], service: &str, persistent: bool, count: usize) -> Writers {
        let shared = Arc::<Shared>::default();
        let mut tasks = JoinSet::new();
        for _ in 0..count {
            tasks.spawn(write(members.to_vec(), service.to_owned(), persistent, shared.clone()));
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

async fn write(members: Vec<Arc<Member>>, service: String, persistent: bool, shared: Arc<Shared>) {
    while !shared.stop.load(Ordering::SeqCst) {
        let n = shared.next.fetch_add(1, Ordering::Relaxed);
        let ip = format!("10.3.{}.{}", n / 250 % 250, n % 250 + 1);
        let port = u16::try_from(1000 + n / 62_500).unwrap_or(u16::MAX);
        let service = match n / PER_SERVICE {
            0 => service.clone(),
            more => format!("{service}.{more}"),
        };
        let instance = Instance { service, ip, port, persistent };
        let sent = now_ns();
        let answer = members[n % members.len()].http.call(&instance.register(), PERSISTENT_TIMEOUT).await;
        let acknowledged = now_ns();
        if answer.is_ok_and(|answer| answer.status == 200) {
            shared.acked.lock().expect("no holder panics").push(Acked { instance, sent, acknowledged });
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

/// Acknowledged instances that a list of their service, answered by `member`, does not show. None: no such answer.
pub(super) async fn missing<'a>(
    member: &Member,
    service: &str,
    acked: &'a [Acked],
) -> Option<Vec<&'a Acked>> {
    let answer = member.http.call(&nacos::list(service), PERSISTENT_TIMEOUT).await.ok()?;
    let listing = Listing::parse(&answer.body).ok().filter(|_| answer.status == 200)?;
    let shown: std::collections::HashSet<(&str, u16)> =
        listing.hosts.iter().map(|host| (host.ip.as_ref(), host.port)).collect();
    let is_shown = |write: &Acked| shown.contains(&(write.instance.ip.as_str(), write.instance.port));
    Some(acked.iter().filter(|write| write.instance.service == service && !is_shown(write)).collect())
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
