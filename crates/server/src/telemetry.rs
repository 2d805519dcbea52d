//! The log lines on standard error, the ready line on standard output, and the limit of how many lines of one kind are
//! written: a registry with a million instances must not write a million lines when a rack fails.

use std::io::{self, Write};

use dyad_cli::{Exit, Failure};
use dyad_types::Millis;
use parking_lot::Mutex;
use serde::Serialize;
use tracing_subscriber::EnvFilter;

use crate::settings::LogFormat;

/// Most lines of one kind in a second. This is a little more than a person can follow.
pub const LINES_PER_SECOND: u32 = 20;
/// Kinds are names in this code, so there are a few; a limiter with more would be a bug and lets no line of them pass.
const KINDS_MAX: usize = 64;
const WINDOW_MS: u64 = 1_000;

/// What libraries say about themselves, unless the level names them. openraft warns of each heartbeat that a dead or a busy member
/// does not answer, ten times a second: what happens to members is told in lines of our own (`wire/watch`).
/// It also calls it an error that a member which is stopped answers no more.
const LIBRARIES: &str =
    "openraft=error,openraft::raft::stream_append=off,sled=warn,h2=warn,hyper=warn,tonic=warn,rustls=warn";

/// Installs the process's log writer.
///
/// # Errors
/// The filter cannot read the level (the check of the settings is stricter), or this is the second call.
pub fn init(format: LogFormat, level: &str) -> Result<(), Failure> {
    let failed = |why: String| Failure::new(Exit::Settings, format!("setting log_level: {why}"));
    let filter =
        EnvFilter::try_new(format!("{LIBRARIES},{level}")).map_err(|error| failed(error.to_string()))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match format {
        LogFormat::Text => lines.with_ansi(false).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    }
    .map_err(|error| failed(error.to_string()))
}

/// The one line on standard output, with the addresses that were really opened. Scripts wait for it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ReadyLine {
    /// Always true. The line is written when the ports are open and the member serves, which is so when Distro is READY
    /// or ALONE.
    pub ready: bool,
    /// `host:port` of the HTTP port.
    pub http: String,
    /// `host:port` of the gRPC port.
    pub grpc: String,
    /// `host:port` of the cluster port. `None` without a cluster token.
    pub cluster: Option<String>,
}

impl ReadyLine {
    /// Writes the line. A closed standard output does not matter to a server.
    pub fn print(&self) {
        let line = serde_json::to_string(self).expect("plain fields are JSON");
        let mut out = io::stdout().lock();
        let _closed = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// Decides for each line whether it may be written. It is pure: time is an argument.
#[derive(Debug)]
pub struct LineLimiter {
    per_second: u32,
    kinds: Vec<Kind>,
}

#[derive(Debug)]
struct Kind {
    name: &'static str,
    since: Millis,
    written: u32,
    suppressed: u64,
}

/// `count` lines of `kind` were not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Suppressed {
    pub kind: &'static str,
    pub count: u64,
}

impl LineLimiter {
    /// A limiter that admits at most `per_second` lines of each kind in a second.
    pub fn new(per_second: u32) -> LineLimiter {
        LineLimiter { per_second, kinds: Vec::new() }
    }

    /// Whether a line of `kind` may be written now. `Some` has what was suppressed in the second that ended, which has
    /// to be written first.
    pub fn admit(&mut self, kind: &'static str, now: Millis) -> Option<Option<Suppressed>> {
        let at = match self.kinds.iter().position(|known| known.name == kind) {
            Some(at) => at,
            None if self.kinds.len() < KINDS_MAX => {
                self.kinds.push(Kind { name: kind, since: now, written: 0, suppressed: 0 });
                self.kinds.len() - 1
            }
            None => return None,
        };
        let ended = self.kinds[at].roll(now);
        let kind = &mut self.kinds[at];
        if kind.written < self.per_second {
            kind.written += 1;
            return Some(ended);
        }
        kind.suppressed += 1;
        None
    }

