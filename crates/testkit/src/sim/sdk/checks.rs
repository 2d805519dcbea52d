//! The invariants of clients with a connection: I3 (visible while connected), I4 (once, with its attributes), I5r (a
//! reconnect is not seen).

use dyad_distro::Distro;
use dyad_types::PublicationKey;

use super::Voucher;
use crate::sim::clients::Wish;
use crate::sim::world::{World, version};

/// A record has reached everybody it can reach within that, in ms: with late and lost messages, and without.
const SPREADS: u64 = 5_000;
const SPREADS_CALMLY: u64 = 1_000;
/// After an abnormal end the instance stays at least that long (the linger is 10 s), in ms.
const LINGERS: u64 = 9_000;
/// What a member vouched for that died or stands still is seen at least that long (rules 24 and 25 end it), in ms.
const OUTLIVES: u64 = 12_000;
/// The own member shows older attributes for at most that long, unless it has re-asserted within the other time (rule 17).
const WRONG_FOR: u64 = 2_000;
const REASSERTED_WITHIN: u64 = 12_000;
/// Without faults a client that ended is gone after that: keep-alive, detection, linger and the way to the others, in ms.
const GONE_AFTER: u64 = 20_000 + 5_000 + 10_000 + 4_000;

/// What a member shows of a client.
#[derive(Debug, Default)]
struct Seen {
    keys: usize,
    healthy: bool,
    rank: Option<(u64, dyad_types::Origin)>,
    version: u64,
}

impl World {
    fn spreads(&self) -> u64 {
        if self.plan.noise { SPREADS } else { SPREADS_CALMLY }
    }

    fn sdk_seen(&self, client: usize, node: usize) -> Seen {
        let mut seen = Seen::default();
        for link in &self.sdk.clients[client].links {
            let Some(visible) = self.nodes[node].sdk.get(link) else { continue };
            seen.keys += 1;
            seen.healthy |= visible.healthy;
            if seen.rank.is_none_or(|rank| visible.rank > rank) {
                seen.rank = Some(visible.rank);
                seen.version = version(visible);
            }
        }
        seen
    }

    pub(in crate::sim) fn check_sdks(&mut self) {
        self.sdk_keep_alive();
        for client in 0..self.sdk.clients.len() {
            match self.sdk.clients[client].wish {
                Wish::Up => {
                    self.check_connected(client);
                    self.check_attributes(client);
                }
                Wish::Down | Wish::Dead => self.check_ended(client),
            }
        }
    }

    /// I3 and I5r.
    fn check_connected(&mut self, client: usize) {
        for node in 0..self.nodes.len() {
            let vouchers = &self.sdk.clients[client].vouchers;
            let Some(voucher) = vouchers.iter().find(|v| self.must_show(node, v)).copied() else { continue };
            let seen = self.sdk_seen(client, node);
            if seen.keys == 0 || !seen.healthy {
                let what = if seen.keys == 0 { "missing" } else { "unhealthy" };
                let invariant = if voucher.ended.is_some() { "I5r" } else { "I3" };
                let owner = self.sdk.links[voucher.link].node;
                let detail = format!("s{client} is {what} at m{node}, m{owner} had it: {voucher:?}");
                return self.violate(invariant, detail);
            }
        }
    }

    /// The member serves, and has had the voucher's record from its owner while nothing was between them.
    fn must_show(&self, node: usize, voucher: &Voucher) -> bool {
        let (at, n) = (self.unfrozen(), &self.nodes[node]);
        let link = &self.sdk.links[voucher.link];
        let owner = &self.nodes[link.node];
        let spreads = if node == link.node { SPREADS_CALMLY } else { self.spreads() };
        let quiet = |since: u64| since.saturating_add(spreads) < at;
        let serves = self.serves(node) && !n.leaving && n.whole_at <= self.now;
        if !serves || !quiet(voucher.answered) || n.pause_end > 0 && !quiet(n.pause_end) {
            return false;
        }
        let cut = if node == link.node { 0 } else { self.last_cut[link.node][node] };
        if cut > 0 && !quiet(cut) || !owner.configured {
            return false;
        }
        match voucher.ended {
            Some((_, false)) => return false,
            Some((ended, true)) if at > ended + LINGERS => return false,
            _ => {}
        }
        let runs = owner.core.is_some() && !owner.paused && owner.life == self.sdk_life(voucher.link);
        if runs {
            return owner.pause_end == 0 || quiet(owner.pause_end);
        }
        // Its records are still there, in every process that had them when it stopped.
        let stopped = self.sdk.links[voucher.link].stopped.unwrap_or(owner.stopped);
        voucher.ended.is_some()
            && at < stopped + OUTLIVES
            && voucher.answered + spreads < stopped
            && (cut == 0 || cut + spreads < stopped)
            && n.ready_since < stopped
            && n.pause_end + spreads < stopped
    }

