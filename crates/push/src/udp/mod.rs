//! Push by UDP to clients of the 1.x era (`com.alibaba.nacos.naming.push.v1`, later `UdpPushService`).
//!
//! A query of `/instance/list` with a `udpPort` subscribes the address from which it came, until the cache time of the
//! client is over. A push is one datagram `{"type":"dom","data":"<the answer to the query as a
//! string>","lastRefTime":n}`, which is compressed if it has at least [`GZIP_BYTES`]. The client answers
//! `{"type":"push-ack","lastRefTime":n,…}`. A datagram may be lost; it is repeated once, and the client polls anyway.

mod agent;
mod book;

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use bytes::Bytes;
use dyad_naming::Switches;
use dyad_naming::view::ListQuery;
use dyad_types::{Place, Places, ServiceKey};
use flate2::Compression;
use flate2::write::GzEncoder;
use parking_lot::Mutex;
use serde::Deserialize;
use tokio::net::UdpSocket;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::naming::{Push, Subscriber, SubscriberInfo, Subscription, Update};
use book::{Book, Id, Key};

/// From this size on a datagram is compressed (`UdpConnector`, `PushService.compressIfNecessary`).
const GZIP_BYTES: usize = 1_024;
/// The largest payload of an IPv4 datagram. A list that does not fit is left to polling.
const DATAGRAM_MAX: usize = 65_507;
/// An acknowledgement has about 60 bytes; what is longer is cut and then no JSON.
const ACK_BYTES: usize = 1_024;
/// How often those who stopped asking, and datagrams that were not acknowledged, are looked for: both wait 10 s.
const SWEEP: Duration = Duration::from_millis(500);
/// After so many datagrams the task looks at acknowledgements and its end.
const TURN: usize = 64;
/// Wait after the socket refused to receive, so that a broken one costs little.
const RECEIVE_PAUSE: Duration = Duration::from_millis(50);

/// A client that asks. Its address is that of its TCP connection.
#[derive(Clone, Debug)]
pub struct Asker {
    pub udp: Arc<Udp>,
    pub ip: IpAddr,
    /// Its `User-Agent`.
    pub agent: Box<str>,
}

impl Asker {
    /// Notes that the client has asked about the service and listens on this port. From this call on it gets pushes of
    /// changes until it stops asking, if its kind and version understand them.
    pub fn asked(&self, port: u16, app: &str, service: &ServiceKey, clusters: &str) {
        let switches = self.udp.switches.load();
        if port == 0 || !switches.push_enabled || !agent::may_be_pushed(&self.agent, &switches) {
            return;
        }
        let key =
            Key { to: SocketAddr::new(self.ip, port), service: service.clone(), clusters: clusters.into() };
        self.udp.polled(key, &self.agent, app);
    }
}

/// The subscriptions by UDP on this member. [`Udp::run`] sends the datagrams.
#[derive(Debug)]
pub struct Udp {
    push: Arc<Push>,
    switches: Arc<ArcSwap<Switches>>,
    places: Arc<Places>,
    socket: UdpSocket,
    book: Mutex<Book<Arc<Subscription>, Arc<Packet>>>,
    told: Arc<Told>,
}

/// What changed since the task looked: each subscription at most once, so it is bounded by their number.
#[derive(Debug, Default)]
struct Told {
    ids: Mutex<Vec<(Id, Arc<Subscription>)>>,
    wake: Notify,
}

#[derive(Debug)]
struct Listener {
    id: Id,
    info: SubscriberInfo,
    told: Arc<Told>,
}

impl Subscriber for Listener {
    fn notify(&self, subscription: &Arc<Subscription>) {
        if !subscription.queued.swap(true, Ordering::AcqRel) {
            self.told.ids.lock().push((self.id, subscription.clone()));
            self.told.wake.notify_one();
        }
    }

    fn describe(&self) -> SubscriberInfo {
        self.info.clone()
    }
}

#[derive(Debug)]
struct Packet {
    /// Its `lastRefTime`.
    number: u64,
    bytes: Bytes,
}

#[derive(Deserialize)]
struct Ack<'a> {
    #[serde(rename = "type")]
    kind: &'a str,
    #[serde(rename = "lastRefTime")]
    number: Number<'a>,
}

/// The Java client sends the number as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number<'a> {
    Plain(u64),
    Text(&'a str),
}

impl Udp {
    /// Opens a socket on any free port of the address of the HTTP port.
    ///
    /// # Errors
    /// The system refuses.
    pub async fn bind(
        ip: IpAddr,
        push: Arc<Push>,
        switches: Arc<ArcSwap<Switches>>,
        places: Arc<Places>,
    ) -> io::Result<Udp> {
        let socket = UdpSocket::bind((ip, 0)).await?;
        Ok(Udp { push, switches, places, socket, book: Mutex::default(), told: Arc::default() })
    }

