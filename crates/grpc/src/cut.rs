//! Ends a transport from outside of its task. The task checks this whenever it runs, which costs one load and no lock.

use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};

use futures::task::AtomicWaker;

const NOT: u8 = 0;
const ENDED: u8 = 1;
const STOPPED: u8 = 2;

#[derive(Debug, Default)]
pub(crate) struct Cut {
    why: AtomicU8,
    waker: AtomicWaker,
}

/// Why a transport is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// This connection is over.
    Ended,
    /// The server stops; the clients go elsewhere.
    Stopped,
}

impl Cut {
    /// The first call counts.
    pub(crate) fn cut(&self, why: Why) {
        let why = match why {
            Why::Ended => ENDED,
            Why::Stopped => STOPPED,
        };
        let _former = self.why.compare_exchange(NOT, why, Ordering::AcqRel, Ordering::Relaxed);
        self.waker.wake();
    }

    pub(crate) fn poll(&self, cx: &Context<'_>) -> Poll<Why> {
        if self.why.load(Ordering::Acquire) == NOT {
            self.waker.register(cx.waker());
        }
        match self.why.load(Ordering::Acquire) {
            NOT => Poll::Pending,
            ENDED => Poll::Ready(Why::Ended),
            _ => Poll::Ready(Why::Stopped),
        }
    }
}
