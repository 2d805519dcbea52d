//! Refuses writes before the disk is full, because a store that reached the end of its disk may not open again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::backend::LogBackend;

/// How long an answer of the file system is believed.
const BELIEVED: Duration = Duration::from_millis(500);

pub(crate) struct Space {
    backend: Arc<dyn LogBackend>,
    min_free: u64,
    last: Mutex<Option<(Instant, Result<(), String>)>>,
}

impl Space {
    pub(crate) fn new(backend: Arc<dyn LogBackend>, min_free: u64) -> Space {
        Space { backend, min_free, last: Mutex::new(None) }
    }

    /// Is there room for writes? The error names the file and the figures.
    pub(crate) fn check(&self) -> Result<(), String> {
        let mut last = self.last.lock();
        if let Some((asked, answer)) = &*last
            && asked.elapsed() < BELIEVED
        {
            return answer.clone();
        }
        let answer = self.ask();
        *last = Some((Instant::now(), answer.clone()));
        answer
    }

    fn ask(&self) -> Result<(), String> {
        match self.backend.free_bytes() {
            Ok(Some(free)) if free < self.min_free => {
                let (free, min) = (free >> 20, self.min_free >> 20);
                Err(format!(
                    "{}: {free} MiB are free on this disk, {min} MiB are needed",
                    self.backend.file()
                ))
            }
            Ok(_) => Ok(()),
            Err(e) => Err(format!("{}: {e}", self.backend.file())),
        }
    }
}
