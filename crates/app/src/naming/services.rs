//! The names of services, in pages, and the service records.

use std::sync::Arc;

use dyad_naming::ServiceView;
use dyad_naming::cp::{NamingCommand, NamingReply, ServiceRecord};
use dyad_naming::registry::ServicePage;
use dyad_types::ServiceKey;

use super::delegate::propose;
use super::read::{admit, admit_all};
use crate::caller::{Action, Caller, Resource};
use crate::fault::Fault;
use crate::state::App;

/// A page of the names of a group, in their order. A page has every service that there can be, if `size` is large enough.
///
/// # Errors
/// The page ends before it begins, or this member does not serve.
pub fn services(
    app: &App,
    caller: &Caller,
    (namespace, group): (&str, &str),
    (page, size): (i32, i32),
) -> Result<ServicePage, Fault> {
    caller.may(Action::Read, &Resource::Services { namespace, group: Some(group) })?;
    admit_all(app)?;
    app.registry.services(namespace, group, page, size).map_err(Fault::Invalid)
}

/// Creates a service record.
///
/// # Errors
/// The service is known already, a limit is reached, or the CP core does not acknowledge it.
pub async fn create(
    app: &App,
    caller: &Caller,
    service: ServiceKey,
    record: ServiceRecord,
) -> Result<(), Fault> {
    caller.may(Action::Write, &Resource::Service(&service))?;
    app.ephemeral.admit(true)?;
    if app.registry.knows(&service) {
        return Err(Fault::ServiceExists(service));
    }
    let command = NamingCommand::CreateService { service: service.clone(), record };
    match propose(app, command).await? {
        NamingReply::Done => Ok(()),
        NamingReply::Exists => Err(Fault::ServiceExists(service)),
        _ => Err(Fault::UnknownReply),
    }
}

/// Replaces the record of a known service: threshold, metadata and selector.
///
/// # Errors
/// The service is unknown, a limit is reached, or the CP core does not acknowledge it.
pub async fn update(
    app: &App,
    caller: &Caller,
    service: ServiceKey,
    record: ServiceRecord,
) -> Result<(), Fault> {
    caller.may(Action::Write, &Resource::Service(&service))?;
    let known = app.registry.knows(&service);
    app.ephemeral.admit(known)?;
    let command = NamingCommand::UpdateService { service: service.clone(), record, create: known };
    match propose(app, command).await? {
        NamingReply::Done => Ok(()),
        NamingReply::NotFound => Err(Fault::ServiceNotFound(service)),
        _ => Err(Fault::UnknownReply),
    }
}

/// Deletes a service that has no instances of either lifetime.
///
/// # Errors
/// The service is unknown or has instances, or the CP core does not acknowledge it.
pub async fn delete(app: &App, caller: &Caller, service: ServiceKey) -> Result<(), Fault> {
    caller.may(Action::Write, &Resource::Service(&service))?;
    let view = app.registry.view(&service);
    let known = view.is_some();
    app.ephemeral.admit(known)?;
    if view.is_some_and(|view| !view.instances().is_empty()) {
        return Err(Fault::ServiceNotEmpty(service));
    }
    match propose(app, NamingCommand::DeleteService { service: service.clone() }).await? {
        NamingReply::Done => Ok(()),
        // The AP side knew it: it still lingered after its last ephemeral instance.
        NamingReply::NotFound if known => Ok(()),
        NamingReply::NotFound => Err(Fault::ServiceNotFound(service)),
        NamingReply::NotEmpty => Err(Fault::ServiceNotEmpty(service)),
        _ => Err(Fault::UnknownReply),
    }
}

/// A service with its record.
///
/// # Errors
/// The service is unknown, or this member does not serve.
pub fn service(app: &App, caller: &Caller, service: ServiceKey) -> Result<Arc<ServiceView>, Fault> {
    caller.may(Action::Read, &Resource::Service(&service))?;
    let view = app.registry.view(&service);
    admit(app, &service, view.is_some())?;
    view.ok_or(Fault::NoServiceDetail(service))
}
