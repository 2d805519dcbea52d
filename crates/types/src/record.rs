//! The error of stored records, shared by all parts of the replicated state.

/// A record of the log, of a snapshot or of a row that does not decode, or is of a version that this build does not know.
/// The text says which, for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadRecord(pub String);
