//! The bytes of the CP log and of snapshots: golden files that pin the format, and round trips of arbitrary values.

use std::sync::Arc;

use dyad_config::{
    CapacityChange, Change, ConfigCommand, ConfigReply, ConfigState, ConfigType, Draft, GrayRule, Import,
    ImportPolicy, Prune, Publish, PublishGray, RemoveItem, Revision, Scope, Source,
};
use dyad_naming::cp::{
    ExpiredOverride, ExpiredService, HealthChange, NamingCommand, Override, OverrideChange, OverrideKey,
    Selector, ServiceRecord,
};
use dyad_state::{ClusterCommand, CpCommand, CpReply, CpState, Envelope, Part, RequestId, Stamp};
use dyad_types::{Address, ConfigKey, Instance, InstanceIdKind, Md5, MemberId, Metadata, Origin, ServiceKey};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// One command of each kind, in the order of their field numbers, with every field set; then the configurations'. Those of
/// 0.5.0, which had no ids but the configurations'.
fn samples() -> Vec<Envelope> {
    let service = ServiceKey::new("ns", "group", "name");
    let metadata: Metadata = [("k".into(), Some("v".into())), ("null".into(), None)].into_iter().collect();
    let instance = Instance {
        cluster: "c1".into(),
        weight: 2.5,
        healthy: false,
        enabled: false,
        metadata: metadata.clone(),
        id: InstanceIdKind::Custom("17".to_owned().into()),
        ..Instance::new("10.0.0.1", 8080)
    };
    let address = instance.address();
    let target = OverrideKey::of(&instance);
    let record = ServiceRecord {
        protect_threshold: 0.5,
        metadata: metadata.clone(),
        selector: Selector { kind: "label".into(), expression: "CONSUMER.label.A=PROVIDER.label.A".into() },
    };
    let patch = OverrideChange::Patch { enabled: Some(false), weight: Some(3.0), metadata: Some(metadata) };
    let commands: Vec<CpCommand> = vec![
        ClusterCommand::Found { cluster_id: 0x0123_4567_89ab_cdef_0011_2233_4455_6677 }.into(),
        NamingCommand::Register { service: service.clone(), instance: instance.clone() }.into(),
        NamingCommand::Deregister { service: service.clone(), address: address.clone() }.into(),
        ClusterCommand::Retire { origin: Origin { member: MemberId(0xaabb), incarnation: 3 } }.into(),
        NamingCommand::SetHealth {
            changes: vec![HealthChange { service: service.clone(), address, healthy: true }],
        }
        .into(),
        NamingCommand::CreateService { service: service.clone(), record: ServiceRecord::default() }.into(),
        NamingCommand::UpdateService { service: service.clone(), record, create: true }.into(),
        NamingCommand::DeleteService { service: service.clone() }.into(),
        NamingCommand::SetOverride { service: service.clone(), target: target.clone(), change: patch }.into(),
        NamingCommand::put_override(service.clone(), &instance).into(),
        NamingCommand::Expire {
            overrides: vec![ExpiredOverride { service: service.clone(), target, revision: 9 }],
            services: vec![ExpiredService { service, revision: 10 }],
        }
        .into(),
        NamingCommand::SetSwitch { entry: "clientBeatInterval".into(), value: "6000".into() }.into(),
    ];
    commands.into_iter().map(Envelope::bare).chain(config_samples()).collect()
}

/// What later builds write besides.
fn newer_samples() -> Vec<Envelope> {
    let raise = ClusterCommand::Raise { level: 2 };
    let service = ServiceKey::new("ns", "group", "name");
    let register = NamingCommand::Register { service, instance: Instance::new("10.0.0.2", 8080) };
    let request = RequestId(0x0123_4567_89ab_cdef_0011_2233_4455_6677);
    vec![Envelope::bare(raise), Envelope { request, command: register.into() }]
}

