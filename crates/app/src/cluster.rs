//! The use cases about the cluster: its members, its leader, and whether this member can be sent requests.

use dyad_naming::ports::MemberView;
use dyad_state::ports::{Knowledge, Leader};

use crate::caller::{Action, Caller, Resource};
use crate::fault::Fault;
use crate::state::App;

/// The members, and the leader that this one knows.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub members: Vec<MemberView>,
    /// Under the address that the member table has for it: the raft membership may hold an older one.
    pub leader: Option<Leader>,
}

/// # Errors
/// A caller that may not know.
pub fn cluster(app: &App, caller: &Caller) -> Result<Cluster, Fault> {
    caller.may(Action::Read, &Resource::Members)?;
    let members = app.members.members();
    let mut leader = app.propose.leader();
    if let Some(leader) = &mut leader
        && let Some(member) = members.iter().find(|member| member.id == Some(leader.member))
    {
        leader.address.clone_from(&member.address);
    }
    Ok(Cluster { members, leader })
}

/// Everybody may ask whether this member serves naming, and with `cp` also persistent writes.
///
/// # Errors
/// What it is not ready for.
pub fn ready(app: &App, cp: bool) -> Result<(), Fault> {
    let not_ready = |part, why: String| Err(Fault::NotReady { part, why });
    // First, since whatever else is missing follows from it.
    if let Some(why) = app.linearize.barred() {
        return not_ready("config", why);
    }
    if let Err(why) = app.members.ready() {
        return not_ready("naming", why);
    }
    // Others have what this member lacks. Where no cluster was founded yet, nobody has it, and members that wait for each other
    // must be called ready: some orchestrators start the next one only then.
    match app.linearize.knowledge() {
        Knowledge::Joining => {
            return not_ready(
                "config",
                "this member has not received the state of its cluster yet".to_owned(),
            );
        }
        Knowledge::Removed => {
            return not_ready("config", "this member was removed from its cluster".to_owned());
        }
        Knowledge::Known | Knowledge::NoCluster => {}
    }
    if cp && app.propose.leader().is_none() {
        return not_ready("naming_persistent_service", "no raft leader is known".to_owned());
    }
    Ok(())
}
