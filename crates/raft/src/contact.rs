//! How long a request waits while no leader is known that could carry it out.
//!
//! A member is in contact while it hears a leader, or while it leads and a majority answers it. When it has had no
//! contact for an election time-out, an election is due. A request then waits for the outcome of the election, but no
//! longer than [`PATIENCE`], and is refused. A client that is refused goes to another member; a client that hears
//! nothing for 3 s gives up.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use openraft::ServerState;
use tokio::time::Instant;

use crate::handle::Inner;

/// How long a request waits for a leader once contact has been lost for an election timeout. A dead leader is replaced
/// within 1.3 s of its last message, 0.7 s after an election timeout of 0.6 s, so that requests outlast an ordinary election.
/// Together with the rest of the way an answer comes within a second.
const PATIENCE: Duration = Duration::from_millis(900);

/// A request under way: when it began, and when its time is up whatever happens.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wait {
    pub(crate) began: Instant,
    pub(crate) deadline: Instant,
}

impl Wait {
    /// A request that begins now.
    pub(crate) fn new(limit: Duration) -> Wait {
        let began = Instant::now();
        Wait { began, deadline: began + limit }
    }

    /// What is left until the deadline.
    pub(crate) fn left(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Milliseconds since the request began.
    pub(crate) fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Inner {
    /// How long ago a leader that can commit was last known of.
    fn silence(&self) -> Duration {
        let heard = self.last_heard.lock().1.elapsed();
        let acked = self.metrics(|m| {
            if m.state != ServerState::Leader {
                return None;
            }
            // A sole voter needs nobody.
            let alone = m.membership_config.voter_ids().eq([m.id]);
            let acked = m.last_quorum_acked.as_ref().map(|at| openraft::Instant::elapsed(&**at));
            if alone { Some(Duration::ZERO) } else { acked }
        });
        acked.map_or(heard, |acked| heard.min(acked))
    }

    /// Has contact been lost for so long that the leader that openraft names is not worth asking?
    pub(crate) fn out_of_contact(&self) -> bool {
        self.silence() >= self.config.election_timeout()
    }

    /// Why no leader is asked.
    pub(crate) fn unheard(&self) -> String {
        format!("this member has heard no leader for {} ms", self.silence().as_millis())
    }

    /// When a request that nobody has taken ends, as things stand: the next contact moves it.
    fn gives_up(&self, wait: &Wait) -> Instant {
        // Lost before the request began is the same as lost when it began.
        let contact = Instant::now().checked_sub(self.silence()).unwrap_or(wait.began);
        let lost = contact + self.config.election_timeout();
        wait.deadline.min(lost.max(wait.began) + PATIENCE)
    }

    /// Is it too late for another try after a pause? A refusal by a leader that is heard bounds the wait too: it may have
    /// lost its majority without knowing of another leader.
    pub(crate) fn too_late(&self, wait: &Wait, pause: Duration, refused: bool) -> bool {
        let mut end = self.gives_up(wait);
        if refused {
            end = end.min(wait.began + self.config.election_timeout() + PATIENCE);
        }
        Instant::now() + pause >= end
    }

    /// Does the work until the wait is over; `None` when it was not done by then.
    ///
    /// The clock is the only thing that the usual case pays for: contact is looked at when patience is exhausted.
    pub(crate) async fn in_contact<T>(&self, wait: &Wait, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut until = wait.deadline.min(wait.began + PATIENCE);
        loop {
            if let Ok(done) = tokio::time::timeout_at(until, &mut work).await {
                return Some(done);
            }
            until = self.gives_up(wait);
            if Instant::now() >= until {
                return None;
            }
        }
    }
}
