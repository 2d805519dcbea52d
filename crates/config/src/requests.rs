//! The requests that were carried out lately. A request that a proposer repeats after a lost answer therefore takes
//! effect once.
//!
//! Comparing contents would not do: Nacos writes a version with each publish, even of an equal content, so that an
//! equal content may be a second request; and a CAS publish would refuse its own work. Only requests that changed
//! something are remembered, because repeating a refusal is harmless.

use std::sync::Arc;

use imbl::OrdMap;

use crate::command::ItemOutcome;
use crate::content::Revision;
use crate::limits::{REQUEST_KEEP_MS, REQUESTS_DROPPED_AT_ONCE, REQUESTS_MAX};

/// What a request did.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Remembered {
    /// Milliseconds since the epoch.
    pub(crate) at_ms: u64,
    /// The revision of its first write. The log index in it gives the order of the requests.
    pub(crate) revision: Revision,
    /// The outcome of each item, if the request had several.
    pub(crate) outcomes: Option<Arc<[ItemOutcome]>>,
}

/// The remembered requests by id, and their ids by revision. Clones are O(1).
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Requests {
    by_id: OrdMap<u128, Remembered>,
    order: OrdMap<Revision, u128>,
}

impl Requests {
    pub(crate) fn get(&self, id: u128) -> Option<&Remembered> {
        self.by_id.get(&id)
    }

    /// Remembers a request. A request without an id (0) is not remembered.
    pub(crate) fn insert(&mut self, id: u128, remembered: Remembered) {
        if id == 0 {
            return;
        }
        self.order.insert(remembered.revision, id);
        self.by_id.insert(id, remembered);
        if self.by_id.len() > REQUESTS_MAX {
            self.drop_oldest();
        }
    }

    /// Forgets some of the requests that are too old. It looks only at the time of the stamp, so all members forget the
    /// same requests.
    pub(crate) fn expire(&mut self, now_ms: u64) {
        for _ in 0..REQUESTS_DROPPED_AT_ONCE {
            let oldest = self.order.get_min().and_then(|(_, id)| self.by_id.get(id));
            if oldest.is_none_or(|r| r.at_ms.saturating_add(REQUEST_KEEP_MS) >= now_ms) {
                return;
            }
            self.drop_oldest();
        }
    }

    /// All remembered requests, oldest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u128, &Remembered)> {
        self.order.values().filter_map(|id| self.by_id.get(id).map(|remembered| (*id, remembered)))
    }

    fn drop_oldest(&mut self) {
        if let Some((revision, id)) = self.order.get_min().map(|(revision, id)| (*revision, *id)) {
            self.order.remove(&revision);
            self.by_id.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_requests_make_room_by_number_and_by_time() {
        let mut requests = Requests::default();
        let done = |index| Remembered { at_ms: 1_000, revision: Revision::new(index, 0), outcomes: None };
        requests.insert(0, done(1));
        for index in 1..=REQUESTS_MAX as u64 + 1 {
            requests.insert(u128::from(index), done(index));
        }
        assert_eq!(requests.iter().count(), REQUESTS_MAX);
        assert!(requests.get(0).is_none() && requests.get(1).is_none() && requests.get(2).is_some());
        requests.expire(1_000 + REQUEST_KEEP_MS);
        assert_eq!(requests.iter().count(), REQUESTS_MAX, "not yet");
        requests.expire(1_001 + REQUEST_KEEP_MS);
        assert_eq!(requests.iter().count(), REQUESTS_MAX - REQUESTS_DROPPED_AT_ONCE, "a few with each entry");
        assert_eq!(requests.iter().next().map(|(id, _)| id), Some(2 + REQUESTS_DROPPED_AT_ONCE as u128));
    }
}
