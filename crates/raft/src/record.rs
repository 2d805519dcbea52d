//! The format of records in the store: `[version][kind][crc32c, big-endian][prost message]`. Golden bytes in tests fix
//! it; field numbers are never reused.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{BufMut, Bytes, BytesMut};
use dyad_state::ports::COMMAND_MAX;
use prost::Message;

use crate::types::{Entry, LogId, Membership, Node, Payload, Proposal, StoredMembership, Vote, log_id};

/// Format number of every record this build writes, and the only one it reads.
pub(crate) const VERSION: u8 = 1;
/// Version, kind and checksum.
const HEAD: usize = 6;
/// Largest record: a command with room for its head, log id and stamp. The store cuts large ones into parts.
pub(crate) const RECORD_MAX: usize = COMMAND_MAX + 1024;

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Entry = 1,
    Vote = 2,
    LogId = 3,
    Snapshot = 4,
    Number = 5,
    Cluster = 6,
}

/// Why bytes from the disk or the network are not a record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRecord {
    #[error("{0} bytes are too few for a record")]
    Short(usize),
    #[error("format number {0}, this build knows {VERSION}")]
    Version(u8),
    #[error("kind {found}, expected {expected}")]
    Kind { found: u8, expected: u8 },
    #[error("checksum {found:08x}, expected {expected:08x}")]
    Checksum { found: u32, expected: u32 },
    #[error("{0}")]
    Content(String),
}

fn checksum(kind: u8, body: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&[VERSION, kind]), body)
}

fn frame(kind: Kind, message: &impl Message) -> Bytes {
    let len = message.encoded_len();
    let mut out = BytesMut::with_capacity(HEAD + len);
    out.put_u8(VERSION);
    out.put_u8(kind as u8);
    out.put_u32(0);
    message.encode(&mut out).expect("the buffer grows as needed");
    let crc = checksum(kind as u8, &out[HEAD..]);
    out[2..HEAD].copy_from_slice(&crc.to_be_bytes());
    out.freeze()
}

fn unframe<M: Message + Default>(kind: Kind, bytes: &Bytes) -> Result<M, BadRecord> {
    if bytes.len() < HEAD {
        return Err(BadRecord::Short(bytes.len()));
    }
    if bytes[0] != VERSION {
        return Err(BadRecord::Version(bytes[0]));
    }
    let found = u32::from_be_bytes([bytes[2], bytes[3], bytes[4], bytes[5]]);
    let expected = checksum(bytes[1], &bytes[HEAD..]);
    if found != expected {
        return Err(BadRecord::Checksum { found, expected });
    }
    if bytes[1] != kind as u8 {
        return Err(BadRecord::Kind { found: bytes[1], expected: kind as u8 });
    }
    M::decode(bytes.slice(HEAD..)).map_err(|e| BadRecord::Content(e.to_string()))
}

pub(crate) fn encode_entry(entry: &Entry) -> Bytes {
    let payload = match &entry.payload {
        Payload::Blank => PayloadRecord::Blank(Blank {}),
        Payload::Membership(membership) => PayloadRecord::Membership(membership.into()),
        Payload::Normal(proposal) => PayloadRecord::Command(CommandRecord {
            now_ms: proposal.now_ms,
            command: proposal.command.clone(),
        }),
    };
    frame(Kind::Entry, &EntryRecord { log_id: Some((&entry.log_id).into()), payload: Some(payload) })
}

pub(crate) fn decode_entry(bytes: &Bytes) -> Result<Entry, BadRecord> {
    let record: EntryRecord = unframe(Kind::Entry, bytes)?;
    let log_id = record.log_id.ok_or_else(|| BadRecord::Content("an entry without a log id".into()))?;
    let payload = match record.payload {
        Some(PayloadRecord::Blank(_)) => Payload::Blank,
        Some(PayloadRecord::Membership(membership)) => Payload::Membership(membership.try_into()?),
        Some(PayloadRecord::Command(command)) => {
            Payload::Normal(Proposal { now_ms: command.now_ms, command: command.command })
        }
        None => return Err(BadRecord::Content("an entry of a kind that this build does not know".into())),
    };
    Ok(Entry { log_id: log_id.into(), payload })
}

pub(crate) fn encode_vote(vote: &Vote) -> Bytes {
    let record =
        VoteRecord { term: vote.leader_id.term, member: vote.leader_id.node_id, committed: vote.committed };
    frame(Kind::Vote, &record)
}

pub(crate) fn decode_vote(bytes: &Bytes) -> Result<Vote, BadRecord> {
    let record: VoteRecord = unframe(Kind::Vote, bytes)?;
    Ok(if record.committed {
        Vote::new_committed(record.term, record.member)
    } else {
        Vote::new(record.term, record.member)
    })
}

pub(crate) fn encode_log_id(log_id: &LogId) -> Bytes {
    frame(Kind::LogId, &LogIdRecord::from(log_id))
}

pub(crate) fn decode_log_id(bytes: &Bytes) -> Result<LogId, BadRecord> {
    unframe::<LogIdRecord>(Kind::LogId, bytes).map(Into::into)
}

pub(crate) fn encode_number(number: u64) -> Bytes {
    frame(Kind::Number, &NumberRecord { number })
}

pub(crate) fn decode_number(bytes: &Bytes) -> Result<u64, BadRecord> {
    unframe::<NumberRecord>(Kind::Number, bytes).map(|r| r.number)
}

pub(crate) fn encode_cluster(id: u128) -> Bytes {
    frame(Kind::Cluster, &ClusterRecord { id: id.to_be_bytes().to_vec() })
}

