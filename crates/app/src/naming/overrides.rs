//! What an operator sets for an instance. It is shown instead of what the client registered, until the instance goes.

use dyad_naming::cp::{NamingCommand, Override, OverrideChange, OverrideKey};
use dyad_types::{Address, Instance, Lifetime, ServiceKey};

use super::delegate::propose;
use super::instance::check_instance;
use super::read::find;
use crate::caller::{Action, Caller, Resource};
use crate::fault::Fault;
use crate::state::App;

/// Sets `enabled`, weight and metadata of an instance. The service must be known, the instance itself need not be. `lifetime` is
/// only for the message.
///
/// # Errors
/// The service is unknown, the instance is illegal, a limit is reached, or the CP core does not acknowledge it.
pub async fn put(
    app: &App,
    caller: &Caller,
    service: ServiceKey,
    lifetime: Lifetime,
    instance: &Instance,
) -> Result<(), Fault> {
    caller.may(Action::Write, &Resource::Service(&service))?;
    check_instance(instance)?;
    let known = app.registry.knows(&service);
    app.ephemeral.admit(known)?;
    if !known {
        return Err(Fault::NoServiceToUpdate { service, ephemeral: lifetime.is_ephemeral() });
    }
    let room = app.registry.room_for_override(&service, &OverrideKey::of(instance), &instance.metadata);
    room.map_err(Fault::Full)?;
    propose(app, NamingCommand::put_override(service, instance)).await?;
    Ok(())
}

/// Changes some of the values that are set for a known instance.
///
/// # Errors
/// The instance is unknown, a limit is reached, or the CP core does not acknowledge it.
pub async fn patch(
    app: &App,
    caller: &Caller,
    service: ServiceKey,
    target: OverrideKey,
    mut change: OverrideChange,
) -> Result<(), Fault> {
    caller.may(Action::Write, &Resource::Service(&service))?;
    let Address { ip, port } = &target.address;
    find(app, &service, (ip, *port, &target.cluster))?;
    if let OverrideChange::Patch { metadata: Some(metadata), .. } = &change {
        app.registry.room_for_override(&service, &target, metadata).map_err(Fault::Full)?;
    }
    // What was set before ended with an earlier instance of this address, though the CP state may still have it: a patch of it
    // would bring it back.
    if app.registry.has_ended(&service, &target)
        && let OverrideChange::Patch { enabled, weight, metadata } = change
    {
        change = OverrideChange::Put(Override { enabled, weight, metadata: metadata.unwrap_or_default() });
    }
    propose(app, NamingCommand::SetOverride { service, target, change }).await?;
    Ok(())
}
