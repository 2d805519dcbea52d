//! Who asks, and whether it may: every use case asks once, with the key that it then uses.

use std::net::IpAddr;
use std::sync::Arc;

use dyad_types::{ConfigKey, ServiceKey};

use crate::fault::Fault;

/// Who makes a request, as far as this server knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The user; `None` for everybody without a login, which are all while there are no users.
    pub name: Option<Arc<str>>,
    /// The other end of the connection. No header changes it.
    pub address: Option<IpAddr>,
    pub means: Means,
}

/// By what way a request came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Means {
    Http,
    Grpc,
    /// This server itself: retention, probes, cleaning.
    Server,
}

/// What a request does to a [`Resource`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Read,
    Write,
    /// Of what belongs to the whole server: switches, limits, members.
    Admin,
}

/// What a request acts on, down to one service or one configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource<'a> {
    Service(&'a ServiceKey),
    /// The services of a namespace, or of one group in it.
    Services {
        namespace: &'a str,
        group: Option<&'a str>,
    },
    Config(&'a ConfigKey),
    /// The configurations of a namespace, or of one group in it; without a namespace of all.
    Configs {
        namespace: Option<&'a str>,
        group: Option<&'a str>,
    },
    /// One namespace, or the list of them.
    Namespace(Option<&'a str>),
    Switches,
    /// Limits and retention of the configuration center.
    ConfigLimits,
    Members,
}

impl Caller {
    /// # Errors
    /// When the caller is not allowed to do this. Nobody is refused while there are no users.
    pub fn may(&self, _action: Action, _resource: &Resource<'_>) -> Result<(), Fault> {
        Ok(())
    }
}
