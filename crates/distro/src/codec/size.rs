//! How long records are on the wire, exactly and without making the bytes: the core cuts its messages by it.
//!
//! Why no message exceeds [`FRAME_MAX`]: one with several records has [`HEAD_MAX`] and `Limits::message_bytes` at most, one
//! with a single record [`HEAD_MAX`] and [`RECORD_MAX`]. A record that is longer never gets into a log, since its parts are
//! bounded where they come in ([`is_sendable`], [`COVERS_MAX`]). Messages without records list members, logs or the
//! entries of one relay, whose numbers are bounded too.

use dyad_types::limits::PUBLICATION_MAX;
use dyad_types::{Dot, Publication, PublicationKey};
use prost::encoding::encoded_len_varint;

use super::FRAME_MAX;
use crate::message::{Datum, DatumState, RelayedBeat, Value};

/// Bytes of the four texts of a key. Names of the parameter check's limits take 2.2 KiB in the widest characters.
pub(crate) const KEY_MAX: usize = 16 * 1024;
/// Origins whose deregistrations one record remembers. Each start or refutation of a member makes a new origin, and an
/// origin is here only if it registered this very key within the time for which covers are kept, 15 min.
pub(crate) const COVERS_MAX: usize = 8_192;

/// Everything of a message but its records: format, frame, a position, six numbers and a flag.
pub(crate) const HEAD_MAX: usize = 1 + LENGTH_MAX + DOT_MAX + 6 * NUMBER_MAX + 2;
/// One record, with its place in the message.
pub(crate) const RECORD_MAX: usize = {
    let key = LENGTH_MAX + 4 * LENGTH_MAX + KEY_MAX;
    let value = LENGTH_MAX + LENGTH_MAX + PUBLICATION_MAX + DOT_MAX + NUMBER_MAX;
    LENGTH_MAX + key + 2 * NUMBER_MAX + value + 2 + DOT_MAX + COVERS_MAX * DOT_MAX
};
const _: () = assert!(HEAD_MAX + RECORD_MAX <= FRAME_MAX);

/// A field's number and the length of what follows, below 2^28.
const LENGTH_MAX: usize = 5;
const NUMBER_MAX: usize = 11;
const DOT_MAX: usize = 2 + 9 + 2 * NUMBER_MAX;

/// A message has room for so many records and bytes, but always for one record.
#[derive(Debug)]
pub(crate) struct Room {
    records: usize,
    bytes: usize,
    is_empty: bool,
}

impl Room {
    pub(crate) fn new(records: usize, bytes: usize) -> Room {
        Room { records, bytes, is_empty: true }
    }

    /// Takes the place of one more record of that length. False when it must go into the next message.
    pub(crate) fn take(&mut self, len: usize) -> bool {
        let fits = self.records > 0 && len <= self.bytes;
        if !fits && !self.is_empty {
            return false;
        }
        self.is_empty = false;
        self.records = self.records.saturating_sub(1);
        self.bytes = self.bytes.saturating_sub(len);
        true
    }
}

/// A record of this key and registration fits into a message, whatever becomes of it.
pub(crate) fn is_sendable(key: &PublicationKey, publication: Option<&Publication>) -> bool {
    let bytes = publication.map_or(0, |p| p.bytes().len());
    texts(key).iter().sum::<usize>() <= KEY_MAX && bytes <= PUBLICATION_MAX
}

/// Bytes of a record in a delta.
pub(crate) fn datum(datum: &Datum) -> usize {
    let (value_of, healthy, to) = match &datum.state {
        DatumState::Live { value, healthy } => (Some(value), *healthy, None),
        DatumState::Gone => (None, true, None),
        DatumState::Yield { value, to } => (Some(value), true, Some(*to)),
    };
    nested(
        key(&datum.key)
            + number(datum.seq)
            + number(datum.lamport)
            + value_of.map_or(0, value)
            + if healthy { 0 } else { 2 }
            + to.map_or(0, dot)
            + datum.covers.iter().copied().map(dot).sum::<usize>(),
    )
}

/// Bytes of an entry in a relay.
pub(crate) fn beat(beat: &RelayedBeat) -> usize {
    nested(key(&beat.key) + number(beat.age) + beat.value.as_ref().map_or(0, value))
}

fn key(key: &PublicationKey) -> usize {
    nested(texts(key).into_iter().map(text).sum())
}

fn texts(key: &PublicationKey) -> [usize; 4] {
    let service = &key.service;
    [service.namespace().len(), service.group().len(), service.name().len(), key.client.as_str().len()]
}

fn value(value: &Value) -> usize {
    nested(text(value.publication.bytes().len()) + dot(value.dot) + number(value.age))
}

fn dot(dot: Dot) -> usize {
    let member = if dot.origin.member.0 == 0 { 0 } else { 9 };
    nested(member + number(dot.origin.incarnation) + number(dot.seq))
}

/// Every field number is below 16, which takes one byte; an absent value takes none.
fn number(n: u64) -> usize {
    if n == 0 { 0 } else { 1 + encoded_len_varint(n) }
}

fn text(len: usize) -> usize {
    if len == 0 { 0 } else { nested(len) }
}

