//! Tests of the probe schedule: who probes what, when, and what a result changes.

use dyad_types::Instance;

use super::*;
use crate::cp::Stamp;

const ME: MemberId = MemberId(1);
/// As many dials as the pace allows.
const ALL: usize = usize::MAX;

struct Bench {
    state: NamingState,
    plan: ProbePlan,
    index: u64,
}

impl Bench {
    fn new() -> Bench {
        Bench { state: NamingState::default(), plan: ProbePlan::new(ME), index: 0 }
    }

    fn apply(&mut self, command: NamingCommand, now: Millis) {
        self.index += 1;
        let (_, changes) = self.state.apply(&command, Stamp { now_ms: 0, index: self.index });
        self.plan.apply(&self.state, &changes, now);
    }

    fn register(&mut self, service: &str, ip: &str, healthy: bool, now: Millis) {
        let instance = Instance { healthy, ..Instance::new(ip, 80) };
        self.apply(NamingCommand::Register { service: key(service), instance }, now);
    }

    /// Moves to the next time at which something is due and takes it.
    fn next(&mut self) -> (Millis, Vec<Probe>) {
        let at = self.plan.next_timeout().unwrap();
        (at, self.plan.due(at, ALL))
    }

    /// The health changes, one per probe, of these outcomes in turn.
    fn run(&mut self, outcomes: &[Outcome]) -> Vec<Option<bool>> {
        let mut out = Vec::new();
        for outcome in outcomes {
            let (now, probes) = self.next();
            let changes = self.plan.finish(&probes[0].address, *outcome, now);
            out.push(changes.first().map(|c| c.healthy));
            for command in commands(changes) {
                self.apply(command, now);
            }
        }
        out
    }
}

fn key(name: &str) -> ServiceKey {
    ServiceKey::new("", "", name)
}

#[test]
fn health_flips_after_three_outcomes_and_at_once_when_refused() {
    use Outcome::{Connected, Failed, Refused, TimedOut};
    let (up, down) = (Some(true), Some(false));
    type Case<'a> = (bool, &'a [Outcome], &'a [Option<bool>]);
    let cases: [Case<'_>; 5] = [
        (true, &[TimedOut, Failed, TimedOut, TimedOut], &[None, None, down, None]),
        (true, &[Refused, Refused], &[down, None]),
        (false, &[Connected(1), Connected(1), Connected(1)], &[None, None, up]),
        (false, &[Connected(1), Connected(1), TimedOut, Connected(1)], &[None; 4]),
        (true, &[TimedOut, TimedOut, Connected(1), TimedOut], &[None; 4]),
    ];
    for (healthy, outcomes, want) in cases {
        let mut bench = Bench::new();
        bench.register("s", "10.0.0.1", healthy, Millis(0));
        assert_eq!(bench.run(outcomes), want, "{healthy} {outcomes:?}");
    }
}

#[test]
fn what_is_never_dialed_is_not_healthy() {
    for ip in ["no-such.invalid", "0.0.0.0", "169.254.169.254"] {
        let mut bench = Bench::new();
        bench.register("s", ip, true, Millis(0));
        for _ in 0..3 {
            let (now, probes) = bench.next();
            assert_eq!(probes[0].socket, None);
            for command in commands(bench.plan.finish(&probes[0].address, Outcome::Failed, now)) {
                bench.apply(command, now);
            }
        }
        let service = bench.state.service(&key("s")).unwrap();
        assert!(service.instances().values().all(|instance| !instance.healthy), "{ip}");
    }
}

#[test]
fn a_finding_is_repeated_until_it_is_applied() {
    let mut bench = Bench::new();
    bench.register("s", "10.0.0.1", true, Millis(0));
    bench.register("t", "10.0.0.1", true, Millis(0));
    let want: Vec<HealthChange> = ["s", "t"]
        .map(|name| HealthChange {
            service: key(name),
            address: Address::new("10.0.0.1", 80),
            healthy: false,
        })
        .to_vec();
    for _ in 0..2 {
        let (now, probes) = bench.next();
        assert_eq!(probes.len(), 1, "one dial for both services");
        assert_eq!(bench.plan.finish(&probes[0].address, Outcome::Refused, now), want);
    }
}

