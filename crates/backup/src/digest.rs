//! Digests by which two states are compared, wherever they are: in two backups, or in one of a cluster and one of the cluster
//! that was made of it. What a new cluster cannot have in common with the old one is left out: its identity, its retired members,
//! its level, the requests that it remembers, and the time of the last entry.

use std::fmt::Write;

use dyad_state::CpState;
use prost::Message;
use sha2::{Digest, Sha256};

/// The digests of the parts of a state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// Of the persistent instances, service records, overrides and switches.
    pub naming: [u8; 32],
    /// Of the configurations with all versions and gray releases, the namespaces and the quotas.
    pub config: [u8; 32],
}

impl Digests {
    pub fn of(state: &CpState) -> Digests {
        let switches = state.naming().switches().to_json();
        let services = state.naming().snapshot().map(|part| part.encode_to_vec());
        let config = state.config().snapshot().map(|part| part.encode_to_vec());
        Digests { naming: digest(std::iter::once(switches).chain(services)), config: digest(config) }
    }
}

/// Each record with its length before it, so that no two sequences have the same bytes.
fn digest(records: impl Iterator<Item = Vec<u8>>) -> [u8; 32] {
    let mut sha = Sha256::new();
    for record in records {
        sha.update((record.len() as u64).to_be_bytes());
        sha.update(&record);
    }
    sha.finalize().into()
}

/// A digest as people see it.
pub fn hex(digest: &[u8]) -> String {
    digest.iter().fold(String::new(), |mut text, byte| {
        let _infallible = write!(text, "{byte:02x}");
        text
    })
}
