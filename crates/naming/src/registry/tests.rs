//! Tests of the registry: merging, lifetimes, limits, the sweep.

mod room;

use dyad_types::{ClientId, Instance, MemberId, Metadata};

use super::*;
use crate::cp::{
    ExpiredOverride, ExpiredService, NamingCommand, NamingReply, OverrideKey, ServiceRecord, Stamp,
};
use crate::view::ListQuery;

/// A registry beside a CP state, both fed through their public ways in.
struct Bench {
    registry: Registry,
    state: NamingState,
    index: u64,
}

impl Bench {
    fn new() -> Bench {
        Bench { registry: Registry::default(), state: NamingState::default(), index: 0 }
    }

    fn cp(&mut self, command: NamingCommand, now: u64) -> (NamingReply, Vec<String>) {
        self.index += 1;
        let (reply, changes) = self.state.apply(&command, Stamp { now_ms: 0, index: self.index });
        (reply, text(self.registry.apply_cp(&self.state, &changes, Millis(now))))
    }

    fn persistent(&mut self, name: &str, instance: &Instance, now: u64) -> Vec<String> {
        self.cp(NamingCommand::Register { service: key(name), instance: instance.clone() }, now).1
    }

    fn beat(&self, name: &str, instance: &Instance, now: u64) -> Vec<String> {
        self.beat_as(name, instance, true, now)
    }

    fn beat_as(&self, name: &str, instance: &Instance, healthy: bool, now: u64) -> Vec<String> {
        let slot = Some(Arc::new(BeatSlot::new(Millis(now))));
        let publication = Publication::one(instance.clone());
        let visible = VisiblePublication { publication, healthy, rank: rank(1), slot };
        text(self.registry.set_publication(&beat_key(name, instance), Some(visible), Millis(now)))
    }

    fn gone(&self, name: &str, instance: &Instance, now: u64) -> Vec<String> {
        text(self.registry.set_publication(&beat_key(name, instance), None, Millis(now)))
    }

    /// `ip cluster weight h|u e|p` of each instance of the service.
    fn shown(&self, name: &str) -> Option<Vec<String>> {
        let view = self.registry.view(&key(name))?;
        Some(view.instances().iter().map(shown).collect())
    }

    fn lifetime(&self, name: &str, now: u64) -> Option<Lifetime> {
        self.registry.lifetime(&key(name), Millis(now))
    }
}

fn shown(i: &crate::view::ViewInstance) -> String {
    let (health, life) =
        (if i.instance.healthy { "h" } else { "u" }, if i.lifetime.is_ephemeral() { "e" } else { "p" });
    format!("{} {} {:?} {health}{life}", i.instance.ip, i.instance.cluster, i.instance.weight)
}

fn text(changes: Vec<InstanceChange>) -> Vec<String> {
    changes.iter().map(ToString::to_string).collect()
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("", "", name)
}

fn beat_key(name: &str, instance: &Instance) -> PublicationKey {
    PublicationKey { service: key(name), client: ClientId::beat(&instance.ip, instance.port) }
}

fn rank(lamport: u64) -> (u64, Origin) {
    (lamport, Origin { member: MemberId(1), incarnation: 1 })
}

fn at(n: u8) -> Instance {
    Instance::new(&format!("10.0.0.{n}"), 80)
}

fn with_interval(mut instance: Instance, ms: &str) -> Instance {
    instance.metadata = [("preserved.heart.beat.interval", ms)].into_iter().collect();
    instance
}

