//! Which member answers at which address.
//!
//! The setting `members` only says whom to ask first. Who the members are is in the replicated state ([`Membership`]), and a
//! member that does not hear of a change by the log hears of it by the answers of the others. The directory sends the request
//! Hello to each address and keeps the last answer. By the same request a member finds out which address is its own: the one
//! that answers with the random number (*nonce*) of this start.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use dyad_proto::cluster::cluster_client::ClusterClient;
use dyad_proto::cluster::{Condition, HelloReply, HelloRequest};
use dyad_types::MemberId;
use parking_lot::RwLock;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::ask::Answer;
use crate::dial::Dialer;
use crate::membership::{Entry, Found, Membership, Row};

/// The longest time for an answer to Hello. A member that is alive answers at once, and a call that hangs must not
/// delay the others.
pub const HELLO_TIMEOUT: Duration = Duration::from_millis(800);
/// A member is asked every 2 s; what it said about itself three Hellos ago is not true any more.
const ANSWER_MAX_AGE: Duration = Duration::from_secs(6);

/// The load of a member, as it says itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// The number of registered clients of its gRPC port.
    pub clients: u64,
    /// Whether it sends its clients away and takes in no new ones.
    pub draining: bool,
}

/// An answer, and when it came.
#[derive(Clone, Debug)]
struct Heard {
    found: Found,
    load: Option<Load>,
    condition: Option<Condition>,
    at: Instant,
}

/// An address that is asked who answers there.
#[derive(Debug)]
pub struct Contact {
    pub entry: Entry,
    channel: Channel,
    /// Notified when the member there asked who we are, which shows that it runs now.
    greeted: Notify,
    /// Notified when the member there said that the membership has changed.
    told: Notify,
    /// Cancelled when the address belongs to no member any more.
    pub(crate) gone: CancellationToken,
}

impl Contact {
    pub fn channel(&self) -> Channel {
        self.channel.clone()
    }

    /// Completes when the member there says that the membership has changed.
    pub(crate) async fn told(&self) {
        self.told.notified().await;
    }

    /// Completes when the member there asks who we are.
    pub(crate) async fn greeting(&self) {
        self.greeted.notified().await;
    }
}

/// What belongs together, under one lock.
#[derive(Debug, Default)]
struct Table {
    contacts: Vec<Arc<Contact>>,
    /// The last answers, by the address that was asked.
    heard: BTreeMap<String, Heard>,
    membership: Option<Membership>,
    /// Whether this member was removed.
    removed: bool,
    /// The cluster to which this member belongs, once it knows its identity.
    cluster_id: Option<u128>,
}

impl Table {
    fn found(&self, address: &str) -> Option<&Found> {
        self.heard.get(address).map(|heard| &heard.found)
    }

    fn fresh(&self) -> impl Iterator<Item = (&String, &Heard)> {
        self.heard.iter().filter(|(_, heard)| heard.at.elapsed() <= ANSWER_MAX_AGE)
    }
}

/// The addresses that are asked, and the last answers.
#[derive(Debug)]
pub struct Directory {
    me: MemberId,
    nonce: u64,
    dialer: Dialer,
    configured: Vec<Entry>,
    table: RwLock<Table>,
    /// Raised whenever an answer or the membership changed.
    changed: watch::Sender<u64>,
    /// The load of this member. `None` until it is known.
    load: RwLock<Option<Load>>,
    /// How this member is. `None` until it is known.
    condition: RwLock<Option<Condition>>,
    /// Who answers what members ask. Set once, when the front end exists.
    answer: OnceLock<Arc<dyn Answer>>,
}