#[test]
fn the_interval_adapts_between_one_and_five_seconds() {
    let mut bench = Bench::new();
    bench.register("s", "10.0.0.1", true, Millis(0));
    let (mut last, _) = (Millis(0), ());
    let mut gaps = Vec::new();
    for n in 0..40 {
        let (now, probes) = bench.next();
        assert_eq!(probes.len(), 1);
        gaps.push(now.since(last));
        last = now;
        let outcome = if n < 20 { Outcome::Connected(1) } else { Outcome::TimedOut };
        bench.plan.finish(&probes[0].address, outcome, now);
    }
    assert!((2_000..=7_000).contains(&gaps[0]), "{gaps:?}");
    assert_eq!(gaps[20], 1_000, "{gaps:?}");
    assert_eq!(gaps[39], 5_000, "{gaps:?}");
}

#[test]
fn every_address_is_probed_by_exactly_one_live_member() {
    let members = [MemberId(1), MemberId(2), MemberId(3)];
    let mut state = NamingState::default();
    for n in 0..200u64 {
        let instance = Instance::new(&format!("10.0.0.{n}"), 80);
        state.apply(&NamingCommand::Register { service: key("s"), instance }, Stamp { now_ms: 0, index: n });
    }
    for live in [&members[..], &members[..2]] {
        let mut seen = BTreeMap::new();
        for &me in live {
            let mut plan = ProbePlan::new(me);
            plan.install(&state, Millis(0));
            assert_eq!(plan.probed(), 200, "alone it probes all");
            plan.set_members(live, &[], Millis(0));
            for now in (0..8_000).step_by(50) {
                for probe in plan.due(Millis(now), ALL) {
                    *seen.entry(probe.address).or_insert(0) += 1;
                }
            }
        }
        assert_eq!((seen.len(), seen.values().all(|&n| n == 1)), (200, true));
    }
}

#[test]
fn no_second_has_more_than_200_dials_and_none_is_lost() {
    let mut bench = Bench::new();
    for n in 0..600 {
        bench.register("s", &format!("10.0.{}.{}", n / 250, n % 250), true, Millis(0));
    }
    let mut dials: Vec<u64> = Vec::new();
    // A caller that slept for 10 s and then comes every 20 ms.
    for now in (10_000..14_000).step_by(20) {
        dials.extend(bench.plan.due(Millis(now), ALL).iter().map(|_| now));
    }
    assert_eq!(dials.len(), 600);
    for (n, &at) in dials.iter().enumerate() {
        let window = dials[n..].iter().take_while(|&&other| other < at + 1_000).count();
        assert!(window <= 200, "{window} dials from {at}");
    }
}

/// An address that answers until 20 s, and twenty thousand that nobody answers for, which come at 10 s: how long the death of the
/// one goes unnoticed.
fn noticed_after(dead: impl Fn(u32) -> ServiceKey, watched: &ServiceKey, outcome: Outcome) -> u64 {
    let mut bench = Bench::new();
    let address = Address::new("192.168.0.1", 80);
    let instance = Instance::new("192.168.0.1", 80);
    bench.apply(NamingCommand::Register { service: watched.clone(), instance }, Millis(0));
    for now in (0..60_000).step_by(10).map(Millis) {
        for n in (0..20_000).filter(|_| now == Millis(10_000)) {
            let instance = Instance::new(&format!("10.{}.{}.1", n / 250, n % 250), 80);
            bench.apply(NamingCommand::Register { service: dead(n), instance }, now);
        }
        for probe in bench.plan.due(now, 16) {
            let outcome = match probe.address == address {
                true if now < Millis(20_000) => Outcome::Connected(1),
                _ => outcome,
            };
            for command in commands(bench.plan.finish(&probe.address, outcome, now)) {
                bench.apply(command, now);
            }
        }
        if !bench.state.service(watched).unwrap().instances()[&address].healthy {
            return now.since(Millis(20_000));
        }
    }
    60_000
}

