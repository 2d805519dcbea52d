//! Clients with a connection (rules 17 and 18). The publications of a connection are in the log of the member that has
//! it. Only that member ends them, or the retirement of its log. A connection has keys of its own, so its end never
//! affects what another connection has published, even of the same instance.

use std::collections::{BTreeSet, HashMap};

use dyad_types::{ClientId, Dot, Instance, PublicationKey};

use crate::api::{Action, Ending, Event};
use crate::core::{Distro, New};
use crate::store::{Entry, KeyId, RecState, Record};

/// A registration of a connection that is over may still be on its way within the process for that long, in ms.
const REFUSES_FOR: u64 = 10_000;
/// Connections remembered as over; more in [`REFUSES_FOR`] than a member accepts in that time.
const OVER_MAX: usize = 65_536;
/// Between two probes of a connection, in ms.
const PROBE_EVERY: u64 = 1_000;
/// The longest time between two re-assertions of a connection whose instance another live one publishes too, in ms.
const REASSERT_MOST: u64 = 600_000;

/// Estimates of when a registration was made err by as much as a message may be late, in ms: of two registrations within
/// that, either may be the newer one.
const AGES_ERR: i64 = 5_000;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Open,
    /// Ended, but its publications stay until then.
    Lingering(u64),
    /// Nothing of it is left; registrations are refused.
    Over,
}

#[derive(Debug, Default)]
struct Conn {
    state: State,
    /// The keys of its live records in the own log.
    keys: BTreeSet<KeyId>,
    /// Its place in [`Conns::due`]: end of the linger, of the memory, or a probe.
    due: Option<u64>,
    probed: Option<u64>,
    /// When it was last re-asserted, and after how long it may be again.
    asserted: Option<(u64, u64)>,
}

/// The connections of this member that publish something or were over not long ago.
#[derive(Debug, Default)]
pub(crate) struct Conns {
    table: HashMap<ClientId, Conn>,
    due: BTreeSet<(u64, ClientId)>,
    over: usize,
}

impl Conns {
    pub(crate) fn next(&self) -> Option<u64> {
        self.due.first().map(|(at, _)| *at)
    }

    fn is_open(&self, client: &ClientId) -> bool {
        self.table.get(client).is_some_and(|c| c.state == State::Open)
    }

    /// Ended: what it registers now would never end.
    pub(crate) fn refuses(&self, client: &ClientId) -> bool {
        self.table.get(client).is_some_and(|c| c.state != State::Open)
    }

    fn set_due(&mut self, client: &ClientId, due: Option<u64>) {
        let Some(conn) = self.table.get_mut(client) else { return };
        if let Some(old) = std::mem::replace(&mut conn.due, due) {
            self.due.remove(&(old, client.clone()));
        }
        if let Some(due) = due {
            self.due.insert((due, client.clone()));
        }
    }

    /// Looks at the connection then, or sooner if that is due already.
    fn due_by(&mut self, client: &ClientId, at: u64) {
        if self.table.get(client).is_some_and(|c| c.due.is_none_or(|due| due > at)) {
            self.set_due(client, Some(at));
        }
    }

    fn forget(&mut self, client: &ClientId) {
        self.set_due(client, None);
        if self.table.remove(client).is_some_and(|c| c.state == State::Over) {
            self.over -= 1;
        }
        if self.table.capacity() > 4 * (self.table.len() + 256) {
            self.table.shrink_to(2 * self.table.len());
        }
    }

    /// Nothing of it is left.
    fn over(&mut self, client: &ClientId, until: u64) {
        if self.over >= OVER_MAX {
            return self.forget(client);
        }
        let conn = self.table.entry(client.clone()).or_default();
        if conn.state != State::Over {
            conn.state = State::Over;
            self.over += 1;
        }
        self.set_due(client, Some(until));
    }
}

impl Distro {
    /// Brings the table in line with the own record.
    pub(crate) fn conn_follows(&mut self, id: KeyId) {
        let own = self.own;
        let Some(entry) = self.store.entry(id).filter(|e| !e.key.client.is_beat()) else { return };
        let client = entry.key.client.clone();
        if entry.record(own).is_some_and(|r| r.state.is_live()) {
            self.conns.table.entry(client).or_default().keys.insert(id);
            return;
        }
        let Some(conn) = self.conns.table.get_mut(&client) else { return };
        conn.keys.remove(&id);
        if conn.keys.is_empty() && conn.state == State::Open {
            self.conns.forget(&client);
        }
    }

