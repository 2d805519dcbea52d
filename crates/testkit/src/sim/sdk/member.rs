//! The member's side of the links: frames and answers, keep-alives, probes, the ends.

use std::sync::Arc;

use dyad_distro::{Ending, Input};
use dyad_types::{ClientId, Instance, Publication, PublicationKey};

use super::{DETECT, Do, Link, SILENT, SdkEv};
use crate::sim::clients::Wish;
use crate::sim::world::{Ev, Reply, World};

/// Marks the requests of these clients among those of a member.
const SDK: u64 = 1 << 63;
/// A probe waits that long for a sign of life.
const PROBE: u64 = 3_000;

impl World {
    pub(super) fn sdk_frame(&mut self, link: usize, req: u64, what: Do) {
        let l = &mut self.sdk.links[link];
        let client = l.client;
        if !l.server_open {
            if l.path {
                self.at(self.now + 2, Ev::Sdk(SdkEv::Closed { link }));
            }
            return;
        }
        l.last_seen = self.now;
        l.asked = None;
        let (node, key, told) = (l.node, l.key.clone(), l.told);
        let id = SDK | req;
        match what {
            Do::Ping => self.sdk_reply(link, req, true),
            Do::Close if told => self.sdk_close(link, Some(Ending::Abnormal)),
            Do::Close => self.sdk_close(link, Some(Ending::Orderly)),
            Do::Reset => self.sdk_close(link, Some(Ending::Abnormal)),
            Do::Register(version) => {
                self.sdk.requests.insert(req, link);
                self.sdk_further(link, Some(version));
                let publication = self.sdk_publication(client, version);
                self.input(node, Input::Register { req: id, key, publication });
            }
            Do::Deregister => {
                self.sdk.requests.insert(req, link);
                self.sdk_further(link, None);
                self.input(node, Input::Deregister { req: id, key });
            }
        }
    }

    /// The further services of a client that has many. They are accepted or refused together with its first one, whose
    /// answer alone counts.
    fn sdk_further(&mut self, link: usize, version: Option<u64>) {
        let Link { client, node, ref key, .. } = self.sdk.links[link];
        let connection = key.client.clone();
        for n in 0..self.names.furthers(client) {
            let key = PublicationKey { service: self.names.further(n), client: connection.clone() };
            let input = match version {
                Some(version) => {
                    let mut instance = Instance::new(&format!("10.1.0.{client}"), 9_000);
                    instance.weight = version as f64;
                    Input::Register { req: SDK, key, publication: Publication::one(instance) }
                }
                None => Input::Deregister { req: SDK, key },
            };
            self.input(node, input);
        }
    }

    fn sdk_publication(&self, client: usize, version: u64) -> Arc<Publication> {
        let instance = |port: u16| self.names.instance(format!("10.1.0.{client}"), port, version);
        if !self.sdk.clients[client].batch {
            return Publication::one(instance(9_000));
        }
        let count = self.names.batch(&instance(9_000)) as u16;
        Publication::batch((0..count).map(|i| instance(9_000 + i)).collect())
    }

    fn sdk_reply(&mut self, link: usize, req: u64, ok: bool) {
        let l = &self.sdk.links[link];
        if l.path && l.server_open {
            let at = self.now + self.sdk.rng.range(1, 8);
            self.at(at, Ev::Sdk(SdkEv::Answer { link, req, ok }));
        }
    }

    /// The answer of a core, if the request was one of these clients'.
    pub(in crate::sim) fn sdk_responds(&mut self, id: u64, reply: Reply) -> bool {
        if id & SDK == 0 {
            return false;
        }
        let req = id & !SDK;
        if let Some(link) = self.sdk.requests.remove(&req) {
            self.sdk_reply(link, req, reply == Reply::Ok);
        }
        true
    }