    fn polled(&self, key: Key, agent: &str, app: &str) {
        if self.book.lock().asked_again(self.now(), &key) {
            return;
        }
        // Without a place the client polls, which it does anyway.
        let Ok(place) = self.places.take(Place::Udp, key.to.ip()) else { return };
        let Some(id) = self.book.lock().enter(self.now(), &key) else { return };
        let info = SubscriberInfo {
            ip: key.to.ip().to_canonical().to_string(),
            port: key.to.port(),
            agent: agent.to_owned(),
            app: app.to_owned(),
        };
        let listener = Listener { id, info, told: self.told.clone() };
        // Not under the lock: a push that runs takes them in the other order.
        let subscription = self.push.subscribe(&key.service, &key.clusters, Arc::new(listener), place);
        self.book.lock().subscribed(id, subscription);
    }

    /// The number of subscriptions at present.
    pub fn count(&self) -> usize {
        self.book.lock().len()
    }

    /// Sends and repeats datagrams and takes acknowledgements, until `stop`.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut ack = [0; ACK_BYTES];
        let mut sweep = tokio::time::interval(SWEEP);
        let mut made: Option<(Arc<Update>, Option<Arc<Packet>>)> = None;
        loop {
            let more = self.send(&mut made).await;
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                received = self.socket.recv_from(&mut ack) => match received {
                    Ok((length, from)) => self.take_ack(&ack[..length], from),
                    Err(error) => {
                        tracing::debug!(%error, "the UDP socket does not receive");
                        tokio::time::sleep(RECEIVE_PAUSE).await;
                    }
                },
                _ = sweep.tick() => {
                    self.sweep();
                    self.repeat().await;
                }
                () = std::future::ready(()), if more => {}
                () = self.told.wake.notified() => {}
            }
        }
    }

    /// Sends what has changed; true when there is more.
    async fn send(&self, made: &mut Option<(Arc<Update>, Option<Arc<Packet>>)>) -> bool {
        let told = std::mem::take(&mut *self.told.ids.lock());
        let on = self.switches.load().push_enabled;
        {
            let mut book = self.book.lock();
            for (id, subscription) in told {
                // From here on a change is told again; the state that is sent is read later.
                subscription.queued.store(false, Ordering::Release);
                if on {
                    book.changed(id, subscription);
                }
            }
        }
        for _ in 0..TURN {
            let Some((id, to, subscription)) = self.book.lock().next() else { return false };
            let update = subscription.update(&self.push);
            let packet = match made {
                Some((of, packet)) if Arc::ptr_eq(of, &update) => packet.clone(),
                _ => {
                    let packet = encode(&update).map(Arc::new);
                    *made = Some((update.clone(), packet.clone()));
                    packet
                }
            };
            let now = self.now();
            let sent = match &packet {
                Some(packet) => self.socket.send_to(&packet.bytes, to).await,
                None => Err(io::ErrorKind::FileTooLarge.into()),
            };
            match (sent, packet) {
                (Ok(_), Some(packet)) => {
                    self.push.metrics.observe(update.changed.map(|at| at.elapsed()));
                    self.book.lock().sent(now, id, packet.number, packet);
                }
                (sent, _) => {
                    tracing::debug!(%to, error = ?sent.err(), "not pushed by UDP");
                    self.push.metrics.failed.fetch_add(1, Ordering::Relaxed);
                    self.book.lock().unsent(id);
                }
            }
        }
        true
    }

    async fn repeat(&self) {
        let due = self.book.lock().due(self.now());
        self.push.metrics.failed.fetch_add(due.failed as u64, Ordering::Relaxed);
        for (to, packet) in due.again {
            if let Err(error) = self.socket.send_to(&packet.bytes, to).await {
                tracing::debug!(%to, %error, "not pushed by UDP again");
            }
        }
    }

    fn take_ack(&self, bytes: &[u8], from: SocketAddr) {
        let Ok(ack) = serde_json::from_slice::<Ack<'_>>(bytes) else { return };
        let number = match ack.number {
            Number::Plain(number) => Some(number),
            Number::Text(text) => text.parse().ok(),
        };
        let Some(number) = number.filter(|_| ack.kind == "push-ack") else { return };
        if self.book.lock().acknowledged(from, number) {
            self.push.metrics.acked.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn sweep(&self) {
        let cache_ms = u64::try_from(self.switches.load().default_push_cache_millis).unwrap_or(0);
        let gone = self.book.lock().expire(self.now(), cache_ms);
        for subscription in gone {
            self.push.unsubscribe(&subscription);
        }
    }

    fn now(&self) -> u64 {
        self.push.clock().now().0
    }
}

/// The datagram; none when it is too large for one.
fn encode(update: &Update) -> Option<Packet> {
    let query = ListQuery { clusters: &update.clusters, healthy_only: false };
    let list = update.view.list(&query).stamped(update.last_ref_ms);
    let list = String::from_utf8_lossy(&list);
    let mut json = Vec::with_capacity(list.len() + list.len() / 4);
    json.extend_from_slice(b"{\"type\":\"dom\",\"data\":");
    serde_json::to_writer(&mut json, &*list).ok()?;
    write!(json, ",\"lastRefTime\":{}}}", update.id).ok()?;
    let bytes = if json.len() < GZIP_BYTES { json } else { gzip(&json)? };
    (bytes.len() <= DATAGRAM_MAX).then(|| Packet { number: update.id, bytes: bytes.into() })
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}
