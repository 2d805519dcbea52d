//! Instances that come and go: 50 registrations and 50 deregistrations a second, both kinds. What each of them was told
//! is remembered, so that after a crash it is known which must be there and which must not.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::time::MissedTickBehavior;

use super::{Kind, Outcome, World};
use crate::nacos::Instance;

/// Between two registrations, and between two deregistrations.
const INTERVAL: Duration = Duration::from_millis(20);
/// Services of each kind.
const SERVICES: usize = 8;
/// Requests on their way at a time: 5 s of them, the longest that one takes at one member. When they are used up (no
/// member answers) further ones are left out.
const FLYING_MAX: usize = 500;
/// Registered instances that wait for their deregistration, of each kind: about two seconds.
const LIVING_MIN: usize = 50;

/// What is known of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// A request about it is on its way, or its fate is not known.
    Unsure,
    /// Its registration was acknowledged.
    There,
    /// Its deregistration was acknowledged, then. False: an unanswered request of it may still act.
    Gone(Instant, bool),
}

/// The churner's state.
#[derive(Debug)]
pub struct Churner {
    /// Where persistent ones live: ports that answer probes.
    targets: Vec<SocketAddr>,
    label: String,
    next: AtomicUsize,
    known: Mutex<HashMap<Instance, Known>>,
    living: [Mutex<VecDeque<(Instance, bool)>>; 2],
}

impl Churner {
    pub fn new(label: &str, targets: Vec<SocketAddr>) -> Arc<Churner> {
        Arc::new(Churner {
            targets,
            label: label.to_owned(),
            next: AtomicUsize::new(0),
            known: Mutex::default(),
            living: [Mutex::default(), Mutex::default()],
        })
    }

    /// Names of its services.
    pub fn services(&self) -> impl Iterator<Item = String> {
        let label = self.label.clone();
        (0..2 * SERVICES).map(move |n| format!("{label}-{}-{}", if n % 2 == 0 { "e" } else { "p" }, n / 2))
    }

    /// Persistent instances that must be in every list now.
    pub fn acknowledged(&self) -> Vec<Instance> {
        let known = self.known.lock().expect("no holder panics");
        let there = known.iter().filter(|(instance, known)| instance.persistent && **known == Known::There);
        there.map(|(instance, _)| instance.clone()).collect()
    }

    /// Persistent instances whose deregistration was acknowledged `ago` before now and that nothing can bring back.
    pub fn gone(&self, ago: Duration) -> Vec<Instance> {
        let known = self.known.lock().expect("no holder panics");
        let gone = known.iter().filter(|(instance, known)| {
            instance.persistent && matches!(known, Known::Gone(at, true) if at.elapsed() >= ago)
        });
        gone.map(|(instance, _)| instance.clone()).collect()
    }

    /// Comes and goes until the world stops.
    pub async fn run(self: Arc<Self>, world: Arc<World>) {
        let flying = Arc::new(Semaphore::new(FLYING_MAX));
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        let mut round = 0;
        while !world.stopped() {
            tick.tick().await;
            round += 1;
            let persistent = round % 2 == 0;
            for come in [true, false] {
                let Ok(permit) = flying.clone().try_acquire_owned() else { continue };
                let (this, world) = (self.clone(), world.clone());
                tokio::spawn(async move {
                    if come {
                        this.come(&world, persistent, round).await;
                    } else {
                        this.go(&world, persistent, round).await;
                    }
                    drop(permit);
                });
            }
        }
    }

    async fn come(&self, world: &World, persistent: bool, round: usize) {
        let instance = self.fresh(persistent);
        {
            let mut known = self.known.lock().expect("no holder panics");
            // An address comes again after a while, unless its last fate is not certain.
            if !matches!(known.get(&instance), None | Some(Known::Gone(_, true))) {
                return;
            }
            known.insert(instance.clone(), Known::Unsure);
        }
        let kind = if persistent { Kind::RegisterPersistent } else { Kind::RegisterEphemeral };
        let Told { ok, certain } = tell(world, kind, &instance, round).await;
        if ok {
            self.living[usize::from(persistent)]
                .lock()
                .expect("no holder panics")
                .push_back((instance.clone(), certain));
            self.learn(instance, Known::There);
        } else if certain {
            self.known.lock().expect("no holder panics").remove(&instance);
        }
    }

    async fn go(&self, world: &World, persistent: bool, round: usize) {
        let (instance, came_certain) = {
            let mut living = self.living[usize::from(persistent)].lock().expect("no holder panics");
            if living.len() <= LIVING_MIN {
                return;
            }
            living.pop_front().expect("more than LIVING_MIN are there")
        };
        self.learn(instance.clone(), Known::Unsure);
        let kind = if persistent { Kind::DeregisterPersistent } else { Kind::DeregisterEphemeral };
        let Told { ok, certain } = tell(world, kind, &instance, round).await;
        if ok {
            self.learn(instance, Known::Gone(Instant::now(), certain && came_certain));
        }
    }

    fn learn(&self, instance: Instance, what: Known) {
        let mut known = self.known.lock().expect("no holder panics");
        // Ephemeral addresses never come again, so nothing needs to be remembered of them.
        if instance.persistent {
            known.insert(instance, what);
        } else {
            known.remove(&instance);
        }
    }

    fn fresh(&self, persistent: bool) -> Instance {
        let n = self.next.fetch_add(1, Ordering::Relaxed);
        let service = format!("{}-{}-{}", self.label, if persistent { "p" } else { "e" }, n % SERVICES);
        if persistent {
            let target = self.targets[n / SERVICES % self.targets.len()];
            return Instance { service, ip: target.ip().to_string(), port: target.port(), persistent };
        }
        let ip = format!("10.9.{}.{}", n / 250 % 250, n % 250 + 1);
        let port = u16::try_from(1000 + n / 62_500).unwrap_or(u16::MAX);
        Instance { service, ip, port, persistent }
    }
}

struct Told {
    /// A member said yes.
    ok: bool,
    /// No request is left whose fate is unknown.
    certain: bool,
}

/// Tells the members in turn until one says yes.
async fn tell(world: &World, kind: Kind, instance: &Instance, first: usize) -> Told {
    let come = matches!(kind, Kind::RegisterEphemeral | Kind::RegisterPersistent);
    let request = if come { instance.register() } else { instance.deregister() };
    let mut told = Told { ok: false, certain: true };
    for try_at in 0..world.members.len() {
        let at = (first + try_at) % world.members.len();
        match world.write(at, kind, &request).await {
            Ok(_) => {
                told.ok = true;
                return told;
            }
            Err(outcome) => told.certain &= Outcome::is_certain_failure(&outcome),
        }
    }
    told
}