#[test]
fn an_ephemeral_instance_from_its_registration_to_the_end_of_its_service() {
    let bench = Bench::new();
    assert_eq!((bench.shown("s"), bench.lifetime("s", 0)), (None, None));
    assert_eq!(
        bench.beat("s", &at(1), 0),
        [
            "service public/DEFAULT_GROUP@@s created",
            "ephemeral instance 10.0.0.1:80 of public/DEFAULT_GROUP@@s new: healthy weight=1.0 cluster=DEFAULT",
        ]
    );
    let moved = Instance { cluster: "c2".into(), weight: 7.0, ..at(1) };
    assert_eq!(bench.beat("s", &moved, 1).len(), 2, "one gone, one new");
    assert_eq!(bench.beat("s", &moved, 1), [""; 0], "nothing changed");
    assert_eq!(
        bench.beat_as("s", &moved, false, 2),
        [concat!(
            "ephemeral instance 10.0.0.1:80 of public/DEFAULT_GROUP@@s changed: ",
            "healthy weight=7.0 cluster=c2 -> unhealthy weight=7.0 cluster=c2"
        )]
    );
    assert_eq!(bench.shown("s").unwrap(), ["10.0.0.1 c2 7.0 ue"]);
    assert_eq!(bench.registry.counts(), Counts { services: 1, ephemeral_instances: 1, ..Counts::default() });
    assert_eq!(
        bench.gone("s", &moved, 1_000),
        ["ephemeral instance 10.0.0.1:80 of public/DEFAULT_GROUP@@s gone"]
    );
    assert_eq!(bench.gone("s", &moved, 1_000), [""; 0]);
    // Known and ephemeral for another 60 s.
    for (now, known, lifetime) in [
        (1_000, true, Some(Lifetime::Ephemeral)),
        (60_999, true, Some(Lifetime::Ephemeral)),
        (61_000, false, None),
    ] {
        assert_eq!(bench.lifetime("s", now), lifetime, "at {now}");
        let sweep = bench.registry.sweep(Millis(now));
        assert_eq!((bench.registry.knows(&key("s")), sweep.gone.is_empty()), (known, known), "at {now}");
    }
    assert_eq!((bench.shown("s"), bench.registry.counts()), (None, Counts::default()));
    assert_eq!(bench.registry.services.len(), 0, "the entry is given back");
    assert_eq!(bench.beat("s", &at(1), 70_000).len(), 2, "and it can come again");
}

#[test]
fn one_instance_of_several_clients_is_shown_once() {
    let bench = Bench::new();
    let publish = |client: &str, lamport, weight, healthy| {
        let instance = Instance { weight, ..at(1) };
        let visible = VisiblePublication {
            publication: Publication::one(instance),
            healthy,
            rank: rank(lamport),
            slot: None,
        };
        let key = PublicationKey { service: key("s"), client: ClientId::from_text(client) };
        bench.registry.set_publication(&key, Some(visible), Millis(0));
    };
    publish("a", 5, 5.0, false);
    publish("b", 3, 3.0, true);
    assert_eq!(bench.shown("s").unwrap(), ["10.0.0.1 DEFAULT 5.0 he"]);
    publish("b", 9, 3.0, false);
    assert_eq!(bench.shown("s").unwrap(), ["10.0.0.1 DEFAULT 3.0 ue"]);
    assert_eq!(bench.registry.counts().ephemeral_instances, 2);
}

#[test]
fn health_of_a_batch_is_that_of_client_and_instance() {
    let bench = Bench::new();
    let batch = vec![at(2), Instance { healthy: false, ..at(1) }];
    let key = PublicationKey { service: key("s"), client: ClientId::from_text("1700_10.0.0.9_500") };
    for (healthy, want) in [
        (true, ["10.0.0.1 DEFAULT 1.0 ue", "10.0.0.2 DEFAULT 1.0 he"]),
        (false, ["10.0.0.1 DEFAULT 1.0 ue", "10.0.0.2 DEFAULT 1.0 ue"]),
    ] {
        let publication = Publication::batch(batch.clone());
        let visible = VisiblePublication { publication, healthy, rank: rank(1), slot: None };
        bench.registry.set_publication(&key, Some(visible), Millis(0));
        assert_eq!(bench.shown("s").unwrap(), want);
    }
    assert_eq!(bench.registry.counts().ephemeral_instances, 2);
}

#[test]
fn overrides_are_laid_over_both_kinds_and_outlive_reregistration() {
    let mut bench = Bench::new();
    let pair = |k, v| -> Metadata { [(k, v)].into_iter().collect() };
    for persistent in [false, true] {
        let name = if persistent { "p" } else { "e" };
        let register = |bench: &mut Bench| {
            let instance = Instance { metadata: pair("a", "1"), weight: 2.0, ..at(1) };
            if persistent {
                bench.persistent(name, &instance, 0)
            } else {
                bench.beat(name, &instance, 0)
            };
        };
        register(&mut bench);
        let over = Instance { weight: 5.0, enabled: false, metadata: pair("b", "2"), ..at(1) };
        bench.cp(NamingCommand::put_override(key(name), &over), 0);
        register(&mut bench);
        let view = bench.registry.view(&key(name)).unwrap();
        let one = &view.instances()[0].instance;
        let want: Metadata = [("a", "1"), ("b", "2")].into_iter().collect();
        assert_eq!((one.weight, one.enabled, &one.metadata), (5.0, false, &want));
        assert_eq!(view.select(&ListQuery::default()).hosts.len(), 0, "disabled");
    }
}

