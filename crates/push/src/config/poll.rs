//! A long poll that waits. It is small, because there may be ten thousand of them.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Poll as Ready;
use std::time::Duration;

use dyad_config::{ConfigItem, ReaderLabels};
use dyad_types::{ConfigKey, Lease, Md5, NoPlace, Place};
use futures::task::AtomicWaker;
use tokio::runtime::Handle;
use tokio::task::consume_budget;
use tokio::time::sleep;

use super::{Listener, ListenerInfo, Listeners, Listening, Means, Reported};

/// Nothing happened yet.
const NOTHING: u32 = u32::MAX;
/// The server stops.
const RELEASED: u32 = u32::MAX - 1;

/// A poll of more names than this ends piece by piece, as it begins: other tasks run between the pieces.
const ENDED_AT_ONCE: usize = 128;

/// The client of a long poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asking {
    /// The address of its socket.
    pub peer: IpAddr,
    /// Its address, as Nacos determines it.
    pub ip: Box<str>,
    /// The header `Vipserver-Tag`.
    pub tag: Option<Box<str>>,
    /// The header `Client-AppName`.
    pub app: Box<str>,
}

/// A configuration, how the client spells its namespace, and what the client has.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    pub key: ConfigKey,
    pub tenant: &'a str,
    pub reported: Reported,
}

impl Asking {
    fn labels(&self) -> ReaderLabels<'_> {
        ReaderLabels { header_tag: self.tag.as_deref(), ..ReaderLabels::ip(&self.ip) }
    }

    /// Whether the client has another content than it would read now.
    pub fn differs(&self, listeners: &Listeners, wanted: &Wanted<'_>) -> bool {
        let item = listeners.catalog().item(&wanted.key);
        wanted.reported != Reported::Has(item.and_then(|item| item.answer(&self.labels()).md5()))
    }
}

/// A poll as its topics see it.
#[derive(Debug)]
struct Poll {
    asking: Asking,
    /// The mark of the first configuration that changed.
    first: AtomicU32,
    waker: AtomicWaker,
}

impl Poll {
    fn end(&self, how: u32) {
        let _not_the_first = self.first.compare_exchange(NOTHING, how, Ordering::AcqRel, Ordering::Acquire);
        self.waker.wake();
    }
}

impl Listener for Poll {
    fn notify(&self, listening: &Arc<Listening>) {
        self.end(listening.mark());
    }

    fn release(&self) {
        self.end(RELEASED);
    }

    fn md5(&self, item: &ConfigItem) -> Option<Md5> {
        item.answer(&self.asking.labels()).md5()
    }

    fn ip(&self) -> &str {
        &self.asking.ip
    }

    fn describe(&self) -> ListenerInfo {
        ListenerInfo { means: Means::LongPoll, client: String::new(), app: self.asking.app.to_string() }
    }
}

/// A long poll that waits. It listens until it is dropped, which also happens when its client goes away.
#[derive(Debug)]
pub struct Waiting {
    listeners: Arc<Listeners>,
    poll: Arc<Poll>,
    held: Vec<Arc<Listening>>,
    _place: Lease,
}

impl Waiting {
    /// Listens to everything that is wanted. If something differs already, because it changed since the client was
    /// compared for the first time, the wait ends at once. Other tasks run between the names.
    ///
    /// # Errors
    /// Too many long polls wait, or too many of this address.
    pub async fn begin(
        listeners: &Arc<Listeners>,
        asking: Asking,
        wanted: &[Wanted<'_>],
    ) -> Result<Waiting, NoPlace> {
        let place = listeners.places.take(Place::Polls, asking.peer)?;
        // All at once: a client that has no room for its last name must not cost its others each time it asks.
        let mut room = listeners.room_for(asking.peer, wanted.len())?;
        let poll = Arc::new(Poll { asking, first: AtomicU32::new(NOTHING), waker: AtomicWaker::new() });
        // From here on dropping it takes everything back.
        let mut waiting = Waiting {
            listeners: listeners.clone(),
            poll,
            held: Vec::with_capacity(wanted.len()),
            _place: place,
        };
        for (mark, wanted) in wanted.iter().enumerate() {
            consume_budget().await;
            let (poll, place) = (waiting.poll.clone(), room.split_one());
            let listening = listeners.listen(&wanted.key, wanted.tenant, mark as u32, poll, place);
            if listening.compare(listeners.catalog(), wanted.reported) {
                waiting.poll.end(listening.mark());
            }
            waiting.held.push(listening);
        }
        if listeners.released.load(Ordering::SeqCst) {
            waiting.poll.end(RELEASED);
        }
        Ok(waiting)
    }

    /// Waits for the first configuration that changes. `None` if the time is over or the server stops.
    pub async fn first(self, hold: Duration) -> Option<Arc<Listening>> {
        let mut over = pin!(sleep(hold));
        let first = poll_fn(|cx| {
            self.poll.waker.register(cx.waker());
            match self.poll.first.load(Ordering::Acquire) {
                NOTHING => over.as_mut().poll(cx).map(|()| NOTHING),
                first => Ready::Ready(first),
            }
        });
        let first = self.held.get(first.await as usize)?.clone();
        self.listeners.metrics.observe(first.notified(self.listeners.clock.wall_ms()));
        Some(first)
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let held = std::mem::take(&mut self.held);
        match Handle::try_current() {
            Ok(runtime) if held.len() > ENDED_AT_ONCE => {
                let listeners = Arc::clone(&self.listeners);
                runtime.spawn(async move {
                    for listening in held {
                        consume_budget().await;
                        listeners.unlisten(&listening);
                    }
                });
            }
            _ => held.iter().for_each(|listening| self.listeners.unlisten(listening)),
        }
    }
}