    fn sdk_life(&self, link: usize) -> u64 {
        self.sdk.links[link].life
    }

    /// I4: the member that has the connection shows what the client has registered there last.
    fn check_attributes(&mut self, client: usize) {
        let at = self.unfrozen();
        let c = &self.sdk.clients[client];
        let Some(link) = c.link.filter(|_| c.registered && !c.frozen) else {
            self.sdk.clients[client].wrong_since = None;
            return;
        };
        let (l, versions) = (&self.sdk.links[link], c.answered_version..=c.version);
        let n = &self.nodes[l.node];
        let settled = n.pause_end == 0 || n.pause_end.saturating_add(SPREADS) < at;
        let reasserted = l.reasserted.is_some_and(|when| self.now < when + REASSERTED_WITHIN);
        let judged = self.serves(l.node) && l.server_open && n.whole_at <= self.now && settled && !reasserted;
        let seen = self.sdk_seen(client, l.node);
        let node = l.node;
        if !judged || seen.keys == 0 || versions.contains(&seen.version) {
            self.sdk.clients[client].wrong_since = None;
            return;
        }
        let since = *self.sdk.clients[client].wrong_since.get_or_insert(at);
        if at > since + WRONG_FOR {
            let detail = format!("m{node} shows s{client} as v{} instead of v{versions:?}", seen.version);
            self.violate("I4", detail);
        }
    }

    /// Without faults of members: what ended is gone in time.
    fn check_ended(&mut self, client: usize) {
        let plan = &self.plan;
        let faults = plan.kill || plan.pause || plan.cut || plan.member || plan.loss || plan.corrupt;
        if faults || self.now < self.sdk.clients[client].ended + GONE_AFTER {
            return;
        }
        for node in 0..self.nodes.len() {
            if self.sdk_seen(client, node).keys > 0 {
                return self.violate("H2", format!("s{client} ended and is still visible at m{node}"));
            }
        }
    }

    /// At the end of the quiet time.
    pub(in crate::sim) fn final_sdk(&mut self, client: usize) {
        let c = &self.sdk.clients[client];
        let alive = c.wish == Wish::Up;
        if alive && !c.registered {
            return;
        }
        let (links, versions) = (c.links.clone(), c.answered_version..=c.version);
        for node in 0..self.nodes.len() {
            let Some(core) = &self.nodes[node].core else { continue };
            for link in &links {
                let told = self.nodes[node].sdk.get(link).map(|v| (version(v), v.healthy, v.rank));
                let direct = core.visible(&self.sdk.links[*link].key);
                if told != direct.map(|v| (version(&v), v.healthy, v.rank)) {
                    let detail = format!("m{node}: the changes told of l{link} are not its view");
                    return self.violate("I1", detail);
                }
            }
            if let Some((invariant, what)) = self.further_problem(client, node, core) {
                return self.violate(invariant, format!("s{client} {what} at m{node} at the end"));
            }
            let seen = self.sdk_seen(client, node);
            let problem = match seen.keys {
                0 if alive => Some(("I3", "missing".to_string())),
                0 => None,
                _ if !alive => Some(("H2", "visible after its end".into())),
                1 if !seen.healthy => Some(("I3", "unhealthy".into())),
                1 if !versions.contains(&seen.version) => {
                    Some(("I4", format!("v{} instead of v{versions:?}", seen.version)))
                }
                1 => None,
                keys => Some(("I4", format!("published by {keys} connections"))),
            };
            if let Some((invariant, what)) = problem {
                return self.violate(invariant, format!("s{client} is {what} at m{node} at the end"));
            }
        }
    }

    /// What is wrong with the further services of a client: the live connection of one that is up publishes each of them.
    fn further_problem(&self, client: usize, node: usize, core: &Distro) -> Option<(&'static str, String)> {
        let c = &self.sdk.clients[client];
        let live = c.link.filter(|_| c.wish == Wish::Up);
        for &link in &c.links {
            let connection = &self.sdk.links[link].key.client;
            for n in 0..self.names.furthers(client) {
                let key = PublicationKey { service: self.names.further(n), client: connection.clone() };
                let seen = core.visible(&key);
                if seen.is_some() != self.nodes[node].further.contains(&key) {
                    return Some(("I1", format!("has another service {n} of l{link} than the changes told")));
                }
                match seen {
                    Some(seen) if live == Some(link) && !seen.healthy => {
                        return Some(("I3", format!("has an unhealthy service {n}")));
                    }
                    None if live == Some(link) => return Some(("I3", format!("lacks service {n}"))),
                    Some(_) if live != Some(link) => {
                        return Some(("H2", format!("still has service {n} of l{link}")));
                    }
                    _ => {}
                }
            }
        }
        None
    }
}
