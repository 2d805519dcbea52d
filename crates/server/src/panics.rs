//! What happens after a panic. A panic is a bug, after which no state in memory can be trusted, so the process ends at
//! once and a supervisor starts it again. The exception is the opening of the store, because its library panics on some
//! damaged files: such a panic becomes an error with its exit code.

use std::fmt;
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use dyad_cli::Failure;

/// Says what had already failed before the panic, if anything.
pub struct Cause(Box<dyn Fn() -> Option<Failure> + Send + Sync>);

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Cause")
    }
}

static CAUSE: OnceLock<Cause> = OnceLock::new();
static OPENING: AtomicBool = AtomicBool::new(false);

/// Makes every later panic end the process, after the usual message.
pub fn install() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        report(info);
        if OPENING.load(Ordering::Acquire) {
            return;
        }
        // A library that panics because the disk failed must not hide that the disk failed.
        if let Some(failure) = CAUSE.get().and_then(|cause| (cause.0)()) {
            let _closed = writeln!(std::io::stderr().lock(), "dyad: {failure}");
            std::process::exit(failure.exit as i32);
        }
        std::process::abort();
    }));
}

/// Says where to look for a failure of which a panic may be the consequence. Only the first call counts.
pub fn explain(cause: impl Fn() -> Option<Failure> + Send + Sync + 'static) {
    let _first = CAUSE.set(Cause(Box::new(cause)));
}

/// While this value lives, a panic unwinds and does not end the process.
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