pub(crate) fn decode_cluster(bytes: &Bytes) -> Result<u128, BadRecord> {
    let record: ClusterRecord = unframe(Kind::Cluster, bytes)?;
    let id = record.id.try_into().map_err(|_| BadRecord::Content("a cluster id is 16 bytes".into()))?;
    Ok(u128::from_be_bytes(id))
}

/// Which snapshot file is the current one.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct SnapshotRecord {
    /// File name inside the snapshot directory.
    #[prost(string, tag = "1")]
    pub(crate) file: String,
    #[prost(uint64, tag = "2")]
    pub(crate) length: u64,
    /// The digest in the file's trailer.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) sha256: Vec<u8>,
}

pub(crate) fn encode_snapshot(record: &SnapshotRecord) -> Bytes {
    frame(Kind::Snapshot, record)
}

pub(crate) fn decode_snapshot(bytes: &Bytes) -> Result<SnapshotRecord, BadRecord> {
    unframe(Kind::Snapshot, bytes)
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct LogIdRecord {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    leader: u64,
    #[prost(uint64, tag = "3")]
    index: u64,
}

impl From<&LogId> for LogIdRecord {
    fn from(id: &LogId) -> LogIdRecord {
        LogIdRecord { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
    }
}

impl From<LogIdRecord> for LogId {
    fn from(record: LogIdRecord) -> LogId {
        log_id(record.term, record.leader, record.index)
    }
}

#[derive(Clone, Copy, PartialEq, Message)]
struct VoteRecord {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    member: u64,
    #[prost(bool, tag = "3")]
    committed: bool,
}

#[derive(Clone, PartialEq, Message)]
struct EntryRecord {
    #[prost(message, optional, tag = "1")]
    log_id: Option<LogIdRecord>,
    #[prost(oneof = "PayloadRecord", tags = "2, 3, 4")]
    payload: Option<PayloadRecord>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum PayloadRecord {
    #[prost(message, tag = "2")]
    Blank(Blank),
    #[prost(message, tag = "3")]
    Membership(MembershipRecord),
    #[prost(message, tag = "4")]
    Command(CommandRecord),
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Blank {}

#[derive(Clone, PartialEq, Message)]
struct CommandRecord {
    #[prost(uint64, tag = "1")]
    now_ms: u64,
    #[prost(bytes = "bytes", tag = "2")]
    command: Bytes,
}

/// One or, during a change, two sets of voters, and all nodes.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct MembershipRecord {
    #[prost(message, repeated, tag = "1")]
    configs: Vec<VotersRecord>,
    #[prost(message, repeated, tag = "2")]
    nodes: Vec<NodeRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct VotersRecord {
    #[prost(uint64, repeated, tag = "1")]
    members: Vec<u64>,
}

#[derive(Clone, PartialEq, Message)]
struct NodeRecord {
    #[prost(uint64, tag = "1")]
    member: u64,
    #[prost(string, tag = "2")]
    address: String,
    #[prost(string, tag = "3")]
    cluster_address: String,
    /// Not written by builds before 0.7, whose members all have a vote.
    #[prost(bool, tag = "4")]
    learner: bool,
}

impl From<&Membership> for MembershipRecord {
    fn from(membership: &Membership) -> MembershipRecord {
        let configs = membership.get_joint_config().iter();
        MembershipRecord {
            configs: configs.map(|set| VotersRecord { members: set.iter().copied().collect() }).collect(),
            nodes: membership
                .nodes()
                .map(|(&member, node)| NodeRecord {
                    member,
                    address: node.address.clone(),
                    cluster_address: node.cluster_address.clone(),
                    learner: node.learner,
                })
                .collect(),
        }
    }
}

impl TryFrom<MembershipRecord> for Membership {
    type Error = BadRecord;

    fn try_from(record: MembershipRecord) -> Result<Membership, BadRecord> {
        if record.configs.is_empty() {
            return Ok(Membership::default());
        }
        let configs: Vec<BTreeSet<u64>> =
            record.configs.into_iter().map(|set| set.members.into_iter().collect()).collect();
        let nodes: BTreeMap<u64, Node> = record
            .nodes
            .into_iter()
            .map(|n| {
                (
                    n.member,
                    Node { address: n.address, cluster_address: n.cluster_address, learner: n.learner },
                )
            })
            .collect();
        Membership::new(configs, nodes).map_err(|e| BadRecord::Content(format!("membership: {e}")))
    }
}

/// A membership and the log id that wrote it, as a snapshot keeps it.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct StoredMembershipRecord {
    #[prost(message, optional, tag = "1")]
    log_id: Option<LogIdRecord>,
    #[prost(message, optional, tag = "2")]
    membership: Option<MembershipRecord>,
}

impl From<&StoredMembership> for StoredMembershipRecord {
    fn from(stored: &StoredMembership) -> StoredMembershipRecord {
        StoredMembershipRecord {
            log_id: stored.log_id().as_ref().map(Into::into),
            membership: Some(stored.membership().into()),
        }
    }
}

impl TryFrom<StoredMembershipRecord> for StoredMembership {
    type Error = BadRecord;

    fn try_from(record: StoredMembershipRecord) -> Result<StoredMembership, BadRecord> {
        let membership = record.membership.map(Membership::try_from).transpose()?.unwrap_or_default();
        Ok(StoredMembership::new(record.log_id.map(Into::into), membership))
    }
}

#[derive(Clone, Copy, PartialEq, Message)]
struct NumberRecord {
    #[prost(uint64, tag = "1")]
    number: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ClusterRecord {
    #[prost(bytes = "vec", tag = "1")]
    id: Vec<u8>,
}
