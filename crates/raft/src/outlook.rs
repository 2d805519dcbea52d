//! Once a second each other member is asked whether it answers, what time it has, and whether its disk has room. So a write, the
//! metrics and the log lines look at the answers and ask nobody. A leader whose disk is full finds its successor here.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use dyad_types::MemberId;
use futures::future::join_all;
use tokio::time::Instant;

use crate::clocks::{Middle, difference_ms};
use crate::handle::{Inner, RaftHandle};
use crate::join::LAG_MAX;
use crate::ping::PING_LIMIT;
use crate::space::DiskRoom;
use crate::survey::{Clock, Known, Other, Silence};
use crate::types::Node;

/// From one round of questions to the next.
const EVERY: Duration = Duration::from_secs(1);
/// The same until the clocks of a majority are known, so that a leader knows them soon after it was elected.
const AT_FIRST: Duration = Duration::from_millis(100);
/// A leader with a full disk hands over at most so often, so that members whose disks fill together do not pass the leadership
/// around.
const RELIEF_AGAIN: Duration = Duration::from_secs(10);

impl Inner {
    /// Asks until the member stops.
    pub(crate) async fn survey_others(self: Arc<Inner>) {
        let mut relieved: Option<Instant> = None;
        while !self.stopping() {
            self.ask_all().await;
            if relieved.is_none_or(|at| at.elapsed() >= RELIEF_AGAIN) && self.seek_relief().await {
                relieved = Some(Instant::now());
            }
            let known = self.survey.middle.lock().is_some();
            tokio::time::sleep(if known { EVERY } else { AT_FIRST }).await;
        }
    }

    async fn ask_all(&self) {
        let membership = self.membership();
        let others: Vec<(u64, &Node)> = membership
            .nodes()
            .filter(|(id, node)| **id != self.me.id && node.is_dialed())
            .map(|(id, node)| (*id, node))
            .collect();
        let answers = join_all(others.iter().map(async |(id, node)| {
            let asked = Instant::now();
            let answer = self.question(*id, node, PING_LIMIT).await;
            let (own, halfway) = ((self.config.wall_clock)(), asked + asked.elapsed() / 2);
            (*id, asked, halfway, own, answer)
        }))
        .await;
        let mut known = self.survey.known.lock();
        known.retain(|id, _| others.iter().any(|(other, _)| other == id));
        for (id, asked, halfway, own, answer) in answers {
            let one = known.entry(id).or_insert_with(|| Known {
                since: asked,
                answered_before: false,
                failure: None,
                clock: None,
                room: None,
                barred: false,
                process: 0,
            });
            match answer {
                Err(why) => one.failure = Some(why),
                Ok(reply) => {
                    *one = Known {
                        since: Instant::now(),
                        answered_before: true,
                        failure: None,
                        clock: (reply.wall_ms > 0).then_some(Clock {
                            wall_ms: reply.wall_ms,
                            at: halfway,
                            ahead_ms: difference_ms(reply.wall_ms, own),
                        }),
                        room: DiskRoom::from_wire(reply.room()),
                        barred: reply.barred,
                        process: reply.process,
                    };
                }
            }
        }
        drop(known);
        let middle = Middle::of(self.clocks(|_| true), membership.voter_ids().count());
        *self.survey.middle.lock() = middle.map(|middle| (Instant::now(), middle));
    }

    /// Members that did not answer the last question, or may not speak for the cluster.
    pub(crate) fn unfit_members(&self) -> BTreeSet<u64> {
        let known = self.survey.known.lock();
        known.iter().filter(|(_, one)| one.failure.is_some() || one.barred).map(|(id, _)| *id).collect()
    }

    /// A leader whose disk takes no writes lets a voter lead whose disk has room, so that the cluster goes on taking them. It must have
    /// caught up: another one cannot lead, and a hand-over in vain ends in an election. True if it tried.
    async fn seek_relief(&self) -> bool {
        let disk = self.space.disk();
        if disk.room == DiskRoom::All || self.known_leader().is_none_or(|(id, _)| id != self.me.id) {
            return false;
        }
        let Ok(_turn) = self.changing.try_lock() else { return false };
        let has_room = |id: &u64| {
            let known = self.survey.known.lock();
            let fit = |one: &Known| one.room == Some(DiskRoom::All) && one.failure.is_none() && !one.barred;
            known.get(id).is_some_and(fit)
        };
        let membership = self.membership();
        let able = membership.voter_ids().filter(has_room);
        let able = able.filter_map(|id| Some((self.lacks(id).filter(|lacks| *lacks <= LAG_MAX)?, id)));
        let Some((_, to)) = able.min() else { return false };
        tracing::warn!(
            file = disk.file,
            "the disk of this leader has reached its reserve: member {to:016x}, whose disk has room, is asked to lead"
        );
        if !self.transfer_to(Some(to)).await {
            tracing::warn!(
                "member {to:016x} did not take the leadership; another try comes in {} s",
                RELIEF_AGAIN.as_secs()
            );
        }
        true
    }

