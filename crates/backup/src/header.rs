//! What a backup says of itself before anything else.

use dyad_config::Scope;
use dyad_state::CpState;
use dyad_types::MemberId;
use prost::Message;

/// The first thing in a backup.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// The cluster whose state it is. `None` if the member did not know yet.
    pub cluster_id: Option<u128>,
    /// The term and the member of the leader that wrote the last entry which the state has.
    pub term: u64,
    pub leader: MemberId,
    /// The index of that entry.
    pub index: u64,
    /// The wall clock of the member that gave the backup, in milliseconds since the epoch.
    pub taken_ms: u64,
    /// The highest time in the state, in milliseconds since the epoch: the time of its last command, or one shortly before.
    pub state_ms: u64,
    /// The member that gave the backup.
    pub member: MemberId,
    /// Whether this member heard a leader, or led a majority. If not, other members may have had more.
    pub in_quorum: bool,
    /// The level of the state.
    pub level: u32,
    /// The rows of contents that follow the state: the versions of configurations.
    pub contents: u64,
    /// Configurations with a formal release.
    pub configs: u64,
    /// Services with persistent instances, records or overrides, and the persistent instances.
    pub services: u64,
    pub instances: u64,
    /// The version of the program.
    pub version: String,
    /// The members of the cluster at the index.
    pub members: Vec<HeldMember>,
}

/// A member of the cluster, as its membership had it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldMember {
    pub member: MemberId,
    pub address: String,
    pub cluster_address: String,
    pub voter: bool,
}

#[derive(Clone, PartialEq, Message)]
struct HeaderRecord {
    #[prost(bytes = "vec", tag = "1")]
    cluster_id: Vec<u8>,
    #[prost(uint64, tag = "2")]
    term: u64,
    #[prost(fixed64, tag = "3")]
    leader: u64,
    #[prost(uint64, tag = "4")]
    index: u64,
    #[prost(uint64, tag = "5")]
    taken_ms: u64,
    #[prost(uint64, tag = "6")]
    state_ms: u64,
    #[prost(fixed64, tag = "7")]
    member: u64,
    #[prost(bool, tag = "8")]
    in_quorum: bool,
    #[prost(uint32, tag = "9")]
    level: u32,
    #[prost(uint64, tag = "10")]
    contents: u64,
    #[prost(string, tag = "11")]
    version: String,
    #[prost(message, repeated, tag = "12")]
    members: Vec<MemberRecord>,
    #[prost(uint64, tag = "13")]
    configs: u64,
    #[prost(uint64, tag = "14")]
    services: u64,
    #[prost(uint64, tag = "15")]
    instances: u64,
}

#[derive(Clone, PartialEq, Message)]
struct MemberRecord {
    #[prost(fixed64, tag = "1")]
    member: u64,
    #[prost(string, tag = "2")]
    address: String,
    #[prost(string, tag = "3")]
    cluster_address: String,
    #[prost(bool, tag = "4")]
    voter: bool,
}

impl Header {
    /// The same with the counts that follow from the state.
    #[must_use]
    pub fn counting(self, state: &CpState) -> Header {
        Header {
            contents: state.config().revisions().count() as u64,
            configs: state.config().usage(&Scope::Cluster).count,
            services: state.naming().services().count() as u64,
            instances: state.naming().instance_count() as u64,
            ..self
        }
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let members = self.members.iter().map(|held| MemberRecord {
            member: held.member.0,
            address: held.address.clone(),
            cluster_address: held.cluster_address.clone(),
            voter: held.voter,
        });
        let record = HeaderRecord {
            cluster_id: self.cluster_id.map(|id| id.to_be_bytes().to_vec()).unwrap_or_default(),
            term: self.term,
            leader: self.leader.0,
            index: self.index,
            taken_ms: self.taken_ms,
            state_ms: self.state_ms,
            member: self.member.0,
            in_quorum: self.in_quorum,
            level: self.level,
            contents: self.contents,
            version: self.version.clone(),
            members: members.collect(),
            configs: self.configs,
            services: self.services,
            instances: self.instances,
        };
        record.encode_to_vec()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Result<Header, String> {
        let record = HeaderRecord::decode(bytes).map_err(|e| e.to_string())?;
        let cluster_id = match record.cluster_id.len() {
            0 => None,
            _ => {
                let id = record.cluster_id.try_into().map_err(|_| "a cluster id is 16 bytes".to_string())?;
                Some(u128::from_be_bytes(id))
            }
        };
        let members = record.members.into_iter().map(|held| HeldMember {
            member: MemberId(held.member),
            address: held.address,
            cluster_address: held.cluster_address,
            voter: held.voter,
        });
        Ok(Header {
            cluster_id,
            term: record.term,
            leader: MemberId(record.leader),
            index: record.index,
            taken_ms: record.taken_ms,
            state_ms: record.state_ms,
            member: MemberId(record.member),
            in_quorum: record.in_quorum,
            level: record.level,
            contents: record.contents,
            configs: record.configs,
            services: record.services,
            instances: record.instances,
            version: record.version,
            members: members.collect(),
        })
    }
}
