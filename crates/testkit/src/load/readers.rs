//! A reader per member: lists every service ten times a second and compares with what must be there.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::{EPHEMERAL_TIMEOUT, Fault, Outcome, Tally, World};
use crate::fleet::{Life, Member};
use crate::nacos::{self, Instance, Listing};

/// Between two readings of everything.
const INTERVAL: Duration = Duration::from_millis(100);

/// What the lists must show.
#[derive(Debug, Default)]
pub struct Expected {
    services: BTreeMap<String, Service>,
}

#[derive(Debug, Default)]
struct Service {
    persistent: bool,
    /// (ip, port) of each instance that must be there, and its place in `seen`.
    places: HashMap<(String, u16), usize>,
}

/// What one list showed of what it had to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// Instances that are absent.
    pub absent: Vec<String>,
    /// Instances that are shown as unhealthy.
    pub unhealthy: Vec<String>,
}

impl Expected {
    /// `instances` must be there; of `others` only the lists are asked for.
    pub fn new(instances: &[Instance], others: impl Iterator<Item = String>) -> Expected {
        let mut expected = Expected::default();
        for instance in instances {
            let service = expected.services.entry(instance.service.clone()).or_default();
            service.persistent = instance.persistent;
            let place = service.places.len();
            service.places.insert((instance.ip.clone(), instance.port), place);
        }
        for name in others {
            expected.services.entry(name).or_default();
        }
        expected
    }

    /// The services, and whether they are persistent.
    pub fn services(&self) -> impl Iterator<Item = (&str, bool)> {
        self.services.iter().map(|(name, service)| (name.as_str(), service.persistent))
    }

    /// Compares the body of a list of `name`.
    ///
    /// # Errors
    /// The body is no list.
    pub fn compare(&self, name: &str, body: &[u8]) -> Result<Seen, serde_json::Error> {
        let listing = Listing::parse(body)?;
        let Some(service) = self.services.get(name) else { return Ok(Seen::default()) };
        let mut found = vec![false; service.places.len()];
        let mut seen = Seen::default();
        for host in &listing.hosts {
            let key = (host.ip.to_string(), host.port);
            let Some(&place) = service.places.get(&key) else { continue };
            found[place] = true;
            if !host.healthy {
                seen.unhealthy.push(format!("{}:{}", key.0, key.1));
            }
        }
        let absent = service.places.iter().filter(|&(_, &place)| !found[place]);
        seen.absent = absent.map(|((ip, port), _)| format!("{ip}:{port}")).collect();
        Ok(seen)
    }
}

/// Reads everything at one member until the world stops.
pub async fn read_all(world: Arc<World>, at: usize, expected: Arc<Expected>) {
    let member = world.members[at].clone();
    let mut tick = tokio::time::interval(INTERVAL);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while !world.stopped() {
        tick.tick().await;
        for (name, persistent) in expected.services() {
            if !read_one(&world, &member, &expected, name, persistent).await {
                break;
            }
        }
    }
}

/// One list; false if the member cannot be read now.
async fn read_one(world: &World, member: &Member, expected: &Expected, name: &str, persistent: bool) -> bool {
    let required = persistent || world.ephemeral_required.load(Ordering::SeqCst);
    let before = member.moment();
    let began = Instant::now();
    let result = member.http.call(&nacos::list(name), EPHEMERAL_TIMEOUT).await;
    let after = member.moment();
    let fault = |what: String| Fault {
        at: began,
        what: format!("member {}: {name} {what}", member.index + 1),
        persistent,
    };
    let outcome = Outcome::of(&result);
    if let (Outcome::Ok, Ok(answer)) = (&outcome, &result) {
        match expected.compare(name, &answer.body) {
            Ok(seen) if required && world_unchanged(world, persistent) => {
                Tally::count(&world.tally.reads);
                seen.absent.into_iter().for_each(|who| world.tally.miss(fault(format!("misses {who}"))));
                seen.unhealthy.into_iter().for_each(|who| world.tally.flip(fault(format!("flipped {who}"))));
            }
            Ok(_) => {}
            Err(error) => world.tally.failed_read(fault(format!("is no list: {error}"))),
        }
        return true;
    }
    // A member that is asked to stop, or starts, may only refuse; one that is up must answer.
    let excused = match (&outcome, before.life()) {
        (Outcome::Answered(..), Life::Starting) => false,
        (_, Life::Down | Life::Starting) => true,
        (Outcome::Refused | Outcome::Unheard, _) => before != after || before.life() == Life::Leaving,
        (_, Life::Up) => before != after && after.life() != Life::Leaving,
        (_, Life::Leaving) => false,
    };
    if !excused {
        world.tally.failed_read(fault(format!("cannot be read: {outcome:?}")));
    }
    false
}

/// False if ephemeral instances ceased to be required while the list was on its way.
fn world_unchanged(world: &World, persistent: bool) -> bool {
    persistent || world.ephemeral_required.load(Ordering::SeqCst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_and_unhealthy_are_told_apart_from_foreign() {
        let instance = |ip: &str| Instance { service: "s".into(), ip: ip.into(), port: 1, persistent: false };
        let expected =
            Expected::new(&[instance("a"), instance("b"), instance("c")], ["t".to_owned()].into_iter());
        let body = br#"{"hosts":[{"ip":"a","port":1,"healthy":true},{"ip":"b","port":1,"healthy":false},
            {"ip":"z","port":1,"healthy":false}]}"#;
        let seen = expected.compare("s", body).unwrap();
        assert_eq!(seen, Seen { absent: vec!["c:1".into()], unhealthy: vec!["b:1".into()] });
        assert_eq!(expected.compare("t", body).unwrap(), Seen::default());
        assert!(expected.compare("s", b"ok").is_err());
        assert_eq!(expected.services().map(|(name, _)| name).collect::<Vec<_>>(), ["s", "t"]);
    }
}
