//! The instances that are always there: ephemeral ones with a client each, persistent ones with a port that answers.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::time::Instant;

use super::{Kind, Tally, World};
use crate::nacos::{Instance, NOT_FOUND, beat_code};

/// Between two beats of a client.
pub const BEAT_INTERVAL: Duration = Duration::from_secs(5);
/// Steady services of each kind.
const SERVICES: usize = 10;

/// `count` ephemeral instances named after `label`, spread over ten services.
pub fn ephemeral_instances(label: &str, count: usize) -> Vec<Instance> {
    let instance = |n: usize| Instance {
        service: format!("{label}-{}", n % SERVICES),
        ip: format!("10.1.{}.{}", n / 250, n % 250 + 1),
        port: 8080,
        persistent: false,
    };
    (0..count).map(instance).collect()
}

/// A persistent instance for each port of `target`, spread over ten services.
pub fn persistent_instances(label: &str, target: &ProbeTarget) -> Vec<Instance> {
    let instance = |(n, address): (usize, &SocketAddr)| Instance {
        service: format!("{label}-{}", n % SERVICES),
        ip: address.ip().to_string(),
        port: address.port(),
        persistent: true,
    };
    target.addresses.iter().enumerate().map(instance).collect()
}

/// Ports of this process that accept every connection: what TCP probes find healthy.
#[derive(Debug)]
pub struct ProbeTarget {
    pub addresses: Vec<SocketAddr>,
}

impl ProbeTarget {
    /// Listens on `count` ports of `ip` for as long as the runtime lives.
    ///
    /// # Errors
    /// The address is not this machine's.
    pub async fn listen(ip: IpAddr, count: usize) -> anyhow::Result<ProbeTarget> {
        let mut addresses = Vec::with_capacity(count);
        for _ in 0..count {
            let listener = TcpListener::bind((ip, 0)).await?;
            addresses.push(listener.local_addr()?);
            tokio::spawn(async move {
                loop {
                    // A probe only connects; the connection is closed at once.
                    drop(listener.accept().await);
                }
            });
        }
        Ok(ProbeTarget { addresses })
    }
}

/// The client of one ephemeral instance.
#[derive(Debug)]
pub struct Beater {
    pub instance: Instance,
    /// Which of the clients it is: decides the member it begins with.
    pub number: usize,
    /// The client's death.
    pub dead: Arc<AtomicBool>,
}

impl Beater {
    /// Registers, then beats until the world stops or the client dies. `offset` staggers the clients.
    pub async fn run(self, world: Arc<World>, offset: Duration) {
        let mut next = Instant::now() + offset;
        self.register_somewhere(&world).await;
        let mut round = 0;
        loop {
            tokio::time::sleep_until(next).await;
            if world.stopped() || self.dead.load(Ordering::SeqCst) {
                return;
            }
            if !self.beat(&world, round).await {
                Tally::count(&world.tally.lost_beats);
            }
            round += 1;
            next += BEAT_INTERVAL;
        }
    }

    async fn register_somewhere(&self, world: &World) {
        for try_at in 0..world.members.len() {
            let at = (self.number + try_at) % world.members.len();
            if world.write(at, Kind::RegisterEphemeral, &self.instance.register()).await.is_ok() {
                return;
            }
        }
    }

    /// One beat, to the next member whenever one does not answer; true if one took it.
    async fn beat(&self, world: &World, round: usize) -> bool {
        let full = (self.number + round).is_multiple_of(2);
        let request = if full { self.instance.full_beat() } else { self.instance.light_beat() };
        for try_at in 0..world.members.len() {
            let at = (self.number + round + try_at) % world.members.len();
            let Ok(answer) = world.write(at, Kind::Beat, &request).await else { continue };
            if beat_code(&answer.body) != Some(NOT_FOUND) {
                return true;
            }
            Tally::count(&world.tally.unknown_beats);
            if world.write(at, Kind::RegisterEphemeral, &self.instance.register()).await.is_ok() {
                return true;
            }
        }
        false
    }
}
