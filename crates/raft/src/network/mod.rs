//! Raft between members over tonic: which member may speak to which, and the channels to the others.

mod client;
mod rows;
mod service;
mod snapshot;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use dyad_proto::raft as pb;
use dyad_proto::raft::raft_client::RaftClient;
use parking_lot::{Mutex, RwLock};
use tonic::Status;
use tonic::transport::Channel;

use crate::machine::Applied;
use crate::seen::{Recollection, Seen};
use crate::types::Node;
use crate::wire::MESSAGE_MAX;
pub(crate) use client::Factory;
pub use service::Service;

/// Protocol level this build speaks and accepts.
const LEVEL: u32 = 1;
/// Channels kept; a cluster has few members, but addresses may change for years.
const CHANNELS_MAX: usize = 64;

/// Makes channels to cluster ports. The implementation takes care of TLS, the resolution of names, and time-outs of connects.
pub trait Dial: Send + Sync + 'static {
    /// A new channel to `host:cluster_port`. It connects at its first use, and again at the next use after a break.
    /// Each call of this function makes a connection of its own, so snapshots travel beside heartbeats and not in front
    /// of them.
    fn channel(&self, cluster_address: &str) -> Channel;
}

/// This member as it introduces itself, and its check of those that do.
pub(crate) struct Me {
    pub(crate) id: u64,
    pub(crate) applied: Arc<Applied>,
    /// Rows given to others that install a snapshot: how its sender knows that they are at it.
    pub(crate) rows_given: AtomicU64,
    /// Random, of this start.
    pub(crate) process: u64,
    /// What was seen of the others.
    pub(crate) seen: Recollection,
}

impl Me {
    pub(crate) fn new(id: u64, applied: Arc<Applied>) -> Me {
        Me {
            id,
            applied,
            rows_given: AtomicU64::new(0),
            process: rand::random(),
            seen: Recollection::default(),
        }
    }

    /// The head of a message to member `to`; 0 where only an address is known.
    pub(crate) fn head(&self, to: u64) -> pb::Head {
        let cluster_id =
            self.applied.cluster_id.read().map(|id| id.to_be_bytes().to_vec()).unwrap_or_default();
        pb::Head { from: self.id, to, cluster_id: cluster_id.into(), level: LEVEL, seen: None }
    }

    /// As [`Me::head`], with what this member has seen of the other one.
    pub(crate) fn head_with_seen(&self, to: u64) -> pb::Head {
        pb::Head { seen: self.seen.of(to).map(Seen::to_wire), ..self.head(to) }
    }

    /// A re-used address must not get another member's messages, nor another cluster's.
    pub(crate) fn check(&self, head: Option<&pb::Head>) -> Result<(), Status> {
        let head = head.ok_or_else(|| Status::invalid_argument("a message without a head"))?;
        if head.level != LEVEL {
            return Err(Status::failed_precondition(format!(
                "protocol level {}, this member speaks {LEVEL}",
                head.level
            )));
        }
        if head.to != 0 && head.to != self.id {
            return Err(Status::failed_precondition(format!(
                "this is member {:016x}, not {:016x}",
                self.id, head.to
            )));
        }
        if head.from == self.id {
            return Err(Status::failed_precondition(format!("this is member {:016x} itself", self.id)));
        }
        let ours = *self.applied.cluster_id.read();
        let theirs: Option<[u8; 16]> = match head.cluster_id.len() {
            0 => None,
            _ => Some(
                head.cluster_id
                    .as_ref()
                    .try_into()
                    .map_err(|_| Status::invalid_argument("a cluster id is 16 bytes"))?,
            ),
        };
        match (ours, theirs.map(u128::from_be_bytes)) {
            (Some(ours), Some(theirs)) if ours != theirs => Err(Status::failed_precondition(format!(
                "this is a member of cluster {ours:032x}, not {theirs:032x}"
            ))),
            _ => Ok(()),
        }
    }
}

/// Clients of the other members' raft service.
pub(crate) struct Peers {
    dial: Arc<dyn Dial>,
    channels: Mutex<HashMap<String, Channel>>,
    /// Where each member is now. openraft keeps its streams when only the address of a member changes.
    addresses: RwLock<HashMap<u64, String>>,
}

impl Peers {
    pub(crate) fn new(dial: Arc<dyn Dial>) -> Peers {
        Peers { dial, channels: Mutex::default(), addresses: RwLock::default() }
    }

    /// The members have these addresses from now on.
    pub(crate) fn moved<'a>(&self, nodes: impl Iterator<Item = (&'a u64, &'a Node)>) {
        let nodes: HashMap<u64, String> =
            nodes.map(|(id, node)| (*id, node.cluster_address.clone())).collect();
        if *self.addresses.read() != nodes {
            *self.addresses.write() = nodes;
        }
    }

    /// The present address of the member, if it is another one.
    pub(crate) fn moved_from(&self, member: u64, address: &str) -> Option<String> {
        self.addresses.read().get(&member).filter(|now| *now != address).cloned()
    }

    /// A client on the shared channel to an address.
    pub(crate) fn client(&self, address: &str) -> RaftClient<Channel> {
        let mut channels = self.channels.lock();
        if !channels.contains_key(address) && channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        let channel = channels.entry(address.to_owned()).or_insert_with(|| self.dial.channel(address));
        limited(channel.clone())
    }

    /// A client on the shared channel, or on a connection of its own.
    fn client_of(&self, address: &str, own: bool) -> RaftClient<Channel> {
        if own { self.own_client(address) } else { self.client(address) }
    }

    /// A client on a connection of its own.
    pub(crate) fn own_client(&self, address: &str) -> RaftClient<Channel> {
        limited(self.dial.channel(address))
    }
}

fn limited(channel: Channel) -> RaftClient<Channel> {
    RaftClient::new(channel).max_decoding_message_size(MESSAGE_MAX).max_encoding_message_size(MESSAGE_MAX)
}