    /// Rule 18.
    pub(crate) fn ended(&mut self, client: &ClientId, ending: Ending) {
        let state = self.conns.table.get(client).map(|c| c.state);
        // A member that stops has told its clients to go: however they do, they come back elsewhere (rule 19). One that
        // was stopped hears of ends that are old, and does not know yet what came in their place.
        let at_once = self.state.times() && !self.is_draining();
        match (state, ending) {
            (Some(State::Over), _) | (Some(State::Lingering(_)), Ending::Abnormal) => {}
            (None, _) => self.conns.over(client, self.at + REFUSES_FOR),
            (Some(_), Ending::Orderly) if at_once => self.finish(client),
            (Some(State::Lingering(_)), _) => {}
            (Some(State::Open), _) => self.linger(client),
        }
    }

    fn linger(&mut self, client: &ClientId) {
        let until = self.at + self.timing.linger;
        if let Some(conn) = self.conns.table.get_mut(client) {
            conn.state = State::Lingering(until);
            self.conns.set_due(client, Some(until));
        }
    }

    /// Ends all that is left of a connection.
    fn finish(&mut self, client: &ClientId) {
        let keys = self.conns.table.get(client).map_or(Vec::new(), |c| c.keys.iter().copied().collect());
        self.conns.over(client, self.at + REFUSES_FOR);
        keys.into_iter().for_each(|id| self.end(id));
    }

    /// The end of one publication, without covers of other dots. Where another live record vouches for its instances, it is
    /// a Yield to that record, so that nobody sees the end before the other (rule 4).
    fn end(&mut self, id: KeyId) {
        let to = self.replacement(id);
        let own = self.own;
        let record = self.store.entry(id).and_then(|e| e.record(own)).cloned();
        match (record, to) {
            (Some(Record { publication, dot, reg, .. }), Some(to)) => {
                let state = RecState::Yield;
                let new = New { state, publication, dot: Some(dot), reg, to: Some(to), covers: vec![] };
                self.append(id, new);
            }
            _ => {
                self.append(id, New::default());
            }
        }
    }

    /// Rule 17: a live record has come in; connections of this member that publish the same instance are asked whether they
    /// are alive.
    pub(crate) fn meets(&mut self, id: KeyId, publication: &[Instance], is_foreign: bool) {
        if self.conns.table.is_empty() {
            return;
        }
        let own = self.own;
        let Some(entry) = self.store.entry(id) else { return };
        let mut clients: Vec<ClientId> = Vec::new();
        for other in publication.iter().flat_map(|i| self.store.publishers(&entry.key.service, i)) {
            let Some(mine) = self.store.entry(other).filter(|_| other != id || is_foreign) else { continue };
            let client = &mine.key.client;
            let vouches = |r: &Record| publication.iter().any(|i| find(r, i).is_some());
            let publishes = mine.record(own).is_some_and(|r| r.state.is_live() && vouches(r));
            if publishes && mine.key.service == entry.key.service && !clients.contains(client) {
                clients.push(client.clone());
            }
        }
        clients.iter().for_each(|client| self.probe(client));
    }

    fn probe(&mut self, client: &ClientId) {
        let at = self.at;
        let Some(conn) = self.conns.table.get_mut(client).filter(|c| c.state == State::Open) else { return };
        let next = conn.probed.map_or(0, |probed| probed + PROBE_EVERY);
        if at < next {
            return self.conns.due_by(client, next);
        }
        conn.probed = Some(at);
        self.out.push(Action::Probe(client.clone()));
    }

    /// Rule 17: the answer to a probe.
    pub(crate) fn probed(&mut self, client: &ClientId, alive: bool) {
        if !self.conns.is_open(client) {
            return;
        }
        if alive {
            return self.reassert(client);
        }
        self.linger(client);
        let keys = self.conns.table.get(client).map_or(Vec::new(), |c| c.keys.iter().copied().collect());
        for id in keys {
            if self.replacement(id).is_some() {
                self.end(id);
            }
        }
        if self.conns.table.get(client).is_some_and(|c| c.keys.is_empty()) {
            self.finish(client);
        }
    }

    /// A live connection whose instance another one shows with other attributes writes them again: it is deferred, not
    /// dropped, when it has done so a short time ago, and done ever more rarely when the other one answers each time.
    fn reassert(&mut self, client: &ClientId) {
        let (at, least) = (self.at, self.timing.reassert);
        let keys: Vec<KeyId> = match self.conns.table.get(client) {
            Some(conn) => conn.keys.iter().copied().filter(|&id| self.is_outranked(id)).collect(),
            None => return,
        };
        let Some(conn) = self.conns.table.get_mut(client).filter(|_| !keys.is_empty()) else { return };
        let wait = match conn.asserted {
            Some((last, wait)) if at < last + wait => {
                return self.conns.due_by(client, last + wait);
            }
            // Nobody has objected for long: it begins anew.
            Some((last, wait)) if at < last + 4 * wait => (2 * wait).min(REASSERT_MOST),
            _ => least,
        };
        conn.asserted = Some((at, wait));
        let own = self.own;
        for id in keys {
            let Some(entry) = self.store.entry(id) else { continue };
            let Some(record) = entry.record(own).cloned() else { continue };
            self.event(Event::Reasserted(entry.key.clone()));
            let Record { state, publication, dot, reg, .. } = record;
            self.append(id, New { state, publication, dot: Some(dot), reg, ..New::default() });
        }
    }