#[test]
fn an_override_ends_with_its_instance_and_not_before() {
    for persistent in [false, true] {
        let mut bench = Bench::new();
        let register = |bench: &mut Bench, instance: &Instance| {
            if persistent {
                bench.persistent("s", instance, 0)
            } else {
                bench.beat("s", instance, 0)
            };
        };
        register(&mut bench, &at(1));
        let over = Instance { weight: 5.0, ..at(1) };
        bench.cp(NamingCommand::put_override(key("s"), &over), 0);
        register(&mut bench, &at(1));
        let weight = |bench: &Bench| bench.registry.view(&key("s")).unwrap().instances()[0].instance.weight;
        assert_eq!(weight(&bench), 5.0, "registered again");
        if persistent {
            bench.cp(NamingCommand::Deregister { service: key("s"), address: at(1).address() }, 0);
        } else {
            bench.gone("s", &at(1), 0);
        }
        register(&mut bench, &at(1));
        assert_eq!(weight(&bench), 1.0, "deregistered and registered again");
        let sweep = bench.registry.sweep(Millis(0));
        // The entry that ends a persistent instance ends this too.
        let ended = usize::from(!persistent);
        assert_eq!((sweep.ended.len(), sweep.overrides.len()), (ended, 0), "any member has it removed");
        bench.cp(NamingCommand::put_override(key("s"), &over), 0);
        assert_eq!(weight(&bench), 5.0, "written anew");
        assert_eq!(bench.registry.sweep(Millis(0)).ended, []);
        if let Some(command) = sweep.command(false) {
            bench.cp(command, 0);
        }
        assert_eq!(weight(&bench), 5.0, "what was written since stays");
    }
}

#[test]
fn beats_find_their_slot_and_interval() {
    let mut bench = Bench::new();
    let interval = |bench: &Bench, ip: &str, port| {
        bench.registry.beat(&key("s"), ip, port).map(|b| b.interval_ms.map(u64::from))
    };
    assert_eq!(interval(&bench, "10.0.0.1", 80), None);
    bench.beat("s", &with_interval(at(1), "7000"), 0);
    bench.beat("s", &with_interval(at(2), "x"), 0);
    for (ip, port, want) in [
        ("10.0.0.1", 80, Some(Some(7_000))),
        ("10.0.0.2", 80, Some(None)),
        ("10.0.0.1", 81, None),
        ("10.0.0.3", 80, None),
    ] {
        assert_eq!(interval(&bench, ip, port), want, "{ip}:{port}");
    }
    bench.cp(NamingCommand::put_override(key("s"), &with_interval(at(1), "1000")), 0);
    assert_eq!(interval(&bench, "10.0.0.1", 80), Some(Some(1_000)));
    bench.beat("s", &with_interval(at(1), "7000"), 0);
    assert_eq!(interval(&bench, "10.0.0.1", 80), Some(Some(1_000)));
    let slot = bench.registry.beat_slot(&beat_key("s", &at(1))).unwrap();
    assert!(slot.beat(Millis(5)));
    assert_eq!(bench.registry.beat(&key("s"), "10.0.0.1", 80).unwrap().slot.unwrap().last(), Millis(5));
    bench.gone("s", &at(1), 0);
    assert!(bench.registry.beat_slot(&beat_key("s", &at(1))).is_none());
    assert_eq!(bench.registry.beat(&key("other"), "10.0.0.2", 80).map(|_| ()), None);
}

#[test]
fn lifetimes_mixed_by_a_partition_are_both_shown_and_counted() {
    let mut bench = Bench::new();
    bench.beat("s", &at(1), 0);
    bench.persistent("s", &Instance { healthy: false, ..at(1) }, 0);
    assert_eq!(bench.shown("s").unwrap(), ["10.0.0.1 DEFAULT 1.0 he", "10.0.0.1 DEFAULT 1.0 up"]);
    assert_eq!(bench.lifetime("s", 0), Some(Lifetime::Persistent));
    assert_eq!(bench.registry.counts().lifetime_conflicts, 1);
    bench.beat("t", &at(1), 0);
    bench.persistent("t", &at(2), 0);
    let counts = bench.registry.client_counts(|_| false, |client| client.ends_with("#false"));
    let responsible = (2, 2);
    let want = ClientCounts {
        connections: 0,
        beats: 1,
        persistent: 2,
        responsible: responsible.0,
        responsible_instances: responsible.1,
    };
    assert_eq!(counts, want);
    bench.gone("t", &at(1), 0);
    bench.cp(NamingCommand::Deregister { service: key("t"), address: at(2).address() }, 0);
    bench.cp(NamingCommand::DeleteService { service: key("t") }, 0);
    bench.gone("s", &at(1), 0);
    assert_eq!(bench.registry.counts(), Counts { services: 1, persistent_instances: 1, ..Counts::default() });
}

