//! The requests that took effect lately, so that one that a proposer repeats after a lost answer takes effect once.
//!
//! The state alone does not tell a repetition from a second request: Nacos writes a version with each publish, a CAS publish
//! would refuse its own work, and a repeated deregistration would end what another client has registered since. Only
//! requests that changed something are remembered. A repetition of one that changed nothing is its first effect, and it
//! comes while the client still waits, so that no order of the requests is contradicted.

use std::sync::Arc;

use dyad_config::record::{RequestRecord, RequestsRecord, outcome_bytes, outcomes_of};
use dyad_config::{ItemOutcome, Revision};
use dyad_types::BadRecord;
use imbl::OrdMap;
use prost::Message;

/// For this many milliseconds a request is remembered. A proposer repeats a request for at most 5 s; the rest of the time is
/// for entries that a dying leader had already sent.
const KEEP_MS: u64 = 60_000;
/// So many of the newest requests are remembered whatever their age, from level 2 on: a leader with a clock that is ahead
/// ages all of them at once. Three members can have 1,536 requests under way.
const KEEP: usize = 4_096;
/// Most remembered requests: 13,000 writes per second for the 5 s in which a repetition may come.
const MAX: usize = 65_536;
/// Most remembered requests that one entry forgets, so that no entry has to pay for an idle hour.
const DROPPED_AT_ONCE: usize = 16;
/// A part of a snapshot takes requests until it has so many, 40 KiB, or so many bytes.
const PER_PART: usize = 1_000;
const PART_BYTES: usize = 64 * 1024;

/// The id of a request. The proposer draws it and keeps it when it proposes the command again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestId(pub u128);

impl RequestId {
    /// Of a command that may be carried out again.
    pub const NONE: RequestId = RequestId(0);

    /// The stored form: 16 bytes, big-endian, or none.
    pub(crate) fn to_bytes(self) -> Vec<u8> {
        if self == RequestId::NONE { Vec::new() } else { self.0.to_be_bytes().to_vec() }
    }

    pub(crate) fn from_bytes(bytes: &[u8]) -> Result<RequestId, BadRecord> {
        if bytes.is_empty() {
            return Ok(RequestId::NONE);
        }
        let bytes = bytes.try_into().map_err(|_| BadRecord("a request id must have 16 bytes".into()))?;
        Ok(RequestId(u128::from_be_bytes(bytes)))
    }
}

/// What a request did.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Remembered {
    /// Milliseconds since the epoch.
    pub(crate) at_ms: u64,
    /// Of its first write. The log index in it orders the requests.
    pub(crate) revision: Revision,
    /// For requests of several items.
    pub(crate) outcomes: Option<Arc<[ItemOutcome]>>,
}

/// By id, and the ids by revision. Clones are O(1).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Requests {
    by_id: OrdMap<RequestId, Remembered>,
    order: OrdMap<Revision, RequestId>,
}

impl Requests {
    pub(crate) fn get(&self, id: RequestId) -> Option<&Remembered> {
        self.by_id.get(&id)
    }

    /// Remembers a request, unless it has no id.
    pub(crate) fn insert(&mut self, id: RequestId, remembered: Remembered) {
        if id == RequestId::NONE {
            return;
        }
        self.order.insert(remembered.revision, id);
        self.by_id.insert(id, remembered);
        if self.by_id.len() > MAX {
            self.drop_oldest();
        }
    }

