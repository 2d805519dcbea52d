//! What has to be sent on the stream of a connection, and what was sent and is not acknowledged yet.
//!
//! Small requests of the server wait in a short queue. A subscription that has something new is in the outbox once; its
//! message is made when the stream can send it.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Context;
use std::time::Duration;

use bytes::Bytes;
use dyad_types::Millis;
use futures::task::AtomicWaker;
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::watched::Watching;
use dyad_app::ClientMetrics;
use dyad_push::config::Listening;
use dyad_push::naming::{Subscription, Update};

/// Bytes of requests of the server's own that wait for a client: detection, reset, and questions about its configurations. A
/// client with more waiting has stopped reading.
const REQUESTS_BYTES_MAX: usize = 64 * 1024;
/// Bytes of what a client says about itself when somebody asks: a few for each configuration that it was asked about.
const METRICS_BYTES_MAX: usize = 256 * 1024;
/// How often one push is sent again for want of an acknowledgement. HTTP/2 loses nothing: a client that does not answer
/// either has the push, or is found dead by the keep-alive.
const REPEATS_MAX: u32 = 3;

/// Wakes the stream that sends for a connection.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    /// Since it was last looked at, something was put into the outbox.
    news: AtomicBool,
    waker: AtomicWaker,
}

impl Channel {
    pub(crate) fn wake(&self) {
        self.news.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Is there anything new? If not, this task is woken when there is.
    pub(crate) fn has_news(&self, cx: &Context<'_>) -> bool {
        self.waker.register(cx.waker());
        self.news.load(Ordering::Relaxed) && self.news.swap(false, Ordering::Acquire)
    }
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    requests: VecDeque<(Bytes, Option<(u64, Wanted)>)>,
    requests_bytes: usize,
    news: VecDeque<News>,
    waiting: HashMap<u64, Waiting>,
    /// The stream that takes from here.
    channel: Option<Arc<Channel>>,
    /// Since when something waits and nothing was taken.
    stuck: Option<Millis>,
    closed: bool,
}

/// What there is something new for.
#[derive(Debug)]
pub(crate) enum News {
    Push(Arc<Subscription>),
    Watch(Arc<dyn Watching>),
    Config(Arc<Listening>),
}

impl News {
    /// It is in an outbox.
    fn queued(&self) -> &AtomicBool {
        match self {
            News::Push(subscription) => &subscription.queued,
            News::Watch(watch) => watch.queued(),
            News::Config(listening) => &listening.queued,
        }
    }

    /// Not what ended, or was answered, while it waited.
    fn is_due(&self) -> bool {
        match self {
            News::Push(subscription) => !subscription.is_ended(),
            News::Watch(_) => true,
            News::Config(listening) => listening.is_due(),
        }
    }
}

/// Something that was sent and is to be acknowledged.
#[derive(Debug)]
struct Waiting {
    wanted: Wanted,
    since: Millis,
    repeats: u32,
    /// It is about to be sent again.
    again: bool,
}

/// Why an acknowledgement is wanted.
#[derive(Clone, Debug)]
pub(crate) enum Wanted {
    /// The client was silent.
    Detection,
    /// The core asked.
    Probe,
    Push(Arc<Subscription>),
    Config(Arc<Listening>),
    /// Somebody waits for what it says.
    Metrics(ClientAnswer),
    /// Only counted: nothing follows from its absence.
    Notice,
}

/// Gives what a client answers to somebody who waits for it.
#[derive(Clone, Debug)]
pub(crate) struct ClientAnswer(Arc<Mutex<Option<oneshot::Sender<ClientMetrics>>>>);

impl ClientAnswer {
    pub(crate) fn new() -> (ClientAnswer, oneshot::Receiver<ClientMetrics>) {
        let (sender, receiver) = oneshot::channel();
        (ClientAnswer(Arc::new(Mutex::new(Some(sender)))), receiver)
    }