/// One configuration command of each kind, in the order of their field numbers.
fn config_samples() -> Vec<Envelope> {
    let key = ConfigKey::new("", "G", "a.yaml");
    let dev = ConfigKey::new("dev", "G", "b");
    let draft = Draft {
        kind: ConfigType::Yaml,
        app_name: Some("app".into()),
        tags: Some(["t1".into(), "t2".into()].into()),
        desc: "desc".into(),
        used_for: "use".into(),
        effect: "effect".into(),
        schema: "schema".into(),
        encrypted_data_key: "key".into(),
        ..Draft::text("a: 1")
    };
    let rule = GrayRule::parse("tagv2", "1.1.0", "env=dev", 7).expect("a rule");
    let cas = Some(Md5::of(b"a: 1"));
    let publish = Publish { key: key.clone(), draft: draft.clone(), cas, enforce: true };
    let gray = PublishGray {
        key: key.clone(),
        name: "labels".into(),
        rule: Arc::new(rule),
        draft: Draft::text("a: 2"),
        cas,
    };
    let import = Import {
        items: vec![(dev.clone(), Draft::text("b")), (key.clone(), Draft::text("a: 3"))],
        policy: ImportPolicy::Overwrite,
        clone: true,
        enforce: true,
    };
    let capacity = CapacityChange {
        quota: Some(300),
        max_size: Some(2_000_000),
        max_aggr_count: Some(3),
        max_aggr_size: Some(0),
    };
    let changes = vec![
        Change::CreateNamespace { id: "dev".into(), name: "Dev".into(), desc: "d".into() },
        Change::Publish(publish),
        Change::PublishGray(gray),
        Change::Import(import),
        Change::Remove { key: dev.clone(), gray: Some("beta".into()) },
        Change::RemoveBatch {
            items: vec![
                RemoveItem { key: dev.clone(), id: None },
                RemoveItem { key: dev, id: Some(Revision(9)) },
            ],
        },
        Change::Rollback { key: key.clone(), to: Revision::new(10, 0), draft },
        Change::SetCapacity { scope: Scope::group("G"), change: capacity },
        Change::UpdateNamespace { id: "dev".into(), name: "Dev 2".into(), desc: "".into() },
        Change::DeleteNamespace { id: "other".into(), force: true },
        Change::Prune(Prune { until_ms: 1_700_000_000_000, keep: 2, from: Some(key) }),
    ];
    let source = Source { user: "ann".into(), ip: "10.0.0.9".into(), reason: "why".into() };
    let command = |change| CpCommand::Config(ConfigCommand { source: source.clone(), change });
    let envelope = |(id, change)| Envelope { request: RequestId(id), command: command(change) };
    (1..).zip(changes).map(envelope).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).expect("golden files hold hex digits");
    (0..text.len()).step_by(2).map(byte).collect()
}

fn apply_all(commands: &[Envelope]) -> CpState {
    let mut state = CpState::default();
    for (command, index) in commands.iter().zip(1..) {
        state.apply(command, Stamp { now_ms: 1_700_000_000_000 + index, index });
    }
    state
}

/// The state that the golden snapshot holds: the samples without those that take away what others made.
fn sample_state() -> CpState {
    apply_all(&samples().into_iter().filter(stays).collect::<Vec<_>>())
}

fn stays(envelope: &Envelope) -> bool {
    !["deregister", "delete-service", "expire"].contains(&envelope.command.name())
}

/// The same with what later builds write: another header, and requests of all parts.
fn newer_sample_state() -> CpState {
    let mut all = newer_samples();
    all.extend(samples().into_iter().filter(stays));
    apply_all(&all)
}

/// The lines of a golden file, after they were compared with `actual`. With `UPDATE_GOLDEN` set the file is written
/// instead, for the first time that a new command is added to its end.
fn golden(name: &str, actual: &str) -> Vec<String> {
    let path = format!("{}/tests/{name}", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, actual).expect("the golden file is writable");
    }
    let kept = std::fs::read_to_string(&path).expect("the golden file is there");
    assert_eq!(actual, kept, "{name}: a stored format changed");
    kept.lines().map(str::to_owned).collect()
}

#[test]
fn commands_have_their_golden_bytes() {
    let mut samples = samples();
    samples.extend(newer_samples());
    let line = |e: &Envelope| format!("{} {}\n", e.command.name(), hex(&e.encode()));
    let actual: String = samples.iter().map(line).collect();
    for (line, envelope) in golden("cp_commands.golden", &actual).iter().zip(&samples) {
        let (_, bytes) = line.split_once(' ').unwrap();
        assert_eq!(&Envelope::decode(&unhex(bytes)).unwrap(), envelope);
    }
}

