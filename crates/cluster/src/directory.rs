//! Which member answers at which configured address.
//!
//! The list of members has addresses, and each member draws its own identity. The directory sends the request Hello to
//! each address and keeps the last answer. By the same request a member finds out which entry of the list it is itself:
//! the one that answers with the random number (*nonce*) of this start.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dyad_proto::cluster::cluster_client::ClusterClient;
use dyad_proto::cluster::{HelloReply, HelloRequest};
use dyad_types::MemberId;
use parking_lot::RwLock;
use tokio::sync::{Notify, watch};
use tonic::transport::Channel;

use crate::ask::Answer;
use crate::dial::Dialer;

/// The longest time for an answer to Hello. A member that is alive answers at once, and a call that hangs must not
/// delay the others.
pub const HELLO_TIMEOUT: Duration = Duration::from_millis(800);
/// A member is asked every 2 s; what it said about itself three Hellos ago is not true any more.
const LOAD_MAX_AGE: Duration = Duration::from_secs(6);

/// One entry of the configured member list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Entry {
    /// `host:http_port`. This is the name of the member in lists and answers.
    pub address: String,
    /// `host:cluster_port`.
    pub cluster_address: String,
}

/// The last answer of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    pub member: MemberId,
    pub incarnation: u64,
    /// The raft cluster to which the member belongs, if any. 0 means that the member does not know the identity of its
    /// cluster yet.
    pub cluster_id: Option<u128>,
    /// The list of members at that member, sorted.
    pub members: Vec<String>,
    pub me: bool,
}

/// The load of a member, as it says itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The number of registered clients of its gRPC port.
    pub clients: u64,
    /// Whether it sends its clients away and takes in no new ones.
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
    /// For each entry: notified when the member there asked who we are, which shows that it runs now.
    greeted: Vec<Notify>,
    /// Raised whenever an answer changed.
    changed: watch::Sender<u64>,
    /// The loads, by entry. They are not in `found`, because they change all the time and many hear of the changes of `found`.
    said: RwLock<BTreeMap<usize, Said>>,
    /// The load of this member. `None` until it is known.
    load: RwLock<Option<Load>>,
    /// Who answers what members ask. Set once, when the front end exists.
    answer: OnceLock<Arc<dyn Answer>>,
}

impl Directory {
    /// Makes a directory of `entries` for this member. `nonce` is the random number of this start.
    ///
    /// # Errors
    /// An entry is not an address.
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
            answer: OnceLock::new(),
        })
    }

    /// Sets who answers what other members ask. Only the first one counts.
    pub fn set_answer(&self, answer: Arc<dyn Answer>) {
        let _first = self.answer.set(answer);
    }

    pub(crate) fn answer(&self) -> Option<&Arc<dyn Answer>> {
        self.answer.get()
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

    /// The addresses of the list, sorted. Members compare them when they found a cluster.
    pub fn sorted_addresses(&self) -> Vec<String> {
        let mut list: Vec<String> = self.entries.iter().map(|e| e.address.clone()).collect();
        list.sort();
        list
    }

    /// A channel that changes when an identity or a cluster id changed.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The last answers of all addresses that ever answered.
    pub fn found(&self) -> BTreeMap<String, Found> {
        self.found.read().clone()
    }

    /// The ids of all members that are known, including this one, without duplicates.
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

    /// The entry that is this member. `None` until it was found by the nonce, or the settings named it.
    pub fn own_entry(&self) -> Option<Entry> {
        let found = self.found.read();
        self.entries.iter().find(|e| found.get(&e.address).is_some_and(|f| f.me)).cloned()
    }

    /// Sets which entry this member is, if the settings name it.
    pub fn set_own(&self, address: &str, incarnation: u64) {
        let members = self.sorted_addresses();
        self.note(address, Found { member: self.me, incarnation, cluster_id: None, members, me: true });
    }

    /// Sets the load that this member tells the others from now on.
    pub fn set_load(&self, load: Load) {
        *self.load.write() = Some(load);
    }

    pub fn load(&self) -> Option<Load> {
        *self.load.read()
    }

    /// The last load of each other member. Members that have not answered for 6 s are left out.
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

    /// Asks the member at entry `at` who it is.
    ///
    /// # Errors
    /// It does not answer in time, or it refuses, for example because its token is another one.
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
