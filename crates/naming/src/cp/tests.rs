//! Tests of the commands, apply, limits and the snapshot of the CP state.

use dyad_types::{Address, Instance, Metadata};

use super::*;

struct Log {
    state: CpState,
    index: u64,
}

impl Log {
    fn new() -> Log {
        Log { state: CpState::default(), index: 0 }
    }

    fn apply(&mut self, command: CpCommand) -> (CpReply, CpChanges) {
        self.index += 1;
        self.state.apply(&command, Stamp { now_ms: 1_000, index: self.index })
    }

    fn reply(&mut self, command: CpCommand) -> CpReply {
        self.apply(command).0
    }
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("", "", name)
}

fn register(name: &str, instance: &Instance) -> CpCommand {
    CpCommand::Register { service: key(name), instance: instance.clone() }
}

fn deregister(name: &str, ip: &str) -> CpCommand {
    CpCommand::Deregister { service: key(name), address: Address::new(ip, 80) }
}

fn health(name: &str, ip: &str, healthy: bool) -> CpCommand {
    let change = HealthChange { service: key(name), address: Address::new(ip, 80), healthy };
    CpCommand::SetHealth { changes: vec![change] }
}

fn only(state: &CpState, name: &str) -> Instance {
    let instances = state.service(&key(name)).unwrap().instances();
    assert_eq!(instances.len(), 1);
    Instance::clone(instances.values().next().unwrap())
}

#[test]
fn a_registration_replaces_by_address_and_keeps_the_probed_health() {
    let mut log = Log::new();
    let mut instance = Instance::new("10.0.0.1", 80);
    assert_eq!(log.apply(register("s", &instance)), (CpReply::Done, CpChanges::service(&key("s"))));
    log.apply(health("s", "10.0.0.1", false));
    instance.cluster = "c2".into();
    instance.weight = 20_000.0;
    assert_eq!(log.reply(register("s", &instance)), CpReply::Done);
    let want = Instance { healthy: false, weight: 10_000.0, ..instance.clone() };
    assert_eq!(only(&log.state, "s"), want);
    // The same once more touches nothing.
    instance.weight = 10_000.0;
    assert_eq!(log.apply(register("s", &instance)), (CpReply::Done, CpChanges::default()));
    // After a deregistration it is as registered.
    assert_eq!(log.reply(deregister("s", "10.0.0.1")), CpReply::Done);
    assert_eq!((log.state.instance_count(), log.state.service(&key("s"))), (0, None));
    log.reply(register("s", &instance));
    assert!(only(&log.state, "s").healthy);
}

#[test]
fn replies_of_commands_that_do_not_fit_the_state() {
    let record = ServiceRecord::default();
    let instance = Instance::new("10.0.0.1", 80);
    let create = |name| CpCommand::CreateService { service: key(name), record: record.clone() };
    let update =
        |name, create| CpCommand::UpdateService { service: key(name), record: record.clone(), create };
    let delete = |name| CpCommand::DeleteService { service: key(name) };
    let switch = |entry: &str, value: &str| CpCommand::SetSwitch { entry: entry.into(), value: value.into() };
    let mut log = Log::new();
    let steps = [
        (deregister("s", "10.0.0.1"), CpReply::NotFound),
        (delete("s"), CpReply::NotFound),
        (update("s", false), CpReply::NotFound),
        (create("s"), CpReply::Done),
        (create("s"), CpReply::Exists),
        (update("s", false), CpReply::Done),
        (register("s", &instance), CpReply::Done),
        (delete("s"), CpReply::NotEmpty),
        (deregister("s", "10.0.0.2"), CpReply::NotFound),
        (deregister("s", "10.0.0.1"), CpReply::Done),
        (delete("s"), CpReply::Done),
        (update("s", true), CpReply::Done),
        (register("t", &instance), CpReply::Done),
        (create("t"), CpReply::Exists),
        (CpCommand::Found { cluster_id: 7 }, CpReply::Done),
        (CpCommand::Found { cluster_id: 7 }, CpReply::Done),
        (CpCommand::Found { cluster_id: 8 }, CpReply::Exists),
        (switch("nosuch", "x"), CpReply::Done),
        (switch("clientBeatInterval", "abc"), CpReply::BadSwitch("For input string: \"abc\"".into())),
    ];
    for (n, (command, want)) in steps.into_iter().enumerate() {
        assert_eq!(log.reply(command), want, "step {n}");
    }
    assert_eq!(log.state.cluster_id(), Some(7));
}

