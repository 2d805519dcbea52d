//! Configurations that change all the time, and the long polls that follow them. One publisher for each, whose versions
//! only grow, so that what a reader or listener has can be compared with what was acknowledged.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use dyad_types::Md5;
use tokio::time::MissedTickBehavior;

use super::{EPHEMERAL_TIMEOUT, Kind, World};
use crate::fleet::Member;
use crate::nacos::{self, Config};

/// Configurations.
const CONFIGS: usize = 8;
/// Between two versions of one.
const INTERVAL: Duration = Duration::from_millis(400);
/// A poll that nothing ends lasts far longer than a listener may be stale.
const HOLD: Duration = Duration::from_secs(30);
/// After a failed poll or publish.
const PAUSE: Duration = Duration::from_millis(50);

/// One configuration as its publisher knows it.
#[derive(Debug, Default)]
struct Known {
    /// Acknowledged versions and when they were, ascending.
    acknowledged: Vec<(u64, Instant)>,
    /// Versions of which a request was not answered: they may take effect at any later time.
    doubtful: Vec<u64>,
}

/// All configurations, and what their listeners have.
#[derive(Debug)]
pub struct Configs {
    names: Vec<String>,
    known: Vec<Mutex<Known>>,
    /// By listener and configuration: the version that it has.
    held: Vec<Vec<AtomicU64>>,
    /// When a version was acknowledged, and how much later a listener had it or a later one.
    lags: Mutex<Vec<(Instant, Duration)>>,
}

impl Configs {
    /// With one listener for each member.
    pub fn new(label: &str, members: usize) -> Arc<Configs> {
        let held = || (0..CONFIGS).map(|_| AtomicU64::new(0)).collect();
        Arc::new(Configs {
            names: (0..CONFIGS).map(|n| format!("{label}-{n}")).collect(),
            known: (0..CONFIGS).map(|_| Mutex::default()).collect(),
            held: (0..members).map(|_| held()).collect(),
            lags: Mutex::default(),
        })
    }

