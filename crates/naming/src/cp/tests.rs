//! Tests of the commands, apply and limits of the naming part.

use dyad_types::{Address, Instance, Metadata};

use super::*;

struct Log {
    state: NamingState,
    index: u64,
}

impl Log {
    fn new() -> Log {
        Log { state: NamingState::default(), index: 0 }
    }

    fn apply(&mut self, command: NamingCommand) -> (NamingReply, NamingChanges) {
        self.index += 1;
        self.state.apply(&command, Stamp { now_ms: 1_000, index: self.index })
    }

    fn reply(&mut self, command: NamingCommand) -> NamingReply {
        self.apply(command).0
    }
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("", "", name)
}

fn register(name: &str, instance: &Instance) -> NamingCommand {
    NamingCommand::Register { service: key(name), instance: instance.clone() }
}

fn deregister(name: &str, ip: &str) -> NamingCommand {
    NamingCommand::Deregister { service: key(name), address: Address::new(ip, 80) }
}

fn health(name: &str, ip: &str, healthy: bool) -> NamingCommand {
    let change = HealthChange { service: key(name), address: Address::new(ip, 80), healthy };
    NamingCommand::SetHealth { changes: vec![change] }
}

fn only(state: &NamingState, name: &str) -> Instance {
    let instances = state.service(&key(name)).unwrap().instances();
    assert_eq!(instances.len(), 1);
    Instance::clone(instances.values().next().unwrap())
}

#[test]
fn a_registration_replaces_by_address_and_keeps_the_probed_health() {
    let mut log = Log::new();
    let mut instance = Instance::new("10.0.0.1", 80);
    assert_eq!(log.apply(register("s", &instance)), (NamingReply::Done, NamingChanges::service(&key("s"))));
    log.apply(health("s", "10.0.0.1", false));
    instance.cluster = "c2".into();
    instance.weight = 20_000.0;
    assert_eq!(log.reply(register("s", &instance)), NamingReply::Done);
    let want = Instance { healthy: false, weight: 10_000.0, ..instance.clone() };
    assert_eq!(only(&log.state, "s"), want);
    // The same once more touches nothing.
    instance.weight = 10_000.0;
    assert_eq!(log.apply(register("s", &instance)), (NamingReply::Done, NamingChanges::default()));
    // After a deregistration it is as registered.
    assert_eq!(log.reply(deregister("s", "10.0.0.1")), NamingReply::Done);
    assert_eq!((log.state.instance_count(), log.state.service(&key("s"))), (0, None));
    log.reply(register("s", &instance));
    assert!(only(&log.state, "s").healthy);
}

#[test]
fn replies_of_commands_that_do_not_fit_the_state() {
    let record = ServiceRecord::default();
    let instance = Instance::new("10.0.0.1", 80);
    let create = |name| NamingCommand::CreateService { service: key(name), record: record.clone() };
    let update =
        |name, create| NamingCommand::UpdateService { service: key(name), record: record.clone(), create };
    let delete = |name| NamingCommand::DeleteService { service: key(name) };
    let switch =
        |entry: &str, value: &str| NamingCommand::SetSwitch { entry: entry.into(), value: value.into() };
    let mut log = Log::new();
    let steps = [
        (deregister("s", "10.0.0.1"), NamingReply::NotFound),
        (delete("s"), NamingReply::NotFound),
        (update("s", false), NamingReply::NotFound),
        (create("s"), NamingReply::Done),
        (create("s"), NamingReply::Exists),
        (update("s", false), NamingReply::Done),
        (register("s", &instance), NamingReply::Done),
        (delete("s"), NamingReply::NotEmpty),
        (deregister("s", "10.0.0.2"), NamingReply::NotFound),
        (deregister("s", "10.0.0.1"), NamingReply::Done),
        (delete("s"), NamingReply::Done),
        (update("s", true), NamingReply::Done),
        (register("t", &instance), NamingReply::Done),
        (create("t"), NamingReply::Exists),
        (switch("nosuch", "x"), NamingReply::Done),
        (switch("clientBeatInterval", "abc"), NamingReply::BadSwitch("For input string: \"abc\"".into())),
    ];
    for (n, (command, want)) in steps.into_iter().enumerate() {
        assert_eq!(log.reply(command), want, "step {n}");
    }
}

#[test]
fn limits_are_refused_by_apply() {
    let limits = Limits { instances: 3, services: 2, per_service: 2 };
    let mut log = Log { state: NamingState::with_limits(limits), index: 0 };
    let at = |n: u8| Instance::new(&format!("10.0.0.{n}"), 80);
    let record = || ServiceRecord::default();
    let over = |n: u8| NamingCommand::put_override(key("a"), &at(n));
    let full = |limit| NamingReply::Limit(limit);
    let steps = [
        (register("a", &at(1)), NamingReply::Done),
        (register("a", &at(2)), NamingReply::Done),
        (register("a", &at(3)), full(Limit::InstancesPerService(2))),
        (register("a", &at(2)), NamingReply::Done),
        (over(1), NamingReply::Done),
        (over(2), NamingReply::Done),
        (over(3), full(Limit::InstancesPerService(2))),
        (over(2), NamingReply::Done),
        (register("b", &at(1)), NamingReply::Done),
        (register("b", &at(2)), full(Limit::Instances(3))),
        (deregister("a", "10.0.0.1"), NamingReply::Done),
        (register("c", &at(1)), full(Limit::Services(2))),
        (NamingCommand::CreateService { service: key("c"), record: record() }, full(Limit::Services(2))),
        (NamingCommand::put_override(key("c"), &at(1)), full(Limit::Services(2))),
        (register("b", &at(2)), NamingReply::Done),
    ];
    for (n, (command, want)) in steps.into_iter().enumerate() {
        let before = log.state.clone();
        let (reply, changes) = log.apply(command);
        assert_eq!(reply, want, "step {n}");
        if matches!(want, NamingReply::Limit(_)) {
            assert_eq!(changes, NamingChanges::default());
            assert_eq!(log.state, before, "step {n}");
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
    let patch = |enabled, weight, metadata| NamingCommand::SetOverride {
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
    log.apply(NamingCommand::put_override(key("s"), &instance));
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
        log.apply(NamingCommand::put_override(key("s"), &instance));
        log.apply(NamingCommand::CreateService { service: key("s"), record: ServiceRecord::default() });
        if let Some(registered) = registered {
            log.apply(register("s", registered));
        }
        let expired = ExpiredOverride { service: key("s"), target: target.clone(), revision: 1 + off };
        let record = ExpiredService { service: key("s"), revision: 2 + off };
        let reply = log.reply(NamingCommand::Expire { overrides: vec![expired], services: vec![record] });
        assert_eq!(reply, NamingReply::Done);
        let service = log.state.service(&key("s")).cloned().unwrap_or_default();
        let gone = (service.overrides().is_empty(), service.record().is_none());
        assert_eq!(gone, (override_goes, record_goes), "{registered:?} {off}");
        assert_eq!(log.state.service(&key("s")).is_none(), override_goes && record_goes);
    }
}
