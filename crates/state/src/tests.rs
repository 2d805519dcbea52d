//! Tests of what the parts share: the cluster's commands, damaged bytes, the snapshot's records.

use dyad_config::{Change, ConfigCommand, ConfigReply, Draft, Import, ImportPolicy, Publish, Source};
use dyad_naming::cp::{Limit, NamingCommand, NamingReply, ServiceRecord};
use dyad_types::{ConfigKey, Instance, Md5, MemberId, Origin, ServiceKey};

use super::*;

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("", "", name)
}

fn apply(state: &mut CpState, command: impl Into<CpCommand>, now_ms: u64) -> (CpReply, CpChanges) {
    state.apply(&Envelope::bare(command), Stamp { now_ms, index: 1 })
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
fn an_excluded_address_is_kept_until_it_is_admitted() {
    let mut state = CpState::default();
    let address = |n: usize| format!("10.0.0.1:{n}");
    apply(&mut state, ClusterCommand::Raise { level: 3 }, 1);
    for n in 0..EXCLUDED_MAX {
        let (reply, _) = apply(&mut state, ClusterCommand::Exclude { address: address(n) }, 1);
        assert_eq!(reply, CpReply::Cluster(ClusterReply::Done));
    }
    let mut exclude = |n| apply(&mut state, ClusterCommand::Exclude { address: address(n) }, 1).0;
    assert_eq!(exclude(0), CpReply::Cluster(ClusterReply::Done), "it is known");
    assert_eq!(exclude(EXCLUDED_MAX), CpReply::Cluster(ClusterReply::Full));
    apply(&mut state, ClusterCommand::Admit { address: address(0) }, 1);
    assert!(!state.cluster().is_excluded(&address(0)) && state.cluster().is_excluded(&address(1)));
    assert_eq!(CpState::restore(state.snapshot()).unwrap(), state);
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
        (vec![vec![3]], "a snapshot record of format 3; this build reads format 2"),
        (vec![vec![2, 10, 2, 40, 9]], "a cluster of level 9; this build knows level 3; install a newer one"),
        (vec![header, vec![1, 0x7a, 0]], "a snapshot record that this build does not know"),
    ];
    for (records, want) in cases {
        assert_eq!(CpState::restore(records).unwrap_err().to_string(), want);
    }
}

#[test]
fn unknown_and_damaged_commands_are_errors() {
    let cases: [(&[u8], &str); 8] = [
        (&[], "an empty command"),
        (&[9, 10, 0], "a command of format 9; this build reads format 1"),
        (&[1], "a command that this build does not know; install the version that wrote it"),
        (&[1, 0x9a, 0x06, 0], "a command that this build does not know; install the version that wrote it"),
        (&[1, 0x12, 0], "the record lacks its service"),
        (&[1, 0x12, 0, 0x22, 0], "a command of two parts of the state"),
        (&[1, 0x6a, 2, 8, 9], "a cluster of level 9; this build knows level 3; install a newer one"),
        (&[1, 0x6a, 0, 0x72, 1, 7], "a request id must have 16 bytes"),
    ];
    for (bytes, want) in cases {
        assert_eq!(Envelope::decode(bytes).unwrap_err().to_string(), want);
    }
}

/// A log that is applied as its entries come.
#[derive(Default)]
struct Log {
    state: CpState,
    index: u64,
}

impl Log {
    fn of_level(level: u32) -> Log {
        let mut log = Log::default();
        log.apply(0, ClusterCommand::Raise { level });
        log
    }

    fn apply(&mut self, id: u128, command: impl Into<CpCommand>) -> CpReply {
        self.entry(&Envelope { request: RequestId(id), command: command.into() }).0
    }

    fn entry(&mut self, envelope: &Envelope) -> (CpReply, CpChanges) {
        self.index += 1;
        self.state.apply(envelope, Stamp { now_ms: self.index * 1_000, index: self.index })
    }

    /// The metadata of the instance, if it is registered.
    fn registered(&self) -> Option<String> {
        let service = self.state.naming().service(&key("s"))?;
        let instance = service.instances().get(&instance("").address())?;
        instance.metadata.get("v").map(str::to_owned)
    }
}

fn instance(version: &str) -> Instance {
    Instance { metadata: [("v", version)].into_iter().collect(), ..Instance::new("10.0.0.1", 80) }
}

fn register(version: &str) -> NamingCommand {
    NamingCommand::Register { service: key("s"), instance: instance(version) }
}

fn deregister() -> NamingCommand {
    NamingCommand::Deregister { service: key("s"), address: instance("").address() }
}