    /// The clocks of the voters that are known, this member's own included.
    fn clocks(&self, counts: impl Fn(&Known) -> bool) -> Vec<u64> {
        let known = self.survey.known.lock();
        let clock = |id: u64| {
            if id == self.me.id {
                return Some((self.config.wall_clock)());
            }
            known.get(&id).filter(|one| counts(one)).and_then(|one| one.clock).map(|clock| clock.now())
        };
        self.membership().voter_ids().filter_map(clock).collect()
    }

    /// The time for a new entry: by this member's clock, unless the voters' clocks contradict it. They were asked before, and the
    /// time since then is counted without a wall clock, so that a jump of the own one is noticed at once.
    pub(crate) fn stamp_ms(&self) -> u64 {
        let own = (self.config.wall_clock)();
        self.middle().map_or(own, |middle| middle.correct(own))
    }

    fn middle(&self) -> Option<Middle> {
        let (at, middle) = (*self.survey.middle.lock())?;
        Some(middle.later(u64::try_from(at.elapsed().as_millis()).unwrap_or(u64::MAX)))
    }

    /// Would an entry find room at a majority? Those that do not answer are not counted out: whether they are heard is the matter
    /// of raft.
    ///
    /// # Errors
    /// How many refuse it.
    pub(crate) fn room_elsewhere(&self) -> Result<(), String> {
        let known = self.survey.known.lock();
        let refuses = |one: &Known| one.room == Some(DiskRoom::NoEntries);
        if !known.values().any(refuses) {
            return Ok(());
        }
        let membership = self.membership();
        let voters = membership.voter_ids().count();
        let refuse = membership.voter_ids().filter(|id| known.get(id).is_some_and(refuses));
        let refuse = refuse.count();
        if refuse < voters.div_ceil(2) {
            return Ok(());
        }
        Err(format!(
            "the disks of {refuse} of {voters} members are nearly full, and take no entries of the log"
        ))
    }
}

impl RaftHandle {
    /// The other members of the membership, in the order of their ids, as they answered the last question. One that was not asked
    /// yet is not among them.
    pub fn others(&self) -> Vec<Other> {
        let inner = &self.inner;
        let membership = inner.membership();
        let voters: Vec<u64> = membership.voter_ids().collect();
        let known = inner.survey.known.lock();
        let other = |(id, one): (&u64, &Known)| {
            let silence = one.failure.as_ref().map(|why| Silence {
                lasts: one.since.elapsed(),
                answered_before: one.answered_before,
                why: why.clone(),
            });
            Some(Other {
                member: MemberId(*id),
                node: membership.get_node(id)?.clone(),
                voter: voters.contains(id),
                silence,
                room: one.room,
                barred: one.barred,
            })
        };
        known.iter().filter_map(other).collect()
    }

    /// By how many milliseconds the clock of each member, this one included, is ahead of the middle of the voters' clocks; negative
    /// if it is behind. If the clocks cannot say which is wrong, because only two are known or because no majority ever
    /// answered, they are compared with this member's clock. A member that never answered is left out. It is right to half a
    /// second.
    pub fn clock_differences(&self) -> Vec<(MemberId, i64)> {
        let inner = &self.inner;
        let own = (inner.config.wall_clock)();
        let reference = inner.middle().map_or(own, |middle| middle.reference(own));
        let known = inner.survey.known.lock();
        let clocks = known.iter().filter_map(|(id, one)| Some((*id, one.clock?.now())));
        let mut all: Vec<(MemberId, i64)> = clocks
            .chain([(inner.me.id, own)])
            .map(|(id, clock)| (MemberId(id), difference_ms(clock, reference)))
            .collect();
        all.sort_unstable();
        all
    }

    /// The time by the clocks of the voters, in milliseconds since the epoch: the median of those that answer, the earlier one if
    /// two are in the middle. So one clock that is ahead decides nothing, unless it is the only one.
    ///
    /// `None` if no majority of the voters answers.
    pub fn time_of_majority(&self) -> Option<u64> {
        let inner = &self.inner;
        let voters = inner.membership().voter_ids().count();
        Middle::of(inner.clocks(|one| one.failure.is_none()), voters).map(|middle| middle.low)
    }

    /// By how much the clock of another member is ahead of this member's, in milliseconds: the most of those that answer, but for
    /// clocks that are ahead by more than `limit`, which are wrong. It is never too much, since the clocks go on while the answer
    /// is on its way.
    pub fn ahead_ms(&self, limit: Duration) -> u64 {
        let known = self.inner.survey.known.lock();
        let answering = known.values().filter(|one| one.failure.is_none());
        let ahead = answering.filter_map(|one| u64::try_from(one.clock?.ahead_ms).ok());
        ahead.filter(|ms| u128::from(*ms) <= limit.as_millis()).max().unwrap_or(0)
    }
}