#[test]
fn a_created_service_is_free_and_a_deleted_one_unknown_at_once() {
    let mut bench = Bench::new();
    let create = |name| NamingCommand::CreateService { service: key(name), record: ServiceRecord::default() };
    let delete = |name| NamingCommand::DeleteService { service: key(name) };
    assert_eq!(bench.cp(create("s"), 0).1, ["service public/DEFAULT_GROUP@@s created"]);
    assert_eq!((bench.shown("s"), bench.lifetime("s", 0)), (Some(vec![]), None));
    bench.beat("s", &at(1), 1);
    assert_eq!(bench.lifetime("s", 1), Some(Lifetime::Ephemeral));
    bench.gone("s", &at(1), 2);
    assert_eq!(
        bench.cp(delete("s"), 3),
        (NamingReply::Done, vec!["service public/DEFAULT_GROUP@@s gone".into()])
    );
    assert_eq!((bench.shown("s"), bench.lifetime("s", 3), bench.registry.services.len()), (None, None, 0));
    // One that only lingers here.
    bench.beat("t", &at(1), 3);
    bench.gone("t", &at(1), 4);
    assert_eq!(bench.cp(delete("t"), 5).0, NamingReply::NotFound);
    assert!(!bench.registry.knows(&key("t")));
}

#[test]
fn the_sweep_tells_what_has_no_instance_for_a_minute() {
    let mut bench = Bench::new();
    bench.beat("s", &at(1), 0);
    bench.persistent("s", &at(2), 0);
    for n in [1, 2, 3] {
        bench.cp(NamingCommand::put_override(key("s"), &at(n)), 0);
    }
    bench.cp(
        NamingCommand::UpdateService { service: key("s"), record: ServiceRecord::default(), create: true },
        0,
    );
    let over =
        |n: u8, revision| ExpiredOverride { service: key("s"), target: OverrideKey::of(&at(n)), revision };
    let at_time = |bench: &Bench, now| {
        let sweep = bench.registry.sweep(Millis(now));
        (sweep.overrides, sweep.records.len())
    };
    assert_eq!(at_time(&bench, 1_000), (vec![], 0));
    assert_eq!(at_time(&bench, 61_000), (vec![over(3, 4)], 0));
    bench.gone("s", &at(1), 62_000);
    assert_eq!(at_time(&bench, 65_000), (vec![over(3, 4)], 0));
    // It comes back between two sweeps: the minute begins anew.
    bench.beat("s", &at(1), 70_000);
    bench.gone("s", &at(1), 71_000);
    assert_eq!(at_time(&bench, 126_000), (vec![over(3, 4)], 0));
    assert_eq!(at_time(&bench, 186_000), (vec![over(1, 2), over(3, 4)], 0));
    bench.cp(NamingCommand::Deregister { service: key("s"), address: at(2).address() }, 190_000);
    assert_eq!(at_time(&bench, 249_999).1, 0);
    assert_eq!(at_time(&bench, 250_000).1, 1);
    let sweep = bench.registry.sweep(Millis(260_000));
    assert_eq!(sweep.records, [ExpiredService { service: key("s"), revision: 5 }]);
    bench.cp(sweep.command(true).unwrap(), 260_000);
    let sweep = bench.registry.sweep(Millis(260_000));
    assert_eq!((sweep.gone, sweep.records), (vec![key("s")], vec![]));
    assert_eq!(Sweep::default().command(true), None);
}

#[test]
fn an_installed_state_replaces_what_was_there() {
    let mut bench = Bench::new();
    bench.persistent("old", &at(1), 0);
    bench.beat("mixed", &at(1), 0);
    bench.persistent("mixed", &at(2), 0);
    let mut other = NamingState::default();
    let commands = [
        NamingCommand::Register { service: key("new"), instance: at(3) },
        NamingCommand::SetSwitch { entry: "pushCacheMillis".into(), value: "20000".into() },
    ];
    for (n, command) in commands.iter().enumerate() {
        other.apply(command, Stamp { now_ms: 0, index: n as u64 });
    }
    let before = bench.registry.view(&key("mixed")).unwrap();
    let body = before.list(&ListQuery::default()).stamped(0);
    assert!(String::from_utf8(body).unwrap().contains("\"cacheMillis\":10000,"));
    bench.registry.install_cp(&other, Millis(1));
    assert_eq!(bench.shown("old"), Some(vec![]));
    assert_eq!(bench.shown("mixed").unwrap(), ["10.0.0.1 DEFAULT 1.0 he"]);
    assert_eq!(bench.shown("new").unwrap(), ["10.0.0.3 DEFAULT 1.0 hp"]);
    let body = bench.registry.view(&key("mixed")).unwrap().list(&ListQuery::default()).stamped(0);
    assert!(String::from_utf8(body).unwrap().contains("\"cacheMillis\":20000,"));
    assert_eq!(bench.registry.counts().persistent_instances, 1);
}

