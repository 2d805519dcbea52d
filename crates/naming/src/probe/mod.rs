//! The schedule of TCP probes of persistent instances (`HealthCheckTaskV2`, `TcpHealthCheckProcessor`). It does not
//! dial by itself: it gives out addresses to dial, takes the outcomes, and gives out changes of health.
//!
//! Exactly one member probes an address: the one that the placement hash names among the live members. Its findings
//! become [`NamingCommand::SetHealth`]; while the CP state still says otherwise each further probe says it again, so that a
//! finding made without a leader is not lost.

mod address;
mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use dyad_types::{Address, MemberId, Millis, ServiceKey, responsible};
use imbl::ordmap::DiffItem;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::cp::{CpService, HEALTH_BATCH_MAX, HealthChange, NamingChanges, NamingCommand, NamingState};
use crate::switches::Switches;

pub use address::dialable;
use turns::{Lane, Turns};

/// A dial times out after this many milliseconds (`TcpHealthCheckProcessor.CONNECT_TIMEOUT_MS`).
pub const DIAL_TIMEOUT_MS: u64 = 500;
/// The least time from the appearance of an instance to its first probe, in milliseconds. Up to the largest interval is
/// added, so that many instances are not due together.
const FIRST_PROBE_MS: u64 = 2_000;
/// Milliseconds between two dials, on average.
const DIAL_SPACING_MS: u64 = 6;
/// A caller that is late may catch up with the dials of this many milliseconds. Together with the spacing, there are at
/// most (1000 + 100) / 6 + 1 = 184 dials in any second.
const DIAL_CATCH_UP_MS: u64 = 100;
/// A dial whose outcome was never told is repeated after this many milliseconds.
const DIAL_LOST_MS: u64 = 10_000;
/// The seeds of the two hashes from which the delay of the first probe is derived.
const SPREAD_SEEDS: [u64; 2] = [1, 2];

/// The outcome of dialing an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The connection was made, after this many milliseconds.
    Connected(u64),
    /// The connection was refused, so the instance is unhealthy at once.
    Refused,
    TimedOut,
    /// Any other error.
    Failed,
}

/// An address whose turn it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    pub address: Address,
    /// What to dial. `None` for an address that is never dialed: its outcome is [`Outcome::Failed`], so that nobody is told that
    /// it is healthy.
    pub socket: Option<SocketAddr>,
}

/// See the module's description.
#[derive(Debug)]
pub struct ProbePlan {
    me: MemberId,
    live: Vec<MemberId>,
    /// The cluster addresses of the members, which are never dialed.
    cluster: Vec<SocketAddr>,
    switches: Arc<Switches>,
    services: BTreeMap<ServiceKey, Arc<CpService>>,
    targets: BTreeMap<Address, Target>,
    times: Times,
    /// The earliest time of the next dial.
    next_dial: Millis,
}

/// Every scheduled address, once.
#[derive(Debug, Default)]
struct Times {
    /// Those whose time is to come.
    later: BTreeSet<(Millis, Address)>,
    /// Those whose time has come.
    waiting: Turns,
}

#[derive(Debug, Default)]
struct Target {
    /// The services that have a persistent instance at this address.
    services: Vec<ServiceKey>,
    /// The schedule, while this member probes the address.
    schedule: Option<Schedule>,
}

#[derive(Clone, Debug)]
struct Schedule {
    at: Millis,
    /// Where it waits, once its time has come.
    lane: Option<Lane>,
    socket: Option<SocketAddr>,
    interval_ms: u64,
    /// The number of good outcomes in a row; the next field counts the bad ones.
    good: i32,
    bad: i32,
    /// It answered, and was not found dead since.
    is_alive: bool,
}

impl Times {
    fn set(&mut self, address: &Address, schedule: &mut Schedule, at: Millis) {
        self.remove(address, schedule);
        schedule.at = at;
        self.later.insert((at, address.clone()));
    }

    fn remove(&mut self, address: &Address, schedule: &mut Schedule) {
        match schedule.lane.take() {
            Some(lane) => self.waiting.remove(&lane, schedule.at, address),
            None => {
                self.later.remove(&(schedule.at, address.clone()));
            }
        }
    }
}

