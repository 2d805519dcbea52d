//! `dyad token new`: the secret that all members of a cluster share.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rand::TryRngCore;
use rand::rngs::OsRng;

use crate::exit::{Exit, Failure};
use crate::output::print;

/// 256 bits, 44 characters in base64.
const BYTES: usize = 32;

/// Prints a fresh token.
///
/// # Errors
/// The operating system gives no random bytes.
pub fn fresh() -> Result<(), Failure> {
    print(&format!("{}\n", draw()?))
}

fn draw() -> Result<String, Failure> {
    let mut bytes = [0; BYTES];
    OsRng
        .try_fill_bytes(&mut bytes)
        .map_err(|error| Failure::new(Exit::Refused, format!("the system gives no random bytes: {error}")))?;
    Ok(STANDARD.encode(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_long_enough_and_differ() {
        let (one, two) = (draw().unwrap(), draw().unwrap());
        assert_eq!(one.len(), 44);
        assert_eq!(STANDARD.decode(&one).unwrap().len(), BYTES);
        assert_ne!(one, two);
    }
}
