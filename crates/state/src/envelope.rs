//! What one entry of the log carries: a command, and which request of a user it is.

use crate::command::CpCommand;
use crate::requests::RequestId;

/// A command on its way into the state. However often it is in the log, it takes effect once, unless it has no id.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    pub request: RequestId,
    pub command: CpCommand,
}

impl Envelope {
    /// A command that may be carried out again.
    pub fn bare(command: impl Into<CpCommand>) -> Envelope {
        Envelope { request: RequestId::NONE, command: command.into() }
    }
}
