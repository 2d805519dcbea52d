//! The bytes of envelopes and replies: one version byte and then a prost message. Field numbers are never reused; golden
//! bytes in tests/ fix them.

use dyad_config::record as config;
use dyad_naming::cp::{NamingReply, record as naming};
use dyad_types::{BadRecord, MemberId, Origin};
use prost::Message;

use crate::cluster::{ClusterCommand, ClusterReply, LEVEL};
use crate::command::{CpCommand, CpReply, Part};
use crate::envelope::Envelope;
use crate::requests::RequestId;

/// The format of commands, replies and most records of a snapshot.
pub(crate) const FORMAT: u8 = 1;

/// The number of a reply of the configurations; the smaller ones are the other parts'.
const CONFIG_REPLY: u32 = 9;
/// The number of [`ClusterReply::Full`].
const FULL_REPLY: u32 = 10;

impl Envelope {
    /// The bytes of the envelope, with their version, as they are stored in the log and sent between members.
    pub fn encode(&self) -> Vec<u8> {
        let mut record = CommandRecord::default();
        let request = self.request.to_bytes();
        match &self.command {
            CpCommand::Cluster(command) => (record.cluster, record.request) = (Some(command.into()), request),
            CpCommand::Naming(command) => (record.naming, record.request) = (Some(command.into()), request),
            // 0.5.0 looks for the id there.
            CpCommand::Config(command) => {
                let mut command = config::CommandRecord::from(command);
                command.request = request;
                record.config = Some(Box::new(command));
            }
        }
        frame(FORMAT, &record)
    }

    /// Reads what [`Envelope::encode`] gave, in this build or an older one.
    ///
    /// # Errors
    /// The bytes are not a command, or this build does not know the command. It must not be skipped: the member has to stop.
    pub fn decode(bytes: &[u8]) -> Result<Envelope, BadRecord> {
        let mut record: CommandRecord = unframe("command", FORMAT, bytes)?;
        let command = match (record.cluster, record.naming, record.config) {
            (Some(kind), None, None) => CpCommand::Cluster(kind.try_into()?),
            (None, Some(kind), None) => CpCommand::Naming(kind.try_into()?),
            (None, None, Some(mut config)) => {
                record.request = std::mem::take(&mut config.request);
                CpCommand::Config((*config).try_into()?)
            }
            (None, None, None) => {
                return Err(BadRecord(
                    "a command that this build does not know; install the version that wrote it".into(),
                ));
            }
            _ => return Err(BadRecord("a command of two parts of the state".into())),
        };
        Ok(Envelope { request: RequestId::from_bytes(&record.request)?, command })
    }
}

impl CpReply {
    /// The bytes of the reply, with their version, for a follower that forwarded the command.
    pub fn encode(&self) -> Vec<u8> {
        let naming = match self {
            CpReply::Cluster(ClusterReply::Done) => naming::ReplyRecord::from(&NamingReply::Done),
            CpReply::Cluster(ClusterReply::Exists) => naming::ReplyRecord::from(&NamingReply::Exists),
            CpReply::Cluster(ClusterReply::Full) => {
                naming::ReplyRecord { kind: FULL_REPLY, ..Default::default() }
            }
            CpReply::Naming(reply) => reply.into(),
            CpReply::Config(_) => naming::ReplyRecord { kind: CONFIG_REPLY, ..Default::default() },
        };
        let config = match self {
            CpReply::Config(reply) => Some(reply.into()),
            _ => None,
        };
        frame(FORMAT, &ReplyRecord { kind: naming.kind, text: naming.text, limit: naming.limit, config })
    }

    /// Reads the reply to a command of `part`. The bytes alone do not say to which part they belong.
    ///
    /// # Errors
    /// The bytes are not a reply that this build knows, or they are a reply of another part.
    pub fn decode(part: Part, bytes: &[u8]) -> Result<CpReply, BadRecord> {
        let record: ReplyRecord = unframe("reply", FORMAT, bytes)?;
        match (part, record.config) {
            (Part::Config, Some(config)) => Ok(CpReply::Config(config.try_into()?)),
            (Part::Config, None) => Err(BadRecord("the record lacks its configuration reply".into())),
            (Part::Cluster, None) if record.kind == FULL_REPLY => Ok(CpReply::Cluster(ClusterReply::Full)),
            (part, _) => {
                let ReplyRecord { kind, text, limit, .. } = record;
                let reply = NamingReply::try_from(naming::ReplyRecord { kind, text, limit })?;
                match (part, reply) {
                    (Part::Cluster, NamingReply::Done) => Ok(CpReply::Cluster(ClusterReply::Done)),
                    (Part::Cluster, NamingReply::Exists) => Ok(CpReply::Cluster(ClusterReply::Exists)),
                    (Part::Cluster, _) => {
                        Err(BadRecord(format!("reply kind {kind} is none of the cluster's")))
                    }
                    (_, reply) => Ok(CpReply::Naming(reply)),
                }
            }
        }
    }
}

/// Version byte, then the message.
pub(crate) fn frame(format: u8, message: &impl Message) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1 + message.encoded_len());
    bytes.push(format);
    message.encode(&mut bytes).expect("a Vec grows to any size");
    bytes
}

