//! The CP state: persistent instances, service records, overrides, switches and origin retirement.

use dyad_types::{Address, Instance, Origin, ServiceKey};

/// When and where an entry was put into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Wall-clock milliseconds since the epoch, written into the entry by the leader just before proposing.
    pub now_ms: u64,
    /// The raft log index.
    pub index: u64,
}

/// One replicated change.
#[derive(Clone, Debug, PartialEq)]
pub enum CpCommand {
    /// The cluster's identity, proposed once by the member that initialized it.
    Found { cluster_id: u128 },
    /// Registers or replaces a persistent instance; a re-registration keeps the probed health.
    Register { service: ServiceKey, instance: Instance },
    Deregister { service: ServiceKey, address: Address },
    /// A quorum's decision that this incarnation and all earlier ones of the member are gone.
    Retire { origin: Origin },
}

/// What apply made of a command.
#[derive(Clone, Debug, PartialEq)]
pub enum CpReply {
    Done,
}

/// What apply touched, for the registry and the Distro core.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpChanges {
    pub services: Vec<ServiceKey>,
    pub switches: bool,
    pub retired: bool,
}

/// A log or snapshot record that does not decode, or is of a version this build does not know.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BadRecord(pub String);

impl CpCommand {
    /// The versioned bytes of the command, as the log stores and the wire carries them.
    pub fn encode(&self) -> Vec<u8> {
        Vec::new()
    }

    /// # Errors
    /// When the bytes are not a command, or one that this build does not know (never skipped: the member must stop).
    pub fn decode(_bytes: &[u8]) -> Result<CpCommand, BadRecord> {
        Err(BadRecord("not yet".into()))
    }
}

/// The whole replicated state. Clones are O(1): a snapshot is built from a clone while apply goes on.
#[derive(Clone, Debug, Default)]
pub struct CpState {}

impl CpState {
    /// The only mutator. Total: every committed entry yields a reply, a rejected one too.
    pub fn apply(&mut self, _command: &CpCommand, _stamp: Stamp) -> (CpReply, CpChanges) {
        (CpReply::Done, CpChanges::default())
    }

    /// The state as versioned records, each well below 256 KiB, in a fixed order.
    pub fn snapshot(&self) -> impl Iterator<Item = Vec<u8>> {
        std::iter::empty()
    }

    /// # Errors
    /// When a record does not decode.
    pub fn restore(_records: impl IntoIterator<Item = Vec<u8>>) -> Result<CpState, BadRecord> {
        Ok(CpState::default())
    }

    /// The cluster's identity, once [`CpCommand::Found`] was applied.
    pub fn cluster_id(&self) -> Option<u128> {
        None
    }

    /// For each member the highest retired incarnation.
    pub fn retired(&self) -> impl Iterator<Item = Origin> {
        std::iter::empty()
    }
}
