//! What a panic means: a bug, after which no state in memory can be trusted, so the process ends at once and a supervisor
//! starts it again. The exception is the opening of the store, whose library panics on some torn files: that becomes an
//! error with its exit code.

use std::sync::atomic::{AtomicBool, Ordering};

static OPENING: AtomicBool = AtomicBool::new(false);

/// Makes every later panic end the process, after the usual message.
pub fn install() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        if !OPENING.load(Ordering::Acquire) {
            std::process::abort();
        }
    }));
}

/// While it lives, panics unwind.
#[derive(Debug)]
pub struct Opening(());

impl Opening {
    pub fn begin() -> Opening {
        OPENING.store(true, Ordering::Release);
        Opening(())
    }
}

impl Drop for Opening {
    fn drop(&mut self) {
        OPENING.store(false, Ordering::Release);
    }
}
