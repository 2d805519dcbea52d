//! A closed loop: each worker sends its next request when the last one is answered.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;

use crate::error::Failed;
use crate::record::{Record, Recorder};

/// After an error a worker waits, so that a server that refuses is not flooded.
const PAUSE: Duration = Duration::from_millis(20);

/// Sends one request after another.
pub(crate) trait Worker: Send + 'static {
    /// The next request and its answer; None when there is nothing left to send.
    fn step(&mut self) -> impl Future<Output = Option<Result<(), Failed>>> + Send;

    /// The warm-up is over.
    fn counted(&mut self) {}
}

/// Runs all workers for `time` or until none has anything left. They come back for the next phase.
pub(crate) async fn run<W: Worker>(workers: Vec<W>, time: Duration) -> (Vec<W>, Record) {
    let recorder = Arc::new(Recorder::new());
    let end = Instant::now() + time;
    let tasks = workers.into_iter().enumerate().map(|(n, mut worker)| {
        let recorder = recorder.clone();
        tokio::spawn(async move {
            loop {
                let began = Instant::now();
                if began >= end {
                    break;
                }
                match worker.step().await {
                    Some(Ok(())) => recorder.add(n, began.elapsed()),
                    Some(Err(failed)) => {
                        recorder.fail(n, failed);
                        tokio::time::sleep(PAUSE).await;
                    }
                    None => break,
                }
            }
            worker
        })
    });
    let done = join_all(tasks).await;
    let workers = done.into_iter().map(|task| task.expect("workers do not panic")).collect();
    (workers, recorder.take())
}
