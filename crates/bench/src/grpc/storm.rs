//! Clients that lose their server: all begin at the first member, which the caller kills; each goes to the next one and
//! registers and subscribes again. Observers at the other members look whether anything is missing meanwhile.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::client::{Client, End};
use super::versions::{VERSIONS_MAX, Versions};
use super::wire::{self, Listing, ServiceInfo};
use crate::args::StormArgs;
use crate::error::{BenchError, Failed};
use crate::record::{Meter, Recorder, Round};
use crate::run::Bench;

/// All clients are registered for the first time within this.
const FIRST_MAX: Duration = Duration::from_secs(120);
/// Pause before another member is tried, longer each time.
const PAUSE: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// Observers look so often.
const LOOK: Duration = Duration::from_millis(250);
/// A client that is connected for longer is in every list.
const SHOWN: Duration = Duration::from_secs(1);
/// A client that lost its connection less than this ago is still in every list: the linger of 10 s less what it takes
/// to be noticed and shown.
const LINGERS: Duration = Duration::from_secs(8);
/// The prober changes its instance so often; pushes of it show what a change takes during the storm.
const CHANGE: Duration = Duration::from_secs(1);

/// What everybody shares.
struct Storm {
    members: Vec<SocketAddr>,
    tag: String,
    services: usize,
    clients: Vec<State>,
    versions: Versions,
    prober_ip: String,
    reconnects: Recorder,
    errors: Recorder,
    empty: AtomicU64,
    lost: AtomicU64,
    flickers: AtomicU64,
    lists: AtomicU64,
    stop: CancellationToken,
}

/// Nanoseconds of the versions' clock; 0 is never.
#[derive(Default)]
struct State {
    /// Registered and subscribed since; 0 while it is not.
    up: AtomicU64,
    /// When the last connection was lost.
    down: AtomicU64,
}

/// One round: the latency is from a lost connection to a registration and subscription elsewhere.
pub(crate) async fn measure(args: &StormArgs, bench: &Bench<'_>) -> Result<Round, BenchError> {
    let count = usize::try_from(args.connections).unwrap_or(usize::MAX);
    let services = usize::try_from(args.services).unwrap_or(usize::MAX).min(count);
    let members = bench.side.members().iter().map(|member| member.grpc).collect();
    let storm = Arc::new(Storm::new(members, bench.tag.clone(), services, count));
    let mut tasks = JoinSet::new();
    for who in 0..count {
        let storm = storm.clone();
        // A large machine opens thousands at a time, a server's queue of new connections does not take them.
        if who % 64 == 63 {
            sleep(Duration::from_millis(20)).await;
        }
        tasks.spawn(async move {
            let stop = storm.stop.clone();
            stop.run_until_cancelled(storm.live(who)).await;
        });
    }
    storm.all_up().await.map_err(|up| bench.refused(format!("{up} of {count} clients are registered")))?;
    let others = storm.members.len().saturating_sub(1).max(1);
    for member in storm.members.iter().rev().take(others) {
        let (storm, member) = (storm.clone(), *member);
        tasks.spawn(async move {
            let stop = storm.stop.clone();
            stop.run_until_cancelled(storm.observe(member)).await;
        });
    }
    let prober = storm.clone();
    tasks.spawn(async move {
        let stop = prober.stop.clone();
        stop.run_until_cancelled(prober.probe()).await;
    });
    sleep(bench.warmup).await;
    storm.count();
    let first = &bench.side.first().name;
    (bench.note)(&format!(
        "{count} clients are connected to {first}: kill it now; {:?} are left",
        bench.time
    ));
    let meter = Meter::start(&bench.side.pids);
    sleep(bench.time).await;
    let usage = meter.stop();
    let round = storm.round(usage);
    storm.stop.cancel();
    while tasks.join_next().await.is_some() {}
    Ok(round)
}

impl Storm {
    fn new(members: Vec<SocketAddr>, tag: String, services: usize, count: usize) -> Storm {
        Storm {
            members,
            tag,
            services,
            clients: (0..count).map(|_| State::default()).collect(),
            versions: Versions::new(count, VERSIONS_MAX),
            prober_ip: wire::ip(count),
            reconnects: Recorder::new(),
            errors: Recorder::new(),
            empty: AtomicU64::new(0),
            lost: AtomicU64::new(0),
            flickers: AtomicU64::new(0),
            lists: AtomicU64::new(0),
            stop: CancellationToken::new(),
        }
    }

