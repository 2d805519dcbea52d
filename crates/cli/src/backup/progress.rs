//! How far a long command is: one line that changes on a terminal, and a line now and then elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Between two states of the line on a terminal, and between two lines elsewhere.
const ON_TERMINAL: Duration = Duration::from_millis(100);
const ELSEWHERE: Duration = Duration::from_secs(10);
/// Characters of the bar.
const BAR: u64 = 30;

/// Progress on standard error.
#[derive(Debug)]
pub struct Progress {
    what: &'static str,
    terminal: bool,
    shown: Instant,
    /// Whether a line stands on the terminal.
    open: bool,
}

impl Progress {
    pub fn new(what: &'static str) -> Progress {
        Progress { what, terminal: stderr().is_terminal(), shown: Instant::now(), open: false }
    }

    /// `done` of `all` units, and so many bytes of the file.
    pub fn at(&mut self, done: u64, all: u64, bytes: u64) {
        let every = if self.terminal { ON_TERMINAL } else { ELSEWHERE };
        if self.shown.elapsed() < every {
            return;
        }
        self.shown = Instant::now();
        let line = line(self.what, done, all, bytes, self.terminal);
        let mut out = stderr().lock();
        // Nobody has to see it.
        let _ = if self.terminal { write!(out, "\r{line}\x1b[K") } else { writeln!(out, "{line}") };
        let _ = out.flush();
        self.open |= self.terminal;
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.open {
            let _ = write!(stderr().lock(), "\r\x1b[K");
        }
    }
}

fn line(what: &str, done: u64, all: u64, bytes: u64, bar: bool) -> String {
    let part = |of: u64| done.min(all).checked_mul(of).and_then(|n| n.checked_div(all)).unwrap_or(of);
    let figures = format!("{done} of {all} contents, {:.1} MiB", bytes as f64 / 1_048_576.0);
    if !bar {
        return format!("{what}: {}%, {figures}", part(100));
    }
    let full = part(BAR) as usize;
    let empty = BAR as usize - full;
    format!("{what} [{}{}] {:>3}% {figures}", "#".repeat(full), " ".repeat(empty), part(100))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(line("backup", 25, 100, 1 << 20, false), "backup: 25%, 25 of 100 contents, 1.0 MiB");
        assert_eq!(line("backup", 0, 0, 0, false), "backup: 100%, 0 of 0 contents, 0.0 MiB");
        let bar = line("x", 1, 2, 0, true);
        assert!(bar.starts_with(&format!("x [{}{}]  50%", "#".repeat(15), " ".repeat(15))), "{bar}");
    }
}