/// The message behind a version byte of 1 to `newest`.
pub(crate) fn unframe<M: Message + Default>(what: &str, newest: u8, bytes: &[u8]) -> Result<M, BadRecord> {
    match bytes.split_first() {
        Some((&version, rest)) if (FORMAT..=newest).contains(&version) => {
            M::decode(rest).map_err(|e| BadRecord(format!("a {what} of {} bytes: {e}", bytes.len())))
        }
        Some((version, _)) => {
            Err(BadRecord(format!("a {what} of format {version}; this build reads format {newest}")))
        }
        None => Err(BadRecord(format!("an empty {what}"))),
    }
}

pub(crate) fn cluster_id_of(bytes: &[u8]) -> Result<u128, BadRecord> {
    let bytes = bytes.try_into().map_err(|_| BadRecord("a cluster id must have 16 bytes".into()))?;
    Ok(u128::from_be_bytes(bytes))
}

/// A level of the log or of a snapshot, if this build knows it.
pub(crate) fn level_of(level: u32) -> Result<u32, BadRecord> {
    if level > LEVEL {
        let what = format!("a cluster of level {level}; this build knows level {LEVEL}; install a newer one");
        return Err(BadRecord(what));
    }
    Ok(level.max(1))
}

/// Exactly one of the first three is set. Builds that do not know a further field skip it.
#[derive(Clone, PartialEq, Message)]
struct CommandRecord {
    #[prost(oneof = "ClusterKind", tags = "1, 4, 13, 15, 16")]
    cluster: Option<ClusterKind>,
    #[prost(oneof = "naming::CommandKind", tags = "2, 3, 5, 6, 7, 8, 9, 10, 11")]
    naming: Option<naming::CommandKind>,
    #[prost(message, optional, boxed, tag = "12")]
    config: Option<Box<config::CommandRecord>>,
    /// The id of the request, but for configurations, which have a field of their own for it.
    #[prost(bytes = "vec", tag = "14")]
    request: Vec<u8>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
enum ClusterKind {
    #[prost(message, tag = "1")]
    Found(FoundRecord),
    #[prost(message, tag = "4")]
    Retire(RetireRecord),
    #[prost(message, tag = "13")]
    Raise(RaiseRecord),
    #[prost(message, tag = "15")]
    Exclude(AddressRecord),
    #[prost(message, tag = "16")]
    Admit(AddressRecord),
}

#[derive(Clone, PartialEq, Message)]
struct FoundRecord {
    #[prost(bytes = "vec", tag = "1")]
    cluster_id: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
struct RaiseRecord {
    #[prost(uint32, tag = "1")]
    level: u32,
}

#[derive(Clone, PartialEq, Message)]
struct AddressRecord {
    #[prost(string, tag = "1")]
    address: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RetireRecord {
    #[prost(fixed64, tag = "1")]
    pub(crate) member: u64,
    #[prost(uint64, tag = "2")]
    pub(crate) incarnation: u64,
}

#[derive(Clone, PartialEq, Message)]
struct ReplyRecord {
    #[prost(uint32, tag = "1")]
    kind: u32,
    #[prost(string, tag = "2")]
    text: String,
    #[prost(uint64, tag = "3")]
    limit: u64,
    #[prost(message, optional, tag = "4")]
    config: Option<config::ReplyRecord>,
}

impl From<&ClusterCommand> for ClusterKind {
    fn from(command: &ClusterCommand) -> ClusterKind {
        match command {
            ClusterCommand::Found { cluster_id } => {
                ClusterKind::Found(FoundRecord { cluster_id: cluster_id.to_be_bytes().to_vec() })
            }
            ClusterCommand::Retire { origin } => ClusterKind::Retire((*origin).into()),
            ClusterCommand::Raise { level } => ClusterKind::Raise(RaiseRecord { level: *level }),
            ClusterCommand::Exclude { address } => {
                ClusterKind::Exclude(AddressRecord { address: address.clone() })
            }
            ClusterCommand::Admit { address } => {
                ClusterKind::Admit(AddressRecord { address: address.clone() })
            }
        }
    }
}

impl TryFrom<ClusterKind> for ClusterCommand {
    type Error = BadRecord;

    fn try_from(kind: ClusterKind) -> Result<ClusterCommand, BadRecord> {
        Ok(match kind {
            ClusterKind::Found(record) => {
                ClusterCommand::Found { cluster_id: cluster_id_of(&record.cluster_id)? }
            }
            ClusterKind::Retire(record) => ClusterCommand::Retire { origin: record.into() },
            ClusterKind::Raise(record) => ClusterCommand::Raise { level: level_of(record.level)? },
            ClusterKind::Exclude(record) => ClusterCommand::Exclude { address: record.address },
            ClusterKind::Admit(record) => ClusterCommand::Admit { address: record.address },
        })
    }
}

impl From<Origin> for RetireRecord {
    fn from(origin: Origin) -> RetireRecord {
        RetireRecord { member: origin.member.0, incarnation: origin.incarnation }
    }
}

impl From<RetireRecord> for Origin {
    fn from(record: RetireRecord) -> Origin {
        Origin { member: MemberId(record.member), incarnation: record.incarnation }
    }
}
