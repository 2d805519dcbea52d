//! The HTTP modes: what they register before, and the requests of their workers.

pub(crate) mod connection;
mod requests;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::StreamExt;

use crate::args::{HttpMode, LoadArgs};
use crate::closed::{self, Worker};
use crate::error::{BenchError, Failed};
use crate::record::{Meter, Round};
use crate::run::Bench;
use crate::target::Target;
use connection::Connection;
use requests::{Pool, is_unknown};

/// Connections that prepare a measurement.
const PREPARING: usize = 16;
/// Instances that lists show are kept by beats at this distance, a third of the time after which they are unhealthy.
const BEAT_EVERY: Duration = Duration::from_secs(5);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Register,
    Beat,
    List,
    Mixed,
}

/// What the workers of a round share.
struct Plan {
    kind: Kind,
    pool: Pool,
    /// The instances of the warm-up are others.
    warm: Pool,
    counted: AtomicBool,
    next: AtomicUsize,
}

/// One round of an HTTP mode.
pub(crate) async fn measure(mode: &HttpMode, bench: &Bench<'_>) -> Result<Round, BenchError> {
    let (kind, load) = match mode {
        HttpMode::Register(load) => (Kind::Register, load),
        HttpMode::Beat(load) => (Kind::Beat, load),
        HttpMode::List(load) => (Kind::List, load),
        HttpMode::Mixed(load) => (Kind::Mixed, load),
    };
    let target = bench.side.first();
    let pool = pool(kind, load, target, &bench.tag)?;
    let warm = Pool { tag: format!("{}-warm", bench.tag), ..pool.clone() };
    let keeper = if kind == Kind::Register {
        None
    } else {
        let all = (0..pool.instances).map(|n| pool.register(n));
        send_all(target, all)
            .await
            .map_err(|failed| bench.refused(format!("a registration failed: {failed}")))?;
        // Beats keep by themselves what they are for.
        (kind == Kind::List).then(|| tokio::spawn(keep(target.clone(), pool.clone())))
    };
    if kind == Kind::List {
        is_listed(target, &pool).await.map_err(|failed| bench.refused(format!("a list failed: {failed}")))?;
    }
    let (counted, next) = (AtomicBool::new(false), AtomicUsize::new(0));
    let plan = Arc::new(Plan { kind, pool, warm, counted, next });
    let workers = (0..load.connections).map(|_| Caller::new(target, &plan)).collect::<Result<Vec<_>, _>>()?;
    let (mut workers, _) = closed::run(workers, bench.warmup).await;
    workers.iter_mut().for_each(Worker::counted);
    let meter = Meter::start(&bench.side.pids);
    let (_, record) = closed::run(workers, bench.time).await;
    let usage = meter.stop();
    if let Some(keeper) = keeper {
        keeper.abort();
    }
    Ok(Round { record, usage, ..Round::default() })
}

fn pool(kind: Kind, load: &LoadArgs, target: &Target, tag: &str) -> Result<Pool, BenchError> {
    let (services, instances) = match kind {
        Kind::Register => (1_000, 100_000),
        Kind::Beat | Kind::Mixed => (10, 1_000),
        Kind::List => (100, 1_000),
    };
    let size =
        |given: Option<u64>, default: usize| given.map_or(default, |n| usize::try_from(n).unwrap_or(default));
    let (services, instances) = (size(load.services, services), size(load.instances, instances));
    if load.in_flight > 1 {
        return Err(BenchError::Usage("--in-flight is for gRPC: HTTP/1.1 has one request at a time".into()));
    }
    if services > instances {
        return Err(BenchError::Usage(format!("{instances} instances do not fill {services} services")));
    }
    Ok(Pool { host: target.host.clone(), tag: tag.to_owned(), services, instances })
}

/// The connection of one worker.
struct Caller {
    connection: Connection,
    plan: Arc<Plan>,
}

impl Caller {
    fn new(target: &Target, plan: &Arc<Plan>) -> Result<Caller, BenchError> {
        Ok(Caller { connection: connect(target)?, plan: plan.clone() })
    }
}

fn connect(target: &Target) -> Result<Connection, BenchError> {
    let why = || BenchError::Usage(format!("{}: HTTP is measured over http://HOST:PORT", target.name));
    Ok(Connection::new(target.http.ok_or_else(why)?))
}

impl Worker for Caller {
    async fn step(&mut self) -> Option<Result<(), Failed>> {
        let Plan { kind, pool, warm, counted, next } = &*self.plan;
        let n = next.fetch_add(1, Ordering::Relaxed);
        let pool = if *kind == Kind::Register && !counted.load(Ordering::Relaxed) { warm } else { pool };
        let (kind, n) = match kind {
            // The warm-up may go round; what is counted is new each time.
            Kind::Register if n >= pool.instances && counted.load(Ordering::Relaxed) => return None,
            Kind::Mixed => (mixed(n), n / MIX),
            kind => (*kind, n),
        };
        let request = match kind {
            Kind::Register => pool.register(n % pool.instances),
            Kind::List => pool.list(n % pool.services),
            Kind::Beat | Kind::Mixed => pool.beat(n % pool.instances),
        };
        let answer = self.connection.exchange(&request).await;
        Some(answer.and_then(|body| match kind {
            Kind::Beat if is_unknown(body) => Err(Failed::Code(requests::UNKNOWN)),
            _ => Ok(()),
        }))
    }

    fn counted(&mut self) {
        if !self.plan.counted.swap(true, Ordering::Relaxed) {
            self.plan.next.store(0, Ordering::Relaxed);
        }
    }
}

/// Requests after which the mix repeats.
const MIX: usize = 20;

fn mixed(n: usize) -> Kind {
    match n % MIX {
        0 => Kind::Register,
        1 | 7 | 13 => Kind::List,
        _ => Kind::Beat,
    }
}

/// Sends all over a few connections; the first failure ends it.
async fn send_all(target: &Target, requests: impl Iterator<Item = Vec<u8>>) -> Result<(), Failed> {
    let mut parts: Vec<Vec<Vec<u8>>> = vec![Vec::new(); PREPARING];
    requests.enumerate().for_each(|(n, request)| parts[n % PREPARING].push(request));
    let address = target.http.ok_or(Failed::Broken)?;
    let send = |part: Vec<Vec<u8>>| async move {
        let mut connection = Connection::new(address);
        for request in part {
            connection.exchange(&request).await?;
        }
        Ok(())
    };
    let mut sent = futures::stream::iter(parts).map(send).buffer_unordered(PREPARING);
    while let Some(result) = sent.next().await {
        result?;
    }
    Ok(())
}

/// A server may say that it registered what it does not show.
async fn is_listed(target: &Target, pool: &Pool) -> Result<(), Failed> {
    let mut connection = Connection::new(target.http.ok_or(Failed::Broken)?);
    let body = connection.exchange(&pool.list(0)).await?;
    let shows = body.windows(5).any(|part| part == b"\"ip\":");
    if shows { Ok(()) } else { Err(Failed::Answer("what was registered is not listed")) }
}

/// Beats for all instances until it is aborted. Failures show in the lists.
async fn keep(target: Target, pool: Pool) {
    loop {
        tokio::time::sleep(BEAT_EVERY).await;
        let _failed = send_all(&target, (0..pool.instances).map(|n| pool.beat(n))).await;
    }
}
