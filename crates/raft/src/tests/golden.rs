//! The bytes on the disk, pinned. A change here is a new format number and a reader for the old one.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use dyad_state::CpState;

use crate::machine::{Header, read_snapshot, write_snapshot};
use crate::record::{self, SnapshotRecord};
use crate::types::{
    Entry, Membership, Node, Payload, Proposal, SnapshotMeta, StoredMembership, Vote, log_id,
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn membership() -> Membership {
    let node = |n: u64| Node::new(format!("h{n}:8848"), format!("h{n}:9849"));
    Membership::new(vec![BTreeSet::from([1, 2])], BTreeMap::from([(1, node(1)), (2, node(2))])).unwrap()
}

#[test]
fn log_records() {
    assert_eq!(record::VERSION, 1);
    let at = |index| log_id(3, 7, index);
    let command = Proposal { now_ms: 1000, command: Bytes::from_static(b"\x01cmd") };
    let cases = [
        (Entry { log_id: at(9), payload: Payload::Blank }, GOLDEN_BLANK),
        (Entry { log_id: at(10), payload: Payload::Normal(command) }, GOLDEN_COMMAND),
        (Entry { log_id: at(11), payload: Payload::Membership(membership()) }, GOLDEN_MEMBERSHIP),
    ];
    for (entry, golden) in cases {
        let bytes = record::encode_entry(&entry);
        assert_eq!(hex(&bytes), golden, "{entry}");
        assert_eq!(record::decode_entry(&bytes), Ok(entry));
    }
}

#[test]
fn named_values() {
    let vote = Vote::new_committed(3, 7);
    let bytes = record::encode_vote(&vote);
    assert_eq!((hex(&bytes), record::decode_vote(&bytes)), (GOLDEN_VOTE.into(), Ok(vote)));
    let id = log_id(3, 7, 9);
    let bytes = record::encode_log_id(&id);
    assert_eq!((hex(&bytes), record::decode_log_id(&bytes)), (GOLDEN_LOG_ID.into(), Ok(id)));
    let bytes = record::encode_number(300);
    assert_eq!((hex(&bytes), record::decode_number(&bytes)), (GOLDEN_NUMBER.into(), Ok(300)));
    let bytes = record::encode_cluster(0xab);
    assert_eq!((hex(&bytes), record::decode_cluster(&bytes)), (GOLDEN_CLUSTER.into(), Ok(0xab)));
    let snapshot = SnapshotRecord { file: "snap-1.bin".into(), length: 5, sha256: vec![1, 2] };
    let bytes = record::encode_snapshot(&snapshot);
    assert_eq!((hex(&bytes), record::decode_snapshot(&bytes)), (GOLDEN_SNAPSHOT.into(), Ok(snapshot)));
}

#[test]
fn snapshot_file() {
    let meta = SnapshotMeta {
        last_log_id: Some(log_id(3, 7, 9)),
        last_membership: StoredMembership::new(Some(log_id(1, 7, 0)), membership()),
    };
    let header = Header { cluster_id: Some(0xab), meta };
    let mut bytes = Vec::new();
    write_snapshot(&mut bytes, &header, &CpState::default()).unwrap();
    let head = &bytes[..GOLDEN_SNAPSHOT_HEAD.len() / 2];
    assert_eq!(hex(head), GOLDEN_SNAPSHOT_HEAD);
    let (read, state, _) = read_snapshot(&bytes[..]).unwrap();
    assert_eq!((read, state), (header, CpState::default()));
}

const GOLDEN_BLANK: &str = "0101635014bc0a060803100718091200";
const GOLDEN_COMMAND: &str = "0101e896685c0a0608031007180a220908e807120401636d64";
const GOLDEN_MEMBERSHIP: &str = concat!(
    "0101d8f555390a0608031007180b1a320a040a02010212140801120768313a383834381a0768313a3938343912140802",
    "120768323a383834381a0768323a39383439",
);
const GOLDEN_VOTE: &str = "0102f0095ab8080310071801";
const GOLDEN_LOG_ID: &str = "010312d32ebf080310071809";
const GOLDEN_NUMBER: &str = "010555b8777f08ac02";
const GOLDEN_CLUSTER: &str = "0106a161f3940a10000000000000000000000000000000ab";
const GOLDEN_SNAPSHOT: &str = "0104d5a163b20a0a736e61702d312e62696e10051a020102";
const GOLDEN_SNAPSHOT_HEAD: &str = concat!(
    "44594144534e415000010000000000562d44b9690a10000000000000000000000000000000ab12060803100718091a3a",
    "0a040801100712320a040a02010212140801120768313a383834381a0768313a3938343912140802120768323a383834",
    "381a0768323a39383439",
);
