//! How a member gets into a raft cluster. It stays in the cluster that it knows, or joins the cluster that others are
//! in. If all configured members are there and empty, the one with the lowest address founds a cluster. A member never
//! does this alone, because one disk must not be "the majority" for a while.

use std::sync::Arc;
use std::time::Duration;

use dyad_cli::Failure;
use dyad_cluster::{Directory, Entry};
use dyad_raft::bootstrap::{Decision, Hello, Situation, decide};
use dyad_raft::{Node, RaftHandle};
use dyad_types::MemberId;
use futures::future::join_all;

use super::parts::Parts;
use crate::settings::Settings;

/// Between two rounds of questions while this member is in no cluster.
const ROUND: Duration = Duration::from_millis(300);
/// The address under which a cluster of one knows itself; never dialed.
const STANDALONE: &str = "standalone";

/// The name of a cluster of one: nobody dials it.
fn own_node(settings: &Settings) -> Node {
    match &settings.advertise {
        Some(own) => Node { address: own.http(), cluster_address: own.cluster() },
        None => Node { address: STANDALONE.to_owned(), cluster_address: STANDALONE.to_owned() },
    }
}

/// A cluster of one: initialized at its first start, by itself.
///
/// # Errors
/// When the store refuses.
pub(super) async fn standalone(
    raft: &Arc<RaftHandle>,
    me: MemberId,
    settings: &Settings,
) -> Result<(), Failure> {
    if raft.is_initialized().await {
        return Ok(());
    }
    let voters = [(me, own_node(settings))].into();
    raft.initialize(voters).await.map_err(|error| super::host::failure(error.exit_code(), error.to_string()))
}

/// Asks around until this member is a voter of a cluster, under its present address.
pub(super) async fn run(parts: Arc<Parts>, directory: Arc<Directory>) {
    let mut said = String::new();
    while !parts.stop.is_cancelled() {
        match round(&parts, &directory).await {
            Round::Done => return,
            Round::Again(reason) if reason != said => {
                tracing::info!("raft: {reason}");
                said = reason;
            }
            Round::Again(_) => {}
        }
        tokio::select! {
            () = tokio::time::sleep(ROUND) => {}
            () = parts.stop.cancelled() => {}
        }
    }
}

enum Round {
    Done,
    /// Not yet, for this reason.
    Again(String),
}

/// One round: asks every address and does what follows.
async fn round(parts: &Parts, directory: &Directory) -> Round {
    let hellos = join_all((0..directory.entries().len()).map(|at| directory.hello(at))).await;
    if hellos.iter().flatten().any(|hello| hello.cluster_id.is_some()) {
        parts.raft.will_join();
    }
    let Some(own) = directory.own_entry() else {
        return Round::Again(
            "no address of the member list is this member: set --advertise, or mend the list".into(),
        );
    };
    if is_voter_at(parts, &own) {
        return Round::Done;
    }
    let members = directory.sorted_addresses();
    let others = directory.entries().iter().zip(hellos).filter(|(entry, _)| **entry != own);
    let answers: Vec<(String, Option<Hello>)> = others
        .map(|(entry, hello)| {
            let hello = hello.ok().map(|found| Hello {
                member: found.member,
                cluster_id: found.cluster_id,
                members: found.members,
            });
            (entry.address.clone(), hello)
        })
        .collect();
    let situation = Situation {
        me: parts.me,
        address: &own.address,
        initialized: parts.raft.is_initialized().await,
        members: &members,
        answers: &answers,
    };
    match decide(&situation) {
        Decision::Wait(reason) => Round::Again(reason.to_string()),
        Decision::Initialize(voters) => {
            let voters = voters.into_iter().map(|(id, address)| (id, node(directory, &address))).collect();
            match parts.raft.initialize(voters).await {
                Ok(()) => Round::Again("founding the cluster".into()),
                Err(error) => Round::Again(format!("founding the cluster failed: {error}")),
            }
        }
        Decision::Join(via) => join(parts, directory, &own, via).await,
        // In a cluster already: nothing to do, but its membership may have another address for this member.
        Decision::Restart if moved(parts, &own) => {
            join(parts, directory, &own, answers.into_iter().map(|(address, _)| address).collect()).await
        }
        Decision::Restart => Round::Again("waiting for the cluster to take this member in".into()),
    }
}

async fn join(parts: &Parts, directory: &Directory, own: &Entry, via: Vec<String>) -> Round {
    let mut reason = String::from("nobody to join");
    for address in via {
        let at = node(directory, &address).cluster_address;
        let me = Node { address: own.address.clone(), cluster_address: own.cluster_address.clone() };
        match parts.raft.join(&at, me).await {
            Ok(()) => return Round::Again("joined".into()),
            Err(error) => reason = format!("joining through {address}: {error}"),
        }
    }
    Round::Again(reason)
}

fn is_voter_at(parts: &Parts, own: &Entry) -> bool {
    let voters = parts.raft.status().voters;
    let mine = voters.iter().find(|voter| voter.member == parts.me);
    mine.is_some_and(|voter| {
        voter.node.address == own.address && voter.node.cluster_address == own.cluster_address
    })
}

/// The membership knows this member under another address.
fn moved(parts: &Parts, own: &Entry) -> bool {
    let status = parts.raft.status();
    let mut known = status.voters.iter().chain(&status.learners).filter(|peer| peer.member == parts.me);
    known.any(|peer| peer.node.address != own.address || peer.node.cluster_address != own.cluster_address)
}

fn node(directory: &Directory, address: &str) -> Node {
    let entry = directory.entries().iter().find(|entry| entry.address == address);
    let cluster_address = entry.map_or(String::new(), |entry| entry.cluster_address.clone());
    Node { address: address.to_owned(), cluster_address }
}
