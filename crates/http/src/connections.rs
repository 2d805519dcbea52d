//! All open connections of the HTTP port: what each is doing and since when, and what is overdue. Some limits are not known to
//! hyper, such as a deadline for the headers that does not count idle time. They are kept by a sweep over all connections once
//! per second, so a request costs no timer.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::limits::Limits;
use crate::metrics::HttpMetrics;
use dyad_types::{Full, Lease, NoPlace, Place, Places};

/// How often connections are looked at for their deadlines; deadlines are met within this.
pub(crate) const SWEEP: Duration = Duration::from_secs(1);
/// The longest time for which a connection may rest between two requests while others find no place.
const IDLE_CROWDED: Duration = Duration::from_secs(5);
/// The longest time from the opening of a spare connection to its request.
const IDLE_SPARE: Duration = Duration::from_secs(2);

/// What a connection is doing, for its deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    Idle = 0,
    /// Bytes of a head have arrived.
    Head = 1,
    /// The body of a request is being read; it has a deadline of its own.
    Body = 2,
    /// A request is being answered, all of which was read.
    Busy = 3,
}

/// The state of one connection that the sweep sees. Relaxed atomics: a deadline that is a sweep late harms nobody.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    phase: AtomicU8,
    /// The sweep in which the phase began.
    since: AtomicU64,
    /// Sweeps so far.
    now: Arc<AtomicU64>,
    draining: AtomicU8,
    /// The sweep since which the client takes nothing of an answer, and 1; 0 when nothing waits for it.
    blocked: AtomicU64,
    /// Why this is a spare connection: only questions about the member's health are answered on it.
    spare: Option<NoPlace>,
    pub(crate) expired: Notify,
}

impl Watch {
    pub(crate) fn enter(&self, phase: Phase) {
        self.since.store(self.now.load(Ordering::Relaxed), Ordering::Relaxed);
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    pub(crate) fn is(&self, phase: Phase) -> bool {
        self.phase.load(Ordering::Relaxed) == phase as u8
    }

    pub(crate) fn spare(&self) -> Option<NoPlace> {
        self.spare
    }

    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed) != 0
    }

    pub(crate) fn drain(&self) {
        self.draining.store(1, Ordering::Relaxed);
    }

    fn is_overdue(&self, limits: &Limits, is_crowded: bool) -> bool {
        let now = self.now.load(Ordering::Relaxed);
        let over = |since: u64, allowed: Duration| {
            SWEEP * u32::try_from(now.saturating_sub(since)).unwrap_or(u32::MAX) > allowed
        };
        let blocked = self.blocked.load(Ordering::Relaxed);
        if blocked != 0 && over(blocked - 1, limits.unread) {
            return true;
        }
        let allowed = match self.phase.load(Ordering::Relaxed) {
            0 | 1 if self.spare.is_some() => IDLE_SPARE,
            0 if is_crowded => limits.idle.min(IDLE_CROWDED),
            0 => limits.idle,
            1 => limits.head_read,
            _ => return false,
        };
        over(self.since.load(Ordering::Relaxed), allowed)
    }
}

impl dyad_net::Watch for Watch {
    /// The first bytes of a request arrive.
    fn read(&self, read: &Poll<io::Result<usize>>) {
        if matches!(read, Poll::Ready(Ok(1..))) && self.is(Phase::Idle) {
            self.enter(Phase::Head);
        }
    }

    /// A client that still reads a long answer is not idle.
    fn wrote(&self, wrote: &Poll<io::Result<usize>>) {
        let (some, blocked) = (wrote.is_ready(), self.blocked.load(Ordering::Relaxed));
        if some && blocked != 0 {
            self.blocked.store(0, Ordering::Relaxed);
        } else if !some && blocked == 0 {
            self.blocked.store(self.now.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        if some && self.is(Phase::Idle) {
            self.enter(Phase::Idle);
        }
    }
}

/// A request's body, which says when all of it was read.
#[derive(Debug)]
pub(crate) struct Watched {
    body: Incoming,
    watch: Arc<Watch>,
}

impl Watched {
    pub(crate) fn new(body: Incoming, watch: &Arc<Watch>) -> Watched {
        watch.enter(if body.is_end_stream() { Phase::Busy } else { Phase::Body });
        Watched { body, watch: watch.clone() }
    }
}

impl Body for Watched {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        // Not with the last bytes: their reader waits for the end as well, and is not to be taken for one whose client hung up.
        if self.watch.is(Phase::Body) && matches!(polled, Poll::Ready(None)) {
            self.watch.enter(Phase::Busy);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// All open connections, by number.
#[derive(Debug)]
pub(crate) struct Connections {
    open: Mutex<HashMap<u64, Arc<Watch>>>,
    places: Arc<Places>,
    metrics: Arc<HttpMetrics>,
    opened: AtomicU64,
    /// Somebody found no place since the last sweep.
    wanted: AtomicU8,
    sweeps: Arc<AtomicU64>,
    pub(crate) closed: Notify,
}

impl Connections {
    pub(crate) fn new(places: Arc<Places>, metrics: Arc<HttpMetrics>) -> Arc<Connections> {
        Arc::new(Connections {
            open: Mutex::default(),
            places,
            metrics,
            opened: AtomicU64::new(0),
            wanted: AtomicU8::new(0),
            sweeps: Arc::default(),
            closed: Notify::new(),
        })
    }

    /// Takes in a connection of the client at `address`; a spare one if there is no other place. `None` if there is none at all.
    pub(crate) fn open(self: &Arc<Connections>, address: IpAddr) -> Option<OpenGuard> {
        let (place, spare) = match self.places.take(Place::Http, address) {
            Ok(place) => (place, None),
            Err(refused) => {
                self.metrics.refused.fetch_add(1, Ordering::Relaxed);
                if refused.full == Full::All {
                    self.wanted.store(1, Ordering::Relaxed);
                }
                (self.places.take(Place::Spare, address).ok()?, Some(refused))
            }
        };
        let watch = Arc::new(Watch { now: self.sweeps.clone(), spare, ..Watch::default() });
        watch.enter(Phase::Idle);
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        self.open.lock().insert(number, watch.clone());
        self.metrics.connections.fetch_add(1, Ordering::Relaxed);
        Some(OpenGuard { connections: self.clone(), number, watch, _place: place })
    }

    pub(crate) fn len(&self) -> usize {
        self.open.lock().len()
    }

    /// Ends what is overdue. When somebody found no place, who rests is soon overdue.
    pub(crate) fn sweep(&self, limits: &Limits) {
        self.sweeps.fetch_add(1, Ordering::Relaxed);
        let is_crowded = self.wanted.swap(0, Ordering::Relaxed) != 0;
        for watch in self.open.lock().values().filter(|watch| watch.is_overdue(limits, is_crowded)) {
            watch.expired.notify_one();
        }
    }

    pub(crate) fn cut_all(&self) {
        for watch in self.open.lock().values() {
            watch.expired.notify_one();
        }
    }
}

/// Takes the connection off the list when its task ends, in whatever way, and gives its place back.
#[derive(Debug)]
pub(crate) struct OpenGuard {
    connections: Arc<Connections>,
    number: u64,
    pub(crate) watch: Arc<Watch>,
    _place: Lease,
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.connections.open.lock().remove(&self.number);
        self.connections.metrics.connections.fetch_sub(1, Ordering::Relaxed);
        self.connections.closed.notify_one();
    }
}
