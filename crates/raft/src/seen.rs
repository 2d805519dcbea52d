//! What members have seen of each other's stores. A store that has less than it once had was set back: an older copy of the data
//! directory was put in its place. Such a member has forgotten what it acknowledged and for whom it voted, and cannot find that
//! out by itself; whoever has seen more of it tells it so.

use std::collections::HashMap;

use dyad_proto::raft as pb;
use parking_lot::Mutex;

use crate::types::{LeaderId, LogId};
use crate::wire;

/// Members that are remembered: far more than a cluster has in its life.
const MEMBERS_MAX: usize = 1_024;

/// What was on the disk of a member at some time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// For whom it has voted, or whom it has followed, and in which term. One term may have several leaders, one after another: each
    /// has a higher id than the one before.
    pub(crate) voted: LeaderId,
    /// The last entry of its log.
    pub(crate) last: Option<LogId>,
}

impl Seen {
    /// Can a store that had this have `now` later? Votes only rise. A log becomes shorter only where a later leader has other
    /// entries, and then the vote for it is on the disk first.
    pub(crate) fn can_become(&self, now: &Seen) -> bool {
        let later = self.last.is_none_or(|last| now.voted > last.leader_id);
        now.voted >= self.voted && (later || now.last >= self.last)
    }

    pub(crate) fn to_wire(self) -> pb::Seen {
        let LeaderId { term, node_id: voted } = self.voted;
        pb::Seen { term, last: self.last.as_ref().map(wire::put_log_id), voted }
    }

    pub(crate) fn from_wire(seen: pb::Seen) -> Seen {
        let voted = LeaderId { term: seen.term, node_id: seen.voted };
        Seen { voted, last: seen.last.map(wire::get_log_id) }
    }
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.last {
            Some(last) => write!(
                f,
                "entry {} of term {}, voting in term {}",
                last.index, last.leader_id.term, self.voted.term
            ),
            None => write!(f, "no entry, voting in term {}", self.voted.term),
        }
    }
}

/// What this member has seen of the others since it started.
#[derive(Debug, Default)]
pub(crate) struct Recollection(Mutex<HashMap<u64, Seen>>);

impl Recollection {
    /// Notes what is durable at the member.
    pub(crate) fn saw(&self, member: u64, seen: Seen) {
        let mut members = self.0.lock();
        if members.len() >= MEMBERS_MAX && !members.contains_key(&member) {
            return;
        }
        let known = members.entry(member).or_insert(seen);
        known.voted = known.voted.max(seen.voted);
        known.last = known.last.max(seen.last);
    }

    pub(crate) fn of(&self, member: u64) -> Option<Seen> {
        self.0.lock().get(&member).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::log_id;

    fn voted(term: u64, node_id: u64) -> LeaderId {
        LeaderId { term, node_id }
    }

    #[test]
    fn what_a_store_can_become() {
        let seen = |term, last: Option<(u64, u64)>| Seen {
            voted: voted(term, 1),
            last: last.map(|(t, index)| log_id(t, 1, index)),
        };
        // (what was seen, what is there now, whether that can be)
        for (before, now, want) in [
            (seen(0, None), seen(0, None), true),
            (seen(3, Some((3, 9))), seen(3, Some((3, 9))), true),
            (seen(3, Some((3, 9))), seen(3, Some((3, 12))), true),
            (seen(3, Some((3, 9))), seen(3, Some((3, 8))), false),
            (seen(3, Some((3, 9))), seen(3, None), false),
            (seen(3, Some((3, 9))), seen(2, Some((2, 20))), false),
            (seen(3, Some((2, 9))), seen(2, Some((2, 9))), false),
            (seen(4, None), seen(3, Some((3, 9))), false),
            // The leader of term 4 has taken entries back, and was written down before.
            (seen(3, Some((3, 9))), seen(4, Some((3, 5))), true),
            (seen(4, Some((3, 9))), seen(4, Some((3, 5))), true),
            (seen(4, Some((4, 9))), seen(4, Some((3, 12))), false),
        ] {
            assert_eq!(before.can_become(&now), want, "{before} became {now}");
        }
    }

    /// Of two candidates in one term the one with the higher id may still win after the other one has led.
    #[test]
    fn a_second_leader_of_one_term_may_take_entries_back() {
        let of_first = Seen { voted: voted(3, 1), last: Some(log_id(3, 1, 12)) };
        let of_second = Seen { voted: voted(3, 2), last: Some(log_id(2, 1, 9)) };
        assert!(of_first.can_become(&of_second));
        assert!(
            !of_second.can_become(&Seen { last: Some(log_id(3, 1, 12)), ..of_first }),
            "it has forgotten its vote"
        );
        assert_eq!(Seen::from_wire(of_second.to_wire()), of_second);
    }

    #[test]
    fn the_most_that_was_seen_is_remembered() {
        let members = Recollection::default();
        assert_eq!(members.of(7), None);
        members.saw(7, Seen { voted: voted(3, 1), last: Some(log_id(3, 1, 9)) });
        members.saw(7, Seen { voted: voted(4, 1), last: None });
        members.saw(7, Seen { voted: voted(2, 1), last: Some(log_id(2, 1, 20)) });
        let most = Seen { voted: voted(4, 1), last: Some(log_id(3, 1, 9)) };
        assert_eq!(members.of(7), Some(most));
        assert_eq!(Seen::from_wire(most.to_wire()), most);
    }
}
