//! `dyad recover --new-cluster`.

use std::path::Path;

use dyad_cli::{Exit, Failure};
use dyad_raft::{Claim, Found, Node, RowsOf, last_state, refound as make_stores};
use dyad_types::MemberId;

use super::leader;
use crate::datadir::DataDir;
use crate::identity::{self, Identity};
use crate::logged;
use crate::refound::{self, STANDALONE, Work};
use crate::settings::MemberAddr;
use crate::wire::start_failure;

/// What a run that was cut off was making.
const WHAT: &str = "a new cluster of what the member had";

/// Makes a new cluster of what the member of `data_dir` has. Without `confirmed` it only says what that is.
///
/// # Errors
/// `Exit::Refused` without confirmation, or if another member reports a leader; those of a start of a server on this directory.
pub(super) fn new_cluster(
    data_dir: &Path,
    (members, own): (&[String], Option<&MemberAddr>),
    confirmed: bool,
) -> Result<String, Failure> {
    let data = DataDir::lock(data_dir)?;
    if let Some(work) = refound::half_done(&data) {
        let own = own.map(|own| Node::new(own.http(), own.cluster()));
        work.check(&data, WHAT, own.as_ref())?;
        if !confirmed {
            let message = "an earlier run was cut off when the new cluster was made: say --the-others-are-lost to complete it";
            return Err(Failure::new(Exit::Refused, message));
        }
        return complete(&data);
    }
    if !data_dir.join(identity::FILE).exists() {
        let message = format!("{} has no identity: there is no member in it", data_dir.display());
        return Err(Failure::new(Exit::Refused, message));
    }
    let mut identity = Identity::load_or_create(data_dir)?;
    let noted = logged::read(data_dir, &identity)?;
    let old = identity.member();
    if !confirmed {
        // Nothing is claimed: it only looks.
        let found = found(data_dir, &identity, None)?;
        no_leader(&found, old, members)?;
        let message = format!(
            "{}\nthis gives the member a new id in a new cluster: say --the-others-are-lost if that is meant",
            told(&found)
        );
        return Err(Failure::new(Exit::Refused, message));
    }
    // As a start does: a log that is not this member's, or is older than what it had, must not become a cluster.
    identity.advance()?;
    let claim = Claim { start: identity.incarnation(), logged: noted };
    let found = found(data_dir, &identity, Some(claim))?;
    logged::write(data_dir, old, identity.incarnation())?;
    drop(identity);
    no_leader(&found, old, members)?;
    let node = node(&found, old, own);
    let text = told(&found);
    let suffix = refound::free_suffix(data.path(), &refound::NAMES, "lost")?;
    refound::build(
        &data,
        &Work::new(WHAT.to_owned(), &suffix, &node),
        move |dir, founding| {
            let mut rows: Box<dyn RowsOf> = Box::new(found.rows());
            make_stores(dir, founding, (found.state, found.position), &mut *rows)
                .map_err(|error| start_failure(&error))
        },
        node,
    )?;
    Ok(format!("{text}\n{}", complete(&data)?))
}

fn complete(data: &DataDir) -> Result<String, Failure> {
    let done = refound::take_over(data)?;
    let aside: String =
        done.aside.iter().map(|(name, to)| format!("the old {name} is now {}\n", to.display())).collect();
    Ok(format!(
        "{aside}the member's id is now {}, in a new cluster of its own; start the server, and give every other member an empty data \
         directory before it starts\n",
        done.member
    ))
}

fn found(data_dir: &Path, identity: &Identity, claim: Option<Claim>) -> Result<Found, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime =
        runtime.map_err(|error| Failure::new(Exit::Disk, format!("cannot start the runtime: {error}")))?;
    let found = runtime.block_on(last_state(data_dir, identity.member(), claim));
    found.map_err(|error| start_failure(&error))
}

/// None of the other members reports a leader, neither of the list nor of the membership.
fn no_leader(found: &Found, old: MemberId, members: &[String]) -> Result<(), Failure> {
    let known = found.voters.iter().chain(&found.learners).filter(|peer| peer.member != old);
    let mut asked: Vec<String> = known.map(|peer| peer.node.address.clone()).collect();
    asked.retain(|address| address != STANDALONE);
    asked.extend(members.iter().cloned());
    asked.sort_unstable();
    asked.dedup();
    if asked.is_empty() {
        return Ok(());
    }
    let Ok(leader) = leader::elsewhere(&asked) else { return Ok(()) };
    let message = format!(
        "the cluster has a leader, {leader}: it goes on without this member, which `dyad recover --discard` lets join anew"
    );
    Err(Failure::new(Exit::Refused, message))
}

/// The address that the member has in the new cluster: as it is told, or as in the old one.
fn node(found: &Found, old: MemberId, own: Option<&MemberAddr>) -> Node {
    if let Some(own) = own {
        return Node::new(own.http(), own.cluster());
    }
    let known = found.voters.iter().chain(&found.learners).find(|peer| peer.member == old);
    known.map_or_else(
        || Node::new(STANDALONE, STANDALONE),
        // The only member has a vote, whatever it had.
        |peer| Node { learner: false, ..peer.node.clone() },
    )
}

/// What is here, and what may be missing.
fn told(found: &Found) -> String {
    let cluster = found.cluster_id.map_or_else(|| "unknown".to_owned(), |id| format!("{id:032x}"));
    let position = found.position;
    let committed = match found.committed {
        Some(index) if index >= position.index => "all of it is known to have been on a majority".to_owned(),
        Some(index) => format!("up to index {index} it is known to have been on a majority"),
        None => "none of it is known to have been on a majority".to_owned(),
    };
    let members: Vec<String> = found
        .voters
        .iter()
        .chain(&found.learners)
        .map(|peer| format!("{} ({})", peer.member, peer.node.address))
        .collect();
    format!(
        "the log of this member of cluster {cluster} ends at index {} of term {}; {committed}\n\
         the members were {}; any of them may have had more. Where more of them are left, take the one with the highest term, \
         and of these the one with the highest index; but none whose log ends before an index that another one knows to have been on \
         a majority, since it runs on an older copy",
        position.index,
        position.term,
        members.join(", "),
    )
}
