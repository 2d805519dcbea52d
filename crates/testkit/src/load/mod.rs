//! The workload of the failover test: 300 ephemeral instances that beat, 300 persistent ones that are probed, a churner
//! that comes and goes, configurations that change and long polls that follow them, and a reader per member that lists
//! everything and counts what should be there and is not.

mod churn;
mod configs;
mod readers;
mod steady;
mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

pub use churn::Churner;
pub use configs::Configs;
pub use readers::{Expected, read_all};
pub use steady::{BEAT_INTERVAL, Beater, ProbeTarget, ephemeral_instances, persistent_instances};
pub use tally::{Fault, Kind, Outcome, Tally, Write};

use crate::fleet::{Life, Member};
use crate::http::{Answer, Request};

/// Longest wait for the answer to an ephemeral write or a read: a 1.x client's own time-out.
pub const EPHEMERAL_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest wait for the answer to a persistent write.
pub const PERSISTENT_TIMEOUT: Duration = Duration::from_secs(5);

/// What all parts of the workload share.
#[derive(Debug)]
pub struct World {
    pub members: Vec<Arc<Member>>,
    pub tally: Tally,
    /// True while each steady ephemeral instance must be in each list.
    pub ephemeral_required: AtomicBool,
    stop: AtomicBool,
}

impl World {
    pub fn new(members: Vec<Arc<Member>>) -> Arc<World> {
        Arc::new(World {
            members,
            tally: Tally::default(),
            ephemeral_required: AtomicBool::new(false),
            stop: AtomicBool::new(false),
        })
    }

    /// Asks every part of the workload to end.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    pub fn stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    /// Sends a write to a member and notes its fate.
    pub async fn write(&self, at: usize, kind: Kind, request: &Request) -> Result<Answer, Outcome> {
        let timeout = if kind.is_persistent() { PERSISTENT_TIMEOUT } else { EPHEMERAL_TIMEOUT };
        let member = &self.members[at];
        let before = member.moment();
        let began = Instant::now();
        let result = member.http.call(request, timeout).await;
        let ended = Instant::now();
        let after = member.moment();
        let outcome = Outcome::of(&result);
        let steady = before == after && before.life() == Life::Up;
        self.tally.write(Write { kind, member: at, began, ended, outcome: outcome.clone(), steady });
        match result {
            Ok(answer) if outcome == Outcome::Ok => Ok(answer),
            _ => Err(outcome),
        }
    }
}