#[test]
fn pages_are_cut_as_nacos_cuts_them() {
    let bench = Bench::new();
    for n in 0..7 {
        bench.beat(&format!("s{n}"), &at(1), 0);
    }
    let other = [ServiceKey::new("", "G", "x"), ServiceKey::new("ns", "", "s9")];
    for service in other {
        let key = PublicationKey { service, client: ClientId::from_text("c") };
        let publication = Publication::one(at(1));
        let visible = VisiblePublication { publication, healthy: true, rank: rank(1), slot: None };
        bench.registry.set_publication(&key, Some(visible), Millis(0));
    }
    type Case = ((i32, i32), Result<&'static [&'static str], &'static str>);
    let cases: [Case; 9] = [
        ((1, 3), Ok(&["s0", "s1", "s2"])),
        ((3, 3), Ok(&["s6"])),
        ((0, 2), Ok(&["s0", "s1"])),
        ((100, 10), Ok(&[])),
        ((1, 0), Ok(&[])),
        ((i32::MAX, 10_000), Ok(&[])),
        ((-1, -3), Err("fromIndex(6) > toIndex(3)")),
        ((1, -3), Err("fromIndex(0) > toIndex(-3)")),
        ((i32::MIN, i32::MIN), Ok(&[])),
    ];
    for ((no, size), want) in cases {
        let got = bench.registry.services("", "", no, size).map(|page| {
            assert_eq!(page.count, 7);
            page.services.iter().map(|k| k.name().to_owned()).collect::<Vec<_>>()
        });
        assert_eq!(
            got,
            want.map(|w| w.iter().map(|s| s.to_string()).collect()).map_err(Into::into),
            "{no} {size}"
        );
    }
    for (ns, group, count) in [("", "G", 1), ("ns", "", 1), ("nope", "", 0), ("", "nope", 0)] {
        assert_eq!(bench.registry.services(ns, group, 1, 5).unwrap().count, count, "{ns} {group}");
    }
    // Namespace `ns` comes first.
    let all = bench.registry.views(1, 3);
    let names: Vec<&str> = all.iter().map(|v| v.key().name()).collect();
    assert_eq!(names, ["s0", "s1", "s2"]);
}

#[test]
fn a_view_is_built_once_per_change_and_given_back_when_unused() {
    let bench = Bench::new();
    bench.beat("s", &at(1), 0);
    let view = || bench.registry.view(&key("s")).unwrap();
    let first = view();
    assert!(Arc::ptr_eq(&first, &view()));
    bench.registry.sweep(Millis(0));
    assert!(Arc::ptr_eq(&first, &view()), "used since the last sweep");
    bench.beat("s", &at(1), 5);
    bench.gone("s", &at(9), 5);
    assert!(Arc::ptr_eq(&first, &view()), "nothing changed");
    bench.beat("s", &at(2), 0);
    let second = view();
    assert!(second.revision() > first.revision());
    bench.registry.sweep(Millis(0));
    bench.registry.sweep(Millis(0));
    assert!(!Arc::ptr_eq(&second, &view()), "unused for a whole sweep");
}

/// Every reader that begins after a write returned sees it, whatever other writers and the sweep do meanwhile.
#[test]
fn readers_and_writers_of_many_threads_agree() {
    let bench = Bench::new();
    let rounds = 2_000u64;
    std::thread::scope(|scope| {
        for writer in 1..4u8 {
            let bench = &bench;
            scope.spawn(move || {
                for now in 0..rounds {
                    let instance = Instance { weight: (now + 1) as f64, ..at(writer) };
                    bench.beat("s", &instance, now * LINGER_MS);
                    let mine =
                        |v: &ServiceView| v.find(&instance.ip, 80, "DEFAULT").map(|i| i.instance.weight);
                    assert_eq!(mine(&bench.registry.view(&key("s")).unwrap()), Some(instance.weight));
                    bench.gone("s", &instance, now * LINGER_MS);
                    let after = bench.registry.view(&key("s"));
                    assert_eq!(after.and_then(|v| mine(&v)), None);
                }
            });
        }
        scope.spawn(|| {
            for now in 0..rounds {
                bench.registry.sweep(Millis(now * LINGER_MS));
            }
        });
    });
    bench.registry.sweep(Millis(u64::MAX));
    assert_eq!((bench.registry.counts(), bench.registry.services.len()), (Counts::default(), 0));
}
