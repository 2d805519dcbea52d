//! What goes over the admin socket when a backup is asked for.
//!
//! The answer to the command is a line of JSON, [`Begin`]. If it has no error, chunks of the file follow: the length as four
//! bytes, the number of content rows that were read so far as eight bytes, both big-endian, and the bytes. A chunk of no bytes
//! is the last one, and behind it a line of JSON says how it ended, [`End`]. A connection that ends before this line has lost
//! something.

use dyad_backup::{Header, HeldMember, Summary, hex};
use dyad_types::MemberId;
use serde::{Deserialize, Serialize};

/// Bytes of a chunk at most.
pub const CHUNK: usize = 256 * 1024;

/// The first line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Begin {
    /// Why there is no backup.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<Head>,
}

/// The header of the backup, as programs read it (docs/cli.md).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// 32 hex digits. Null if the member did not know it yet.
    pub cluster_id: Option<String>,
    pub index: u64,
    pub term: u64,
    /// Of the leader that wrote the entry of the index, 16 hex digits.
    pub leader_id: String,
    /// When the backup was begun, in milliseconds since the epoch.
    pub time: u64,
    /// The highest time in the state, in milliseconds since the epoch.
    pub state_time: u64,
    /// Of the member that gave it, 16 hex digits.
    pub member_id: String,
    pub in_quorum: bool,
    pub level: u32,
    /// The versions of configurations.
    pub contents: u64,
    pub configs: u64,
    pub services: u64,
    /// Persistent instances.
    pub instances: u64,
    pub dyad_version: String,
    pub members: Vec<HeadMember>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadMember {
    pub member_id: String,
    pub address: String,
    pub cluster_address: String,
    pub voter: bool,
}

/// The last line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct End {
    /// Why the backup is not complete.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Bytes of the file.
    pub bytes: u64,
    pub records: u64,
    pub contents: u64,
    /// The digest at the end of the file, 64 hex digits.
    pub sha256: String,
}

impl End {
    pub fn of(summary: &Summary) -> End {
        End {
            error: None,
            bytes: summary.bytes,
            records: summary.records,
            contents: summary.contents,
            sha256: hex(&summary.sha256),
        }
    }
}

fn id(member: MemberId) -> String {
    member.to_string()
}

impl From<&HeldMember> for HeadMember {
    fn from(held: &HeldMember) -> HeadMember {
        HeadMember {
            member_id: id(held.member),
            address: held.address.clone(),
            cluster_address: held.cluster_address.clone(),
            voter: held.voter,
        }
    }
}

impl From<&Header> for Head {
    fn from(header: &Header) -> Head {
        Head {
            cluster_id: header.cluster_id.map(|id| format!("{id:032x}")),
            index: header.index,
            term: header.term,
            leader_id: id(header.leader),
            time: header.taken_ms,
            state_time: header.state_ms,
            member_id: id(header.member),
            in_quorum: header.in_quorum,
            level: header.level,
            contents: header.contents,
            configs: header.configs,
            services: header.services,
            instances: header.instances,
            dyad_version: header.version.clone(),
            members: header.members.iter().map(Into::into).collect(),
        }
    }
}
