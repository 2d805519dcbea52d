//! The use cases of the configuration center.

mod metrics;
pub mod read;
mod turn;
pub mod write;

pub use metrics::ConfigMetrics;
pub(crate) use turn::WORK_MAX;
pub use turn::{Stop, Turn, Turns};

/// Characters of a reason or of an operator's name: more is cut, so that the history stays small.
const REMARK_MAX: usize = 256;

/// The text of an operator, cut to what the history keeps.
pub fn cut(text: &str) -> Box<str> {
    match text.char_indices().nth(REMARK_MAX) {
        Some((end, _)) => text[..end].into(),
        None => text.into(),
    }
}
