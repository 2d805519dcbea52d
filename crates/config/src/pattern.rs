//! Patterns of a search, matched in a time that grows with the text alone, and the work that a search may do.

use memchr::memmem::Finder;

/// Steps between two questions whether the search may go on: some tens of microseconds.
const ASK_EVERY: u64 = 64 * 1024;

/// The search was told to stop: nobody waits for its result any more, or its time is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the search was told to stop")]
pub struct Stopped;

/// The work that a search has done, and whether it may go on. A step is a byte that was compared, or a text or a
/// configuration that was looked at.
pub struct Work<'s> {
    steps: u64,
    asked: u64,
    stop: &'s dyn Fn() -> bool,
}

impl std::fmt::Debug for Work<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Work").field("steps", &self.steps).finish_non_exhaustive()
    }
}

impl<'s> Work<'s> {
    /// Work that ends soon after `stop` has become true. It is asked once in [`ASK_EVERY`] steps.
    pub fn new(stop: &'s dyn Fn() -> bool) -> Work<'s> {
        Work { steps: 0, asked: 0, stop }
    }

    /// Notes these steps.
    ///
    /// # Errors
    /// The work must stop.
    pub fn spend(&mut self, steps: usize) -> Result<(), Stopped> {
        self.steps += steps as u64;
        if self.steps - self.asked < ASK_EVERY {
            return Ok(());
        }
        self.asked = self.steps;
        if (self.stop)() { Err(Stopped) } else { Ok(()) }
    }

    pub fn steps(&self) -> u64 {
        self.steps
    }
}

/// A text to compare with, either exactly or with `*` for any characters.
#[derive(Clone, Debug)]
pub struct Pattern {
    text: Box<str>,
    stars: Option<Stars>,
}

/// What stands before the first, after the last, and between the stars of a pattern. No part between two stars is empty.
#[derive(Clone, Debug)]
struct Stars {
    first: usize,
    last: usize,
    middle: Box<[Finder<'static>]>,
    /// Bytes of all parts together: what a text has at least.
    least: usize,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Pattern) -> bool {
        self.text == other.text && self.stars.is_some() == other.stars.is_some()
    }
}

impl Eq for Pattern {}

impl Pattern {
    /// A pattern that only an equal text matches (`search=accurate`).
    pub fn exact(text: &str) -> Pattern {
        Pattern { text: text.into(), stars: None }
    }

    /// A pattern in which `*` stands for any number of any characters (`search=blur`). Several `*` in a row are one. Without a
    /// `*`, only an equal text matches.
    pub fn blur(text: &str) -> Pattern {
        let (Some(first), Some(last)) = (text.find('*'), text.rfind('*')) else {
            return Pattern::exact(text);
        };
        let mut one = text[..first].to_owned();
        let mut middle = Vec::new();
        for part in text[first..=last].split('*').filter(|part| !part.is_empty()) {
            one.push('*');
            one.push_str(part);
            middle.push(Finder::new(part).into_owned());
        }
        one.push('*');
        one.push_str(&text[last + 1..]);
        let least = one.len() - middle.len() - 1;
        let stars = Stars { first, last: text.len() - last - 1, middle: middle.into(), least };
        Pattern { text: one.into(), stars: Some(stars) }
    }

    /// Compares a text. The steps are at most three for each byte of it, whatever the pattern is.
    ///
    /// # Errors
    /// The work must stop.
    pub fn matches(&self, text: &str, work: &mut Work<'_>) -> Result<bool, Stopped> {
        work.spend(1)?;
        let (text, own) = (text.as_bytes(), self.text.as_bytes());
        let Some(Stars { first, last, middle, least }) = &self.stars else {
            work.spend(text.len().min(own.len()))?;
            return Ok(text == own);
        };
        // A text that is shorter than the parts is none. So a long pattern costs a short text nothing.
        if text.len() < *least {
            return Ok(false);
        }
        work.spend(first + last)?;
        let (start, end) = (*first, text.len() - last);
        if text[..start] != own[..start] || text[end..] != own[own.len() - last..] {
            return Ok(false);
        }
        // Between the first and the last part the leftmost occurrence is as good as any other: nothing is looked at twice.
        let mut rest = &text[start..end];
        for part in middle {
            let Some(at) = part.find(rest) else {
                work.spend(rest.len())?;
                return Ok(false);
            };
            let (passed, after) = rest.split_at(at + part.needle().len());
            work.spend(passed.len())?;
            rest = after;
        }
        Ok(true)
    }