#[test]
fn limits_are_refused_by_apply() {
    let limits = Limits { instances: 3, services: 2, per_service: 2 };
    let mut log = Log { state: CpState::with_limits(limits), index: 0 };
    let at = |n: u8| Instance::new(&format!("10.0.0.{n}"), 80);
    let record = || ServiceRecord::default();
    let over = |n: u8| CpCommand::put_override(key("a"), &at(n));
    let full = |limit| CpReply::Limit(limit);
    let steps = [
        (register("a", &at(1)), CpReply::Done),
        (register("a", &at(2)), CpReply::Done),
        (register("a", &at(3)), full(Limit::InstancesPerService(2))),
        (register("a", &at(2)), CpReply::Done),
        (over(1), CpReply::Done),
        (over(2), CpReply::Done),
        (over(3), full(Limit::InstancesPerService(2))),
        (over(2), CpReply::Done),
        (register("b", &at(1)), CpReply::Done),
        (register("b", &at(2)), full(Limit::Instances(3))),
        (deregister("a", "10.0.0.1"), CpReply::Done),
        (register("c", &at(1)), full(Limit::Services(2))),
        (CpCommand::CreateService { service: key("c"), record: record() }, full(Limit::Services(2))),
        (CpCommand::put_override(key("c"), &at(1)), full(Limit::Services(2))),
        (register("b", &at(2)), CpReply::Done),
    ];
    for (n, (command, want)) in steps.into_iter().enumerate() {
        let before = log.state.clone();
        let (reply, changes) = log.apply(command);
        assert_eq!(reply, want, "step {n}");
        if matches!(want, CpReply::Limit(_)) {
            assert_eq!(changes, CpChanges::default());
            assert_eq!(CpState { now_ms: before.now_ms, ..log.state.clone() }, before, "step {n}");
        }
    }
    assert_eq!(log.state.instance_count(), 3);
}

#[test]
fn overrides_are_replaced_by_put_and_merged_by_patch() {
    let mut log = Log::new();
    let instance = Instance::new("10.0.0.1", 80);
    let target = OverrideKey::of(&instance);
    let metadata = |k, v| -> Metadata { [(k, v)].into_iter().collect() };
    let patch = |enabled, weight, metadata| CpCommand::SetOverride {
        service: key("s"),
        target: target.clone(),
        change: OverrideChange::Patch { enabled, weight, metadata },
    };
    let seen = |log: &Log| {
        Override::clone(&log.state.service(&key("s")).unwrap().overrides().get(&target).unwrap().value)
    };
    log.apply(patch(None, Some(0.001), None));
    assert_eq!(seen(&log), Override { weight: Some(0.01), ..Override::default() });
    log.apply(patch(Some(false), None, Some(metadata("a", "1"))));
    log.apply(patch(None, None, Some(metadata("b", "2"))));
    let want = Override { enabled: Some(false), weight: Some(0.01), metadata: metadata("b", "2") };
    assert_eq!(seen(&log), want);
    log.apply(CpCommand::put_override(key("s"), &instance));
    let want = Override { enabled: Some(true), weight: Some(1.0), metadata: Metadata::default() };
    assert_eq!(seen(&log), want);
}

