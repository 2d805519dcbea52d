//! Connections that do nothing: what they cost the server, with the keep-alive of Nacos's clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until};

use super::client::Client;
use crate::args::IdleArgs;
use crate::error::BenchError;
use crate::proc;
use crate::record::{Meter, Recorder, Round};
use crate::run::Bench;

/// A client that was idle this long asks whether its server is there, as all SDKs do.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// One round: the latency is that of the health checks.
pub(crate) async fn measure(args: &IdleArgs, bench: &Bench<'_>) -> Result<Round, BenchError> {
    let count = usize::try_from(args.connections).unwrap_or(usize::MAX);
    let rss = || proc::rss_of(&bench.side.pids);
    let before = rss();
    let began = Instant::now();
    let connected = Client::connect_all(bench.side.first().grpc, count).await;
    let connected =
        connected.map_err(|failed| bench.refused(format!("a client was not registered: {failed}")))?;
    let connecting = began.elapsed();
    let (recorder, closed) = (Arc::new(Recorder::new()), Arc::new(AtomicU64::new(0)));
    let mut tasks = JoinSet::new();
    for (n, (client, mut pushes)) in connected.into_iter().enumerate() {
        let (recorder, closed) = (recorder.clone(), closed.clone());
        // Spread over the distance, as those of clients that came one after another are.
        let first = tokio::time::Instant::now() + KEEP_ALIVE.mul_f64((n + 1) as f64 / count as f64);
        tasks.spawn(async move {
            let mut next = first;
            let mut stream = Box::pin(pushes.run(|_, _| {}));
            loop {
                tokio::select! {
                    _ = &mut stream => {
                        closed.fetch_add(1, Ordering::Relaxed);
                        return;
                    }
                    () = sleep_until(next) => {}
                }
                let asked = Instant::now();
                match client.health_check().await {
                    Ok(()) => recorder.add(n, asked.elapsed()),
                    Err(failed) => recorder.fail(n, failed),
                }
                next = tokio::time::Instant::now() + KEEP_ALIVE;
            }
        });
    }
    sleep(bench.warmup).await;
    recorder.take();
    let meter = Meter::start(&bench.side.pids);
    sleep(bench.time).await;
    let usage = meter.stop();
    let record = recorder.take();
    let closed = closed.load(Ordering::Relaxed);
    let mut figures =
        vec![("connections", count as f64), ("opened a second", count as f64 / connecting.as_secs_f64())];
    if let (Some(before), Some(after)) = (before, rss()) {
        figures.push(("RSS before, MB", before as f64 / 1_048_576.0));
        figures.push(("RSS after, MB", after as f64 / 1_048_576.0));
        figures
            .push(("RSS of a connection, KB", after.saturating_sub(before) as f64 / 1024.0 / count as f64));
    }
    figures.push(("connections that ended", closed as f64));
    let violations = if closed > 0 { vec![format!("{closed} connections ended")] } else { Vec::new() };
    Ok(Round { record, usage, figures, violations })
}
