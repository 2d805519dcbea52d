//! The delegate: where a write of an instance goes, by its lifetime alone (Nacos's `DelegateConsistencyServiceImpl`).

use dyad_naming::cp::{CpCommand, CpReply, Limit};
use dyad_naming::view::ViewInstance;
use dyad_types::limits::INSTANCES_PER_SERVICE_MAX;
use dyad_types::{Address, ClientId, Instance, Lifetime, Publication, PublicationKey, ServiceKey};

use crate::error::ApiError;
use crate::state::AppState;

/// A write of one instance.
#[derive(Debug)]
pub(crate) enum Write {
    Register(Instance),
    /// Of an instance that may be unknown: that is no error.
    Deregister(Address),
}

/// Sends a write to the core of its lifetime and returns when that core acknowledged it: the AP core without ever
/// waiting for raft, the CP core when the command is durable on a majority and applied here.
///
/// # Errors
/// When the service has the other lifetime (a registration only), a limit is reached, or the core does not serve.
pub(crate) async fn delegate(
    app: &AppState,
    service: ServiceKey,
    lifetime: Lifetime,
    write: Write,
) -> Result<(), ApiError> {
    app.ephemeral.admit(true)?;
    if let Write::Register(instance) = &write {
        check_lifetime(app, &service, lifetime)?;
        check_room(app, &service, instance).map_err(ApiError::Full)?;
    }
    match lifetime {
        Lifetime::Ephemeral => ephemeral(app, service, write).await,
        Lifetime::Persistent => persistent(app, service, write).await,
    }
}

/// The lifetime of a service as this member sees it: local on both paths, never waiting. A service that was only created
/// takes either.
fn check_lifetime(app: &AppState, service: &ServiceKey, wanted: Lifetime) -> Result<(), ApiError> {
    match app.registry.lifetime(service, app.clock.now()) {
        Some(is) if is != wanted => Err(ApiError::Lifetime { service: service.clone(), is, wanted }),
        _ => Ok(()),
    }
}

/// The bounds that are set for this member; the cores keep their own. What is there already always fits.
fn check_room(app: &AppState, service: &ServiceKey, instance: &Instance) -> Result<(), Limit> {
    let (bounds, counts) = (&app.bounds, app.registry.counts());
    // Only a bound below the core's is worth a look at the view.
    let narrow = bounds.per_service < INSTANCES_PER_SERVICE_MAX;
    let limit = if counts.ephemeral_instances + counts.persistent_instances >= bounds.instances {
        Limit::Instances(bounds.instances)
    } else if counts.services >= bounds.services && !app.registry.knows(service) {
        Limit::Services(bounds.services)
    } else if narrow && app.registry.view(service).is_some_and(|v| v.instances().len() >= bounds.per_service)
    {
        Limit::InstancesPerService(bounds.per_service)
    } else {
        return Ok(());
    };
    let same =
        |shown: &ViewInstance| shown.instance.ip == instance.ip && shown.instance.port == instance.port;
    let present = app.registry.view(service).is_some_and(|view| view.instances().iter().any(same));
    if present { Ok(()) } else { Err(limit) }
}

async fn ephemeral(app: &AppState, service: ServiceKey, write: Write) -> Result<(), ApiError> {
    match write {
        Write::Register(instance) => {
            let key = PublicationKey { service, client: ClientId::beat(&instance.ip, instance.port) };
            app.registry.room(&key).map_err(ApiError::Full)?;
            app.ephemeral.register(key, Publication::one(instance)).await?;
        }
        Write::Deregister(address) => {
            let key = PublicationKey { service, client: ClientId::beat(&address.ip, address.port) };
            app.ephemeral.deregister(key).await?;
        }
    }
    Ok(())
}

async fn persistent(app: &AppState, service: ServiceKey, write: Write) -> Result<(), ApiError> {
    let command = match write {
        Write::Register(instance) => CpCommand::Register { service, instance },
        Write::Deregister(address) => CpCommand::Deregister { service, address },
    };
    match propose(app, command).await? {
        CpReply::Done | CpReply::NotFound => Ok(()),
        _ => Err(ApiError::UnknownReply),
    }
}

/// Proposes a command. Limits and bad switches are errors; all other replies are the caller's.
///
/// # Errors
/// When the CP core does not acknowledge the command, or refuses it by a rule that every route answers alike.
pub(crate) async fn propose(app: &AppState, command: CpCommand) -> Result<CpReply, ApiError> {
    match app.propose.propose(command).await? {
        CpReply::Limit(limit) => Err(ApiError::Full(limit)),
        CpReply::BadSwitch(message) => Err(ApiError::BadValue(message)),
        reply => Ok(reply),
    }
}
