//! The configuration center: closed loops of gets and publishes, and the way of a change to those who listen.

mod listen;
mod speaker;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use futures::future::try_join_all;

use crate::args::{ConfigArgs, ConfigMode, Over};
use crate::changes;
use crate::closed::{self, Worker};
use crate::error::{BenchError, Failed};
use crate::record::{Meter, Round};
use crate::run::Bench;
use crate::target::Target;
use speaker::{Speaker, content};

/// Connections that publish what is asked for.
const PREPARING: u64 = 16;
/// Bytes of a content over gRPC: a request of the generator fits one frame.
const GRPC_SIZE_MAX: u64 = 12 * 1024;
/// Connections that are opened at a time.
const OPENING: usize = 64;

/// Connections that `mode` needs, if its numbers are possible.
pub(crate) fn check(mode: &ConfigMode) -> Result<u64, BenchError> {
    let (over, size) = match mode {
        ConfigMode::Get(args) | ConfigMode::Publish(args) => (args.over, args.size),
        ConfigMode::Listen(args) => (args.over, args.size),
    };
    if over == Over::Grpc && size > GRPC_SIZE_MAX {
        return Err(BenchError::Usage(format!("--size is at most {GRPC_SIZE_MAX} over gRPC here")));
    }
    Ok(match mode {
        ConfigMode::Get(args) | ConfigMode::Publish(args) => args.connections + PREPARING,
        ConfigMode::Listen(args) => {
            changes::check(args.rate, &args.common)?;
            args.listeners + 1
        }
    })
}

/// One round.
pub(crate) async fn measure(mode: &ConfigMode, bench: &Bench<'_>) -> Result<Round, BenchError> {
    match mode {
        ConfigMode::Get(args) => closed_loop(Kind::Get, args, bench).await,
        ConfigMode::Publish(args) => closed_loop(Kind::Publish, args, bench).await,
        ConfigMode::Listen(args) => listen::measure(args, bench).await,
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Get,
    Publish,
}

/// What the workers of a round share.
struct Plan {
    kind: Kind,
    tag: String,
    keys: u64,
    size: usize,
    /// The number of the next request; those below `keys` were published before.
    next: AtomicU64,
    pauses: Pauses,
}

/// The longest time without an answer to any worker: what a snapshot or an election costs.
struct Pauses {
    began: Instant,
    /// Of the last answer, and the longest pause before one: microseconds.
    last: AtomicU64,
    longest: AtomicU64,
}

impl Pauses {
    fn new() -> Pauses {
        Pauses { began: Instant::now(), last: AtomicU64::new(0), longest: AtomicU64::new(0) }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn answered(&self) {
        let now = self.now();
        let last = self.last.fetch_max(now, Ordering::Relaxed);
        self.longest.fetch_max(now.saturating_sub(last), Ordering::Relaxed);
    }

    /// Forgets what was before.
    fn reset(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
        self.longest.store(0, Ordering::Relaxed);
    }

    fn longest_ms(&self) -> f64 {
        self.longest.load(Ordering::Relaxed) as f64 / 1e3
    }
}

impl Plan {
    fn data_id(&self, n: u64) -> String {
        format!("{}-{}", self.tag, n % self.keys)
    }
}

struct Caller {
    speaker: Speaker,
    plan: Arc<Plan>,
}

impl Worker for Caller {
    async fn step(&mut self) -> Option<Result<(), Failed>> {
        let n = self.plan.next.fetch_add(1, Ordering::Relaxed);
        let data_id = self.plan.data_id(n);
        let done = match self.plan.kind {
            Kind::Get => match self.speaker.get(&data_id).await {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err(Failed::Answer("a content that was not published")),
                Err(failed) => Err(failed),
            },
            Kind::Publish => self.speaker.publish(&data_id, &content(n, self.plan.size)).await,
        };
        if done.is_ok() {
            self.plan.pauses.answered();
        }
        Some(done)
    }
}

async fn closed_loop(kind: Kind, args: &ConfigArgs, bench: &Bench<'_>) -> Result<Round, BenchError> {
    let refused = |failed: Failed| bench.refused(format!("the preparation failed: {failed}"));
    let size = usize::try_from(args.size).unwrap_or(usize::MAX);
    let next = AtomicU64::new(args.keys);
    let plan =
        Arc::new(Plan { kind, tag: bench.tag.clone(), keys: args.keys, size, next, pauses: Pauses::new() });
    let target = bench.side.first();
    let prepare = (0..PREPARING.min(args.keys)).map(|first| {
        let plan = plan.clone();
        async move {
            let mut speaker = Speaker::connect(args.over, target).await?;
            for n in (first..plan.keys).step_by(PREPARING as usize) {
                speaker.publish(&plan.data_id(n), &content(n, plan.size)).await?;
            }
            Ok(())
        }
    });
    try_join_all(prepare).await.map_err(refused)?;
    let speakers = connect_all(args.over, bench, bench.side.members(), args.connections).await?;
    let workers = speakers.into_iter().map(|speaker| Caller { speaker, plan: plan.clone() }).collect();
    let (workers, _) = closed::run(workers, bench.warmup).await;
    let meter = Meter::start(&bench.side.pids);
    plan.pauses.reset();
    let (_, record) = closed::run(workers, bench.time).await;
    let usage = meter.stop();
    let figures = vec![("longest time without an answer: ms", plan.pauses.longest_ms())];
    Ok(Round { record, usage, figures, ..Round::default() })
}

/// Connects `count` clients to `members` in turn, a few at a time.
async fn connect_all(
    over: Over,
    bench: &Bench<'_>,
    members: &[Target],
    count: u64,
) -> Result<Vec<Speaker>, BenchError> {
    use futures::StreamExt;
    let connects = members.iter().cycle().zip(0..count).map(|(member, _)| Speaker::connect(over, member));
    let mut connects = futures::stream::iter(connects).buffer_unordered(OPENING);
    let mut connected = Vec::new();
    while let Some(speaker) = connects.next().await {
        connected
            .push(speaker.map_err(|failed| bench.refused(format!("a client has no connection: {failed}")))?);
    }
    Ok(connected)
}
