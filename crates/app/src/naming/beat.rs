//! The heartbeat: the request that a registry gets most. That of a known, healthy instance leaves its time in a slot that the
//! Distro core reads: no lock, no await. When another member times the client, the core takes the heartbeat and relays it.

use std::num::NonZeroU64;

use dyad_naming::ports::BeatOutcome;
use dyad_types::{ClientId, PublicationKey, ServiceKey};

use crate::caller::{Action, Caller, Resource};
use crate::fault::Fault;
use crate::state::App;

/// A heartbeat that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The instance's own interval in milliseconds; `None` if the switch decides.
    pub interval_ms: Option<NonZeroU64>,
}

/// Takes the heartbeat of an instance that is known; `None` if it is not. Names need no check: illegal ones are never known.
///
/// # Errors
/// This member does not serve.
pub fn beat(
    app: &App,
    caller: &Caller,
    service: ServiceKey,
    ip: &str,
    port: u16,
) -> Result<Option<Taken>, Fault> {
    caller.may(Action::Write, &Resource::Service(&service))?;
    app.ephemeral.admit(true)?;
    let Some(present) = app.registry.beat(&service, ip, port) else { return Ok(None) };
    if !present.slot.is_some_and(|slot| slot.beat(app.clock.now())) {
        let key = PublicationKey { service, client: ClientId::beat(ip, port) };
        if app.ephemeral.beat(&key)? == BeatOutcome::Unknown {
            return Ok(None);
        }
    }
    Ok(Some(Taken { interval_ms: present.interval_ms }))
}

/// Whether this member may say of a service that it does not know one of its instances.
///
/// # Errors
/// This member does not serve, or does not know.
pub fn is_unknown(app: &App, service: &ServiceKey) -> Result<(), Fault> {
    Ok(app.ephemeral.admit(app.registry.knows(service))?)
}
