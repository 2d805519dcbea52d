//! Why there are no figures, and the kinds of errors that are counted in them.

use std::fmt;

/// Nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// The command line asks for something impossible.
    #[error("{0}")]
    Usage(String),
    /// A server is not there, or refuses what prepares the measurement.
    #[error("{server}: {why}")]
    Server { server: String, why: String },
}

/// Why a request failed. The text is the kind that it is counted under.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failed {
    /// No connection.
    Connect(std::io::ErrorKind),
    /// No answer in time.
    Timeout,
    /// The connection ended before the answer was complete.
    Broken,
    /// HTTP: a status other than 200.
    Status(u16),
    /// gRPC: a status instead of a message.
    Grpc,
    /// Nacos: another `resultCode` or `code` than success.
    Code(i64),
    /// Not an answer that Nacos would give.
    Answer(&'static str),
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failed::Connect(kind) => write!(f, "cannot connect: {kind}"),
            Failed::Timeout => write!(f, "no answer in time"),
            Failed::Broken => write!(f, "the connection ended"),
            Failed::Status(status) => write!(f, "HTTP status {status}"),
            Failed::Grpc => write!(f, "a gRPC status instead of a message"),
            Failed::Code(code) => write!(f, "code {code}"),
            Failed::Answer(why) => write!(f, "strange answer: {why}"),
        }
    }
}
