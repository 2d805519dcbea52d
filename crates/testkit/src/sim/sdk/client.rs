//! The client's side: it registers, pings, changes, moves, stops for a while, opens a second connection, leaves and dies.

use dyad_types::{ClientId, PublicationKey};

use super::{DETECT, Do, Link, SILENT, SdkEv, Voucher};
use crate::sim::clients::Wish;
use crate::sim::world::{Ev, World};

const REQUEST_TIMEOUT: u64 = 3_000;
/// Clients are still for that long before the end.
const STOPS_BEFORE: u64 = 2_500;
/// Changes of the clients' own making end that long before the chaos does.
const MARGIN: u64 = 3_000;

impl World {
    pub(super) fn sdk_turn(&mut self, client: usize, turn: u64) {
        let chaos = self.now + MARGIN < self.plan.chaos;
        let c = &mut self.sdk.clients[client];
        let over = c.wish == Wish::Dead || c.frozen || self.now + STOPS_BEFORE > self.deadline;
        if turn != c.turn || over || c.link.is_none() || c.open.is_some() {
            return;
        }
        if c.wish == Wish::Down {
            c.wish = Wish::Up;
            c.version += 1;
        }
        if !c.registered {
            let version = c.version;
            return self.sdk_send(client, Do::Register(version));
        }
        if !chaos {
            return self.sdk_send(client, Do::Ping);
        }
        let early = self.now < self.plan.chaos / 3 * 2 && self.plan.mass_death == 0;
        match self.sdk.rng.range(0, 1_000) {
            0..40 => {
                self.count("sdk-change");
                let c = &mut self.sdk.clients[client];
                c.version += 1;
                let version = c.version;
                self.sdk_send(client, Do::Register(version));
            }
            40..65 => {
                let c = &mut self.sdk.clients[client];
                c.vouchers.clear();
                c.wish = Wish::Down;
                c.ended = self.now;
                let twin = c.twin.take();
                twin.into_iter().for_each(|link| self.sdk_hang_up(link, Do::Close));
                self.sdk_send(client, Do::Deregister);
            }
            65..75 if early => self.sdk_die(client),
            75..150 => self.sdk_moves(client),
            150..165 => self.sdk_freeze(client),
            165..190 => self.sdk_twin(client),
            _ => self.sdk_send(client, Do::Ping),
        }
    }

    fn sdk_moves(&mut self, client: usize) {
        let Some(link) = self.sdk.clients[client].link else { return };
        match self.sdk.rng.below(5) {
            0 => {
                self.count("sdk-close");
                self.sdk_leave(client, Do::Close);
            }
            1 => {
                self.count("sdk-reset");
                self.sdk_leave(client, Do::Reset);
            }
            2 => self.sdk_move(link),
            _ => {
                self.count("half-open");
                self.sdk.links[link].path = false;
                self.sdk_leave(client, Do::Reset);
            }
        }
    }

    pub(in crate::sim) fn sdk_die(&mut self, client: usize) {
        self.count("sdk-death");
        self.log(|| format!("s{client} dies"));
        let how = self.sdk.rng.below(3);
        let now = self.now;
        let c = &mut self.sdk.clients[client];
        c.wish = Wish::Dead;
        c.vouchers.clear();
        c.ended = now;
        c.open = None;
        let open: Vec<usize> = [c.link.take(), c.old.take(), c.twin.take()].into_iter().flatten().collect();
        for link in open {
            if how == 2 {
                self.sdk.links[link].path = false;
            }
            self.sdk_hang_up(link, if how == 0 { Do::Close } else { Do::Reset });
        }
    }

    pub(in crate::sim) fn sdk_mass_death(&mut self) {
        for client in 0..self.sdk.clients.len() {
            if self.sdk.rng.chance(self.plan.mass_death) && self.sdk.clients[client].wish == Wish::Up {
                self.sdk_die(client);
            }
        }
    }

