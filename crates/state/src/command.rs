//! The commands of the CP log, their replies, and what became different when they were applied. Each has one variant for each
//! part of the state.

use dyad_config::{ConfigChanges, ConfigCommand, ConfigReply};
use dyad_naming::cp::{NamingChanges, NamingCommand, NamingReply};

use crate::cluster::{ClusterCommand, ClusterReply};

/// One replicated change.
#[derive(Clone, Debug, PartialEq)]
pub enum CpCommand {
    Cluster(ClusterCommand),
    Naming(NamingCommand),
    Config(ConfigCommand),
}

/// The part of the state that a command changes, and from which its reply comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Cluster,
    Naming,
    Config,
}

/// The reply of `apply` to a command. It is the reply of the part to which the command belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CpReply {
    Cluster(ClusterReply),
    Naming(NamingReply),
    Config(ConfigReply),
}

/// What became different when a command was applied, for everything that follows the state: the registry, the probes, the
/// Distro core and the listeners.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CpChanges {
    pub naming: NamingChanges,
    pub config: ConfigChanges,
    /// Whether an incarnation of a member was retired.
    pub retired: bool,
}

impl CpCommand {
    /// A short name of the command, for logs and metrics.
    pub fn name(&self) -> &'static str {
        match self {
            CpCommand::Cluster(command) => command.name(),
            CpCommand::Naming(command) => command.name(),
            CpCommand::Config(command) => command.name(),
        }
    }

    pub fn part(&self) -> Part {
        match self {
            CpCommand::Cluster(_) => Part::Cluster,
            CpCommand::Naming(_) => Part::Naming,
            CpCommand::Config(_) => Part::Config,
        }
    }
}

impl From<ClusterCommand> for CpCommand {
    fn from(command: ClusterCommand) -> CpCommand {
        CpCommand::Cluster(command)
    }
}

impl From<NamingCommand> for CpCommand {
    fn from(command: NamingCommand) -> CpCommand {
        CpCommand::Naming(command)
    }
}

impl From<ConfigCommand> for CpCommand {
    fn from(command: ConfigCommand) -> CpCommand {
        CpCommand::Config(command)
    }
}

impl From<NamingReply> for CpReply {
    fn from(reply: NamingReply) -> CpReply {
        CpReply::Naming(reply)
    }
}