#[test]
fn nobody_waits_for_the_unreachable_addresses_of_somebody_else() {
    let many = |n: u32| key(&format!("dead-{}", n % 100));
    let other = ServiceKey::new("other", "", "watched");
    let took = noticed_after(many, &other, Outcome::Refused);
    assert!(took <= 1_100, "in another namespace: {took} ms");
    let took = noticed_after(many, &key("watched"), Outcome::Refused);
    assert!(took <= 1_100, "in another service: {took} ms");
    let took = noticed_after(|n| key(&format!("dead-{n}")), &key("watched"), Outcome::Refused);
    assert!(took <= 1_100, "each in a service of its own: {took} ms");
    let took = noticed_after(|n| key(&format!("dead-{n}")), &key("watched"), Outcome::TimedOut);
    assert!(took <= 6_000, "which takes three findings: {took} ms");
}

#[test]
fn turns_go_round_and_what_is_removed_has_none() {
    let mut turns = Turns::default();
    let lane = |namespace: &str, service: &str, is_alive| Lane {
        is_alive,
        service: ServiceKey::new(namespace, "", service),
    };
    let push =
        |turns: &mut Turns, lane: &Lane, name: &str| turns.push(lane, Millis(0), Address::new(name, 1));
    for name in ["a1", "a2", "a3"] {
        push(&mut turns, &lane("n", "a", false), name);
    }
    push(&mut turns, &lane("n", "b", false), "b1");
    push(&mut turns, &lane("m", "c", false), "c1");
    push(&mut turns, &lane("m", "c", true), "alive");
    push(&mut turns, &lane("m", "c", true), "gone");
    turns.remove(&lane("m", "c", true), Millis(0), &Address::new("gone", 1));
    assert_eq!(turns.len(), 6);
    let mut order = Vec::new();
    while let Some((_, address)) = turns.pop() {
        order.push(address.ip.to_string());
    }
    assert_eq!(turns.len(), 0);
    let at = |name: &str| order.iter().position(|one| one == name).unwrap();
    assert!(at("alive") <= 1, "{order:?}");
    assert!(at("c1") <= 2, "{order:?}");
    assert!(at("b1") < at("a2") || at("b1") < at("a3"), "{order:?}");
    assert_eq!(order.last().unwrap(), "a3", "{order:?}");
}

#[test]
fn what_is_gone_or_switched_off_is_not_dialed() {
    let mut bench = Bench::new();
    bench.register("s", "10.0.0.1", true, Millis(0));
    let address = Address::new("10.0.0.1", 80);
    let switch = |value: &str| NamingCommand::SetSwitch { entry: "check".into(), value: value.into() };
    bench.apply(switch("false"), Millis(0));
    assert_eq!((bench.plan.next_timeout(), bench.plan.due(Millis(9_000), ALL)), (None, vec![]));
    bench.apply(switch("true"), Millis(9_000));
    assert_eq!(bench.plan.due(Millis(9_000), ALL).len(), 1);
    bench.apply(NamingCommand::Deregister { service: key("s"), address: address.clone() }, Millis(9_000));
    assert_eq!(bench.plan.finish(&address, Outcome::Refused, Millis(9_001)), vec![]);
    assert_eq!((bench.plan.next_timeout(), bench.plan.probed()), (None, 0));
    // An outcome that never came: the dial is repeated.
    bench.register("s", "10.0.0.1", true, Millis(10_000));
    let (first, _) = bench.next();
    let (second, probes) = bench.next();
    assert_eq!((second.since(first), probes.len()), (DIAL_LOST_MS, 1));
}