#[test]
fn expiry_spares_what_was_written_since_or_has_an_instance() {
    let instance = Instance::new("10.0.0.1", 80);
    let moved = Instance { cluster: "c2".into(), ..instance.clone() };
    let target = OverrideKey::of(&instance);
    // (an instance registered, revisions off by, override goes, record goes)
    let cases = [
        (None, 0, true, true),
        (None, 1, false, false),
        (Some(&instance), 0, false, false),
        (Some(&moved), 0, true, false),
    ];
    for (registered, off, override_goes, record_goes) in cases {
        let mut log = Log::new();
        log.apply(CpCommand::put_override(key("s"), &instance));
        log.apply(CpCommand::CreateService { service: key("s"), record: ServiceRecord::default() });
        if let Some(registered) = registered {
            log.apply(register("s", registered));
        }
        let expired = ExpiredOverride { service: key("s"), target: target.clone(), revision: 1 + off };
        let record = ExpiredService { service: key("s"), revision: 2 + off };
        let reply = log.reply(CpCommand::Expire { overrides: vec![expired], services: vec![record] });
        assert_eq!(reply, CpReply::Done);
        let service = log.state.service(&key("s")).cloned().unwrap_or_default();
        let gone = (service.overrides().is_empty(), service.record().is_none());
        assert_eq!(gone, (override_goes, record_goes), "{registered:?} {off}");
        assert_eq!(log.state.service(&key("s")).is_none(), override_goes && record_goes);
    }
}

#[test]
fn retirement_only_rises_and_time_never_goes_back() {
    let mut log = Log::new();
    let origin = |member, incarnation| Origin { member: MemberId(member), incarnation };
    for (o, changed) in
        [(origin(1, 5), true), (origin(2, 1), true), (origin(1, 4), false), (origin(1, 6), true)]
    {
        assert_eq!(log.apply(CpCommand::Retire { origin: o }).1.retired, changed, "{o}");
    }
    assert_eq!(log.state.retired().collect::<Vec<_>>(), [origin(1, 6), origin(2, 1)]);
    log.state.apply(&CpCommand::Found { cluster_id: 1 }, Stamp { now_ms: 10, index: 9 });
    assert_eq!(log.state.now_ms(), 1_000);
}

#[test]
fn a_large_service_is_split_over_records_and_damage_is_refused() {
    let mut log = Log::new();
    for n in 0..3_000 {
        let mut instance = Instance::new(&format!("10.0.{}.{}", n / 250, n % 250), 80);
        instance.metadata = [("k", "v".repeat(100).as_str())].into_iter().collect();
        log.apply(register("s", &instance));
        log.apply(CpCommand::put_override(key("s"), &instance));
    }
    let records: Vec<Vec<u8>> = log.state.snapshot().collect();
    assert!(records.len() > 5);
    assert!(records.iter().all(|r| r.len() < 70 * 1024));
    assert_eq!(CpState::restore(records.clone()).unwrap(), log.state);
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
    let cases: [(&[u8], &str); 5] = [
        (&[], "an empty command"),
        (&[9, 10, 0], "a command of format 9; this build reads format 1"),
        (&[1], "a command that this build does not know; install the version that wrote it"),
        (&[1, 0x9a, 0x06, 0], "a command that this build does not know; install the version that wrote it"),
        (&[1, 0x12, 0], "the record lacks its service"),
    ];
    for (bytes, want) in cases {
        assert_eq!(CpCommand::decode(bytes).unwrap_err().to_string(), want);
    }
    let replies = [
        CpReply::Done,
        CpReply::Exists,
        CpReply::NotFound,
        CpReply::NotEmpty,
        CpReply::Limit(Limit::Instances(1)),
        CpReply::Limit(Limit::Services(2)),
        CpReply::Limit(Limit::InstancesPerService(3)),
        CpReply::BadSwitch("x".into()),
    ];
    for reply in replies {
        assert_eq!(CpReply::decode(&reply.encode()).unwrap(), reply);
    }
    assert!(CpReply::decode(&[1, 8, 99]).is_err());
}
