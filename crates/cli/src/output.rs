//! How a command tells its result: on standard output, as text or as JSON, with remarks on standard error.

use std::io::{ErrorKind, Write};

use crate::exit::{Exit, Failure};

/// Text for people, or JSON for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    Text,
    Json,
}

/// The result of a command. A closed pipe behind it is not our failure.
///
/// # Errors
/// `Exit::Disk` when standard output takes no more: a result that is cut off must not look whole.
pub fn print(text: &str) -> Result<(), Failure> {
    print_bytes(text.as_bytes())
}

/// The same, whatever the bytes are.
pub(crate) fn print_bytes(bytes: &[u8]) -> Result<(), Failure> {
    print_while_read(bytes).map(drop)
}

/// The same; false when nobody reads any more.
pub(crate) fn print_while_read(bytes: &[u8]) -> Result<bool, Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(Exit::Disk, format!("cannot write to standard output: {error}"))),
    }
}

/// A remark beside the result.
pub fn note(text: &str) {
    let _closed = writeln!(std::io::stderr().lock(), "note: {text}");
}
