//! Every case of what a member does at its start.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use dyad_raft::bootstrap::{Decision, Hello, Situation, Wait, decide};
use dyad_types::MemberId;

const LIST: [&str; 3] = ["a:8848", "b:8848", "c:8848"];

fn list(names: &[&str]) -> Vec<String> {
    names.iter().map(|s| s.to_string()).collect()
}

fn empty(member: u64) -> Option<Hello> {
    Some(Hello { member: MemberId(member), cluster_id: None, members: list(&["c:8848", "a:8848", "b:8848"]) })
}

fn clustered(member: u64, id: u128) -> Option<Hello> {
    Some(Hello { cluster_id: Some(id), ..empty(member).unwrap() })
}

fn decided(address: &str, initialized: bool, answers: [Option<Hello>; 2]) -> Decision {
    let others = LIST.iter().filter(|other| **other != address);
    let answers: Vec<_> = others.map(|other| other.to_string()).zip(answers).collect();
    decide(&Situation { me: MemberId(9), address, initialized, members: &list(&LIST), answers: &answers })
}

#[test]
fn every_case() {
    let voters = |rest: [(u64, &str); 3]| rest.map(|(id, at)| (MemberId(id), at.to_string())).to_vec();
    let join = |at: &[&str]| Decision::Join(list(at));
    let other_list = Some(Hello { members: list(&["a:8848", "b:8848"]), ..empty(3).unwrap() });
    let cases = [
        ("its own store wins", "a:8848", true, [clustered(2, 5), None], Decision::Restart),
        ("any cluster is joined", "a:8848", false, [clustered(2, 5), None], join(&["b:8848"])),
        ("even before it has a name", "a:8848", false, [empty(2), clustered(3, 0)], join(&["c:8848"])),
        (
            "a name and no name yet are one",
            "a:8848",
            false,
            [clustered(2, 0), clustered(3, 5)],
            join(&LIST[1..]),
        ),
        (
            "two clusters",
            "a:8848",
            false,
            [clustered(2, 4), clustered(3, 5)],
            Decision::Wait(Wait::DifferentClusters("b:8848".into(), "c:8848".into())),
        ),
        (
            "one is missing",
            "a:8848",
            false,
            [empty(2), None],
            Decision::Wait(Wait::Missing(vec!["c:8848".into()])),
        ),
        (
            "another list",
            "a:8848",
            false,
            [empty(2), other_list],
            Decision::Wait(Wait::DifferentLists {
                address: "c:8848".into(),
                ours: list(&LIST),
                theirs: list(&["a:8848", "b:8848"]),
            }),
        ),
        (
            "a copied disk",
            "a:8848",
            false,
            [empty(9), empty(3)],
            Decision::Wait(Wait::SameId("a:8848".into(), "b:8848".into())),
        ),
        (
            "the lowest address founds",
            "a:8848",
            false,
            [empty(2), empty(3)],
            Decision::Initialize(voters([(2, "b:8848"), (3, "c:8848"), (9, "a:8848")])),
        ),
        (
            "the others wait for it",
            "b:8848",
            false,
            [empty(2), empty(3)],
            Decision::Wait(Wait::Founder("a:8848".into())),
        ),
    ];
    for (what, address, initialized, answers, expected) in cases {
        assert_eq!(decided(address, initialized, answers), expected, "{what}");
    }
}

#[test]
fn standalone_is_a_cluster_of_one() {
    let decision = decide(&Situation {
        me: MemberId(9),
        address: "a:8848",
        initialized: false,
        members: &[],
        answers: &[],
    });
    assert_eq!(decision, Decision::Initialize(vec![(MemberId(9), "a:8848".into())]));
}
