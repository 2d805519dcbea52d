//! Resident memory of a standalone server: idle, full, and after everything has gone.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use serde::Serialize;

use super::generator::{Until, run as generate};
use super::operations::{REGISTRATIONS, registrations};
use super::{Server, wire};
use crate::figures::table;
use crate::proc;

/// Megabytes as /proc and people count them here.
const MB: f64 = 1_048_576.0;
const IDLE_AFTER: Duration = Duration::from_secs(10);
const EMPTY_AFTER: Duration = Duration::from_secs(60);

/// Resident bytes.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Memory {
    /// 10 s after readiness.
    pub idle: u64,
    /// After 100,000 registrations in 1,000 services.
    pub full: u64,
    /// 60 s after all of them were deregistered.
    pub empty: u64,
}

impl Memory {
    fn rows(self) -> [(&'static str, u64, f64); 3] {
        [
            ("10 s after ready", self.idle, 20.0),
            ("100,000 registrations", self.full, 80.0),
            ("60 s after all are gone", self.empty, 45.0),
        ]
    }

    pub fn passed(self) -> bool {
        self.rows().iter().all(|&(_, bytes, limit)| bytes as f64 / MB <= limit)
    }

    pub fn to_text(self) -> String {
        let cells = self.rows().map(|(name, bytes, limit)| {
            let used = bytes as f64 / MB;
            let verdict = if used <= limit { "ok" } else { "FAILED" };
            vec![name.to_owned(), format!("{used:.1}"), format!("{limit:.0}"), verdict.to_owned()]
        });
        table(&["resident memory", "MB", "limit", ""], &cells)
    }
}

/// Fills and empties a server; takes a good minute.
///
/// # Errors
/// The server does not start or refuses.
pub fn measure(binary: &Path) -> Result<Memory> {
    let server = Server::dyad(binary)?;
    std::thread::sleep(IDLE_AFTER);
    let idle = proc::rss_of(server.pid())?;
    let send = |requests: Vec<Vec<u8>>| generate(server.address, &requests, Until::Requests(REGISTRATIONS));
    send(registrations().map(|instance| wire(&instance.register(), server.address)).collect())?;
    let full = proc::rss_of(server.pid())?;
    send(registrations().map(|instance| wire(&instance.deregister(), server.address)).collect())?;
    std::thread::sleep(EMPTY_AFTER);
    Ok(Memory { idle, full, empty: proc::rss_of(server.pid())? })
}