/// 0.5.0 skips fields that it does not know: the id of a request must be one, behind the same bytes as before.
#[test]
fn an_older_build_reads_a_command_with_an_id() {
    for envelope in samples().into_iter().filter(|e| !matches!(e.command, CpCommand::Config(_))) {
        let with_id = Envelope { request: RequestId(7), ..envelope.clone() };
        let mut expected = envelope.encode();
        // Field 14, 16 bytes.
        expected.extend([14 << 3 | 2, 16]);
        expected.extend(7_u128.to_be_bytes());
        assert_eq!(with_id.encode(), expected, "{}", envelope.command.name());
        assert_eq!(Envelope::decode(&expected).unwrap(), with_id);
    }
}

#[test]
fn a_reply_of_the_configurations_survives_its_bytes() {
    let reply = CpReply::Config(ConfigReply::Done { revision: Revision(9), md5: Some(Md5::of(b"x")) });
    assert_eq!(CpReply::decode(Part::Config, &reply.encode()).unwrap(), reply);
}

#[test]
fn the_snapshot_has_its_golden_bytes() {
    let actual: String = sample_state().snapshot().map(|r| hex(&r) + "\n").collect();
    let records = golden("cp_snapshot.golden", &actual);
    assert_eq!(CpState::restore(records.iter().map(|r| unhex(r))).unwrap(), sample_state());
    // The first two are a snapshot of the time before there were configurations.
    let old = CpState::restore(records.iter().take(2).map(|r| unhex(r))).unwrap();
    assert_eq!((old.config(), old.naming().services().count()), (&ConfigState::default(), 1));
}

#[test]
fn the_snapshot_of_a_raised_cluster_has_its_golden_bytes() {
    let state = newer_sample_state();
    let actual: String = state.snapshot().map(|r| hex(&r) + "\n").collect();
    let records = golden("cp_snapshot_2.golden", &actual);
    assert_eq!(CpState::restore(records.iter().map(|r| unhex(r))).unwrap(), state);
    // A build that knows no levels reads format 1 only.
    assert_eq!(unhex(&records[0])[0], 2);
    assert!(records[1..].iter().all(|record| unhex(record)[0] == 1));
}

fn text() -> impl Strategy<Value = String> {
    "[a-c]{1,2}"
}

fn metadata() -> impl Strategy<Value = Metadata> {
    vec((text(), option::of("[^\u{0}]{0,4}")), 0..3).prop_map(|entries| {
        entries.into_iter().map(|(k, v)| (k.into_boxed_str(), v.map(String::into_boxed_str))).collect()
    })
}

fn service() -> impl Strategy<Value = ServiceKey> {
    (text(), text(), text()).prop_map(|(ns, group, name)| ServiceKey::new(&ns, &group, &name))
}

fn address() -> impl Strategy<Value = Address> {
    (0u8..4, 0u16..2).prop_map(|(ip, port)| Address::new(&format!("10.0.0.{ip}"), port))
}

fn weight() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), 0.01..=10_000.0]
}

fn instance() -> impl Strategy<Value = Instance> {
    let id = prop_oneof![
        Just(InstanceIdKind::None),
        Just(InstanceIdKind::Simple),
        Just(InstanceIdKind::Beat),
        text().prop_map(|t| InstanceIdKind::Custom(t.into())),
    ];
    (address(), text(), weight(), any::<bool>(), any::<bool>(), metadata(), id).prop_map(
        |(address, cluster, weight, healthy, enabled, metadata, id)| Instance {
            ip: address.ip,
            port: address.port,
            cluster: cluster.into(),
            weight,
            healthy,
            enabled,
            metadata,
            id,
        },
    )
}

fn target() -> impl Strategy<Value = OverrideKey> {
    (address(), text()).prop_map(|(address, cluster)| OverrideKey { address, cluster: Arc::from(cluster) })
}

fn record() -> impl Strategy<Value = ServiceRecord> {
    (0.0f32..2.0, metadata(), option::of(text())).prop_map(|(protect_threshold, metadata, label)| {
        let selector = label.map_or_else(Selector::default, |e| Selector {
            kind: "label".into(),
            expression: e.into_boxed_str(),
        });
        ServiceRecord { protect_threshold, metadata, selector }
    })
}

fn override_change() -> impl Strategy<Value = OverrideChange> {
    let put = (option::of(any::<bool>()), option::of(weight()), metadata())
        .prop_map(|(enabled, weight, metadata)| OverrideChange::Put(Override { enabled, weight, metadata }));
    let patch = (option::of(any::<bool>()), option::of(weight()), option::of(metadata()))
        .prop_map(|(enabled, weight, metadata)| OverrideChange::Patch { enabled, weight, metadata });
    prop_oneof![put, patch]
}

