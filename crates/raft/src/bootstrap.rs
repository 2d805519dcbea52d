//! Decides what a member does at its start, from the answers of the others. It is a pure function, so every case can be a test.

use dyad_types::MemberId;

/// The answer of one configured member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    pub member: MemberId,
    /// The cluster to which it belongs. `Some(0)` means that it does not know the identity of its cluster yet.
    pub cluster_id: Option<u128>,
    /// Its own setting `members`, in any order.
    pub members: Vec<String>,
}

/// Everything on which the decision depends.
#[derive(Clone, Debug)]
pub struct Situation<'a> {
    pub me: MemberId,
    /// The advertised address of this member.
    pub address: &'a str,
    /// Whether the store of this member belongs to a cluster.
    pub initialized: bool,
    /// The setting `members`: the advertised addresses of all members, including this one. Empty if the server is standalone.
    pub members: &'a [String],
    /// The answer of each *other* address of `members`. `None` if there was no answer.
    pub answers: &'a [(String, Option<Hello>)],
}

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The store belongs to a cluster, so the member just goes on.
    Restart,
    /// Ask again later. Ephemeral instances are served meanwhile.
    Wait(Wait),
    /// Found the cluster, once, with all of these voters.
    Initialize(Vec<(MemberId, String)>),
    /// Ask any of these addresses to admit this member.
    Join(Vec<String>),
}

/// Why nothing can be done yet.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Wait {
    #[error("waiting for {} to answer: a cluster is founded only when all members are there", .0.join(", "))]
    Missing(Vec<String>),
    #[error("{address} is configured with members {theirs:?}, this member with {ours:?}")]
    DifferentLists { address: String, ours: Vec<String>, theirs: Vec<String> },
    #[error("members {0} and {1} have the same id: was a data directory copied?")]
    SameId(String, String),
    #[error("{0} and {1} belong to different clusters")]
    DifferentClusters(String, String),
    #[error("waiting for {0} to found the cluster")]
    Founder(String),
}

/// Decides what to do. If any member belongs to a cluster, the others join that cluster. Otherwise the member with the
/// lowest address founds a new one, but only after every configured member has answered that it is empty, has an id of
/// its own and has the same list. With fewer members one disk would be "the majority" for a while, and acknowledged
/// writes could be lost with it.
pub fn decide(situation: &Situation<'_>) -> Decision {
    if situation.initialized {
        return Decision::Restart;
    }
    let answers = || situation.answers.iter().filter_map(|(at, hello)| Some((at, hello.as_ref()?)));
    let clustered: Vec<(&String, u128)> = answers().filter_map(|(at, h)| Some((at, h.cluster_id?))).collect();
    // 0 is a cluster that does not know its identity yet: not another one.
    let mut named = clustered.iter().filter(|(_, id)| *id != 0);
    if let Some((first, id)) = named.next()
        && let Some((other, _)) = named.find(|(_, other)| other != id)
    {
        return Decision::Wait(Wait::DifferentClusters((*first).clone(), (*other).clone()));
    }
    if !clustered.is_empty() {
        return Decision::Join(clustered.into_iter().map(|(at, _)| at.clone()).collect());
    }
    let missing: Vec<String> =
        situation.answers.iter().filter(|(_, hello)| hello.is_none()).map(|(at, _)| at.clone()).collect();
    if !missing.is_empty() {
        return Decision::Wait(Wait::Missing(missing));
    }
    let ours = sorted(situation.members);
    for (address, hello) in answers() {
        let theirs = sorted(&hello.members);
        if theirs != ours {
            return Decision::Wait(Wait::DifferentLists { address: address.clone(), ours, theirs });
        }
    }
    let mut voters: Vec<(MemberId, String)> = answers().map(|(at, h)| (h.member, at.clone())).collect();
    voters.push((situation.me, situation.address.to_owned()));
    voters.sort();
    if let Some(pair) = voters.windows(2).find(|pair| pair[0].0 == pair[1].0) {
        return Decision::Wait(Wait::SameId(pair[0].1.clone(), pair[1].1.clone()));
    }
    let founder = voters.iter().map(|(_, at)| at.as_str()).min().unwrap_or(situation.address);
    if founder == situation.address {
        Decision::Initialize(voters)
    } else {
        Decision::Wait(Wait::Founder(founder.to_owned()))
    }
}

fn sorted(members: &[String]) -> Vec<String> {
    let mut members = members.to_vec();
    members.sort();
    members.dedup();
    members
}
