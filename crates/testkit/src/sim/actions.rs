//! What the members' cores ask for: frames on the network, answers, views, and the trace of them.

use dyad_distro::message::DatumState;
use dyad_distro::{Action, CLOCK_START, Event, MemberState, Message, Outcome, Visible, codec};
use dyad_types::{MemberId, PublicationKey};

use super::sdk::SdkEv;
use super::world::{Ev, Reply, World, version};

impl World {
    pub(super) fn actions(&mut self, node: usize, actions: Vec<Action>) {
        for action in actions {
            self.action(node, action);
        }
        let n = &mut self.nodes[node];
        let Some(core) = &n.core else { return };
        let Some(next) = core.next_timeout() else { return };
        let at = (n.started + next.since(CLOCK_START)).max(self.now + 1);
        if at < n.woken {
            n.woken = at;
            let life = n.life;
            self.at(at, Ev::Wake { node, life });
        }
    }

    fn action(&mut self, node: usize, action: Action) {
        match action {
            Action::Send { to, message } => self.transmit(node, to, message),
            Action::Reply { req, outcome } => {
                let reply = match outcome {
                    Outcome::Done => Reply::Ok,
                    Outcome::Unavailable => Reply::Unavailable,
                    Outcome::TooLong => {
                        return self.violate("I8", format!("m{node} refuses a registration as too long"));
                    }
                };
                self.respond(req, reply);
            }
            Action::Changed { key, visible } => {
                if let Some(&link) = self.sdk.by_conn.get(&key.client) {
                    return self.sdk_view(node, link, key, visible);
                }
                let Some(&client) = self.by_client.get(&key.client) else { return };
                self.log(|| match &visible {
                    Some(v) => {
                        format!("m{node} view c{client} = v{} healthy {} {:?}", version(v), v.healthy, v.rank)
                    }
                    None => format!("m{node} view c{client} = nothing"),
                });
                match visible {
                    Some(visible) => self.nodes[node].view.insert(client, visible),
                    None => self.nodes[node].view.remove(&client),
                };
            }
            Action::Probe(client) => self.sdk_wants_probe(&client),
            Action::ProposeRetire(origin) => self.propose(node, origin),
            Action::PersistIncarnation(incarnation) => self.nodes[node].incarnation = incarnation,
            Action::State(state) => {
                self.log(|| format!("m{node} is {}", state.name()));
                if state == MemberState::Removed {
                    self.at(self.now + 1, Ev::Sdk(SdkEv::CloseAll { node }));
                }
                let ready = state == MemberState::Ready;
                self.nodes[node].ready_since = if ready { self.unfrozen() } else { u64::MAX };
            }
            Action::Left => {
                if self.nodes[node].leaving {
                    self.log(|| format!("m{node} left"));
                    self.mark_losses(node);
                    self.stop(node);
                }
            }
            Action::Event(event) => self.event(node, event),
        }
    }

    fn sdk_view(&mut self, node: usize, link: usize, key: PublicationKey, visible: Option<Visible>) {
        if key.service != self.sdk.links[link].key.service {
            let further = &mut self.nodes[node].further;
            let _ = if visible.is_some() { further.insert(key) } else { further.remove(&key) };
            return;
        }
        let client = self.sdk.links[link].client;
        self.log(|| match &visible {
            Some(v) => {
                format!("m{node} view s{client} l{link} = v{} healthy {} {:?}", version(v), v.healthy, v.rank)
            }
            None => format!("m{node} view s{client} l{link} = nothing"),
        });
        match visible {
            Some(visible) => self.nodes[node].sdk.insert(link, visible),
            None => self.nodes[node].sdk.remove(&link),
        };
    }