    /// What was suppressed in the seconds that have ended. A caller that looks once per second can sum up a burst even
    /// if no line follows it.
    pub fn drain(&mut self, now: Millis) -> Vec<Suppressed> {
        self.kinds.iter_mut().filter_map(|kind| kind.roll(now)).collect()
    }
}

impl Kind {
    /// Begins a new second if the present one is over, and gives what the old one suppressed.
    fn roll(&mut self, now: Millis) -> Option<Suppressed> {
        if now.since(self.since) < WINDOW_MS {
            return None;
        }
        self.since = now;
        self.written = 0;
        let count = std::mem::take(&mut self.suppressed);
        (count > 0).then_some(Suppressed { kind: self.name, count })
    }
}

/// A limiter for many threads. It writes by itself how many lines were suppressed.
#[derive(Debug)]
pub struct Lines(Mutex<LineLimiter>);

impl Default for Lines {
    fn default() -> Lines {
        Lines(Mutex::new(LineLimiter::new(LINES_PER_SECOND)))
    }
}

impl Lines {
    /// Calls `write` if a line of `kind` may be written now.
    pub fn line(&self, kind: &'static str, now: Millis, write: impl FnOnce()) {
        let admitted = self.0.lock().admit(kind, now);
        if let Some(ended) = admitted {
            ended.iter().for_each(Suppressed::write);
            write();
        }
    }

    /// Writes how many lines were suppressed in the seconds that have ended. It is called once per second.
    pub fn tick(&self, now: Millis) {
        let ended = self.0.lock().drain(now);
        ended.iter().for_each(Suppressed::write);
    }
}

impl Suppressed {
    fn write(&self) {
        tracing::info!(kind = self.kind, "suppressed {} lines", self.count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "a";
    const B: &str = "b";

    #[test]
    fn bounded_per_kind_and_second() {
        let mut lines = LineLimiter::new(2);
        let written = |lines: &mut LineLimiter, kind, from: u64, count: u64| {
            (0..count).filter(|n| lines.admit(kind, Millis(from + n)).is_some()).count()
        };
        assert_eq!(written(&mut lines, A, 10_000, 50), 2);
        assert_eq!(written(&mut lines, B, 10_050, 1), 1, "another kind has its own bound");
        assert_eq!(lines.admit(A, Millis(10_999)), None);
        assert_eq!(lines.admit(A, Millis(11_000)), Some(Some(Suppressed { kind: A, count: 49 })));
        assert_eq!(lines.admit(A, Millis(11_001)), Some(None), "the sum is written once");
        assert_eq!(lines.admit(A, Millis(11_002)), None);
    }

    #[test]
    fn a_burst_is_summed_up_without_a_following_line() {
        let mut lines = LineLimiter::new(1);
        for _ in 0..5 {
            lines.admit(A, Millis(0));
        }
        lines.admit(B, Millis(0));
        assert_eq!(lines.drain(Millis(999)), Vec::new());
        assert_eq!(lines.drain(Millis(1_000)), vec![Suppressed { kind: A, count: 4 }]);
        assert_eq!(lines.drain(Millis(2_000)), Vec::new());
    }

    #[test]
    fn kinds_are_bounded_and_a_clock_that_stands_still_is_harmless() {
        let mut lines = LineLimiter::new(1);
        for n in 0..KINDS_MAX {
            let name: &'static str = Box::leak(format!("k{n}").into_boxed_str());
            assert_eq!(lines.admit(name, Millis(5)), Some(None));
        }
        assert_eq!(lines.admit("one more", Millis(5)), None);
        assert_eq!(lines.admit("k0", Millis(4)), None, "earlier than its second: still that second");
    }

    #[test]
    fn the_ready_line() {
        let line = ReadyLine {
            ready: true,
            http: "127.0.0.1:8848".into(),
            grpc: "127.0.0.1:9848".into(),
            cluster: None,
        };
        let want = r#"{"ready":true,"http":"127.0.0.1:8848","grpc":"127.0.0.1:9848","cluster":null}"#;
        assert_eq!(serde_json::to_string(&line).unwrap(), want);
    }
}
