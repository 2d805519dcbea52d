//! From a registration in one client to the callback in all others: one service, one publisher, many subscribers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures::StreamExt;
use tokio::task::JoinSet;

use super::client::Client;
use super::versions::Versions;
use super::wire::{self, Listing, ServiceInfo};
use crate::args::PushArgs;
use crate::changes::Changes;
use crate::error::{BenchError, Failed};
use crate::record::{Meter, Round};
use crate::run::Bench;

/// Subscriptions that are made at a time.
const SUBSCRIBING: usize = 64;
/// The one publisher's address.
const PUBLISHER: usize = 0;

/// What the subscribers count.
#[derive(Default)]
struct Counts {
    pushes: AtomicU64,
    bytes: AtomicU64,
    closed: AtomicU64,
}

/// One round.
pub(crate) async fn measure(args: &PushArgs, bench: &Bench<'_>) -> Result<Round, BenchError> {
    let Stage { publisher, service, ip, mut changes, counts, _streams } = Stage::set_up(args, bench).await?;
    let register = async |version| publisher.register(&service, &ip, version).await;
    changes.warm_up(bench.warmup, register).await;
    let (first, pushes, bytes) = (changes.version, get(&counts.pushes), get(&counts.bytes));
    let meter = Meter::start(&bench.side.pids);
    changes.make(bench.time, register).await;
    let usage = meter.stop();
    let behind = changes.settled().await;

    let Changes { versions, version, errors, .. } = changes;
    let (mut record, complete) = versions.take();
    record.errors = errors;
    let (pushes, bytes) = ((get(&counts.pushes) - pushes) as f64, (get(&counts.bytes) - bytes) as f64);
    let (closed, backwards) = (get(&counts.closed), versions.backwards());
    let complete = complete.latency();
    let figures = vec![
        ("changes", f64::from(version - first)),
        ("pushes", pushes),
        ("pushes a second", pushes / usage.seconds),
        ("MB pushed a second", bytes / 1e6 / usage.seconds),
        ("last callback of a change: p50 ms", complete.p50),
        ("last callback of a change: p99 ms", complete.p99),
        ("subscribers without the final state", behind as f64),
        ("pushes with an earlier state than before", backwards as f64),
        ("connections that ended", closed as f64),
    ];
    let said = [
        (behind, "subscribers missed the final state"),
        (backwards, "pushes went back to an earlier state"),
        (closed, "connections ended"),
    ];
    let violations = said.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    Ok(Round { record, usage, figures, violations })
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Everybody connected, and version 1 seen by all.
struct Stage {
    publisher: Client,
    service: String,
    ip: String,
    changes: Changes,
    counts: Arc<Counts>,
    /// The clients live as long as these.
    _streams: JoinSet<()>,
}

impl Stage {
    async fn set_up(args: &PushArgs, bench: &Bench<'_>) -> Result<Stage, BenchError> {
        let refused = |what: &str, failed: Failed| bench.refused(format!("{what} failed: {failed}"));
        let (service, ip) = (bench.tag.clone(), wire::ip(PUBLISHER));
        let count = usize::try_from(args.subscribers).unwrap_or(usize::MAX);
        let changes = Changes::new(count, args.rate);
        let counts = Arc::new(Counts::default());
        let mut streams = JoinSet::new();

        let publisher = Client::connect(bench.side.first().grpc).await;
        let (publisher, mut pushes) =
            publisher.map_err(|failed| refused("registering the publisher", failed))?;
        streams.spawn(async move {
            pushes.run(|_, _| {}).await;
        });
        publisher.register(&service, &ip, 1).await.map_err(|failed| refused("the registration", failed))?;

        let connected = Client::connect_all(bench.side.last().grpc, count).await;
        let connected = connected.map_err(|failed| refused("registering a subscriber", failed))?;
        let mut clients = Vec::with_capacity(count);
        for (who, (client, mut pushes)) in connected.into_iter().enumerate() {
            clients.push(client.clone());
            let (versions, counts) = (changes.versions.clone(), counts.clone());
            streams.spawn(async move {
                let _client = client;
                pushes.run(|info, bytes| take(&versions, &counts, who, info, bytes)).await;
                counts.closed.fetch_add(1, Ordering::Relaxed);
            });
        }
        let versions = &*changes.versions;
        let subscribe =
            clients.iter().enumerate().map(|(who, client)| subscribe(versions, who, client, &service));
        let mut subscribed = futures::stream::iter(subscribe).buffer_unordered(SUBSCRIBING);
        while let Some(result) = subscribed.next().await {
            result.map_err(|failed| refused("a subscription", failed))?;
        }
        drop(subscribed);
        let behind = changes.settled().await;
        if behind > 0 {
            return Err(bench.refused(format!("{behind} subscribers are not shown the instance")));
        }
        Ok(Stage { publisher, service, ip, changes, counts, _streams: streams })
    }
}

async fn subscribe(versions: &Versions, who: usize, client: &Client, service: &str) -> Result<(), Failed> {
    let answer = client.subscribe(service).await?;
    if let Ok(listing) = serde_json::from_slice::<Listing<'_>>(wire::body(&answer)) {
        show(versions, who, &listing.service_info);
    }
    Ok(())
}

fn take(versions: &Versions, counts: &Counts, who: usize, info: &ServiceInfo<'_>, bytes: usize) {
    counts.pushes.fetch_add(1, Ordering::Relaxed);
    counts.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    show(versions, who, info);
}

fn show(versions: &Versions, who: usize, info: &ServiceInfo<'_>) {
    if let Some(version) = info.version(&wire::ip(PUBLISHER)) {
        versions.show(who, version, 0);
    }
}
