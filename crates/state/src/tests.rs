//! Tests of what the parts share: the cluster's commands, damaged bytes, the snapshot's records.

use dyad_naming::cp::{Limit, NamingCommand, NamingReply};
use dyad_types::{Instance, MemberId, Origin, ServiceKey};

use super::*;

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("", "", name)
}

fn apply(state: &mut CpState, command: impl Into<CpCommand>, now_ms: u64) -> (CpReply, CpChanges) {
    state.apply(&command.into(), Stamp { now_ms, index: 1 })
}

#[test]
fn a_cluster_is_founded_once() {
    let mut state = CpState::default();
    let mut found = |cluster_id| apply(&mut state, ClusterCommand::Found { cluster_id }, 1).0;
    assert_eq!(found(7), CpReply::Cluster(ClusterReply::Done));
    assert_eq!(found(7), CpReply::Cluster(ClusterReply::Done));
    assert_eq!(found(8), CpReply::Cluster(ClusterReply::Exists));
    assert_eq!(state.cluster().id(), Some(7));
}

#[test]
fn retirement_only_rises_and_time_never_goes_back() {
    let mut state = CpState::default();
    let origin = |member, incarnation| Origin { member: MemberId(member), incarnation };
    for (o, changed) in
        [(origin(1, 5), true), (origin(2, 1), true), (origin(1, 4), false), (origin(1, 6), true)]
    {
        let (_, changes) = apply(&mut state, ClusterCommand::Retire { origin: o }, 1_000);
        assert_eq!(changes.retired, changed, "{o}");
    }
    assert_eq!(state.cluster().retired().collect::<Vec<_>>(), [origin(1, 6), origin(2, 1)]);
    apply(&mut state, ClusterCommand::Found { cluster_id: 1 }, 10);
    assert_eq!(state.now_ms(), 1_000);
}

#[test]
fn a_large_service_is_split_over_records_and_damage_is_refused() {
    let mut state = CpState::default();
    for n in 0..3_000 {
        let mut instance = Instance::new(&format!("10.0.{}.{}", n / 250, n % 250), 80);
        instance.metadata = [("k", "v".repeat(100).as_str())].into_iter().collect();
        apply(&mut state, NamingCommand::Register { service: key("s"), instance: instance.clone() }, 1);
        apply(&mut state, NamingCommand::put_override(key("s"), &instance), 1);
    }
    let records: Vec<Vec<u8>> = state.snapshot().collect();
    assert!(records.len() > 5);
    assert!(records.iter().all(|r| r.len() < 70 * 1024));
    assert_eq!(CpState::restore(records.clone()).unwrap(), state);
    let header = records[0].clone();
    let cases = [
        (vec![], "an empty snapshot"),
        (records[1..].to_vec(), "a snapshot must begin with one header"),
        (vec![header.clone(), header.clone()], "a snapshot must begin with one header"),
        (vec![vec![2]], "a snapshot record of format 2; this build reads format 1"),
        (vec![header, vec![1, 0x7a, 0]], "a snapshot record that this build does not know"),
    ];
    for (records, want) in cases {
        assert_eq!(CpState::restore(records).unwrap_err().to_string(), want);
    }
}

#[test]
fn unknown_and_damaged_commands_are_errors() {
    let cases: [(&[u8], &str); 6] = [
        (&[], "an empty command"),
        (&[9, 10, 0], "a command of format 9; this build reads format 1"),
        (&[1], "a command that this build does not know; install the version that wrote it"),
        (&[1, 0x9a, 0x06, 0], "a command that this build does not know; install the version that wrote it"),
        (&[1, 0x12, 0], "the record lacks its service"),
        (&[1, 0x12, 0, 0x22, 0], "a command of two parts of the state"),
    ];
    for (bytes, want) in cases {
        assert_eq!(CpCommand::decode(bytes).unwrap_err().to_string(), want);
    }
}

#[test]
fn replies_survive_their_bytes_and_belong_to_their_part() {
    let naming = [
        NamingReply::Done,
        NamingReply::Exists,
        NamingReply::NotFound,
        NamingReply::NotEmpty,
        NamingReply::Limit(Limit::Instances(1)),
        NamingReply::Limit(Limit::Services(2)),
        NamingReply::Limit(Limit::InstancesPerService(3)),
        NamingReply::BadSwitch("x".into()),
    ];
    for reply in naming.map(CpReply::Naming) {
        assert_eq!(CpReply::decode(Part::Naming, &reply.encode()).unwrap(), reply);
    }
    for reply in [ClusterReply::Done, ClusterReply::Exists].map(CpReply::Cluster) {
        assert_eq!(CpReply::decode(Part::Cluster, &reply.encode()).unwrap(), reply);
    }
    assert!(CpReply::decode(Part::Naming, &[1, 8, 99]).is_err());
    assert!(CpReply::decode(Part::Cluster, &CpReply::Naming(NamingReply::NotEmpty).encode()).is_err());
    assert!(CpReply::decode(Part::Config, &CpReply::Naming(NamingReply::Done).encode()).is_err());
}