    fn sdk_freeze(&mut self, client: usize) {
        let longest = (self.plan.chaos - self.now).min(50_000);
        let length = self.sdk.rng.range(1_000, longest.max(1_001));
        self.count("sdk-freeze");
        self.log(|| format!("s{client} stops for {length}"));
        let (at, thaws, twin) = (self.unfrozen(), self.now + length, self.sdk_has_twin(client));
        let c = &mut self.sdk.clients[client];
        c.frozen = true;
        c.thaws = thaws;
        c.vouchers.iter_mut().filter(|v| v.ended.is_none()).for_each(|v| v.ended = Some((at, !twin)));
        self.at(thaws, Ev::Sdk(SdkEv::Thaw { client }));
    }

    pub(super) fn sdk_thaw(&mut self, client: usize) {
        let at = self.unfrozen();
        let c = &mut self.sdk.clients[client];
        c.frozen = false;
        c.open = None;
        let Some(link) = c.link.filter(|_| c.wish != Wish::Dead) else { return };
        self.log(|| format!("s{client} runs again"));
        let c = &mut self.sdk.clients[client];
        if self.sdk.links[link].server_open && c.registered {
            c.vouchers.push(Voucher { link, answered: at, ended: None });
        }
        self.sdk_next_turn(client, 5);
    }

    /// The client gives its link up and connects again.
    pub(super) fn sdk_leave(&mut self, client: usize, how: Do) {
        let c = &mut self.sdk.clients[client];
        c.open = None;
        c.registered = false;
        if let Some(link) = c.link.take() {
            self.sdk_hang_up(link, how);
        }
        self.sdk_reconnect(client);
    }

    /// The client's side of a link ends; the member learns it if frames pass.
    fn sdk_hang_up(&mut self, link: usize, how: Do) {
        let guaranteed = how == Do::Reset || self.sdk.links[link].told;
        self.sdk_voucher_ends(link, guaranteed);
        let l = &mut self.sdk.links[link];
        if std::mem::replace(&mut l.client_open, false) && l.path {
            let at = self.now + self.sdk.rng.range(1, 8);
            self.at(at, Ev::Sdk(SdkEv::Arrive { link, req: 0, what: how }));
        }
    }

    pub(super) fn sdk_voucher_ends(&mut self, link: usize, guaranteed: bool) {
        let at = self.unfrozen();
        let client = self.sdk.links[link].client;
        let twin = self.sdk_has_twin(client);
        let guaranteed = guaranteed && (self.sdk.links[link].path || !twin);
        for voucher in &mut self.sdk.clients[client].vouchers {
            if voucher.link == link {
                let (at, before) = voucher.ended.unwrap_or((at, true));
                voucher.ended = Some((at, guaranteed && before));
            } else if let Some((at, _)) = voucher.ended.filter(|_| !guaranteed) {
                // What came before may have ended in favour of this one.
                voucher.ended = Some((at, false));
            }
        }
    }

    /// A lingering record of the second connection looks like that of a live one, so that a dead probe ends the first in its
    /// favour (docs/distro.md, rule 17): such an end is not judged.
    fn sdk_has_twin(&self, client: usize) -> bool {
        let c = &self.sdk.clients[client];
        c.twin.is_some() || c.twin_ended > 0 && self.now < c.twin_ended + 2 * DETECT + SILENT
    }

    fn sdk_reconnect(&mut self, client: usize) {
        let wait = match self.sdk.rng.below(6) {
            0 => self.sdk.rng.range(1, 60),
            1 => self.sdk.rng.range(3_000, 12_000),
            _ => self.sdk.rng.range(100, 3_000),
        };
        if self.now + MARGIN < self.plan.chaos && self.sdk.rng.chance(250) {
            self.sdk.clients[client].version += 1;
        }
        self.sdk_connect_in(client, wait);
    }

