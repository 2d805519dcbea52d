//! The waker of a transport's task. HTTP/2's own state wakes the task for what the task itself has just put there, and would
//! have it run twice for each request; while the task runs a wake is only remembered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Wake, Waker};

use futures::task::AtomicWaker;

#[derive(Debug, Default)]
pub(super) struct Ear {
    task: AtomicWaker,
    runs: AtomicBool,
    called: AtomicBool,
}

impl Wake for Ear {
    fn wake(self: Arc<Ear>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Ear>) {
        // Sequentially consistent with `rest`: a wake is seen by the task before it rests, or finds it resting.
        self.called.store(true, Ordering::SeqCst);
        if !self.runs.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

impl Ear {
    /// What is to be woken by what the task waits for.
    pub(super) fn waker(self: &Arc<Ear>) -> Waker {
        Waker::from(self.clone())
    }

    /// The task runs.
    pub(super) fn run(&self, cx: &Context<'_>) {
        self.task.register(cx.waker());
        self.runs.store(true, Ordering::SeqCst);
    }

    /// Forgets the wakes so far: what they were for is looked at now.
    pub(super) fn forget(&self) {
        if self.called() {
            self.called.store(false, Ordering::SeqCst);
        }
    }

    /// Was there a wake that is not forgotten?
    pub(super) fn called(&self) -> bool {
        self.called.load(Ordering::SeqCst)
    }

    /// The task rests until the next wake. One that came since [`Ear::forget`] makes it run again.
    pub(super) fn rest(&self) {
        self.runs.store(false, Ordering::SeqCst);
        if self.called.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}