    async fn all_up(&self) -> Result<(), usize> {
        let end = Instant::now() + FIRST_MAX;
        loop {
            let up = self.clients.iter().filter(|client| client.up.load(Ordering::Acquire) != 0).count();
            if up == self.clients.len() {
                return Ok(());
            }
            if Instant::now() > end {
                return Err(up);
            }
            sleep(LOOK).await;
        }
    }

    /// From now on everything counts.
    fn count(&self) {
        self.errors.take();
        self.reconnects.take();
        self.versions.take();
        for counter in [&self.empty, &self.lost, &self.flickers, &self.lists] {
            counter.store(0, Ordering::Relaxed);
        }
        self.versions.warmed_up(0);
    }

    fn service(&self, who: usize) -> String {
        format!("{}-{}", self.tag, who % self.services)
    }

    /// A client's life: connect, register, subscribe, and again elsewhere when the connection is lost.
    async fn live(&self, who: usize) {
        let state = &self.clients[who];
        let (mut member, mut pause) = (0, PAUSE);
        // A client that is asked to go elsewhere keeps its connection until it has the next one.
        let mut old = None;
        loop {
            let connected = Client::connect(self.members[member]).await;
            drop(old.take());
            let lived = match connected {
                Ok((client, mut pushes)) => {
                    let since = self.versions.now();
                    let stream = pushes.run(|info, _| self.pushed(who, since, info));
                    let end = tokio::select! {
                        end = stream => Ok(end),
                        failed = self.published(who, &client, since) => Err(failed),
                    };
                    if matches!(end, Ok(End::Reset)) {
                        old = Some((client, pushes));
                    }
                    end.map(drop)
                }
                Err(failed) => Err(failed),
            };
            if state.up.swap(0, Ordering::AcqRel) != 0 {
                state.down.store(self.versions.now(), Ordering::Release);
                pause = PAUSE;
            }
            member = (member + 1) % self.members.len();
            if let Err(failed) = lived {
                self.errors.fail(who, failed);
                sleep(pause).await;
                pause = (pause * 2).min(PAUSE_MAX);
            }
        }
    }