    /// The member's side ends; `None`: the core knows.
    pub(super) fn sdk_close(&mut self, link: usize, ending: Option<Ending>) {
        let l = &mut self.sdk.links[link];
        if !std::mem::replace(&mut l.server_open, false) {
            return;
        }
        let (node, client, path) = (l.node, l.key.client.clone(), l.path);
        self.log(|| format!("m{node} closes l{link}: {ending:?}"));
        self.sdk_voucher_ends(link, true);
        if path {
            let at = self.now + self.sdk.rng.range(1, 8);
            self.at(at, Ev::Sdk(SdkEv::Closed { link }));
        }
        if let Some(ending) = ending {
            self.input(node, Input::Ended { client, ending });
        }
    }

    fn sdk_is_alive(&self, link: usize) -> bool {
        let l = &self.sdk.links[link];
        let c = &self.sdk.clients[l.client];
        l.path && l.client_open && !c.frozen && c.wish != Wish::Dead
    }

    pub(in crate::sim) fn sdk_wants_probe(&mut self, client: &ClientId) {
        let Some(&link) = self.sdk.by_conn.get(client) else { return };
        self.count("probe");
        let at = self.now + self.sdk.rng.range(2, 30);
        self.at(at, Ev::Sdk(SdkEv::Probe { link, until: at + PROBE }));
    }

    pub(super) fn sdk_probe(&mut self, link: usize, until: u64) {
        if !self.sdk.links[link].server_open {
            return;
        }
        let (node, client) = (self.sdk.links[link].node, self.sdk.links[link].key.client.clone());
        let alive = self.sdk_is_alive(link);
        if !alive && self.now < until {
            let at = (self.now + 250).min(until);
            return self.at(at, Ev::Sdk(SdkEv::Probe { link, until }));
        }
        if !alive {
            self.count("dead-probe");
            self.sdk_close(link, None);
        }
        self.log(|| format!("m{node} probed l{link}: {alive}"));
        self.input(node, Input::Probed { client, alive });
    }

    /// The process of a member has ended: most clients see it at once.
    pub(in crate::sim) fn sdk_stop(&mut self, node: usize) {
        let (at, life) = (self.unfrozen(), self.nodes[node].life);
        for link in 0..self.sdk.links.len() {
            if self.sdk.links[link].node == node && self.sdk.links[link].life == life {
                self.sdk.links[link].stopped = Some(at);
            }
            if self.sdk.links[link].node != node || !self.sdk.links[link].server_open {
                continue;
            }
            self.sdk.links[link].server_open = false;
            self.sdk_voucher_ends(link, true);
            if self.sdk.links[link].path && self.sdk.rng.chance(750) {
                let at = self.now + self.sdk.rng.range(1, 30);
                self.at(at, Ev::Sdk(SdkEv::Closed { link }));
            }
        }
    }

    pub(in crate::sim) fn sdk_drain(&mut self, node: usize) {
        for link in 0..self.sdk.links.len() {
            if self.sdk.links[link].node == node && self.sdk.links[link].server_open {
                let at = self.now + self.sdk.rng.range(1, 1_500);
                self.at(at, Ev::Sdk(SdkEv::Move { link }));
            }
        }
    }

    /// Missing keep-alives.
    pub(in crate::sim) fn sdk_keep_alive(&mut self) {
        for link in 0..self.sdk.links.len() {
            let (l, n) = (&self.sdk.links[link], &self.nodes[self.sdk.links[link].node]);
            if !l.server_open || n.paused || n.core.is_none() || self.now < l.last_seen + SILENT {
                continue;
            }
            let asked = l.asked;
            if self.sdk_is_alive(link) {
                self.sdk.links[link].last_seen = self.now;
                self.sdk.links[link].asked = None;
            } else if asked.is_some_and(|at| self.now >= at + DETECT) {
                self.count("sdk-timeout");
                self.sdk_close(link, Some(Ending::Abnormal));
            } else if asked.is_none() {
                self.sdk.links[link].asked = Some(self.now);
            }
        }
    }
}
