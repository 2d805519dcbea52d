//! The state of the cluster in one sentence: that all is well, or the first thing that is wrong and the next step.

use dyad_cli::status::{ClusterStatus, MemberStatus};
use dyad_raft::Standing;

/// A member that lacks more entries of the log than this is behind, and not only a moment late.
const BEHIND: u64 = 1_000;
/// The state of a member in the gossip in which nothing is wrong with it.
pub(super) const WELL: &str = "READY";

/// What the sentence depends on besides the status.
#[derive(Clone, Copy, Debug)]
pub(super) struct Facts<'a> {
    pub(super) standing: &'a Standing,
    /// Whether the leader that is known was heard of late.
    pub(super) has_leader: bool,
    /// The level of the state.
    pub(super) level: u32,
    /// Ids of members that did not answer the last question.
    pub(super) silent: &'a [String],
    /// What is wrong with disks and clocks, in words.
    pub(super) machines: &'a [String],
}

/// The sentence, and whether all is well.
pub(super) fn headline(status: &ClusterStatus, facts: &Facts<'_>) -> (String, bool) {
    let wrong = |text: String| (text, false);
    match facts.standing {
        Standing::Barred(why) => return wrong(why.clone()),
        Standing::Removed => {
            let own = status.members.iter().find(|member| member.member_id == status.member_id);
            let address = own.map_or("ADDRESS", |member| member.address.as_str());
            return wrong(format!(
                "this member was removed from its cluster; stop it, or take it in again on another member with `dyad cluster add {address}`"
            ));
        }
        Standing::Member => {}
    }
    let members = &status.members;
    let away: Vec<&MemberStatus> = members.iter().filter(|member| is_away(member, facts.silent)).collect();
    let (all, there) = (members.len(), members.len() - away.len());
    let names = |members: &[&MemberStatus]| {
        members.iter().map(|member| member.address.as_str()).collect::<Vec<_>>().join(", ")
    };
    let voters = members.iter().filter(|member| member.voter);
    let (voting, voting_there) =
        (voters.clone().count(), voters.filter(|member| !is_away(member, facts.silent)).count());
    if !facts.has_leader {
        if voting_there * 2 > voting {
            return wrong(format!("{there} of {all} members, and no leader: an election is under way"));
        }
        let missing = if away.is_empty() { "the others".to_owned() } else { names(&away) };
        return wrong(format!(
            "{there} of {all} members, and no leader: {voting_there} of {voting} voters are no majority. Start {missing}; if their \
             data are lost for good, see `dyad recover --new-cluster`"
        ));
    }
    if !away.is_empty() {
        return wrong(format!(
            "{there} of {all} members: {} does not answer; start it, or let another server take its place with `dyad cluster replace`",
            names(&away)
        ));
    }
    if let Some(member) = members.iter().find(|member| !member.not_ready.is_empty()) {
        return wrong(format!("{} is not ready: {}", member.address, member.not_ready));
    }
    if let Some(member) = members.iter().find(|member| member.state != WELL) {
        return wrong(format!("{} is {}; wait until it is {WELL}", member.address, member.state));
    }
    // Before what may come of it: a member with a full disk falls behind, and does not catch up.
    if let Some(text) = facts.machines.first() {
        return wrong(text.clone());
    }
    let mut lag = members.iter().map(|member| (member, lacks(members, member)));
    if let Some((member, entries)) = lag.find(|(_, entries)| *entries > BEHIND) {
        return wrong(format!("{} lacks {entries} entries of the log; it catches up", member.address));
    }
    if !status.distro.digest_equal {
        return wrong(format!(
            "{all} of {all} members, and their copies of the ephemeral instances differ; they catch up"
        ));
    }
    (well(status, facts), true)
}

fn well(status: &ClusterStatus, facts: &Facts<'_>) -> String {
    let members = &status.members;
    let leader = members.iter().find(|member| member.role == "leader");
    let leader = leader.map_or("unknown", |member| member.address.as_str());
    let all = members.len();
    let mut text = format!("{all} of {all} members, leader {leader}, all equal");
    let mut versions: Vec<&str> =
        members.iter().map(|member| member.build.as_str()).filter(|version| !version.is_empty()).collect();
    versions.sort_unstable();
    versions.dedup();
    if versions.len() > 1 {
        text +=
            &format!("; an upgrade is under way: versions {}, level {}", versions.join(" and "), facts.level);
    }
    text
}

/// A member of which nothing was heard, that is down, or that has just stopped answering: then its id is among `silent`.
pub(super) fn is_away(member: &MemberStatus, silent: &[String]) -> bool {
    matches!(&*member.state, "" | "DOWN" | "UNKNOWN") || silent.contains(&member.member_id)
}

/// How many entries of the log are committed that the member has not applied, as far as the members told.
pub(super) fn lacks(members: &[MemberStatus], member: &MemberStatus) -> u64 {
    let last = members.iter().filter_map(|member| member.committed).max().unwrap_or(0);
    last.saturating_sub(member.applied.unwrap_or(last))
}