    fn sdk_connect_in(&mut self, client: usize, wait: u64) {
        let c = &mut self.sdk.clients[client];
        c.turn += 1;
        let turn = c.turn;
        self.at(self.now + wait, Ev::Sdk(SdkEv::Connect { client, turn }));
    }

    fn sdk_next_turn(&mut self, client: usize, wait: u64) {
        let c = &mut self.sdk.clients[client];
        c.turn += 1;
        let turn = c.turn;
        self.at(self.now + wait, Ev::Sdk(SdkEv::Turn { client, turn }));
    }

    pub(super) fn sdk_connect(&mut self, client: usize, turn: u64) {
        let c = &self.sdk.clients[client];
        let over = self.now + STOPS_BEFORE > self.deadline;
        if c.wish == Wish::Dead || turn != c.turn || c.link.is_some() || over {
            return;
        }
        if c.frozen {
            let wait = c.thaws + 5 - self.now.min(c.thaws);
            return self.sdk_connect_in(client, wait);
        }
        let node = self.sdk.rng.below(self.nodes.len());
        if self.nodes[node].paused {
            return self.sdk_connect_in(client, REQUEST_TIMEOUT);
        }
        if !self.serves(node) || self.nodes[node].leaving {
            let wait = self.sdk.rng.range(50, 300);
            return self.sdk_connect_in(client, wait);
        }
        let link = self.sdk_link(client, node);
        let c = &mut self.sdk.clients[client];
        c.link = Some(link);
        c.open = None;
        let version = c.version;
        let up = c.wish == Wish::Up;
        self.log(|| format!("s{client} is connected to m{node} as l{link}"));
        if up {
            self.sdk_send(client, Do::Register(version));
        } else {
            self.sdk_next_turn(client, 5_000);
        }
    }

    fn sdk_link(&mut self, client: usize, node: usize) -> usize {
        let link = self.sdk.links.len();
        let service = self.names.service(client);
        let id = ClientId::from_text(&format!("{}_10.1.0.{client}_{link}", self.now));
        self.sdk.by_conn.insert(id.clone(), link);
        self.sdk.links.push(Link {
            client,
            node,
            key: PublicationKey { service, client: id },
            client_open: true,
            server_open: true,
            path: true,
            told: false,
            last_seen: self.now,
            asked: None,
            reasserted: None,
            life: self.nodes[node].life,
            stopped: None,
        });
        self.sdk.clients[client].links.push(link);
        link
    }

    /// A second connection of a live process: whatever becomes of it, the first one's publication stays.
    fn sdk_twin(&mut self, client: usize) {
        let node = self.sdk.rng.below(self.nodes.len());
        let lasts = self.sdk.rng.range(500, 12_000);
        let late = self.now + lasts + MARGIN > self.plan.chaos;
        self.sdk_next_turn(client, 2_000);
        if late || !self.serves(node) || self.nodes[node].leaving || self.sdk.clients[client].twin.is_some() {
            return;
        }
        self.count("sdk-twin");
        let link = self.sdk_link(client, node);
        self.log(|| format!("s{client} has a second connection to m{node}, l{link}"));
        let c = &mut self.sdk.clients[client];
        c.twin = Some(link);
        let what = Do::Register(c.version);
        self.sdk.next += 1;
        let req = self.sdk.next;
        self.at(self.now + 3, Ev::Sdk(SdkEv::Arrive { link, req, what }));
        self.at(self.now + lasts, Ev::Sdk(SdkEv::TwinEnds { link }));
    }

    pub(super) fn sdk_twin_ends(&mut self, link: usize) {
        let client = self.sdk.links[link].client;
        if self.sdk.clients[client].twin != Some(link) {
            return;
        }
        self.sdk.clients[client].twin = None;
        self.sdk.clients[client].twin_ended = self.now;
        let how = self.sdk.rng.below(3);
        if how == 2 {
            self.sdk.links[link].path = false;
        }
        self.sdk_hang_up(link, if how == 0 { Do::Close } else { Do::Reset });
    }

