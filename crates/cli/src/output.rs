//! How a command prints its result: on standard output, as text or as JSON, with remarks on standard error.

use std::io::{ErrorKind, Write};

use crate::exit::{Exit, Failure};

/// Text for people, or JSON for programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Output {
    Text,
    Json,
}

/// Prints the result of a command. It is not an error if the reader of a pipe has closed it.
///
/// # Errors
/// `Exit::Disk` if standard output takes no more, because a result that is cut off must not look complete.
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

/// Prints a remark to standard error.
pub fn note(text: &str) {
    let _closed = writeln!(std::io::stderr().lock(), "note: {text}");
}