fn publish(content: &str, cas: Option<&str>) -> CpCommand {
    let cas = cas.map(|content| Md5::of(content.as_bytes()));
    let key = ConfigKey::new("", "G", "a");
    let publish = Publish { key, draft: Draft::text(content), cas, enforce: false };
    CpCommand::Config(ConfigCommand { source: Source::default(), change: Change::Publish(publish) })
}

#[test]
fn a_naming_request_takes_effect_once() {
    let done = CpReply::Naming(NamingReply::Done);
    let mut log = Log::of_level(2);
    log.apply(1, register("a"));
    log.apply(2, deregister());
    log.apply(3, register("b"));
    let again = log.entry(&Envelope { request: RequestId(2), command: deregister().into() });
    assert_eq!(again, (done.clone(), CpChanges::default()), "the same answer, and nothing happens");
    assert_eq!(log.registered().as_deref(), Some("b"), "what another client registered since stays");
    log.apply(1, register("a"));
    assert_eq!(log.registered().as_deref(), Some("b"), "nor is it replaced");

    log.apply(4, NamingCommand::put_override(key("s"), &instance("x")));
    log.apply(5, NamingCommand::put_override(key("s"), &instance("y")));
    log.apply(4, NamingCommand::put_override(key("s"), &instance("x")));
    let service = log.state.naming().service(&key("s")).unwrap();
    let over = service.overrides().values().next().unwrap();
    assert_eq!(over.value.metadata.get("v"), Some("y"), "nor an override");

    let create = || NamingCommand::CreateService { service: key("t"), record: ServiceRecord::default() };
    assert_eq!(log.apply(6, create()), done);
    assert_eq!(log.apply(6, create()), done, "it does not call its own work somebody else's");
    assert_eq!(log.apply(7, create()), CpReply::Naming(NamingReply::Exists));
    let delete = || NamingCommand::DeleteService { service: key("t") };
    assert_eq!(log.apply(8, delete()), done);
    assert_eq!(log.apply(7, create()), done, "a refusal is not remembered");
    assert_eq!(log.apply(8, delete()), done);
    assert!(log.state.naming().service(&key("t")).is_some(), "a removal does not take the next one away");

    log.apply(9, NamingCommand::SetSwitch { entry: "clientBeatInterval".into(), value: "6000".into() });
    log.apply(10, NamingCommand::SetSwitch { entry: "clientBeatInterval".into(), value: "7000".into() });
    log.apply(9, NamingCommand::SetSwitch { entry: "clientBeatInterval".into(), value: "6000".into() });
    let mut other = Log { state: CpState::restore(log.state.snapshot()).unwrap(), index: log.index };
    assert_eq!(other.state, log.state);
    other.apply(2, deregister());
    assert_eq!(other.registered().as_deref(), Some("b"), "a snapshot has the requests");
}

/// What an operator set ends with the instance, whoever registers it next and whoever restarts meanwhile.
#[test]
fn an_override_ends_in_the_entry_that_ends_its_instance() {
    let set = |log: &Log| {
        let service = log.state.naming().service(&key("s"));
        service.map_or(0, |service| service.overrides().len())
    };
    for level in [1, 2] {
        let kept = usize::from(level == 1);
        let mut log = Log::of_level(level);
        log.apply(1, register("a"));
        log.apply(2, NamingCommand::put_override(key("s"), &instance("x")));
        log.apply(3, register("b"));
        assert_eq!(set(&log), 1, "level {level}: it outlives a repeated registration");
        log.apply(4, deregister());
        log.apply(5, register("c"));
        assert_eq!(set(&log), kept, "level {level}: deregistered, and registered by another");

        log.apply(6, NamingCommand::put_override(key("s"), &instance("y")));
        let moved = Instance { cluster: "other".into(), ..instance("d") };
        log.apply(7, NamingCommand::Register { service: key("s"), instance: moved });
        assert_eq!(set(&log), kept, "level {level}: in another cluster it is another instance");
    }
}

#[test]
fn a_deregistration_ends_what_was_set_for_an_instance_that_never_came() {
    let mut log = Log::of_level(2);
    log.apply(1, NamingCommand::put_override(key("s"), &instance("x")));
    let neighbour = Instance { port: 81, ..instance("n") };
    log.apply(2, NamingCommand::put_override(key("s"), &neighbour));
    let (reply, changes) = log.entry(&Envelope { request: RequestId(3), command: deregister().into() });
    assert_eq!(
        reply,
        CpReply::Naming(NamingReply::Done),
        "so that it is remembered: it must not be repeated"
    );
    assert_eq!(changes.naming.services, [key("s")]);
    let service = log.state.naming().service(&key("s")).unwrap();
    let left: Vec<u16> = service.overrides().keys().map(|target| target.address.port).collect();
    assert_eq!(left, [81]);
    log.apply(4, NamingCommand::Deregister { service: key("s"), address: neighbour.address() });
    assert!(log.state.naming().service(&key("s")).is_none(), "nothing is left of the service");
    assert_eq!(log.apply(5, deregister()), CpReply::Naming(NamingReply::NotFound));
}

