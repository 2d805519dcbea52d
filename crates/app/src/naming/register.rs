//! Registrations and deregistrations.

use dyad_naming::cp::{Limit, NamingCommand, NamingReply};
use dyad_naming::registry::Owners;
use dyad_types::{Address, ClientId, Instance, Lifetime, Publication, PublicationKey, ServiceKey};

use super::delegate::{Publisher, Write, delegate, propose};
use super::instance::{check_instance, generate_id};
use crate::caller::{Action, Caller, Resource};
use crate::fault::Fault;
use crate::state::App;

/// Registers an instance. Its id is made by the generator that its metadata names, unless the client brought one; without a
/// generator the kind of id that the instance has stays.
///
/// # Errors
/// The instance is illegal, the service has the other lifetime, a limit is reached, or the core does not serve.
pub async fn register(
    app: &App,
    caller: &Caller,
    publisher: &Publisher,
    (service, lifetime): (ServiceKey, Lifetime),
    mut instance: Instance,
) -> Result<(), Fault> {
    caller.may(Action::Write, &Resource::Service(&service))?;
    prepare(app, &service, &mut instance)?;
    delegate(app, service, lifetime, publisher, Write::Register(instance)).await
}

/// Registers ephemeral instances of a connection instead of what it published for the service before; without instances it
/// publishes none.
///
/// # Errors
/// As of [`register`].
pub async fn register_batch(
    app: &App,
    caller: &Caller,
    connection: ClientId,
    service: ServiceKey,
    mut instances: Vec<Instance>,
) -> Result<(), Fault> {
    caller.may(Action::Write, &Resource::Service(&service))?;
    for instance in &mut instances {
        prepare(app, &service, instance)?;
    }
    let publisher = Publisher::Connection(connection);
    delegate(app, service, Lifetime::Ephemeral, &publisher, Write::Batch(instances)).await
}

fn prepare(app: &App, service: &ServiceKey, instance: &mut Instance) -> Result<(), Fault> {
    generate_id(app, service, instance)?;
    check_instance(instance)
}

/// Deregisters the instance with this address, of a client that is known by the address. `lifetime` is what the request says;
/// without it the instance that is there decides. Of an unknown instance it is done at once.
///
/// # Errors
/// The instance has the other lifetime, a connection owns it, or the core does not serve.
pub async fn deregister(
    app: &App,
    caller: &Caller,
    (service, lifetime): (ServiceKey, Option<Lifetime>),
    address: Address,
) -> Result<(), Fault> {
    caller.may(Action::Write, &Resource::Service(&service))?;
    app.ephemeral.admit(true)?;
    let owners = app.registry.owners(&service, &address);
    match lifetime.unwrap_or_else(|| lifetime_of(app, &owners)) {
        Lifetime::Ephemeral => {
            // If the address was registered over HTTP as well, that registration ends, and the connection's stays.
            if let Some(connection) = owners.connection.filter(|_| !owners.beat) {
                return Err(Fault::OwnedByConnection { service, address, connection });
            }
            if owners.persistent && !owners.beat {
                return Err(Fault::OtherLifetime { service, address, is: Lifetime::Persistent });
            }
            let key = PublicationKey { service, client: ClientId::beat(&address.ip, address.port) };
            Ok(app.ephemeral.deregister(key).await?)
        }
        Lifetime::Persistent => {
            if !owners.persistent && (owners.beat || owners.connection.is_some()) {
                return Err(Fault::OtherLifetime { service, address, is: Lifetime::Ephemeral });
            }
            deregister_persistent(app, service, address).await
        }
    }
}

fn lifetime_of(app: &App, owners: &Owners) -> Lifetime {
    if owners.persistent {
        return Lifetime::Persistent;
    }
    if owners.beat || owners.connection.is_some() {
        return Lifetime::Ephemeral;
    }
    Lifetime::from_ephemeral(app.switches.load().default_instance_ephemeral)
}

/// What an operator set for the instance ends with it.
async fn deregister_persistent(app: &App, service: ServiceKey, address: Address) -> Result<(), Fault> {
    let overrides = app.registry.overrides_at(&service, &address);
    let deregister = NamingCommand::Deregister { service: service.clone(), address: address.clone() };
    match propose(app, deregister).await? {
        NamingReply::Done | NamingReply::NotFound => {}
        _ => return Err(Fault::UnknownReply),
    }
    // Below level 2 of the state the overrides are still there. What was set meanwhile is not the same.
    let still = app.registry.overrides_at(&service, &address);
    let overrides: Vec<_> = overrides.into_iter().filter(|before| still.contains(before)).collect();
    if !overrides.is_empty() {
        let expire = NamingCommand::Expire { overrides, services: Vec::new() };
        // The instance is gone, whatever becomes of this: the sweep tries again, and until then nobody is shown the overrides.
        if let Err(error) = propose(app, expire).await {
            tracing::debug!(%error, "overrides were not removed; the next sweep tries again");
        }
    }
    Ok(())
}

/// Deregisters one address of what a connection publishes for a service; all others stay. Of an address that the connection
/// does not publish it is done at once.
///
/// The caller sees to it that no other write of this connection comes between: the publication is read and written.
///
/// # Errors
/// The core does not serve.
pub async fn deregister_own(
    app: &App,
    caller: &Caller,
    connection: ClientId,
    service: ServiceKey,
    address: &Address,
) -> Result<(), Fault> {
    caller.may(Action::Write, &Resource::Service(&service))?;
    app.ephemeral.admit(true)?;
    let key = PublicationKey { service, client: connection };
    let Some(present) = app.registry.publication(&key) else { return Ok(()) };
    let others = |instance: &&Instance| instance.ip != address.ip || instance.port != address.port;
    let left: Vec<Instance> = present.instances().iter().filter(others).cloned().collect();
    if left.len() == present.instances().len() {
        return Ok(());
    }
    if left.is_empty() {
        return Ok(app.ephemeral.deregister(key).await?);
    }
    Ok(app.ephemeral.register(key, Publication::batch(left)).await?)
}

/// Whether a connection publishes several instances of a service, so that a deregistration writes the others again.
pub fn has_several(app: &App, connection: &ClientId, service: &ServiceKey) -> bool {
    let key = PublicationKey { service: service.clone(), client: connection.clone() };
    app.registry.publication(&key).is_some_and(|present| present.instances().len() > 1)
}

/// The limit on the bytes of a list that these persistent instances would exceed.
pub(super) fn room_in_list(app: &App, service: &ServiceKey, instances: &[Instance]) -> Result<(), Limit> {
    instances.iter().try_for_each(|instance| app.registry.room_in_list(service, instance))
}