    fn event(&mut self, node: usize, event: Event) {
        self.log(|| format!("m{node} {event:?}"));
        let name = match event {
            Event::Unhealthy(_) => "unhealthy",
            Event::Recovered(_) => "recovered",
            Event::Expired(_) => {
                let at = self.unfrozen();
                self.nodes[node].expired.push(at);
                "expired"
            }
            Event::Adopted(_) => "adoption",
            Event::HandedOver { .. } => "hand-over",
            Event::TookNewer(_) => "took-newer",
            Event::Claimed { .. } => "claim",
            Event::Retired { .. } => "retirement",
            Event::Refuted { .. } => {
                self.forget_old_beats(node);
                "refute"
            }
            Event::Reset(_) => "reset",
            Event::HashMismatch(_) => "hash-mismatch",
            Event::Paused(_) => "pause-seen",
            Event::RemovalsDelayed(_) => "removals-delayed",
            Event::ForwardFailed(_) => "forward-failed",
            Event::RelayFailed(_) => "relay-failed",
            Event::Reasserted(key) => {
                if let Some(&link) = self.sdk.by_conn.get(&key.client) {
                    self.sdk.links[link].reasserted = Some(self.now);
                }
                "reassert"
            }
        };
        self.count(name);
    }

    fn transmit(&mut self, from: usize, to: MemberId, message: Message) {
        let Some(target) = self.nodes.iter().position(|n| n.id == to) else { return };
        if self.cut[from][target] || (self.loss > 0 && self.rng.chance(self.loss)) {
            if !self.cut[from][target] {
                self.count("loss");
            }
            return;
        }
        let message = match read_back(&message) {
            Ok(read) => Box::new(read),
            Err(why) => return self.violate("I8", format!("a {} of m{from} {why}", message.name())),
        };
        let now = self.now;
        let stream = &mut self.nodes[from].streams[target];
        if now.saturating_sub(stream.1) > 3_000 {
            stream.0 += 1;
        }
        stream.1 = now;
        let stream = stream.0;
        let mut copies = 1;
        if self.plan.noise && now < self.plan.chaos && self.rng.chance(30) {
            copies = 2;
            self.count("duplicate");
        }
        for _ in 0..copies {
            let slow = self.plan.noise && now < self.plan.chaos && self.rng.chance(30);
            let delay = if slow { self.rng.range(50, 3_000) } else { self.rng.range(1, 20) };
            if slow {
                self.count("delay");
            }
            let from_id = self.nodes[from].id;
            let message = message.clone();
            self.at(now + delay, Ev::Net { from, from_id, to: target, stream, message });
        }
    }
}

/// The message as the receiver reads it from its bytes, or why it cannot.
fn read_back(message: &Message) -> Result<Message, String> {
    let bytes = codec::encode(message).map_err(|error| format!("cannot be sent: {error}"))?;
    let read = codec::decode(&bytes).map_err(|error| format!("cannot be read: {error}"))?;
    if read == *message { Ok(read) } else { Err(format!("is read as {read:?}")) }
}

/// A message as a line of the trace.
pub(super) fn brief(message: &Message) -> String {
    match message {
        Message::Delta(d) => {
            let data: Vec<String> = d
                .data
                .iter()
                .map(|r| format!("{}@{} {}", r.key.client, r.seq, state_name(&r.state)))
                .collect();
            format!(
                "delta {} {}..{}/{} reset {} [{}]",
                d.origin,
                d.since,
                d.to,
                d.head,
                d.reset,
                data.join(", ")
            )
        }
        Message::Relay(r) => {
            let beats: Vec<String> = r
                .beats
                .iter()
                .map(|b| format!("{} age {} {:?}", b.key.client, b.age, b.value.as_ref().map(|v| v.dot)))
                .collect();
            format!("relay {} [{}]", r.batch, beats.join(", "))
        }
        other => format!("{other:?}"),
    }
}

fn state_name(state: &DatumState) -> String {
    match state {
        DatumState::Live { value, healthy } => {
            format!("live {} healthy {healthy} age {}", value.dot, value.age)
        }
        DatumState::Gone => "gone".into(),
        DatumState::Yield { to, .. } => format!("yield to {to}"),
    }
}
