//! The events of a YAML text, with a bound on what is held between two of them.
//!
//! The parser must look ahead: what begins with `[` or `{` may be the key of a map, so that it takes in the whole collection,
//! at about a hundred bytes of memory for each byte of text, before it gives its first event. Here it is given no more
//! than [`LOOKAHEAD_MAX`] characters at a time.

use std::cell::Cell;
use std::rc::Rc;
use std::str::Chars;

use saphyr_parser::{BufferedInput, Event, Parser};

/// Characters of a text between the ends of two events, such as the two brackets of one collection, or the ends of two
/// texts. The parser then holds up to 13 MB.
pub(crate) const LOOKAHEAD_MAX: usize = 64 * 1024;

/// Why there is no next event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum YamlError {
    /// The text is no YAML.
    #[error("{0}")]
    Syntax(String),
    #[error(
        "one text, or one collection in [] or {{}}, has more than {LOOKAHEAD_MAX} characters; write a list with one \"- \" \
         for each item"
    )]
    TooLong,
}

/// What is left of the characters that the parser may take before its next event.
#[derive(Default)]
struct Allowance {
    left: Cell<usize>,
    exceeded: Cell<bool>,
}

struct Metered<'t> {
    text: Chars<'t>,
    allowance: Rc<Allowance>,
}

impl Iterator for Metered<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let next = self.text.next()?;
        let Some(left) = self.allowance.left.get().checked_sub(1) else {
            self.allowance.exceeded.set(true);
            return None;
        };
        self.allowance.left.set(left);
        Some(next)
    }
}

/// The events of one text.
pub(crate) struct Events<'t> {
    parser: Parser<'t, BufferedInput<Metered<'t>>>,
    allowance: Rc<Allowance>,
}

impl<'t> Events<'t> {
    pub(crate) fn new(text: &'t str) -> Events<'t> {
        let allowance = Rc::new(Allowance::default());
        let metered = Metered { text: text.chars(), allowance: Rc::clone(&allowance) };
        Events { parser: Parser::new_from_iter(metered), allowance }
    }

    /// The next event; `None` after the last one.
    ///
    /// # Errors
    /// The text is no YAML, or the event would take in too much of it. Nothing can be read after that.
    pub(crate) fn next(&mut self) -> Option<Result<Event<'t>, YamlError>> {
        self.allowance.left.set(LOOKAHEAD_MAX);
        let event = self.parser.next_event();
        // A text that is cut off may look whole: what the parser makes of it counts for nothing.
        if self.allowance.exceeded.get() {
            return Some(Err(YamlError::TooLong));
        }
        match event? {
            Ok((event, _)) => Some(Ok(event)),
            Err(error) => Some(Err(YamlError::Syntax(error.to_string()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<usize, YamlError> {
        let mut events = Events::new(text);
        let mut count = 0;
        while let Some(event) = events.next() {
            event?;
            count += 1;
        }
        Ok(count)
    }

    #[test]
    fn a_long_text_is_read_and_a_long_collection_is_not() {
        let short = format!("[{}]", "a,".repeat(10_000));
        assert_eq!(read(&short), Ok(10_000 + 6), "a collection below the bound");
        assert_eq!(
            read(&"- a\n".repeat(LOOKAHEAD_MAX)),
            Ok(LOOKAHEAD_MAX + 6),
            "a text above it, in block style"
        );
        for long in [
            format!("- [{}]", "a,".repeat(LOOKAHEAD_MAX)),
            format!("{{{}}}", "a: 1,".repeat(LOOKAHEAD_MAX)),
            format!("a: |\n  {}\n", "x".repeat(2 * LOOKAHEAD_MAX)),
            format!("{}a: 1\n", "# x\n".repeat(LOOKAHEAD_MAX)),
        ] {
            assert_eq!(read(&long), Err(YamlError::TooLong), "{}", &long[..20]);
        }
        assert!(matches!(read("a: [1"), Err(YamlError::Syntax(_))));
    }
}
