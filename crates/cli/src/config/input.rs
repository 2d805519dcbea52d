//! What a command reads: a file, or standard input.

use std::io::Read;
use std::path::Path;

use crate::exit::{Exit, Failure};

/// Bytes of a file or of standard input: contents have 10 Mi characters at most, archives 32 MiB.
const INPUT_MAX: u64 = 64 * 1024 * 1024;

/// A whole file; `-` is standard input.
///
/// # Errors
/// It cannot be read, or is larger than anything that is taken.
pub(super) fn read_bytes(file: &Path) -> Result<Vec<u8>, Failure> {
    let name = file.display();
    let failed = |error: std::io::Error| Failure::new(Exit::Settings, format!("cannot read {name}: {error}"));
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(INPUT_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).map_err(failed)?.take(INPUT_MAX + 1).read_to_end(&mut bytes)
    };
    read.map_err(failed)?;
    if bytes.len() as u64 > INPUT_MAX {
        return Err(Failure::new(Exit::Settings, format!("{name} is larger than {INPUT_MAX} bytes")));
    }
    Ok(bytes)
}

/// The same as text.
///
/// # Errors
/// Also for what is not UTF-8.
pub(super) fn read_text(file: &Path) -> Result<String, Failure> {
    String::from_utf8(read_bytes(file)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::new(Exit::Settings, format!("{} is not UTF-8 at byte {at}", file.display()))
    })
}
