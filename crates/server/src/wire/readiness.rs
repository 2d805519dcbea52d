//! Says when this member is ready, and why it is not: in the log and on the standard output, by the same rule by which the
//! readiness check answers.

use std::sync::Arc;
use std::time::Duration;

use dyad_app::{App, cluster};
use dyad_types::Millis;

use super::clock::monotonic;
use super::members::condition;
use super::parts::Parts;
use crate::telemetry::ReadyLine;

/// How often it is looked at.
const LOOK: Duration = Duration::from_millis(50);
/// A member that is not ready for longer says why. An ordinary start takes less.
const PATIENCE_MS: u64 = 5_000;
/// How often the others are told how this member is.
const TELL_MS: u64 = 1_000;

/// Runs until `parts.stop`. The first time that this member is ready it prints the line that says so.
pub(super) async fn run(parts: Arc<Parts>, app: Arc<App>) {
    let mut said = Said::new(monotonic());
    let mut told = None;
    let mut tick = tokio::time::interval(LOOK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = parts.stop.cancelled() => return,
        }
        let ready = cluster::ready(&app, false).map_err(|fault| fault.to_string());
        tell(&parts, ready.as_ref().err().cloned().unwrap_or_default(), &mut told);
        match said.look(ready, monotonic()) {
            Some(Say::Ready { first: true }) => announce(&parts),
            Some(Say::Ready { first: false }) => tracing::info!("ready again"),
            Some(Say::NotReady(why)) => tracing::warn!("not ready: {why}"),
            None => {}
        }
    }
}

/// Tells the others how this member is, once a second and when its readiness changes.
fn tell(parts: &Parts, not_ready: String, told: &mut Option<Millis>) {
    let now = monotonic();
    let changed = *parts.not_ready.lock() != not_ready;
    if !changed && told.is_some_and(|at| now.since(at) < TELL_MS) {
        return;
    }
    *told = Some(now);
    parts.not_ready.lock().clone_from(&not_ready);
    if let Some(directory) = &parts.directory {
        directory.set_condition(condition(parts, not_ready));
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Say {
    Ready { first: bool },
    NotReady(String),
}

/// What was said so far.
struct Said {
    ever: bool,
    ready: bool,
    since: Millis,
    why: Option<String>,
}

impl Said {
    fn new(now: Millis) -> Said {
        Said { ever: false, ready: false, since: now, why: None }
    }

    /// What is to be said now.
    fn look(&mut self, ready: Result<(), String>, now: Millis) -> Option<Say> {
        let Err(why) = ready else {
            // A short break of which nothing was said needs no end.
            let say = !self.ready && (!self.ever || self.why.is_some());
            let first = !self.ever;
            *self = Said { ever: true, ready: true, since: now, why: None };
            return say.then_some(Say::Ready { first });
        };
        if self.ready {
            (self.ready, self.since) = (false, now);
        }
        if now.since(self.since) < PATIENCE_MS || self.why.as_ref() == Some(&why) {
            return None;
        }
        self.why = Some(why.clone());
        Some(Say::NotReady(why))
    }
}

fn announce(parts: &Parts) {
    let cluster = parts.cluster.map(|address| address.to_string());
    let (http, grpc) = (parts.http.to_string(), parts.grpc.to_string());
    ReadyLine { ready: true, http, grpc, cluster: cluster.clone() }.print();
    tracing::info!(http = %parts.http, grpc = %parts.grpc, cluster = cluster.as_deref().unwrap_or("none"), "ready");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_each_change_once() {
        let mut said = Said::new(Millis(0));
        let no = |why: &str| Err(why.to_owned());
        let not = |why: &str| Some(Say::NotReady(why.to_owned()));
        // (the time, what the check answers, what is said)
        for (at, ready, want) in [
            (0, no("joining"), None),
            (4_999, no("joining"), None),
            (5_000, no("joining"), not("joining")),
            (9_000, no("joining"), None),
            (9_001, no("alone"), not("alone")),
            (9_002, Ok(()), Some(Say::Ready { first: true })),
            (9_003, Ok(()), None),
            (10_000, no("paused"), None),
            (11_000, Ok(()), None),
            (12_000, no("removed"), None),
            (17_000, no("removed"), not("removed")),
            (18_000, Ok(()), Some(Say::Ready { first: false })),
        ] {
            assert_eq!(said.look(ready, Millis(at)), want, "at {at}");
        }
    }
}