#[test]
fn a_configuration_request_takes_effect_once_at_every_level() {
    for level in [1, 2, 3] {
        let mut log = Log::of_level(level);
        let first = log.apply(7, publish("v1", None));
        log.apply(0, publish("v2", None));
        let (reply, changes) = log.entry(&Envelope { request: RequestId(7), command: publish("v1", None) });
        assert_eq!((&reply, changes), (&first, CpChanges::default()), "level {level}");
        let cas = log.apply(8, publish("v3", Some("v2")));
        assert_eq!(log.apply(8, publish("v3", Some("v2"))), cas, "it does not refuse its own work");
        let refused = log.apply(9, publish("v4", Some("v2")));
        assert!(matches!(refused, CpReply::Config(ConfigReply::CasMismatch { .. })), "{refused:?}");
        log.apply(0, publish("v2", None));
        let again = log.apply(9, publish("v4", Some("v2")));
        assert!(matches!(again, CpReply::Config(ConfigReply::Done { .. })), "a refusal is not remembered");
        let items = ["a", "b"].map(|name| (ConfigKey::new("", "G", name), Draft::text("i"))).to_vec();
        let import = Import { items, policy: ImportPolicy::Skip, clone: false, enforce: false };
        let import =
            CpCommand::Config(ConfigCommand { source: Source::default(), change: Change::Import(import) });
        assert_eq!(log.apply(10, import.clone()), log.apply(10, import), "each item's outcome");
        log.index += 60;
        log.apply(0, publish("later", None));
        let forgotten = log.apply(7, publish("v1", None)) != first;
        assert_eq!(forgotten, level == 1, "after a minute 0.5.0 takes it for a new request");
    }
}

/// The times of the versions of configuration `a`, oldest first, after entries with these stamps.
fn times(level: u32, stamps: &[u64]) -> (Vec<u64>, CpState) {
    let mut log = Log::of_level(level);
    for (n, now_ms) in stamps.iter().enumerate() {
        let request = RequestId(n as u128 + 1);
        let command = publish(&n.to_string(), None);
        log.index += 1;
        log.state.apply(&Envelope { request, command }, Stamp { now_ms: *now_ms, index: log.index });
    }
    let item = log.state.config().item(&ConfigKey::new("", "G", "a")).unwrap().clone();
    let mut times: Vec<u64> = item.history().map(|entry| entry.modified_ms).collect();
    times.reverse();
    (times, log.state)
}

#[test]
fn from_level_3_on_times_come_back_after_a_clock_was_ahead() {
    const NOW: u64 = 1_700_000_000_000;
    const AHEAD: u64 = NOW + 400 * 86_400_000;
    let stamps = [NOW, AHEAD, NOW + 10, NOW + 20];
    let (times_of_2, state) = times(2, &stamps);
    assert_eq!((times_of_2, state.now_ms()), (vec![NOW, AHEAD, AHEAD, AHEAD], AHEAD));
    let (times_of_3, state) = times(3, &stamps);
    assert_eq!((times_of_3, state.now_ms()), (stamps.to_vec(), AHEAD), "the highest stamp stays known");
    let order: Vec<_> = state.config().item(&ConfigKey::new("", "G", "a")).unwrap().history().collect();
    assert!(order.windows(2).all(|pair| pair[0].revision > pair[1].revision), "the order is the log's");
}

/// Members of 0.5.0 carry out a repeated naming request twice: while there may be any, all do.
#[test]
fn below_level_2_a_naming_request_is_carried_out_again() {
    let mut log = Log::default();
    assert_eq!(log.state.cluster().level(), 1);
    log.apply(1, register("a"));
    log.apply(2, deregister());
    log.apply(3, register("b"));
    log.apply(2, deregister());
    assert_eq!(log.registered(), None);
    // What was carried out before the level rose is not known as such.
    log.apply(0, ClusterCommand::Raise { level: 2 });
    log.apply(0, ClusterCommand::Raise { level: 1 });
    assert_eq!(log.state.cluster().level(), 2, "it only rises");
    log.apply(1, register("a"));
    assert_eq!(log.registered().as_deref(), Some("a"));
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
