//! Closed loops over gRPC: registrations, queries, subscriptions.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::client::Client;
use super::wire::{self, Listing};
use crate::args::LoadArgs;
use crate::closed::{self, Worker};
use crate::error::{BenchError, Failed};
use crate::record::{Meter, Round};
use crate::run::Bench;

/// Requests at a time that publish what is queried.
const PREPARING: usize = 64;
/// What was registered is listed within this, by servers that first tell each other, too.
const LISTED_MAX: Duration = Duration::from_secs(3);
/// How often it is looked.
const LOOK: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Register,
    Query,
    Subscribe,
}

/// One connection's share, which its workers take from in turn.
struct Share {
    kind: Kind,
    client: Client,
    /// The connection's number.
    number: usize,
    tag: String,
    services: usize,
    instances: usize,
    counted: AtomicBool,
    next: AtomicUsize,
}

struct Caller(Arc<Share>);

impl Worker for Caller {
    async fn step(&mut self) -> Option<Result<(), Failed>> {
        let share = &*self.0;
        let n = share.next.fetch_add(1, Ordering::Relaxed);
        let service = |n: usize| format!("{}-{}", share.tag, (share.number + n) % share.services);
        Some(match share.kind {
            Kind::Register => {
                let counted = share.counted.load(Ordering::Relaxed);
                if counted && n >= share.instances {
                    return None;
                }
                let n = n % share.instances;
                // A service has a slot for each connection: the warm-up's services are others.
                let service = if counted { service(n) } else { format!("{}-warm", service(n)) };
                share.client.register(&service, &wire::ip(share.number), 1).await
            }
            Kind::Query => share.client.query(&service(n)).await.map(drop),
            Kind::Subscribe => share.client.subscribe(&service(n)).await.map(drop),
        })
    }

    fn counted(&mut self) {
        if !self.0.counted.swap(true, Ordering::Relaxed) {
            self.0.next.store(0, Ordering::Relaxed);
        }
    }
}

fn size(given: Option<u64>, default: usize) -> usize {
    given.map_or(default, |n| usize::try_from(n).unwrap_or(default))
}

/// Services, and instances of each connection.
pub(super) fn register_size(load: &LoadArgs) -> (usize, usize) {
    (size(load.services, 1_000), size(load.instances, 1_000))
}

pub(crate) async fn register(load: &LoadArgs, bench: &Bench<'_>) -> Result<Round, BenchError> {
    let (services, instances) = register_size(load);
    run(Kind::Register, load, bench, services, instances).await
}

pub(crate) async fn query(load: &LoadArgs, bench: &Bench<'_>) -> Result<Round, BenchError> {
    let (services, instances) = (size(load.services, 100), size(load.instances, 100));
    let _publishers = publish(bench, services, instances).await?;
    run(Kind::Query, load, bench, services, instances).await
}

pub(crate) async fn subscribe(load: &LoadArgs, bench: &Bench<'_>) -> Result<Round, BenchError> {
    let (services, instances) = (size(load.services, 100), size(load.instances, 1));
    let _publishers = publish(bench, services, instances).await?;
    run(Kind::Subscribe, load, bench, services, instances).await
}

/// Publishes `instances` of each service, each from a connection of its own. They live as long as what is returned.
async fn publish(bench: &Bench<'_>, services: usize, instances: usize) -> Result<JoinSet<()>, BenchError> {
    let refused = |failed: Failed| bench.refused(format!("publishing what is queried failed: {failed}"));
    let publishers = Client::connect_all(bench.side.first().grpc, instances).await.map_err(refused)?;
    let mut tasks = JoinSet::new();
    let mut clients = Vec::with_capacity(instances);
    for (client, mut pushes) in publishers {
        clients.push(client.clone());
        tasks.spawn(async move {
            // The client lives with its stream.
            let _client = client;
            pushes.run(|_, _| {}).await;
        });
    }
    let all = (0..services * instances).map(|n| {
        let (client, instance) = (&clients[n / services], n / services);
        let service = format!("{}-{}", bench.tag, n % services);
        async move { client.register(&service, &wire::ip(instance), 1).await }
    });
    let mut sent = futures::stream::iter(all).buffer_unordered(PREPARING);
    while let Some(result) = sent.next().await {
        result.map_err(refused)?;
    }
    is_listed(bench, &clients[0], instances).await?;
    Ok(tasks)
}

/// A server may say that it registered what it does not show: then its speed is no speed.
async fn is_listed(bench: &Bench<'_>, client: &Client, instances: usize) -> Result<(), BenchError> {
    let service = format!("{}-0", bench.tag);
    let end = Instant::now() + LISTED_MAX;
    loop {
        let refused = |failed: Failed| bench.refused(format!("a query failed: {failed}"));
        let answer = client.query(&service).await.map_err(refused)?;
        let listing = serde_json::from_slice::<Listing<'_>>(wire::body(&answer));
        let shown = listing.map_or(0, |listing| listing.service_info.hosts.len());
        if shown >= instances {
            return Ok(());
        }
        if Instant::now() > end {
            let why = format!(
                "it said that it registered {instances} or more instances of a service and shows {shown}"
            );
            return Err(bench.refused(why));
        }
        sleep(LOOK).await;
    }
}

async fn run(
    kind: Kind,
    load: &LoadArgs,
    bench: &Bench<'_>,
    services: usize,
    instances: usize,
) -> Result<Round, BenchError> {
    let connections = size(Some(load.connections), 1);
    let connected = Client::connect_all(bench.side.first().grpc, connections).await;
    let connected =
        connected.map_err(|failed| bench.refused(format!("a client was not registered: {failed}")))?;
    let any = connected[0].0.clone();
    let mut streams = JoinSet::new();
    let pushed = Arc::new(AtomicUsize::new(0));
    let mut workers = Vec::new();
    for (number, (client, mut pushes)) in connected.into_iter().enumerate() {
        let share = Share {
            kind,
            client,
            number,
            tag: bench.tag.clone(),
            services,
            instances,
            counted: AtomicBool::new(false),
            next: AtomicUsize::new(0),
        };
        let share = Arc::new(share);
        workers.extend((0..load.in_flight).map(|_| Caller(share.clone())));
        let pushed = pushed.clone();
        streams.spawn(async move {
            pushes
                .run(|_, _| {
                    pushed.fetch_add(1, Ordering::Relaxed);
                })
                .await;
        });
    }
    let (mut workers, _) = closed::run(workers, bench.warmup).await;
    workers.iter_mut().for_each(Worker::counted);
    let before = pushed.load(Ordering::Relaxed);
    let meter = Meter::start(&bench.side.pids);
    let (_workers, record) = closed::run(workers, bench.time).await;
    let usage = meter.stop();
    if kind == Kind::Register && record.count() > 0 {
        is_listed(bench, &any, 1).await?;
    }
    let mut figures = Vec::new();
    if kind == Kind::Subscribe {
        let pushes = pushed.load(Ordering::Relaxed) - before;
        figures.push(("pushes beside the answers", pushes as f64));
    }
    Ok(Round { record, usage, figures, violations: Vec::new() })
}