impl ProbePlan {
    /// A plan for this member, which does not know other members yet.
    pub fn new(me: MemberId) -> ProbePlan {
        ProbePlan {
            me,
            live: vec![me],
            cluster: Vec::new(),
            switches: Arc::default(),
            services: BTreeMap::new(),
            targets: BTreeMap::new(),
            times: Times::default(),
            next_dial: Millis(0),
        }
    }

    /// Takes the members that this one sees as live (it always counts itself), and the cluster addresses of all
    /// members, including those of the interfaces of this host.
    pub fn set_members(&mut self, live: &[MemberId], cluster: &[SocketAddr], now: Millis) {
        let mut live = live.to_vec();
        live.push(self.me);
        live.sort_unstable();
        live.dedup();
        if live == self.live && cluster == self.cluster {
            return;
        }
        (self.live, self.cluster) = (live, cluster.to_vec());
        let addresses: Vec<Address> = self.targets.keys().cloned().collect();
        for address in addresses {
            self.assign(&address, now);
        }
    }

    /// Takes in what one applied entry changed.
    pub fn apply(&mut self, state: &NamingState, changes: &NamingChanges, now: Millis) {
        self.switches = state.switches().clone();
        for key in &changes.services {
            self.set_service(key, state.service(key).cloned(), now);
        }
    }

    /// Takes in a whole CP state.
    pub fn install(&mut self, state: &NamingState, now: Millis) {
        self.switches = state.switches().clone();
        let gone: Vec<ServiceKey> =
            self.services.keys().filter(|key| state.service(key).is_none()).cloned().collect();
        for key in gone {
            self.set_service(&key, None, now);
        }
        for (key, service) in state.services() {
            self.set_service(key, Some(service.clone()), now);
        }
    }

    /// The next time at which [`ProbePlan::due`] may have something to dial.
    pub fn next_timeout(&self) -> Option<Millis> {
        if !self.switches.health_check_enabled {
            return None;
        }
        if self.times.waiting.len() > 0 {
            return Some(self.next_dial);
        }
        self.times.later.first().map(|(at, _)| (*at).max(self.next_dial))
    }

    /// The addresses to dial now, at most `most` and at most 200 in any second. What is left over comes with the next call. Each
    /// outcome goes to [`ProbePlan::finish`].
    pub fn due(&mut self, now: Millis, most: usize) -> Vec<Probe> {
        let mut probes = Vec::new();
        if !self.switches.health_check_enabled {
            return probes;
        }
        let Times { later, waiting } = &mut self.times;
        while later.first().is_some_and(|(at, _)| *at <= now)
            && let Some((at, address)) = later.pop_first()
        {
            let Some(target) = self.targets.get_mut(&address) else { continue };
            let (Some(service), Some(schedule)) = (target.services.first(), &mut target.schedule) else {
                continue;
            };
            let lane = Lane { is_alive: schedule.is_alive, service: service.clone() };
            waiting.push(&lane, at, address);
            schedule.lane = Some(lane);
        }
        self.next_dial = self.next_dial.max(now.back(DIAL_CATCH_UP_MS));
        while probes.len() < most
            && self.next_dial <= now
            && let Some((_, address)) = waiting.pop()
        {
            let Some(schedule) = self.targets.get_mut(&address).and_then(|t| t.schedule.as_mut()) else {
                continue;
            };
            (schedule.lane, schedule.at) = (None, now + DIAL_LOST_MS);
            let socket = schedule.socket;
            later.insert((schedule.at, address.clone()));
            self.next_dial = self.next_dial + DIAL_SPACING_MS;
            probes.push(Probe { address, socket });
        }
        probes
    }

