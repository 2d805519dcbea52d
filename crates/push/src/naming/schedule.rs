//! The schedule of pushes: one list of what is due now, and two lists of what is due after a fixed time, so that each
//! list is in order.

use std::collections::VecDeque;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::topic::{Subscription, Topic};
use super::{FIRST_PUSH, PACE, Push};

/// First pushes that wait; as many clients as reconnect in half a second after a large failure. More are given at once.
const FIRST_MAX: usize = 200_000;
/// After so many pushes the task lets others run.
const TURN: usize = 64;

/// Bounded by the subscriptions: a topic is on one list at a time, a subscription at most once.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    lists: Mutex<Lists>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct Lists {
    ready: VecDeque<Arc<Topic>>,
    cooling: VecDeque<(Instant, Arc<Topic>)>,
    first: VecDeque<(Instant, Arc<Subscription>)>,
}

enum Due {
    Push(Arc<Topic>),
    Cooled(Arc<Topic>),
    First(Arc<Subscription>),
    /// Nothing; the next thing is due then.
    Wait(Option<Instant>),
}

impl Schedule {
    pub(super) fn ready(&self, topic: Arc<Topic>) {
        self.lists.lock().ready.push_back(topic);
        self.wake.notify_one();
    }

    pub(super) fn first(&self, subscription: &Arc<Subscription>) {
        if !subscription.promise() {
            return;
        }
        let mut lists = self.lists.lock();
        if lists.first.len() >= FIRST_MAX {
            drop(lists);
            subscription.keep_promise();
            return;
        }
        let alone = lists.first.is_empty();
        lists.first.push_back((Instant::now() + FIRST_PUSH, subscription.clone()));
        drop(lists);
        if alone {
            self.wake.notify_one();
        }
    }

    fn cool(&self, topic: Arc<Topic>) {
        self.lists.lock().cooling.push_back((Instant::now() + PACE, topic));
    }

    fn due(&self, now: Instant) -> Due {
        let mut lists = self.lists.lock();
        if let Some(topic) = lists.ready.pop_front() {
            return Due::Push(topic);
        }
        if let Some((_, topic)) = lists.cooling.pop_front_if(|(at, _)| *at <= now) {
            return Due::Cooled(topic);
        }
        if let Some((_, subscription)) = lists.first.pop_front_if(|(at, _)| *at <= now) {
            return Due::First(subscription);
        }
        let cooling = lists.cooling.front().map(|(at, _)| *at);
        let first = lists.first.front().map(|(at, _)| *at);
        Due::Wait(cooling.into_iter().chain(first).min())
    }
}

impl Push {
    /// Does the work of the pushes until `stop`. The tasks of the connections do what takes long: they make the bytes
    /// and write them.
    pub async fn run(self: Arc<Self>, stop: CancellationToken) {
        let mut done = 0;
        while !stop.is_cancelled() {
            match self.schedule.due(Instant::now()) {
                Due::Push(topic) => self.push_topic(topic),
                Due::Cooled(topic) => {
                    if topic.cooled() {
                        self.push_topic(topic);
                    }
                }
                Due::First(subscription) => subscription.keep_promise(),
                Due::Wait(until) => {
                    let due = async {
                        match until {
                            Some(at) => tokio::time::sleep_until(at).await,
                            None => std::future::pending().await,
                        }
                    };
                    tokio::select! {
                        () = due => {}
                        () = self.schedule.wake.notified() => {}
                        () = stop.cancelled() => {}
                    }
                    continue;
                }
            }
            done += 1;
            if done % TURN == 0 {
                tokio::task::yield_now().await;
            }
        }
    }

    fn push_topic(&self, topic: Arc<Topic>) {
        topic.push();
        self.schedule.cool(topic);
    }
}
