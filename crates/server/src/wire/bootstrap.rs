//! How a member gets into a raft cluster. It stays in the cluster that it knows, or joins the cluster that others are
//! in. If all configured members are there and empty, the one with the lowest address founds a cluster. A member never
//! does this alone, because one disk must not be "the majority" for a while.

use std::sync::Arc;
use std::time::Duration;

use dyad_cli::Failure;
use dyad_cluster::{Directory, Entry};
use dyad_raft::bootstrap::{Decision, Hello, Situation, decide};
use dyad_raft::{Node, RaftHandle};
use dyad_state::ports::{Knowledge, Linearize};
use dyad_types::MemberId;
use futures::future::join_all;

use super::parts::Parts;
use crate::refound::STANDALONE;
use crate::settings::Settings;

/// Between two rounds of questions while this member is in no cluster.
const ROUND: Duration = Duration::from_millis(300);
/// Between two looks whether it still is a member at its address.
const SETTLED: Duration = Duration::from_secs(1);

/// The name of a cluster of one: nobody dials it.
fn own_node(settings: &Settings) -> Node {
    match &settings.advertise {
        Some(own) => Node::new(own.http(), own.cluster()),
        None => Node::new(STANDALONE, STANDALONE),
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

/// Whether the members of this member's cluster are no majority of them and of what its list names besides. Then another cluster may be
/// behind the same list, and this member asks first.
pub(super) fn asks_first(raft: &RaftHandle, settings: &Settings) -> bool {
    let raft = raft.status();
    let ours: Vec<&str> = raft.voters.iter().chain(&raft.learners).map(|peer| &*peer.node.address).collect();
    let besides = settings.members.iter().filter(|member| !ours.contains(&&*member.http())).count();
    settings.members.len() > 1 && !ours.is_empty() && ours.len() <= besides
}

/// Asks around until this member is a member of a cluster, under its present address, and again when that changes.
pub(super) async fn run(parts: Arc<Parts>, directory: Arc<Directory>) {
    let mut said = String::new();
    while !parts.stop.is_cancelled() {
        let pause = match round(&parts, &directory).await {
            Round::Done => SETTLED,
            Round::Again(reason) if reason != said => {
                tracing::info!("raft: {reason}");
                said = reason;
                ROUND
            }
            Round::Again(_) => ROUND,
        };
        parts.asked.cancel();
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
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
    if parts.asked.is_cancelled() && is_settled(parts, directory) {
        return Round::Done;
    }
    let contacts = directory.contacts();
    let hellos = join_all(contacts.iter().map(|contact| directory.hello(contact))).await;
    if hellos.iter().flatten().any(|hello| hello.cluster_id.is_some()) {
        parts.raft.will_join();
    }
    if is_settled(parts, directory) {
        return Round::Done;
    }
    let Some(own) = directory.own_entry() else {
        return Round::Again(
            "no address of the member list is this member: set --advertise, or mend the list".into(),
        );
    };
    if directory.is_removed() {
        return Round::Again(format!(
            "this member was removed from its cluster; `dyad cluster add {}` on another member takes it in again",
            own.address
        ));
    }
    let members = directory.sorted_addresses();
    let others = contacts.iter().zip(hellos).filter(|(contact, _)| contact.entry != own);
    let answers: Vec<(String, Option<Hello>)> = others
        .map(|(contact, hello)| {
            let hello = hello.ok().map(|found| Hello {
                member: found.member,
                cluster_id: found.cluster_id,
                members: found.members,
            });
            (contact.entry.address.clone(), hello)
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
            if parts.raft.move_here(&Node::new(&own.address, &own.cluster_address)).await {
                return Round::Again(format!("the cluster knows this member at {} now", own.address));
            }
            join(parts, directory, &own, answers.into_iter().map(|(address, _)| address).collect()).await
        }
        // Its leader died before the others heard of it: they do not know that they have taken it in.
        Decision::Restart if is_unknown(parts, directory) => {
            join(parts, directory, &own, answers.into_iter().map(|(address, _)| address).collect()).await
        }
        Decision::Restart => Round::Again("waiting for the cluster to take this member in".into()),
    }
}

async fn join(parts: &Parts, directory: &Directory, own: &Entry, via: Vec<String>) -> Round {
    let mut reason = String::from("nobody to join");
    for address in via {
        let at = node(directory, &address).cluster_address;
        let learner = parts.settings.learner;
        let me = Node { learner, ..Node::new(&own.address, &own.cluster_address) };
        match parts.raft.join(&at, me).await {
            Ok(()) => return Round::Again("joined".into()),
            Err(error) => reason = format!("joining through {address}: {error}"),
        }
    }
    Round::Again(reason)
}

/// A member that has no address, or that the cluster knows at its address. A member that is to be a voter waits for its vote.
fn is_settled(parts: &Parts, directory: &Directory) -> bool {
    if directory.is_removed() {
        return false;
    }
    let Some(own) = directory.own_entry() else { return directory.configured().is_empty() };
    let status = parts.raft.status();
    let mine = status.voters.iter().chain(status.learners.iter().filter(|peer| peer.node.learner));
    let is_at = |node: &Node| node.address == own.address && node.cluster_address == own.cluster_address;
    mine.clone().any(|peer| peer.member == parts.me && is_at(&peer.node))
}

/// A member that has never had the state of the cluster, and is not in the membership that others tell.
fn is_unknown(parts: &Parts, directory: &Directory) -> bool {
    let told = directory.membership();
    parts.raft.knowledge() == Knowledge::Joining
        && told.is_some_and(|told| !told.members.contains_key(&parts.me))
}

/// The membership knows this member under another address.
fn moved(parts: &Parts, own: &Entry) -> bool {
    let status = parts.raft.status();
    let mut known = status.voters.iter().chain(&status.learners).filter(|peer| peer.member == parts.me);
    known.any(|peer| peer.node.address != own.address || peer.node.cluster_address != own.cluster_address)
}

fn node(directory: &Directory, address: &str) -> Node {
    let contact = directory.contact(address);
    Node::new(address, contact.map_or(String::new(), |contact| contact.entry.cluster_address.clone()))
}