    /// Takes the outcome of a dial, and gives the instances whose health has to change in the CP state
    /// (`HealthCheckCommonV2`). The outcome of an address that this member no longer probes is ignored.
    pub fn finish(&mut self, address: &Address, outcome: Outcome, now: Millis) -> Vec<HealthChange> {
        let params = self.switches.tcp_health_params;
        let times = self.switches.check_times;
        let Some(target) = self.targets.get_mut(address) else { return Vec::new() };
        let Some(schedule) = &mut target.schedule else { return Vec::new() };
        let max_ms = u64::try_from(params.max).unwrap_or(0);
        let rt_ms = match outcome {
            Outcome::Connected(ms) => ms,
            Outcome::TimedOut => schedule.interval_ms.saturating_mul(2),
            Outcome::Refused | Outcome::Failed => max_ms,
        };
        let healthy = matches!(outcome, Outcome::Connected(_));
        if healthy {
            (schedule.good, schedule.bad) = (schedule.good.saturating_add(1), 0);
        } else {
            (schedule.good, schedule.bad) = (0, schedule.bad.saturating_add(1));
        }
        let settled = outcome == Outcome::Refused || schedule.good.max(schedule.bad) >= times;
        schedule.is_alive = healthy || schedule.is_alive && !settled;
        let factor = f64::from(params.factor);
        let mixed = factor * schedule.interval_ms as f64 + (1.0 - factor) * rt_ms as f64;
        let min_ms = u64::try_from(params.min).unwrap_or(0);
        schedule.interval_ms = (mixed as u64).min(max_ms).max(min_ms);
        let at = now + schedule.interval_ms;
        self.times.set(address, schedule, at);
        if !settled || !self.switches.health_check_enabled {
            return Vec::new();
        }
        let shown = |key: &ServiceKey| self.services.get(key)?.instances().get(address).map(|i| i.healthy);
        target
            .services
            .iter()
            .filter(|key| shown(key) == Some(!healthy))
            .map(|key| HealthChange { service: key.clone(), address: address.clone(), healthy })
            .collect()
    }

    /// The number of addresses that this member probes.
    pub fn probed(&self) -> usize {
        self.times.later.len() + self.times.waiting.len()
    }

    fn set_service(&mut self, key: &ServiceKey, service: Option<Arc<CpService>>, now: Millis) {
        let new = service.clone().unwrap_or_default();
        let old = match service {
            Some(service) => self.services.insert(key.clone(), service),
            None => self.services.remove(key),
        }
        .unwrap_or_default();
        for item in old.instances().diff(new.instances()) {
            match item {
                DiffItem::Add(address, _) => {
                    self.targets.entry(address.clone()).or_default().services.push(key.clone());
                    self.assign(address, now);
                }
                DiffItem::Remove(address, _) => self.leave(address, key),
                DiffItem::Update { .. } => {}
            }
        }
    }

    fn leave(&mut self, address: &Address, key: &ServiceKey) {
        let Some(target) = self.targets.get_mut(address) else { return };
        target.services.retain(|service| service != key);
        if target.services.is_empty() {
            if let Some(schedule) = &mut target.schedule {
                self.times.remove(address, schedule);
            }
            self.targets.remove(address);
        }
    }

    /// Begins or ends probing the address, as the placement says.
    fn assign(&mut self, address: &Address, now: Millis) {
        let Some(target) = self.targets.get_mut(address) else { return };
        let id = format!("{address}#false");
        let mine = responsible(&id, self.live.iter().copied()) == Some(self.me);
        let socket = dialable(address, &self.cluster);
        match (mine, target.schedule.as_mut()) {
            (true, None) => {
                let interval_ms = first_delay(&id, self.switches.tcp_health_params.max);
                let at = now + interval_ms;
                let (lane, is_alive) = (None, false);
                target.schedule = Some(Schedule { at, lane, socket, interval_ms, good: 0, bad: 0, is_alive });
                self.times.later.insert((at, address.clone()));
            }
            (false, Some(schedule)) => {
                self.times.remove(address, schedule);
                target.schedule = None;
            }
            (true, Some(schedule)) => schedule.socket = socket,
            (false, None) => {}
        }
    }
}

/// The commands that contain these changes.
pub fn commands(changes: Vec<HealthChange>) -> Vec<NamingCommand> {
    changes
        .chunks(HEALTH_BATCH_MAX)
        .map(|chunk| NamingCommand::SetHealth { changes: chunk.to_vec() })
        .collect()
}

/// The delay of the first probe: 2 s plus a spread that is derived from the key. As in Nacos, the spread is a number
/// below another number, which is below the largest interval.
fn first_delay(id: &str, max_ms: i32) -> u64 {
    let [first, second] = SPREAD_SEEDS.map(|seed| xxh3_64_with_seed(id.as_bytes(), seed));
    let bound = first % (u64::try_from(max_ms).unwrap_or(0) + 1);
    FIRST_PROBE_MS + second % (bound + 1)
}

#[cfg(test)]
mod tests;
