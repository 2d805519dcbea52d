//! How long it takes until the other members show what one member has acknowledged.

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;
use tokio::task::JoinSet;

use crate::failover::Plan;
use crate::figures::{ms, percentile};
use crate::fleet::{Fleet, MEMBERS, Member};
use crate::load::{EPHEMERAL_TIMEOUT, PERSISTENT_TIMEOUT, ProbeTarget};
use crate::nacos::{self, Instance, Listing};

/// Registrations of each kind.
const COUNT: usize = 500;
/// Between two registrations of one kind: 20 a second.
const INTERVAL: Duration = Duration::from_millis(50);
/// Between two looks at another member.
const LOOK: Duration = Duration::from_millis(2);
/// After so long something is not visible at all.
const NEVER: Duration = Duration::from_secs(5);
/// Instances in one service: lists stay short, so that looking does not disturb.
const PER_SERVICE: usize = 10;
/// The promises: p99 from the acknowledgement.
const EPHEMERAL_LIMIT: Duration = Duration::from_millis(100);
const PERSISTENT_LIMIT: Duration = Duration::from_millis(50);

/// The figures of one kind.
#[derive(Debug, Serialize)]
pub struct Visible {
    pub kind: &'static str,
    pub p50: Option<Duration>,
    pub p99: Option<Duration>,
    pub longest: Option<Duration>,
    pub limit: Duration,
    /// Registrations that were not acknowledged.
    pub refused: usize,
    /// Acknowledged instances that the answering member did not show at once.
    pub not_own: usize,
    /// Acknowledged instances that another member did not show within [`NEVER`].
    pub never: usize,
}

impl Visible {
    pub fn passed(&self) -> bool {
        self.p99.is_some_and(|p99| p99 < self.limit) && self.refused + self.not_own + self.never == 0
    }

    pub fn to_text(&self) -> String {
        let time = |value: Option<Duration>| value.map_or_else(|| "-".into(), ms);
        let mut text = String::new();
        writeln!(
            text,
            "{}: p50 {} ms, p99 {} ms (limit {}), longest {} ms; refused {}, not shown by its own member {}, never {}: {}",
            self.kind,
            time(self.p50),
            time(self.p99),
            ms(self.limit),
            time(self.longest),
            self.refused,
            self.not_own,
            self.never,
            if self.passed() { "PASS" } else { "FAIL" }
        )
        .expect("writing to a String does not fail");
        text
    }
}

/// Registers both kinds at the same time and measures.
///
/// # Errors
/// The members cannot be started.
pub async fn run(plan: &Plan) -> Result<Vec<Visible>> {
    let mut fleet = plan.fleet().await?;
    let result = measure_both(&mut fleet).await;
    let good = result.as_ref().is_ok_and(|kinds| kinds.iter().all(Visible::passed));
    fleet.close(plan.keep && !good).await;
    result
}

async fn measure_both(fleet: &mut Fleet) -> Result<Vec<Visible>> {
    let all: Vec<usize> = (0..MEMBERS).collect();
    fleet.start(&all).await?;
    for at in all {
        fleet.ready(at).await?;
    }
    let target = ProbeTarget::listen(fleet.dialable_ip().await?, PER_SERVICE).await?;
    // A persistent registration that succeeds says that there is a leader.
    let first = instance(&target, true, usize::MAX);
    while !fleet.members[0]
        .http
        .call(&first.register(), PERSISTENT_TIMEOUT)
        .await
        .is_ok_and(|answer| answer.status == 200)
    {
        tokio::time::sleep(INTERVAL).await;
    }
    let (ephemeral, persistent) = tokio::join!(
        measure(fleet.members.clone(), &target, false),
        measure(fleet.members.clone(), &target, true)
    );
    Ok(vec![ephemeral, persistent])
}

fn instance(target: &ProbeTarget, persistent: bool, n: usize) -> Instance {
    let address = target.addresses[n % PER_SERVICE];
    let kind = if persistent { "p" } else { "e" };
    Instance {
        service: format!("visible-{kind}-{}", n / PER_SERVICE),
        ip: address.ip().to_string(),
        port: address.port(),
        persistent,
    }
}

async fn measure(members: Vec<Arc<Member>>, target: &ProbeTarget, persistent: bool) -> Visible {
    let counts = Arc::new(Counts::default());
    let mut tick = tokio::time::interval(INTERVAL);
    let mut flying = JoinSet::new();
    for n in 0..COUNT {
        tick.tick().await;
        flying.spawn(one(members.clone(), n % MEMBERS, instance(target, persistent, n), counts.clone()));
    }
    let mut times: Vec<Duration> = flying.join_all().await.into_iter().flatten().collect();
    Visible {
        kind: if persistent { "persistent" } else { "ephemeral" },
        p50: percentile(&mut times, 0.5),
        p99: percentile(&mut times, 0.99),
        longest: percentile(&mut times, 1.0),
        limit: if persistent { PERSISTENT_LIMIT } else { EPHEMERAL_LIMIT },
        refused: counts.refused.load(Ordering::Relaxed),
        not_own: counts.not_own.load(Ordering::Relaxed),
        never: counts.never.load(Ordering::Relaxed),
    }
}

#[derive(Debug, Default)]
struct Counts {
    refused: AtomicUsize,
    not_own: AtomicUsize,
    never: AtomicUsize,
}

/// Registers at member `at`: the time until each of the others showed it.
async fn one(members: Vec<Arc<Member>>, at: usize, instance: Instance, counts: Arc<Counts>) -> Vec<Duration> {
    let answer = members[at].http.call(&instance.register(), PERSISTENT_TIMEOUT).await;
    let acknowledged = Instant::now();
    if !answer.is_ok_and(|answer| answer.status == 200) {
        counts.refused.fetch_add(1, Ordering::Relaxed);
        return Vec::new();
    }
    let mut looks = JoinSet::new();
    for other in members.iter().filter(|member| member.index != at) {
        let (other, instance) = (other.clone(), instance.clone());
        looks.spawn(async move { until_shown(&other, &instance, acknowledged).await });
    }
    if !is_shown(&members[at], &instance).await {
        counts.not_own.fetch_add(1, Ordering::Relaxed);
    }
    let times = looks.join_all().await;
    counts.never.fetch_add(times.iter().filter(|time| time.is_none()).count(), Ordering::Relaxed);
    times.into_iter().flatten().collect()
}

async fn until_shown(member: &Member, instance: &Instance, since: Instant) -> Option<Duration> {
    while since.elapsed() < NEVER {
        if is_shown(member, instance).await {
            return Some(since.elapsed());
        }
        tokio::time::sleep(LOOK).await;
    }
    None
}

async fn is_shown(member: &Member, instance: &Instance) -> bool {
    let answer = member.http.call(&nacos::list(&instance.service), EPHEMERAL_TIMEOUT).await;
    answer.is_ok_and(|answer| {
        answer.status == 200 && Listing::parse(&answer.body).is_ok_and(|listing| listing.shows(instance))
    })
}