    /// Another member's record shows an instance of the own one with other attributes and outranks it, while no record is
    /// clearly newer: of several registrations of an instance only the newest insists.
    fn is_outranked(&self, id: KeyId) -> bool {
        let own = self.own;
        let Some(entry) = self.store.entry(id) else { return false };
        let Some(mine) = entry.record(own) else { return false };
        let newer = |r: &Record| r.reg > mine.reg + if r.log == own { 0 } else { AGES_ERR };
        let above = |r: &Record| r.log != own && r.lamport >= mine.lamport;
        let is_wrong = |i: &Instance| {
            let others = || self.others(id, entry, i).map(|(_, r)| r);
            let differs = |r: &&Record| find(r, i).is_some_and(|other| other != i);
            others().filter(differs).any(above) && !others().filter(differs).any(newer)
        };
        mine.publication.iter().flat_map(|p| p.instances()).any(is_wrong)
    }

    /// The position of a record that vouches for all instances of the own one: not registered before it, healthy, of an
    /// origin that is heard, or of an open connection of this member.
    fn replacement(&self, id: KeyId) -> Option<Dot> {
        if self.peers.is_standalone() {
            // There is nobody who could see the end first, and nobody whom the mark of a Yield would help.
            return None;
        }
        let own = self.own;
        let entry = self.store.entry(id)?;
        let mine = entry.record(own)?;
        let instances = mine.publication.as_ref()?.instances();
        self.others(id, entry, instances.first()?).find_map(|(other, record)| {
            let log = self.store.log(record.log);
            let is_kept = if record.log == own {
                other.key.client.is_beat() || self.conns.is_open(&other.key.client)
            } else {
                let heard = self.at.saturating_sub(log.heard) <= self.timing.heard;
                heard && log.superseded.is_none() && log.doomed.is_none()
            };
            let vouches = record.state == RecState::Live
                && record.reg >= mine.reg
                && instances.iter().all(|i| find(record, i).is_some());
            (is_kept && vouches).then_some(Dot { origin: log.origin, seq: record.seq })
        })
    }

    /// The visible records that show this instance of the key's service, but the own one of the key.
    fn others<'a>(
        &'a self,
        id: KeyId,
        entry: &'a Entry,
        instance: &'a Instance,
    ) -> impl Iterator<Item = (&'a Entry, &'a Record)> {
        let service = &entry.key.service;
        let beats = ClientId::beat(&instance.ip, instance.port);
        let beats = self.store.find(&PublicationKey { service: service.clone(), client: beats });
        let ids = self.store.publishers(service, instance).chain(beats);
        ids.filter_map(|other| Some((other, self.store.entry(other)?)))
            .filter(move |(_, e)| e.key.service == *service)
            .flat_map(move |(other, e)| e.visible().map(move |r| (other, e, r)))
            .filter(move |(other, _, r)| (*other != id || r.log != self.own) && find(r, instance).is_some())
            .map(|(_, e, r)| (e, r))
    }

    /// A registration of the connection begins its contests anew.
    pub(crate) fn conn_registered(&mut self, client: &ClientId) {
        if let Some(conn) = self.conns.table.get_mut(client) {
            conn.asserted = None;
        }
    }

    /// What the table has due.
    pub(crate) fn run_conns(&mut self) {
        while let Some((_, client)) = self.conns.due.first().filter(|(due, _)| *due <= self.at).cloned() {
            self.conns.set_due(&client, None);
            match self.conns.table.get(&client).map(|c| c.state) {
                Some(State::Open) => self.probe(&client),
                Some(State::Lingering(_)) => self.finish(&client),
                Some(State::Over) | None => self.conns.forget(&client),
            }
        }
    }
}

/// The instance of a publication that is the same one: cluster, ip and port.
fn find<'a>(record: &'a Record, instance: &Instance) -> Option<&'a Instance> {
    let same =
        |i: &&Instance| i.port == instance.port && i.ip == instance.ip && i.cluster == instance.cluster;
    record.publication.as_ref()?.instances().iter().find(same)
}