#[cfg(test)]
mod tests {
    use super::*;
    use dyad_cli::status::DistroStatus;

    fn member(name: &str) -> MemberStatus {
        MemberStatus {
            member_id: name.into(),
            address: format!("{name}:8848"),
            state: "READY".into(),
            role: if name == "a" { "leader" } else { "follower" }.into(),
            committed: Some(5_000),
            applied: Some(5_000),
            voter: true,
            build: "0.7.0".into(),
            ..MemberStatus::default()
        }
    }

    /// Three members after `change`.
    fn said(
        standing: &Standing,
        has_leader: bool,
        change: impl FnOnce(&mut ClusterStatus),
    ) -> (String, bool) {
        let mut status = ClusterStatus {
            member_id: "a".into(),
            members: ["a", "b", "c"].map(member).into(),
            distro: DistroStatus { digest_equal: true, ..DistroStatus::default() },
            ..ClusterStatus::default()
        };
        change(&mut status);
        headline(&status, &Facts { standing, has_leader, level: 3, silent: &[], machines: &[] })
    }

    #[test]
    fn who_is_silent_or_has_a_full_disk_is_told_at_once() {
        let mut status = ClusterStatus {
            members: ["a", "b", "c"].map(member).into(),
            distro: DistroStatus { digest_equal: true, ..DistroStatus::default() },
            ..ClusterStatus::default()
        };
        let standing = Standing::Member;
        let facts = Facts { standing: &standing, has_leader: true, level: 3, silent: &[], machines: &[] };
        assert!(headline(&status, &facts).1);
        let silent = ["b".to_owned()];
        let (text, well) = headline(&status, &Facts { silent: &silent, ..facts });
        assert!(text.starts_with("2 of 3 members: b:8848 does not answer") && !well, "{text}");
        let machines = ["the disk of x is full".to_owned(), "the clock of y is wrong".to_owned()];
        status.members[1].applied = Some(1);
        let told = headline(&status, &Facts { machines: &machines, ..facts });
        assert_eq!(told, ("the disk of x is full".to_owned(), false));
        status.members[2].state = "LEAVING".into();
        let told = headline(&status, &facts);
        assert_eq!(told, ("c:8848 is LEAVING; wait until it is READY".to_owned(), false));
        assert!(has_alert(&told.0));
    }

    #[test]
    fn the_first_thing_that_is_wrong() {
        let ok = Standing::Member;
        let down = |status: &mut ClusterStatus, at: usize| status.members[at].state = "DOWN".into();
        let cases: Vec<((String, bool), &str)> = vec![
            (said(&ok, true, |_| {}), "3 of 3 members, leader a:8848, all equal"),
            (
                said(&ok, true, |s| s.members[2].build = "0.6.0".into()),
                "3 of 3 members, leader a:8848, all equal; an upgrade is under way: versions 0.6.0 and 0.7.0, level 3",
            ),
            (
                said(&ok, true, |s| down(s, 1)),
                "2 of 3 members: b:8848 does not answer; start it, or let another server take its place with `dyad cluster replace`",
            ),
            (
                said(&ok, false, |s| {
                    down(s, 1);
                    down(s, 2);
                }),
                "1 of 3 members, and no leader: 1 of 3 voters are no majority. Start b:8848, c:8848; if their data are lost for good, \
                 see `dyad recover --new-cluster`",
            ),
            (said(&ok, false, |_| {}), "3 of 3 members, and no leader: an election is under way"),
            (said(&ok, true, |s| s.members[1].not_ready = "x".into()), "b:8848 is not ready: x"),
            (
                said(&ok, true, |s| s.members[1].applied = Some(3_999)),
                "b:8848 lacks 1001 entries of the log; it catches up",
            ),
            (
                said(&ok, true, |s| s.distro.digest_equal = false),
                "3 of 3 members, and their copies of the ephemeral instances differ; they catch up",
            ),
            (said(&Standing::Barred("two clusters".into()), true, |_| {}), "two clusters"),
            (
                said(&Standing::Removed, true, |_| {}),
                "this member was removed from its cluster; stop it, or take it in again on another member with `dyad cluster add a:8848`",
            ),
        ];
        for (at, ((text, well), want)) in cases.into_iter().enumerate() {
            assert_eq!(text, want);
            assert_eq!(well, at < 2, "{text}");
            assert!(
                well || text == "two clusters" || has_alert(&text),
                "docs/operations.md has no alert for: {text}"
            );
        }
    }

    /// Whether the table of alerts has a row whose first cell has parts of this sentence, with `…` between them.
    fn has_alert(text: &str) -> bool {
        let page = include_str!("../../../../docs/operations.md");
        let cells =
            page.lines().filter(|line| line.contains("`Dyad")).filter_map(|line| line.split('|').nth(1));
        let mut sentences = cells.flat_map(|cell| cell.split("`, `"));
        sentences.any(|one| one.trim().trim_matches('`').split('…').all(|part| text.contains(part.trim())))
    }
}
