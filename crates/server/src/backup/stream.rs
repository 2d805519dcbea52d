//! A backup over the admin socket, while it is made. `dyad_cli::backup` has the other side and describes what is sent.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use dyad_cli::backup::wire::{Begin, CHUNK, End};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::{Semaphore, mpsc};

use super::Source;

/// Backups at a time. Each reads the disk and keeps one processor busy.
const STREAMS_MAX: usize = 2;
/// Chunks between the thread that makes the backup and the socket.
const AHEAD: usize = 2;
/// A chunk that is not taken for so long ends the backup: its hold keeps rows on the disk.
const STALL: Duration = Duration::from_secs(60);

/// Gives backups to whoever asks on the admin socket.
#[derive(Clone, Debug)]
pub(crate) struct Streams {
    source: Source,
    places: Arc<Semaphore>,
}

impl Streams {
    pub(crate) fn new(source: Source) -> Streams {
        Streams { source, places: Arc::new(Semaphore::new(STREAMS_MAX)) }
    }

    /// Sends one backup. What goes wrong with it is said to the other side; an error is one of the socket.
    pub(crate) async fn send(&self, out: &mut (impl AsyncWrite + Unpin)) -> io::Result<()> {
        let Ok(_place) = self.places.try_acquire() else {
            let why = format!("{STREAMS_MAX} backups are being made: try again when one of them is done");
            return line(out, &Begin { error: Some(why), header: None }).await;
        };
        let taken = match self.source.take().await {
            Ok(taken) => taken,
            Err(error) => {
                return line(out, &Begin { error: Some(error.to_string()), header: None }).await;
            }
        };
        line(out, &Begin { error: None, header: Some((&taken.header).into()) }).await?;
        let (feed, mut chunks) = mpsc::channel(AHEAD);
        let done = Arc::new(AtomicU64::new(0));
        let counted = Arc::clone(&done);
        let made = tokio::task::spawn_blocking(move || {
            let mut out = io::BufWriter::with_capacity(CHUNK, Feed(feed));
            let summary = taken.write(&mut out, &counted)?;
            out.flush()?;
            Ok::<_, io::Error>(summary)
        });
        while let Some(chunk) = chunks.recv().await {
            // The writer passes on what is larger than its buffer in one piece.
            for chunk in chunk.chunks(CHUNK) {
                let mut head = (chunk.len() as u32).to_be_bytes().to_vec();
                head.extend_from_slice(&done.load(Ordering::Relaxed).to_be_bytes());
                timed(out.write_all(&head)).await?;
                timed(out.write_all(chunk)).await?;
            }
        }
        let end = match made.await.map_err(io::Error::other)? {
            Ok(summary) => End::of(&summary),
            Err(error) => {
                tracing::warn!("a backup over the admin socket failed: {error}");
                End { error: Some(error.to_string()), ..End::default() }
            }
        };
        timed(out.write_all(&[0; 12])).await?;
        line(out, &end).await
    }
}

async fn line(out: &mut (impl AsyncWrite + Unpin), value: &impl serde::Serialize) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(value)?;
    bytes.push(b'\n');
    timed(out.write_all(&bytes)).await
}

async fn timed<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(STALL, work).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

/// The writing end of the channel. It fails when nobody reads any more.
struct Feed(mpsc::Sender<Bytes>);

impl Write for Feed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes the backup any more");
        self.0.blocking_send(Bytes::copy_from_slice(bytes)).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