    /// Lets go of some that are too old. Looks only at the entry's time, so that all members let go of the same. From level 3 on a
    /// request from later than the entry is as old as one from as much earlier: only a clock that was wrong is so far off.
    pub(crate) fn expire(&mut self, now_ms: u64, level: u32) {
        let keep = if level < 2 { 0 } else { KEEP };
        let young = |r: &Remembered| match now_ms.checked_sub(r.at_ms) {
            Some(age) => age <= KEEP_MS,
            None => level < 3 || r.at_ms - now_ms <= KEEP_MS,
        };
        for _ in 0..DROPPED_AT_ONCE {
            let oldest = self.order.get_min().and_then(|(_, id)| self.by_id.get(id));
            if oldest.is_none_or(young) || self.by_id.len() <= keep {
                return;
            }
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        if let Some((revision, id)) = self.order.get_min().map(|(revision, id)| (*revision, *id)) {
            self.order.remove(&revision);
            self.by_id.remove(&id);
        }
    }

    /// As parts of a snapshot, the oldest first.
    pub(crate) fn snapshot(&self) -> impl Iterator<Item = RequestsRecord> {
        let mut ids = self.order.values().peekable();
        std::iter::from_fn(move || {
            ids.peek()?;
            let (mut requests, mut bytes) = (Vec::new(), 0);
            while requests.len() < PER_PART && bytes < PART_BYTES {
                let Some((id, done)) = ids.next().and_then(|id| Some((*id, self.by_id.get(id)?))) else {
                    break;
                };
                let record = RequestRecord {
                    id: id.to_bytes(),
                    at_ms: done.at_ms,
                    revision: done.revision.0,
                    outcomes: done.outcomes.as_deref().map(outcome_bytes),
                };
                bytes += record.encoded_len();
                requests.push(record);
            }
            Some(RequestsRecord { requests })
        })
    }

    pub(crate) fn restore(&mut self, part: &RequestsRecord) -> Result<(), BadRecord> {
        part.requests.iter().try_for_each(|r| {
            let outcomes = r.outcomes.as_deref().map(outcomes_of).transpose()?;
            let remembered = Remembered { at_ms: r.at_ms, revision: Revision(r.revision), outcomes };
            self.insert(RequestId::from_bytes(&r.id)?, remembered);
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn done(index: u64) -> Remembered {
        Remembered { at_ms: 1_000, revision: Revision::new(index, 0), outcomes: None }
    }

    #[test]
    fn the_oldest_requests_make_room_by_number_and_by_time() {
        let mut requests = Requests::default();
        requests.insert(RequestId::NONE, done(1));
        for index in 1..=MAX as u64 + 1 {
            requests.insert(RequestId(u128::from(index)), done(index));
        }
        assert_eq!(requests.by_id.len(), MAX);
        let knows = |requests: &Requests, id| requests.get(RequestId(id)).is_some();
        assert!(!knows(&requests, 0) && !knows(&requests, 1) && knows(&requests, 2));
        requests.expire(1_000 + KEEP_MS, 2);
        assert_eq!(requests.by_id.len(), MAX, "not yet");
        requests.expire(1_001 + KEEP_MS, 2);
        assert_eq!(requests.by_id.len(), MAX - DROPPED_AT_ONCE, "a few with each entry");
        let next = 2 + DROPPED_AT_ONCE as u128;
        assert!(!knows(&requests, next - 1) && knows(&requests, next));
    }

    /// The clock of a new leader may be a month ahead of the one before.
    #[test]
    fn the_newest_requests_stay_whatever_the_clock_says() {
        let mut requests = Requests::default();
        for index in 1..=KEEP as u64 + 1 {
            requests.insert(RequestId(u128::from(index)), done(index));
        }
        let mut first_level = requests.clone();
        for _ in 0..2 * KEEP {
            requests.expire(u64::MAX, 2);
            first_level.expire(u64::MAX, 1);
        }
        assert_eq!(requests.by_id.len(), KEEP);
        assert!(requests.get(RequestId(1)).is_none(), "the oldest went");
        assert_eq!(first_level.by_id.len(), 0, "as the first builds do");
    }

    /// They would otherwise stay for as long as the clock was ahead.
    #[test]
    fn requests_from_the_future_are_old_from_level_3_on() {
        let mut requests = Requests::default();
        for index in 1..=KEEP as u64 + 2 {
            requests.insert(RequestId(u128::from(index)), Remembered { at_ms: 500_000, ..done(index) });
        }
        let left = |level, now_ms| {
            let mut requests = requests.clone();
            requests.expire(now_ms, level);
            requests.by_id.len() - KEEP
        };
        assert_eq!((left(2, 1_000), left(3, 1_000)), (2, 0));
        assert_eq!(
            (left(2, 500_000 - KEEP_MS), left(3, 500_000 - KEEP_MS)),
            (2, 2),
            "clocks differ a little"
        );
    }
}