    pub(crate) fn as_exact(&self) -> Option<&str> {
        self.stars.is_none().then_some(&*self.text)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn steps(pattern: &Pattern, text: &str) -> (bool, u64) {
        let mut work = Work::new(&|| false);
        (pattern.matches(text, &mut work).unwrap(), work.steps())
    }

    #[test]
    fn a_star_stands_for_any_characters_in_blur_patterns_only() {
        for (pattern, text, blur) in [
            ("", "", true),
            ("*", "", true),
            ("*", "abc", true),
            ("a*", "abc", true),
            ("*c", "abc", true),
            ("*b*", "abc", true),
            ("a*c", "abc", true),
            ("a*b*c", "a-b-b-c", true),
            ("abc", "abc", true),
            ("ab", "abc", false),
            ("*d*", "abc", false),
            ("ab*bc", "abc", false),
            ("a*bb*c", "abc", false),
            ("**", "x", true),
            ("a**b***c", "abc", true),
            ("***", "", true),
            ("中*", "中文", true),
            ("*中*", "a文b", false),
        ] {
            assert_eq!(steps(&Pattern::blur(pattern), text).0, blur, "{pattern:?} {text:?}");
            assert_eq!(steps(&Pattern::exact(pattern), text).0, pattern == text);
        }
        assert_eq!(Pattern::blur("a**b"), Pattern::blur("a*b"));
        assert_ne!(Pattern::blur("a*b"), Pattern::exact("a*b"));
    }

    /// Wildcards in the way that everybody understands, for short texts.
    fn plain(pattern: &[u8], text: &[u8]) -> bool {
        match (pattern.split_first(), text.split_first()) {
            (None, None) => true,
            (Some((b'*', rest)), None) => plain(rest, text),
            (Some((b'*', rest)), Some((_, tail))) => plain(rest, text) || plain(pattern, tail),
            (Some((p, rest)), Some((t, tail))) => p == t && plain(rest, tail),
            _ => false,
        }
    }

    proptest::proptest! {
        #[test]
        fn a_pattern_matches_what_the_plain_rule_does(pattern in "[ab*]{0,8}", text in "[ab]{0,10}") {
            proptest::prop_assert_eq!(
                steps(&Pattern::blur(&pattern), &text).0,
                plain(pattern.as_bytes(), text.as_bytes())
            );
        }
    }

    #[test]
    fn the_steps_grow_with_the_text_alone() {
        let hostile = [
            format!("{}Z*Y", "*".repeat(15_000)),
            format!("{}Z*Y", "*a".repeat(7_500)),
            format!("{}*Z", "*aa*a".repeat(3_000)),
            format!("*{}b*", "a".repeat(15_000)),
            "*aaaaaaaab*".to_owned(),
        ];
        for len in [0, 1, 2, 100, 10_000, 1_000_000] {
            let texts = ["a".repeat(len), "ab".repeat(len / 2), format!("Z{}Y", "a".repeat(len))];
            for (pattern, text) in hostile.iter().flat_map(|p| texts.iter().map(move |t| (p, t))) {
                let (_, steps) = steps(&Pattern::blur(pattern), text);
                let most = 3 * text.len() as u64 + 1;
                assert!(steps <= most, "{} steps for {} bytes and {}…", steps, text.len(), &pattern[..8]);
            }
        }
    }

    #[test]
    fn work_stops_soon_after_it_was_told_to() {
        let pattern = Pattern::blur("*z*");
        let text = "a".repeat(100);
        let mut work = Work::new(&|| true);
        let mut count = 0;
        while pattern.matches(&text, &mut work) == Ok(false) {
            count += 1;
        }
        assert!((1..=ASK_EVERY / 100).contains(&count), "{count} texts");
        assert!(work.steps() <= ASK_EVERY + 101);
    }
}