    /// `json` is a whole `ClientConfigMetricResponse`; one that is none, or is too long, gives nothing.
    pub(crate) fn give(&self, json: &[u8]) {
        #[derive(serde::Deserialize)]
        struct Response {
            metrics: ClientMetrics,
        }
        let sender = self.0.lock().take();
        if json.len() > METRICS_BYTES_MAX {
            return;
        }
        if let (Some(sender), Ok(response)) = (sender, serde_json::from_slice::<Response>(json)) {
            // Fails when nobody waits any more.
            let _late = sender.send(response.metrics);
        }
    }
}

/// What the stream takes.
#[derive(Debug)]
pub(crate) enum Next {
    Request(Bytes),
    News(News),
    Nothing,
    /// The connection has ended, or another stream sends for it.
    End,
}

/// What the times that went by lead to.
#[derive(Debug, Default)]
pub(crate) struct Overdue {
    /// A detection went unanswered, or the client took nothing for too long.
    pub(crate) dead: bool,
    /// A probe went unanswered.
    pub(crate) probe_failed: bool,
    pub(crate) pushes_failed: u64,
    pub(crate) configs_failed: u64,
    pub(crate) repeat: Vec<News>,
}

/// The times of `GrpcLimits` that are looked at here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) answer: Duration,
    pub(crate) retry: Duration,
    pub(crate) probe: Duration,
    pub(crate) blocked: Duration,
}

impl Outbox {
    /// From now on this stream takes from here; false when another one does.
    pub(crate) fn attach(&mut self, channel: &Arc<Channel>) -> bool {
        if self.closed || self.channel.is_some() {
            return false;
        }
        self.channel = Some(channel.clone());
        channel.wake();
        true
    }

    pub(crate) fn detach(&mut self, channel: &Arc<Channel>) {
        if self.channel.as_ref().is_some_and(|held| Arc::ptr_eq(held, channel)) {
            self.channel = None;
        }
    }

    /// Has a request of the server's own sent; false when too much waits.
    pub(crate) fn request(&mut self, bytes: Bytes, wanted: Option<(u64, Wanted)>, now: Millis) -> bool {
        if self.closed || self.requests_bytes + bytes.len() > REQUESTS_BYTES_MAX {
            return false;
        }
        // The time for an answer runs from here: a client that takes nothing does not answer either.
        if let Some((id, wanted)) = &wanted {
            self.waiting.insert(*id, Waiting::new(wanted.clone(), now));
        }
        self.requests_bytes += bytes.len();
        self.requests.push_back((bytes, wanted));
        self.wake();
        true
    }

    /// There is something new. It waits once, whatever else happens until it is taken.
    pub(crate) fn put(&mut self, news: News) {
        if !self.closed && !news.queued().swap(true, Ordering::AcqRel) {
            self.news.push_back(news);
            self.wake();
        }
    }

    /// Takes what is to be sent next on `channel`.
    pub(crate) fn next(&mut self, channel: &Arc<Channel>, now: Millis) -> Next {
        if self.closed {
            return Next::End;
        }
        if !self.channel.as_ref().is_some_and(|held| Arc::ptr_eq(held, channel)) {
            return Next::Nothing;
        }
        let next = self.take();
        let more = !self.requests.is_empty() || !self.news.is_empty();
        self.stuck = more.then_some(now);
        next
    }

    fn take(&mut self) -> Next {
        if let Some((bytes, _)) = self.requests.pop_front() {
            self.requests_bytes -= bytes.len();
            return Next::Request(bytes);
        }
        while let Some(news) = self.news.pop_front() {
            // Before it is looked at: what changes from here on is told again.
            news.queued().store(false, Ordering::Release);
            if news.is_due() {
                return Next::News(news);
            }
        }
        Next::Nothing
    }

    /// A push is being sent: its acknowledgement is waited for, that of an older one of the same service no longer.
    pub(crate) fn sent(&mut self, subscription: &Arc<Subscription>, update: &Update, now: Millis) {
        let of_same = |wanted: &Wanted| match wanted {
            Wanted::Push(other) => Arc::ptr_eq(other, subscription),
            _ => false,
        };
        let last = subscription.last_sent.swap(update.id, Ordering::AcqRel);
        let former = self.waiting.remove(&last).filter(|waiting| of_same(&waiting.wanted));
        let repeats = former.filter(|_| last == update.id).map_or(0, |waiting| waiting.repeats + 1);
        let wanted = Wanted::Push(subscription.clone());
        self.waiting.insert(update.id, Waiting { repeats, ..Waiting::new(wanted, now) });
    }