    /// The work of all publishers and listeners, until the world stops.
    pub fn run(self: &Arc<Self>, world: &Arc<World>) -> Vec<impl Future<Output = ()> + Send + 'static> {
        let parts = (0..CONFIGS + self.held.len()).map(|n| {
            let (this, world) = (self.clone(), world.clone());
            async move {
                if n < CONFIGS {
                    this.publish(&world, n).await;
                } else {
                    this.listen(&world, n - CONFIGS).await;
                }
            }
        });
        parts.collect()
    }

    async fn publish(&self, world: &World, at: usize) {
        let mut tick = tokio::time::interval(INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut first = at;
        for version in 1.. {
            tick.tick().await;
            let request = Config::new(&*self.names[at], version).publish();
            loop {
                if world.stopped() {
                    return;
                }
                first += 1;
                match world.write(first % world.members.len(), Kind::Publish, &request).await {
                    Ok(_) => break,
                    Err(outcome) if outcome.is_certain_failure() => {}
                    Err(_) => self.known[at].lock().expect("no holder panics").doubtful.push(version),
                }
                tokio::time::sleep(PAUSE).await;
            }
            let mut known = self.known[at].lock().expect("no holder panics");
            known.acknowledged.push((version, Instant::now()));
        }
    }

    /// Follows all configurations at one member, and at the next one whenever one does not answer.
    async fn listen(&self, world: &World, listener: usize) {
        let mut at = listener;
        while !world.stopped() {
            let member = &world.members[at % world.members.len()];
            if self.poll(member, listener).await.is_none() {
                at += 1;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// One poll and the reads that follow; None if the member does not answer.
    async fn poll(&self, member: &Member, listener: usize) -> Option<()> {
        let md5 = |n: usize| match self.held[listener][n].load(Ordering::SeqCst) {
            0 => String::new(),
            version => Md5::of(Config::new(&*self.names[n], version).content().as_bytes()).to_string(),
        };
        let md5s: Vec<String> = (0..CONFIGS).map(md5).collect();
        let has = self.names.iter().zip(&md5s).map(|(name, md5)| (name.as_str(), md5.as_str()));
        let hold = u64::try_from(HOLD.as_millis()).unwrap_or(u64::MAX);
        let answer = member.http.call(&nacos::long_poll(has, hold), HOLD + EPHEMERAL_TIMEOUT).await.ok()?;
        if answer.status != 200 {
            return None;
        }
        for name in nacos::changed(&answer.body) {
            let Some(n) = self.names.iter().position(|known| *known == name) else { continue };
            let answer = member.http.call(&Config::new(&*name, 0).get(), EPHEMERAL_TIMEOUT).await.ok()?;
            if answer.status != 200 {
                return None;
            }
            if let Some(version) = Config::new(&*name, 0).version_of(&answer.body) {
                self.learn(listener, n, version, Instant::now());
            }
        }
        Some(())
    }

    /// A listener has a version.
    fn learn(&self, listener: usize, n: usize, version: u64, now: Instant) {
        let before = self.held[listener][n].swap(version, Ordering::SeqCst);
        let known = self.known[n].lock().expect("no holder panics");
        if let Some(acknowledged) = first_after(&known.acknowledged, before).filter(|ack| ack.0 <= version) {
            let lag = now.saturating_duration_since(acknowledged.1);
            self.lags.lock().expect("no holder panics").push((acknowledged.1, lag));
        }
    }

    /// The longest time for which a listener lacked a version that was acknowledged since `from`: one that lacks it still
    /// counts until now.
    pub fn stalest(&self, from: Instant) -> Duration {
        let now = Instant::now();
        let lags = self.lags.lock().expect("no holder panics");
        let told = lags.iter().filter(|(at, _)| *at >= from).map(|(_, lag)| *lag).max().unwrap_or_default();
        drop(lags);
        let mut worst = told;
        for (n, known) in self.known.iter().enumerate() {
            let known = known.lock().expect("no holder panics");
            for held in &self.held {
                let lacks = first_after(&known.acknowledged, held[n].load(Ordering::SeqCst));
                if let Some((_, at)) = lacks.filter(|(_, at)| *at >= from) {
                    worst = worst.max(now - at);
                }
            }
        }
        worst
    }

    /// Configurations that `member` does not show in their last acknowledged version or a later one; None if it cannot be
    /// read. `acknowledged` comes from [`Configs::acknowledged`], some time ago.
    pub async fn lost(&self, member: &Member, acknowledged: &[u64]) -> Option<Vec<String>> {
        let mut lost = Vec::new();
        for (n, name) in self.names.iter().enumerate() {
            let config = Config::new(&**name, 0);
            let answer = member.http.call(&config.get(), EPHEMERAL_TIMEOUT).await.ok()?;
            let version = match answer.status {
                200 => config.version_of(&answer.body),
                404 => None,
                _ => return None,
            };
            let known = self.known[n].lock().expect("no holder panics");
            let good = version.is_some_and(|v| v >= acknowledged[n] || known.doubtful.contains(&v));
            if !good && acknowledged[n] > 0 {
                lost.push(format!("{name} version {}, there is {version:?}", acknowledged[n]));
            }
        }
        Some(lost)
    }

    /// The last acknowledged version of each.
    pub fn acknowledged(&self) -> Vec<u64> {
        let last = |known: &Mutex<Known>| {
            known
                .lock()
                .expect("no holder panics")
                .acknowledged
                .last()
                .map_or(0, |acknowledged| acknowledged.0)
        };
        self.known.iter().map(last).collect()
    }
}

/// The first version above `held`.
fn first_after(acknowledged: &[(u64, Instant)], held: u64) -> Option<(u64, Instant)> {
    acknowledged.get(acknowledged.partition_point(|(version, _)| *version <= held)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listener_is_stale_from_the_first_version_that_it_lacks() {
        let configs = Configs::new("x", 1);
        let start = Instant::now() - Duration::from_secs(60);
        let at = |seconds| start + Duration::from_secs(seconds);
        configs.known[0].lock().unwrap().acknowledged = vec![(1, at(1)), (2, at(5)), (3, at(9))];
        configs.learn(0, 0, 3, at(10));
        assert_eq!(configs.stalest(start), Duration::from_secs(9), "version 1 was lacking from 1 to 10");
        assert_eq!(
            configs.stalest(at(2)),
            Duration::ZERO,
            "of later versions nothing is known to have been late"
        );
        configs.known[0].lock().unwrap().acknowledged.push((4, at(20)));
        assert!(configs.stalest(at(2)) >= Duration::from_secs(40), "version 4 is lacking still");
        assert_eq!(configs.acknowledged()[..2], [4, 0]);
    }
}
