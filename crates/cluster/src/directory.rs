//! Who answers at which configured address.
//!
//! The member list holds addresses; identities are drawn by the members themselves. The directory asks each address
//! with Hello and keeps the last answer. It is also where a member finds out which entry of the list it is itself: the
//! one that answers with the nonce of this start.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use dyad_proto::cluster::cluster_client::ClusterClient;
use dyad_proto::cluster::{HelloReply, HelloRequest};
use dyad_types::MemberId;
use parking_lot::RwLock;
use tokio::sync::{Notify, watch};
use tonic::transport::Channel;

use crate::dial::Dialer;

/// A member that is alive answers Hello at once; a call that hangs must not hold up the others.
pub const HELLO_TIMEOUT: Duration = Duration::from_millis(800);
/// A member is asked every 2 s; what it said about itself three Hellos ago is not true any more.
const LOAD_MAX_AGE: Duration = Duration::from_secs(6);

/// One entry of the configured member list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// `host:http_port`, the name of the member in lists and answers.
    pub address: String,
    /// `host:cluster_port`.
    pub cluster_address: String,
}

/// What an address last answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub member: MemberId,
    pub incarnation: u64,
    /// The raft cluster that the member belongs to, if any; 0 = one whose identity it does not know yet.
    pub cluster_id: Option<u128>,
    /// The member list of that member, sorted.
    pub members: Vec<String>,
    pub me: bool,
}

/// What a member carries, as it says itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Registered clients of its SDK port.
    pub clients: u64,
    /// It sends its clients away and takes in no new ones.
    pub draining: bool,
}

/// What an entry's member said about its load, and when.
#[derive(Clone, Copy, Debug)]
struct Said {
    member: MemberId,
    load: Load,
    at: Instant,
}

/// The configured list and the last answers.
#[derive(Debug)]
pub struct Directory {
    me: MemberId,
    nonce: u64,
    entries: Vec<Entry>,
    channels: Vec<Channel>,
    found: RwLock<BTreeMap<String, Found>>,
    /// Per entry: its member asked who we are, so it is there now.
    greeted: Vec<Notify>,
    /// Bumped whenever an answer changed.
    changed: watch::Sender<u64>,
    /// By entry. Beside `found`, whose changes are told to many: these numbers change all the time.
    said: RwLock<BTreeMap<usize, Said>>,
    /// `None` until this member knows.
    load: RwLock<Option<Load>>,
}

impl Directory {
    /// # Errors
    /// When an entry is not an address.
    pub fn new(
        me: MemberId,
        nonce: u64,
        entries: Vec<Entry>,
        dialer: &Dialer,
    ) -> Result<Directory, tonic::transport::Error> {
        let channels =
            entries.iter().map(|e| dialer.channel(&e.cluster_address)).collect::<Result<Vec<_>, _>>()?;
        let greeted = entries.iter().map(|_| Notify::new()).collect();
        let changed = watch::channel(0).0;
        Ok(Directory {
            me,
            nonce,
            entries,
            channels,
            found: RwLock::default(),
            greeted,
            changed,
            said: RwLock::default(),
            load: RwLock::default(),
        })
    }

    pub fn me(&self) -> MemberId {
        self.me
    }

    pub fn nonce(&self) -> u64 {
        self.nonce
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    pub fn channel(&self, at: usize) -> Channel {
        self.channels[at].clone()
    }

    /// The addresses of the list, sorted: what Hello compares.
    pub fn sorted_addresses(&self) -> Vec<String> {
        let mut list: Vec<String> = self.entries.iter().map(|e| e.address.clone()).collect();
        list.sort();
        list
    }

    /// Notified when an identity or a cluster id changed.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The last answer of each address that ever answered.
    pub fn found(&self) -> BTreeMap<String, Found> {
        self.found.read().clone()
    }

    /// The members known by id, this one included, without duplicates.
    pub fn known(&self) -> Vec<MemberId> {
        let mut known: Vec<MemberId> =
            self.found.read().values().map(|f| f.member).chain([self.me]).collect();
        known.sort_unstable();
        known.dedup();
        known
    }

    pub fn address_of(&self, member: MemberId) -> Option<String> {
        self.found.read().iter().find(|(_, f)| f.member == member).map(|(address, _)| address.clone())
    }

    /// The entry that is this member: found by nonce.
    pub fn own_entry(&self) -> Option<Entry> {
        let found = self.found.read();
        self.entries.iter().find(|e| found.get(&e.address).is_some_and(|f| f.me)).cloned()
    }

    /// Says which entry this member is, when the settings do.
    pub fn set_own(&self, address: &str, incarnation: u64) {
        let members = self.sorted_addresses();
        self.note(address, Found { member: self.me, incarnation, cluster_id: None, members, me: true });
    }

    /// What this member answers from now on when it is asked what it carries.
    pub fn set_load(&self, load: Load) {
        *self.load.write() = Some(load);
    }

    pub fn load(&self) -> Option<Load> {
        *self.load.read()
    }

    /// What each other member last said that it carries; without those that have not answered for 6 s.
    pub fn loads(&self) -> BTreeMap<MemberId, Load> {
        let said = self.said.read();
        let fresh = said.values().filter(|said| said.member != self.me && said.at.elapsed() <= LOAD_MAX_AGE);
        fresh.map(|said| (said.member, said.load)).collect()
    }

    /// The member of this address asked who we are: whoever waits to ask it need not wait longer.
    pub(crate) fn greeted(&self, address: &str) {
        if let Some(at) = self.entries.iter().position(|entry| entry.address == address) {
            self.greeted[at].notify_one();
        }
    }

    /// Completes when the member of entry `at` asks who we are.
    pub(crate) async fn greeting(&self, at: usize) {
        self.greeted[at].notified().await;
    }

    /// Asks entry `at` who it is.
    ///
    /// # Errors
    /// When it does not answer in time, or refuses (another token, for one).
    pub async fn hello(&self, at: usize) -> Result<Found, tonic::Status> {
        let entry = &self.entries[at];
        let own = self.own_entry().map(|e| e.address).unwrap_or_default();
        let request = HelloRequest { from: self.me.0, nonce: self.nonce, address: own };
        let mut client = ClusterClient::new(self.channel(at));
        let reply = tokio::time::timeout(HELLO_TIMEOUT, client.hello(request))
            .await
            .map_err(|_| tonic::Status::deadline_exceeded("no answer to Hello"))??
            .into_inner();
        self.hear(at, &reply);
        let found = self.read(reply);
        self.note(&entry.address, found.clone());
        Ok(found)
    }

    fn hear(&self, at: usize, reply: &HelloReply) {
        let mut said = self.said.write();
        match &reply.load {
            Some(load) => {
                let load = Load { clients: load.clients, draining: load.draining };
                said.insert(at, Said { member: MemberId(reply.member), load, at: Instant::now() });
            }
            None => {
                said.remove(&at);
            }
        }
    }

    fn read(&self, reply: HelloReply) -> Found {
        let me = reply.member == self.me.0 && reply.nonce == self.nonce;
        Found {
            member: MemberId(reply.member),
            incarnation: reply.incarnation,
            cluster_id: <[u8; 16]>::try_from(&reply.cluster_id[..]).ok().map(u128::from_be_bytes),
            members: reply.members,
            me,
        }
    }

    fn note(&self, address: &str, found: Found) {
        let mut map = self.found.write();
        let before = map.insert(address.to_owned(), found.clone());
        drop(map);
        if before.as_ref() != Some(&found) {
            self.changed.send_modify(|n| *n += 1);
        }
    }
}