fn naming_command() -> impl Strategy<Value = NamingCommand> {
    let expired_override = (service(), target(), 1u64..40)
        .prop_map(|(service, target, revision)| ExpiredOverride { service, target, revision });
    let expired_service =
        (service(), 1u64..40).prop_map(|(service, revision)| ExpiredService { service, revision });
    let change = (service(), address(), any::<bool>()).prop_map(|(service, address, healthy)| HealthChange {
        service,
        address,
        healthy,
    });
    prop_oneof![
        6 => (service(), instance())
            .prop_map(|(service, instance)| NamingCommand::Register { service, instance }),
        2 => (service(), address())
            .prop_map(|(service, address)| NamingCommand::Deregister { service, address }),
        2 => vec(change, 0..4).prop_map(|changes| NamingCommand::SetHealth { changes }),
        1 => (service(), record())
            .prop_map(|(service, record)| NamingCommand::CreateService { service, record }),
        2 => (service(), record(), any::<bool>())
            .prop_map(|(service, record, create)| NamingCommand::UpdateService { service, record, create }),
        1 => service().prop_map(|service| NamingCommand::DeleteService { service }),
        3 => (service(), target(), override_change())
            .prop_map(|(service, target, change)| NamingCommand::SetOverride { service, target, change }),
        2 => (vec(expired_override, 0..3), vec(expired_service, 0..3))
            .prop_map(|(overrides, services)| NamingCommand::Expire { overrides, services }),
        1 => ("check|clientBeatInterval|masters", "true|7000|a,b")
            .prop_map(|(entry, value)| NamingCommand::SetSwitch { entry, value }),
    ]
}

fn envelope() -> impl Strategy<Value = Envelope> {
    // Few ids, so that requests are repeated.
    (prop_oneof![2 => Just(0), 1 => 1_u128..12], command())
        .prop_map(|(id, command)| Envelope { request: RequestId(id), command })
}

fn command() -> impl Strategy<Value = CpCommand> {
    let origin = (0u64..3, any::<u64>())
        .prop_map(|(member, incarnation)| Origin { member: MemberId(member), incarnation });
    prop_oneof![
        1 => any::<u128>().prop_map(|cluster_id| ClusterCommand::Found { cluster_id }.into()),
        1 => origin.prop_map(|origin| ClusterCommand::Retire { origin }.into()),
        1 => (1_u32..=3).prop_map(|level| ClusterCommand::Raise { level }.into()),
        1 => "[a-z]{1,9}".prop_map(|address| ClusterCommand::Exclude { address }.into()),
        1 => "[a-z]{1,9}".prop_map(|address| ClusterCommand::Admit { address }.into()),
        20 => naming_command().prop_map(CpCommand::from),
        2 => any::<prop::sample::Index>().prop_map(|at| at.get(&config_samples()).command.clone()),
    ]
}

proptest! {
    #[test]
    fn an_envelope_survives_its_bytes(envelope in envelope()) {
        prop_assert_eq!(Envelope::decode(&envelope.encode()).unwrap(), envelope);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..60), envelope in envelope(), at in any::<prop::sample::Index>()) {
        let _ = Envelope::decode(&bytes);
        let _ = CpState::restore([bytes.clone()]);
        let mut damaged = envelope.encode();
        let at = at.index(damaged.len());
        damaged[at] ^= 0x41;
        let _ = Envelope::decode(&damaged);
    }

    /// Invariant I2: the same commands and stamps give the same bytes, also when a member got the commands through the
    /// codec and began in the middle from a snapshot.
    #[test]
    fn the_same_commands_give_the_same_bytes(commands in vec(envelope(), 1..40), cut in any::<prop::sample::Index>()) {
        let direct = apply_all(&commands);
        let cut = cut.index(commands.len());
        let mut other = CpState::default();
        for (n, envelope) in commands.iter().enumerate() {
            if n == cut {
                other = CpState::restore(other.snapshot()).unwrap();
            }
            let index = n as u64 + 1;
            let envelope = Envelope::decode(&envelope.encode()).unwrap();
            other.apply(&envelope, Stamp { now_ms: 1_700_000_000_000 + index, index });
        }
        prop_assert_eq!(&direct, &other);
        prop_assert_eq!(direct.snapshot().collect::<Vec<_>>(), other.snapshot().collect::<Vec<_>>());
        let held: usize = direct.naming().services().map(|(_, s)| s.instances().len()).sum();
        prop_assert_eq!(direct.naming().instance_count(), held);
    }
}