    /// Registers and subscribes, then waits for ever; returns only a failure.
    async fn published(&self, who: usize, client: &Client, since: u64) -> Failed {
        let service = self.service(who);
        if let Err(failed) = client.register(&service, &wire::ip(who), 1).await {
            return failed;
        }
        match client.subscribe(&service).await {
            Ok(answer) => {
                if let Ok(listing) = serde_json::from_slice::<Listing<'_>>(wire::body(&answer)) {
                    self.pushed(who, since, &listing.service_info);
                }
            }
            Err(failed) => return failed,
        }
        let state = &self.clients[who];
        let down = state.down.load(Ordering::Acquire);
        let now = self.versions.now();
        if down != 0 {
            self.reconnects.add(who, Duration::from_nanos(now - down));
        }
        state.up.store(now, Ordering::Release);
        std::future::pending().await
    }

    fn pushed(&self, who: usize, since: u64, info: &ServiceInfo<'_>) {
        if info.hosts.is_empty() {
            self.empty.fetch_add(1, Ordering::Relaxed);
        }
        if let Some(version) = info.version(&self.prober_ip) {
            self.versions.show(who, version, since);
        }
    }

    /// Looks at all lists of a member again and again.
    async fn observe(&self, member: SocketAddr) {
        loop {
            let failed = match Client::connect(member).await {
                Ok((client, mut pushes)) => tokio::select! {
                    _ = pushes.run(|_, _| {}) => Failed::Broken,
                    failed = self.look(&client) => failed,
                },
                Err(failed) => failed,
            };
            self.errors.fail(0, failed);
            sleep(PAUSE_MAX).await;
        }
    }

    async fn look(&self, client: &Client) -> Failed {
        loop {
            for service in 0..self.services {
                let asked = self.versions.now();
                let answer = match client.query(&self.service(service)).await {
                    Ok(answer) => answer,
                    Err(failed) => return failed,
                };
                if let Ok(listing) = serde_json::from_slice::<Listing<'_>>(wire::body(&answer)) {
                    self.compare(service, asked, self.versions.now(), &listing.service_info);
                }
            }
            sleep(LOOK).await;
        }
    }

    /// A list that was asked for at `asked` and read at `now` has everybody who was connected long enough then and still is,
    /// and everybody who lost the connection only just.
    fn compare(&self, service: usize, asked: u64, now: u64, info: &ServiceInfo<'_>) {
        self.lists.fetch_add(1, Ordering::Relaxed);
        let shown: HashSet<&str> = info.hosts.iter().map(|host| &*host.ip).collect();
        let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        for who in (service..self.clients.len()).step_by(self.services) {
            if shown.contains(wire::ip(who).as_str()) {
                continue;
            }
            let state = &self.clients[who];
            match (state.up.load(Ordering::Acquire), state.down.load(Ordering::Acquire)) {
                (0, down) if down != 0 && now < down + nanos(LINGERS) => {
                    self.flickers.fetch_add(1, Ordering::Relaxed);
                }
                (0, _) => {}
                (up, _) if up + nanos(SHOWN) < asked => {
                    self.lost.fetch_add(1, Ordering::Relaxed);
                }
                (_, down) if down != 0 && now < down + nanos(LINGERS) => {
                    self.flickers.fetch_add(1, Ordering::Relaxed);
                }
                _ => {}
            }
        }
    }

    /// Changes an instance of the first service at the last member.
    async fn probe(&self) {
        let member = self.members[self.members.len() - 1];
        let service = self.service(0);
        let mut version = 0;
        loop {
            let failed = match Client::connect(member).await {
                Ok((client, mut pushes)) => tokio::select! {
                    _ = pushes.run(|_, _| {}) => Failed::Broken,
                    failed = self.change(&client, &service, &mut version) => failed,
                },
                Err(failed) => failed,
            };
            self.errors.fail(0, failed);
            sleep(PAUSE_MAX).await;
        }
    }

    async fn change(&self, client: &Client, service: &str, version: &mut u32) -> Failed {
        loop {
            if *version >= VERSIONS_MAX {
                std::future::pending::<()>().await;
            }
            *version += 1;
            self.versions.send(*version);
            if let Err(failed) = client.register(service, &self.prober_ip, *version).await {
                return failed;
            }
            sleep(CHANGE).await;
        }
    }

    fn round(&self, usage: crate::record::Usage) -> Round {
        let mut record = self.reconnects.take();
        record.merge(&self.errors.take());
        let pushes = self.versions.take().0;
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let down = self.clients.iter().filter(|client| client.up.load(Ordering::Acquire) == 0).count();
        let (lost, empty, flickers) = (get(&self.lost), get(&self.empty), get(&self.flickers));
        let figures = vec![
            ("reconnects", record.count() as f64),
            ("clients without a server at the end", down as f64),
            ("lists looked at", get(&self.lists) as f64),
            ("connected instances missing in a list", lost as f64),
            ("reconnecting instances missing in a list", flickers as f64),
            ("empty pushes", empty as f64),
            ("callbacks of changes", pushes.count() as f64),
            ("change to callback: p50 ms", pushes.latency().p50),
            ("change to callback: p99 ms", pushes.latency().p99),
        ];
        let said = [
            (down as u64, "clients have no server at the end"),
            (lost, "times a list lacked an instance whose client was connected"),
            (flickers, "times a list lacked an instance whose client was reconnecting"),
            (empty, "empty pushes"),
        ];
        let violations = said.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
        Round { record, usage, figures, violations }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_list_must_show() {
        const SECOND: u64 = 1_000_000_000;
        // up, down, whether the list shows it, lost and flickering when it does not.
        let cases = [
            ("was never connected", 0, 0, (0, 0)),
            ("connected for 5 s", 15, 0, (1, 0)),
            ("connected for half a second", 20, 0, (0, 0)),
            ("disconnected for 3 s", 0, 17, (0, 1)),
            ("disconnected for 9 s", 0, 11, (0, 0)),
            ("reconnected just now after 3 s", 20, 17, (0, 1)),
            ("reconnected just now after 12 s", 20, 8, (0, 0)),
            ("reconnected 5 s ago", 15, 14, (1, 0)),
        ];
        for (name, up, down, want) in cases {
            for shown in [false, true] {
                let storm = Storm::new(Vec::new(), "t".into(), 1, 1);
                storm.clients[0].up.store(up * SECOND, Ordering::Relaxed);
                storm.clients[0].down.store(down * SECOND, Ordering::Relaxed);
                let ip = wire::ip(if shown { 0 } else { 7 });
                let json = format!(r#"{{"hosts":[{{"ip":"{ip}","weight":1.0}}]}}"#);
                let info: ServiceInfo<'_> = serde_json::from_str(&json).unwrap();
                storm.compare(0, 20 * SECOND + SECOND / 2, 20 * SECOND + SECOND / 2, &info);
                let got = (storm.lost.load(Ordering::Relaxed), storm.flickers.load(Ordering::Relaxed));
                assert_eq!(got, if shown { (0, 0) } else { want }, "{name}");
            }
        }
    }
}