    /// A notification is being sent: its acknowledgement is waited for, that of an older one of the same configuration no
    /// longer.
    pub(crate) fn sent_config(&mut self, listening: &Arc<Listening>, id: u64, now: Millis) {
        let of_same = |wanted: &Wanted| match wanted {
            Wanted::Config(other) => Arc::ptr_eq(other, listening),
            _ => false,
        };
        let last = listening.last_sent.swap(id, Ordering::AcqRel);
        let former = self.waiting.remove(&last).filter(|waiting| of_same(&waiting.wanted));
        let repeats = former.filter(|former| former.again).map_or(0, |former| former.repeats + 1);
        let wanted = Wanted::Config(listening.clone());
        self.waiting.insert(id, Waiting { repeats, ..Waiting::new(wanted, now) });
    }

    /// Something was sent whose acknowledgement is only counted.
    pub(crate) fn noticed(&mut self, id: u64, now: Millis) {
        self.waiting.insert(id, Waiting::new(Wanted::Notice, now));
    }

    /// An acknowledgement came in: what it was wanted for, if it was.
    pub(crate) fn acknowledged(&mut self, id: u64) -> Option<Wanted> {
        self.waiting.remove(&id).map(|waiting| waiting.wanted)
    }

    /// Is a client that was silent asked already?
    pub(crate) fn asks(&self) -> bool {
        self.waiting.values().any(|waiting| matches!(waiting.wanted, Wanted::Detection | Wanted::Probe))
    }

    /// Looks at the times. `active`: when the client was heard last; a sign of life of any kind answers a question.
    pub(crate) fn overdue(&mut self, now: Millis, active: Millis, times: &Times) -> Overdue {
        let mut found = Overdue::default();
        if self.waiting.is_empty() && self.requests.is_empty() && self.news.is_empty() {
            self.stuck = None;
            return found;
        }
        if !self.requests.is_empty() || !self.news.is_empty() {
            let since = *self.stuck.get_or_insert(now);
            found.dead = over(now, since, times.blocked);
        }
        self.waiting.retain(|_, waiting| {
            let within = match waiting.wanted {
                Wanted::Probe => times.probe,
                Wanted::Push(_) | Wanted::Config(_) => times.answer + times.retry,
                Wanted::Detection | Wanted::Notice | Wanted::Metrics(_) => times.answer,
            };
            if !over(now, waiting.since, within) {
                return true;
            }
            let alive = active > waiting.since;
            match &waiting.wanted {
                Wanted::Detection => found.dead |= !alive,
                Wanted::Probe => found.probe_failed |= !alive,
                Wanted::Push(subscription) => {
                    found.pushes_failed += 1;
                    if waiting.repeats < REPEATS_MAX {
                        found.repeat.push(News::Push(subscription.clone()));
                        // Kept for the count of repeats; sending it again begins its time anew.
                        waiting.since = now;
                        return true;
                    }
                }
                Wanted::Config(listening) => {
                    found.configs_failed += 1;
                    if waiting.repeats < REPEATS_MAX && listening.is_due() {
                        found.repeat.push(News::Config(listening.clone()));
                        waiting.since = now;
                        waiting.again = true;
                        return true;
                    }
                }
                // Who waits for it hears that it does not come.
                Wanted::Metrics(_) => {}
                Wanted::Notice => found.pushes_failed += 1,
            }
            false
        });
        found
    }

    /// Nothing is sent any more; the stream ends.
    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.requests.clear();
        self.news.clear();
        self.waiting.clear();
        if let Some(channel) = self.channel.take() {
            channel.wake();
        }
    }

    /// Has the stream look again at what it could not send for want of room.
    pub(crate) fn remind(&self) {
        if !self.news.is_empty() {
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(channel) = &self.channel {
            channel.wake();
        }
    }
}

impl Waiting {
    fn new(wanted: Wanted, now: Millis) -> Waiting {
        Waiting { wanted, since: now, repeats: 0, again: false }
    }
}

fn over(now: Millis, since: Millis, within: Duration) -> bool {
    now.since(since) >= within.as_millis() as u64
}