    fn sdk_send(&mut self, client: usize, what: Do) {
        let Some(link) = self.sdk.clients[client].link else { return };
        self.sdk.next += 1;
        let req = self.sdk.next;
        self.sdk.clients[client].open = Some((req, what));
        if self.sdk.links[link].path {
            let at = self.now + self.sdk.rng.range(1, 8);
            self.at(at, Ev::Sdk(SdkEv::Arrive { link, req, what }));
        }
        self.at(self.now + REQUEST_TIMEOUT, Ev::Sdk(SdkEv::Timeout { client, req }));
    }

    pub(super) fn sdk_answer(&mut self, link: usize, req: u64, ok: bool) {
        let client = self.sdk.links[link].client;
        let (at, now) = (self.unfrozen(), self.now);
        let c = &mut self.sdk.clients[client];
        let Some((open, what)) = c.open else { return };
        if c.frozen || c.link != Some(link) || open != req || c.wish == Wish::Dead {
            return;
        }
        c.open = None;
        if what != Do::Ping {
            self.log(|| format!("s{client} {what:?} at l{link}: {ok}"));
        }
        if !ok {
            return self.sdk_leave(client, Do::Close);
        }
        let c = &mut self.sdk.clients[client];
        let mut wait = self.sdk.rng.range(2_000, 5_000);
        match what {
            Do::Register(version) => {
                c.registered = true;
                c.answered_version = version;
                c.wrong_since = None;
                if !c.vouchers.iter().any(|v| v.link == link && v.ended.is_none()) {
                    c.vouchers.push(Voucher { link, answered: at, ended: None });
                }
                c.vouchers.retain(|v| v.ended.is_none_or(|(ended, _)| at < ended + 20_000));
                let old = c.old.take();
                self.count("sdk-register");
                if let Some(old) = old {
                    self.sdk_hang_up(old, Do::Close);
                }
            }
            Do::Deregister => {
                c.registered = false;
                c.vouchers.clear();
                c.ended = now;
                self.count("sdk-deregister");
                wait = self.sdk.rng.range(8_000, 60_000);
                if now + wait + MARGIN > self.plan.chaos {
                    return;
                }
            }
            Do::Ping | Do::Close | Do::Reset => {}
        }
        self.sdk_next_turn(client, wait);
    }

    pub(super) fn sdk_closed(&mut self, link: usize) {
        let client = self.sdk.links[link].client;
        let c = &mut self.sdk.clients[client];
        if c.frozen && c.wish != Wish::Dead {
            let at = c.thaws + 1;
            return self.at(at.max(self.now + 1), Ev::Sdk(SdkEv::Closed { link }));
        }
        self.sdk.links[link].client_open = false;
        self.sdk_voucher_ends(link, true);
        let c = &mut self.sdk.clients[client];
        if c.old == Some(link) {
            c.old = None;
        }
        if c.twin == Some(link) {
            c.twin = None;
            c.twin_ended = self.now;
        }
        if c.link == Some(link) && c.wish != Wish::Dead {
            self.log(|| format!("s{client} sees l{link} closed"));
            self.sdk_leave(client, Do::Reset);
        }
    }

    /// Told to go: it registers elsewhere first.
    pub(super) fn sdk_move(&mut self, link: usize) {
        let client = self.sdk.links[link].client;
        let c = &mut self.sdk.clients[client];
        if c.link != Some(link) || c.frozen || c.wish != Wish::Up || c.old.is_some() || !c.registered {
            return;
        }
        self.sdk.links[link].told = true;
        c.old = c.link.take();
        c.open = None;
        c.registered = false;
        self.count("sdk-move");
        self.log(|| format!("s{client} is told to leave l{link}"));
        let wait = self.sdk.rng.range(1, 60);
        self.sdk_connect_in(client, wait);
    }
}
