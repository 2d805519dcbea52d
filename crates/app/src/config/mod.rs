//! The use cases of the configuration center.

pub mod history;
mod metrics;
pub mod namespace;
pub mod read;
mod turn;
mod view;
pub mod write;

pub use metrics::ConfigMetrics;
pub(crate) use turn::WORK_MAX;
pub use turn::{Stop, Turn, Turns};
pub use view::View;

/// Characters of a reason or of an operator's name: more is cut, so that the history stays small.
const REMARK_MAX: usize = 256;

/// The text of an operator, cut to what the history keeps.
pub fn cut(text: &str) -> Box<str> {
    match text.char_indices().nth(REMARK_MAX) {
        Some((end, _)) => text[..end].into(),
        None => text.into(),
    }
}