impl Directory {
    /// Makes a directory for this member. `configured` is the setting `members`, and `nonce` is the random number of this start.
    ///
    /// # Errors
    /// An entry is not an address.
    pub fn new(
        me: MemberId,
        nonce: u64,
        configured: Vec<Entry>,
        dialer: Dialer,
    ) -> Result<Directory, tonic::transport::Error> {
        let contacts = configured.iter().map(|entry| contact(&dialer, entry)).collect::<Result<_, _>>()?;
        Ok(Directory {
            me,
            nonce,
            dialer,
            configured,
            table: RwLock::new(Table { contacts, ..Table::default() }),
            changed: watch::channel(0).0,
            load: RwLock::default(),
            condition: RwLock::default(),
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

    /// The setting `members`.
    pub fn configured(&self) -> &[Entry] {
        &self.configured
    }

    /// Every address that is asked: those of the members, and those that the setting names besides.
    pub fn contacts(&self) -> Vec<Arc<Contact>> {
        self.table.read().contacts.clone()
    }

    /// The contact of a member's `host:http_port`.
    pub fn contact(&self, address: &str) -> Option<Arc<Contact>> {
        self.table.read().contacts.iter().find(|contact| contact.entry.address == address).cloned()
    }

    /// The addresses of the setting, sorted. Members compare them when they found a cluster.
    pub fn sorted_addresses(&self) -> Vec<String> {
        let mut list: Vec<String> = self.configured.iter().map(|e| e.address.clone()).collect();
        list.sort();
        list
    }

    /// A channel that changes when an answer or the membership changed.
    pub fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// The last answers of all addresses that ever answered.
    pub fn found(&self) -> BTreeMap<String, Found> {
        let table = self.table.read();
        table.heard.iter().map(|(address, heard)| (address.clone(), heard.found.clone())).collect()
    }

    /// The answers that are so new that they hold now.
    pub fn fresh(&self) -> BTreeMap<String, Found> {
        let table = self.table.read();
        table.fresh().map(|(address, heard)| (address.clone(), heard.found.clone())).collect()
    }

    /// Who the members are, by the newest change that this member knows of.
    pub fn membership(&self) -> Option<Membership> {
        self.table.read().membership.clone()
    }

    /// Sets the cluster to which this member belongs; 0 while its identity is not known.
    pub fn set_cluster(&self, cluster_id: Option<u128>) {
        self.table.write().cluster_id = cluster_id.filter(|id| *id != 0);
    }

    /// Whether who answers belongs to another cluster than this member: they tell each other nothing.
    pub(crate) fn is_foreign(&self, found: &Found) -> bool {
        let own = self.table.read().cluster_id;
        let theirs = found.cluster_id.filter(|id| *id != 0);
        own.is_some_and(|own| theirs.is_some_and(|theirs| theirs != own))
    }

    /// Whether this member was a member, and is none any more.
    pub fn is_removed(&self) -> bool {
        self.table.read().removed
    }

    /// Takes the membership over, and whether it says that this member was removed. Connections follow.
    pub fn follow(&self, membership: Membership, removed: bool) {
        let mut table = self.table.write();
        if table.membership.as_ref() == Some(&membership) && table.removed == removed {
            return;
        }
        let wanted = membership.contacts(&self.configured);
        let mut next = Vec::with_capacity(wanted.len());
        for entry in &wanted {
            let kept = table.contacts.iter().find(|contact| contact.entry == *entry).cloned();
            match kept.map_or_else(|| contact(&self.dialer, entry), Ok) {
                Ok(contact) => next.push(contact),
                Err(error) => {
                    tracing::warn!(%error, address = entry.cluster_address, "not the address of a member");
                }
            }
        }
        for contact in table.contacts.iter().filter(|contact| !wanted.contains(&contact.entry)) {
            contact.gone.cancel();
        }
        table.contacts = next;
        table.heard.retain(|address, _| wanted.iter().any(|entry| entry.address == *address));
        table.membership = Some(membership);
        table.removed = removed;
        drop(table);
        self.changed.send_modify(|n| *n += 1);
    }

    /// The members, and those that are about to become members. While the membership is not known, the addresses of the setting.
    pub fn members(&self) -> Vec<Row> {
        let table = self.table.read();
        let found = |address: &str| table.found(address);
        match &table.membership {
            Some(membership) => membership.rows(&self.configured, found),
            None => {
                let row = |entry: &Entry| Row {
                    id: found(&entry.address).map(|found| found.member),
                    entry: entry.clone(),
                };
                self.configured.iter().map(row).collect()
            }
        }
    }

    pub fn address_of(&self, member: MemberId) -> Option<String> {
        self.members().into_iter().find(|row| row.id == Some(member)).map(|row| row.entry.address)
    }

    /// The address that is this member's. `None` until it was found by the nonce, or the settings named it.
    pub fn own_entry(&self) -> Option<Entry> {
        let table = self.table.read();
        let mine =
            |contact: &&Arc<Contact>| table.found(&contact.entry.address).is_some_and(|found| found.me);
        table.contacts.iter().find(mine).map(|contact| contact.entry.clone())
    }

    /// Sets which address is this member's, if the settings name it.
    pub fn set_own(&self, address: &str, incarnation: u64) {
        let found = Found {
            member: self.me,
            incarnation,
            cluster_id: None,
            members: self.sorted_addresses(),
            membership: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            me: true,
        };
        self.note(address, found, (None, None));
    }

    /// Sets the load that this member tells the others from now on.
    pub fn set_load(&self, load: Load) {
        *self.load.write() = Some(load);
    }

    pub fn load(&self) -> Option<Load> {
        *self.load.read()
    }

    /// Sets what this member tells the others of itself from now on.
    pub fn set_condition(&self, condition: Condition) {
        *self.condition.write() = Some(condition);
    }

    pub(crate) fn condition(&self) -> Option<Condition> {
        self.condition.read().clone()
    }

    /// What each other member said of itself, and its version. Members that have not answered for 6 s are left out, and versions
    /// before 0.7 say nothing.
    pub fn conditions(&self) -> BTreeMap<MemberId, (String, Option<Condition>)> {
        let table = self.table.read();
        let others = table.fresh().map(|(_, heard)| heard).filter(|heard| !heard.found.me);
        let said = |heard: &Heard| (heard.found.version.clone(), heard.condition.clone());
        others.map(|heard| (heard.found.member, said(heard))).collect()
    }

    /// The last load of each other member. Members that have not answered for 6 s are left out.
    pub fn loads(&self) -> BTreeMap<MemberId, Load> {
        let table = self.table.read();
        let others = table.fresh().map(|(_, heard)| heard).filter(|heard| heard.found.member != self.me);
        others.filter_map(|heard| Some((heard.found.member, heard.load?))).collect()
    }

    /// The member of this address asked who we are: whoever waits to ask it need not wait longer. `news`: nor need anybody else, since
    /// the membership has changed.
    pub(crate) fn greeted(&self, address: &str, news: bool) {
        if let Some(contact) = self.contact(address) {
            contact.greeted.notify_one();
            if news {
                contact.told.notify_one();
            }
        }
    }

    /// Asks the member at this address who it is.
    ///
    /// # Errors
    /// It does not answer in time, or it refuses, for example because its token is another one.
    pub async fn hello(&self, contact: &Contact) -> Result<Found, tonic::Status> {
        self.ask(contact, false).await
    }

    /// The same, and says that the membership has changed, so that whoever answers asks back at once.
    ///
    /// # Errors
    /// As of [`Directory::hello`].
    pub(crate) async fn tell(&self, contact: &Contact) -> Result<Found, tonic::Status> {
        self.ask(contact, true).await
    }

    async fn ask(&self, contact: &Contact, news: bool) -> Result<Found, tonic::Status> {
        let own = self.own_entry().map(|e| e.address).unwrap_or_default();
        let request = HelloRequest { from: self.me.0, nonce: self.nonce, address: own, news };
        let mut client = ClusterClient::new(contact.channel());
        let reply = tokio::time::timeout(HELLO_TIMEOUT, client.hello(request))
            .await
            .map_err(|_| tonic::Status::deadline_exceeded("no answer to Hello"))??
            .into_inner();
        let load = reply.load.as_ref().map(|load| Load { clients: load.clients, draining: load.draining });
        let condition = reply.condition.clone();
        let found = self.read(reply);
        if !contact.gone.is_cancelled() {
            self.note(&contact.entry.address, found.clone(), (load, condition));
        }
        Ok(found)
    }

    fn read(&self, reply: HelloReply) -> Found {
        let me = reply.member == self.me.0 && reply.nonce == self.nonce;
        Found {
            member: MemberId(reply.member),
            incarnation: reply.incarnation,
            cluster_id: <[u8; 16]>::try_from(&reply.cluster_id[..]).ok().map(u128::from_be_bytes),
            members: reply.members,
            membership: reply.membership.map(Membership::from_wire),
            version: reply.version,
            me,
        }
    }

    fn note(&self, address: &str, found: Found, (load, condition): (Option<Load>, Option<Condition>)) {
        let heard = Heard { found: found.clone(), load, condition, at: Instant::now() };
        let before = self.table.write().heard.insert(address.to_owned(), heard);
        if before.map(|before| before.found).as_ref() != Some(&found) {
            self.changed.send_modify(|n| *n += 1);
        }
    }
}

fn contact(dialer: &Dialer, entry: &Entry) -> Result<Arc<Contact>, tonic::transport::Error> {
    let channel = dialer.channel(&entry.cluster_address)?;
    let gone = CancellationToken::new();
    Ok(Arc::new(Contact { entry: entry.clone(), channel, greeted: Notify::new(), told: Notify::new(), gone }))
}