fn nested(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;

    use dyad_types::{ClientId, Instance, MemberId, Origin, ServiceKey};
    use proptest::prelude::*;
    use prost::Message as _;

    use super::*;
    use crate::codec::{convert, encode, wire};
    use crate::message::{Delta, Message, Relay};

    fn numbers() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), Just(1), Just(u64::MAX), any::<u64>(), any::<u8>().prop_map(u64::from)]
    }

    fn dots() -> impl Strategy<Value = Dot> {
        (numbers(), numbers(), numbers()).prop_map(|(member, incarnation, seq)| Dot {
            origin: Origin { member: MemberId(member), incarnation },
            seq,
        })
    }

    fn keys() -> impl Strategy<Value = PublicationKey> {
        ("[a-zま]{0,64}", "[a-z]{0,128}", "[aま]{0,512}", "[0-9.]{0,160}").prop_map(
            |(namespace, group, name, client)| PublicationKey {
                service: ServiceKey::new(&namespace, &group, &name),
                client: ClientId::from_text(&client),
            },
        )
    }

    fn values() -> impl Strategy<Value = Value> {
        ("[0-9.]{0,128}", any::<u16>(), "[aま]{0,1024}", 0..4_usize, dots(), numbers()).prop_map(
            |(ip, port, text, instances, dot, age)| {
                let mut instance = Instance::new(&ip, port);
                instance.metadata = [("k", text.as_str())].into_iter().collect();
                Value { publication: Publication::batch(vec![instance; instances]), dot, age }
            },
        )
    }

    fn data() -> impl Strategy<Value = Datum> {
        let state = prop_oneof![
            (values(), any::<bool>()).prop_map(|(value, healthy)| DatumState::Live { value, healthy }),
            Just(DatumState::Gone),
            (values(), dots()).prop_map(|(value, to)| DatumState::Yield { value, to }),
        ];
        (keys(), numbers(), numbers(), state, proptest::collection::vec(dots(), 0..20))
            .prop_map(|(key, seq, lamport, state, covers)| Datum { key, seq, lamport, state, covers })
    }

    proptest! {
        #[test]
        fn a_record_is_as_long_as_it_says(record in data()) {
            let delta = |data| Delta {
                origin: Origin::default(), since: 0, to: 0, head: 0, reset: false, floor: 0, cover_floor: 0,
                silence: 0, data,
            };
            let len = |data| match convert::to_wire(&Message::Delta(delta(data))) {
                wire::Body::Delta(delta) => delta.encoded_len(),
                _ => unreachable!("a delta"),
            };
            let said = datum(&record);
            prop_assert_eq!(len(vec![record]) - len(vec![]), said);
        }

        #[test]
        fn an_entry_of_a_relay_is_as_long_as_it_says(
            key in keys(),
            age in numbers(),
            value in proptest::option::of(values()),
        ) {
            let entry = RelayedBeat { key, age, value };
            let len = |beats| match convert::to_wire(&Message::Relay(Relay { batch: 0, counter: 0, beats })) {
                wire::Body::Relay(relay) => relay.encoded_len(),
                _ => unreachable!("a relay"),
            };
            let said = beat(&entry);
            prop_assert_eq!(len(vec![entry]) - len(vec![]), said);
        }
    }

    /// Each number, name and list as long as it can be, alone in its message.
    #[test]
    fn the_longest_record_fits_into_a_message() {
        let service = ServiceKey::new("n", "g", &"s".repeat(KEY_MAX - 3));
        let key = PublicationKey { service, client: ClientId::from_text("c") };
        let dot = Dot { origin: Origin { member: MemberId(u64::MAX), incarnation: u64::MAX }, seq: u64::MAX };
        let covers = vec![dot; COVERS_MAX];
        let publication = longest_publication();
        assert!(is_sendable(&key, Some(&publication)));
        let value = Value { publication, dot, age: u64::MAX };
        let (seq, lamport, state) = (u64::MAX, u64::MAX, DatumState::Yield { value, to: dot });
        let record = Datum { key, seq, lamport, state, covers };
        let len = datum(&record);
        assert!((RECORD_MAX - 32..=RECORD_MAX).contains(&len), "{len} of {RECORD_MAX}");
        let most = u64::MAX;
        let frame = encode(&Message::Delta(Delta {
            origin: dot.origin,
            since: most,
            to: most,
            head: most,
            reset: true,
            floor: most,
            cover_floor: most,
            silence: most,
            data: vec![record],
        }));
        assert!(frame.unwrap().len() <= len + HEAD_MAX);
    }

    fn longest_publication() -> Arc<Publication> {
        let of = |len: usize| {
            let mut instance = Instance::new("10.0.0.1", 80);
            instance.metadata = [("k", "v".repeat(len).as_str())].into_iter().collect();
            Publication::one(instance)
        };
        let longest = of(PUBLICATION_MAX - (of(PUBLICATION_MAX).bytes().len() - PUBLICATION_MAX));
        assert_eq!(longest.bytes().len(), PUBLICATION_MAX);
        longest
    }

    #[test]
    fn one_record_always_has_room_and_the_next_one_only_if_it_fits() {
        let mut room = Room::new(3, 10);
        assert_eq!([11, 0].map(|len| room.take(len)), [true, true]);
        let mut room = Room::new(3, 10);
        assert_eq!([4, 6, 1].map(|len| room.take(len)), [true, true, false]);
        let mut room = Room::new(2, 10);
        assert_eq!([1, 1, 1].map(|len| room.take(len)), [true, true, false]);
    }
}
