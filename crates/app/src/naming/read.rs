//! Queries of the instances of a service.

use std::sync::Arc;

use dyad_naming::ServiceView;
use dyad_naming::view::ViewInstance;
use dyad_push::naming::SubscriberInfo;
use dyad_state::ports::Knowledge;
use dyad_types::{Lifetime, ServiceKey};

use crate::caller::{Action, Caller, Resource};
use crate::fault::Fault;
use crate::state::App;

/// The instances of a service, and the `lastRefTime` of an answer with them, in milliseconds since the epoch.
#[derive(Clone, Debug)]
pub struct List {
    pub view: Arc<ServiceView>,
    pub last_ref_ms: u64,
}

/// The list of a known service; `None` for an unknown one. Takes no lock. Names need no check: illegal ones are never known.
///
/// # Errors
/// This member does not serve.
pub fn list_known(app: &App, caller: &Caller, service: &ServiceKey) -> Result<Option<List>, Fault> {
    caller.may(Action::Read, &Resource::Service(service))?;
    let last_ref_ms = app.push.now_ms();
    let Some(view) = app.registry.view(service) else { return Ok(None) };
    admit(app, service, true)?;
    Ok(Some(List { view, last_ref_ms }))
}

/// The list of a service, for a client that may be pushed to as well: what changes after it is pushed with a larger
/// `lastRefTime`. The list of an unknown service is empty.
///
/// # Errors
/// This member does not serve, or does not know whether there is such a service.
pub fn list(app: &App, caller: &Caller, service: &ServiceKey) -> Result<List, Fault> {
    caller.may(Action::Read, &Resource::Service(service))?;
    let last_ref_ms = app.push.stamp(service);
    Ok(List { view: present(app, service)?, last_ref_ms })
}

/// At most so many of the services that the caller may read, in no order.
pub fn views(app: &App, caller: &Caller, max: usize) -> Vec<Arc<ServiceView>> {
    let mut views = app.registry.views(0, max);
    views.retain(|view| caller.may(Action::Read, &Resource::Service(view.key())).is_ok());
    views
}

/// The view of a service, read after the caller took its stamp.
///
/// # Errors
/// As of [`list`].
pub fn present(app: &App, service: &ServiceKey) -> Result<Arc<ServiceView>, Fault> {
    let view = app.registry.view(service);
    admit(app, service, view.is_some())?;
    Ok(view.unwrap_or_else(|| app.registry.view_or_unknown(service)))
}

/// Can this member answer for a service, which it knows or does not know? While it waits for the state, or has been sent only the
/// beginning of it, it can answer for services with ephemeral instances alone.
///
/// # Errors
/// This member does not serve, or does not know what instances there are.
pub(super) fn admit(app: &App, service: &ServiceKey, known: bool) -> Result<(), Fault> {
    app.ephemeral.admit(known)?;
    let ephemeral = || app.registry.lifetime(service, app.clock.now()) == Some(Lifetime::Ephemeral);
    match app.linearize.knowledge() {
        Knowledge::Joining if !ephemeral() => Err(Fault::NoState),
        Knowledge::Removed => Err(Fault::Removed),
        Knowledge::Known | Knowledge::NoCluster | Knowledge::Joining => Ok(()),
    }
}

/// Can this member show all services?
///
/// # Errors
/// This member does not serve, or waits for the state: a list that lacks services is wrong for each of them.
pub fn admit_all(app: &App) -> Result<(), Fault> {
    app.ephemeral.admit(true)?;
    match app.linearize.knowledge() {
        Knowledge::Joining => Err(Fault::NoState),
        Knowledge::Removed => Err(Fault::Removed),
        Knowledge::Known | Knowledge::NoCluster => Ok(()),
    }
}

/// One instance, with the view that shows it.
///
/// # Errors
/// Nacos's two kinds of 404: the service has no instances, or not this one. This member does not serve.
pub fn instance(
    app: &App,
    caller: &Caller,
    service: &ServiceKey,
    place: (&str, u16, &str),
) -> Result<(Arc<ServiceView>, ViewInstance), Fault> {
    caller.may(Action::Read, &Resource::Service(service))?;
    find(app, service, place)
}

/// The instance with this ip, port and cluster.
pub(super) fn find(
    app: &App,
    service: &ServiceKey,
    (ip, port, cluster): (&str, u16, &str),
) -> Result<(Arc<ServiceView>, ViewInstance), Fault> {
    let view = app.registry.view(service);
    admit(app, service, view.is_some())?;
    let Some(view) = view.filter(|view| !view.instances().is_empty()) else {
        return Err(Fault::NoHosts { service: service.clone(), cluster: cluster.to_owned() });
    };
    let instance = view.find(ip, port, cluster).cloned().ok_or(Fault::NoInstance)?;
    Ok((view, instance))
}

/// A subscriber of this member, and what it subscribed to.
#[derive(Clone, Debug)]
pub struct Subscribed {
    pub service: ServiceKey,
    pub clusters: Arc<str>,
    pub subscriber: SubscriberInfo,
}

/// The subscribers of this member to the services whose name and group contain those of `wanted`, in the same namespace, as
/// Nacos looks them up.
///
/// # Errors
/// The caller may not know.
pub fn subscribers(app: &App, caller: &Caller, wanted: &ServiceKey) -> Result<Vec<Subscribed>, Fault> {
    let (namespace, group) = (wanted.namespace(), Some(wanted.group()));
    caller.may(Action::Read, &Resource::Services { namespace, group })?;
    let asked = |service: &ServiceKey| {
        service.namespace() == wanted.namespace()
            && service.name().contains(wanted.name())
            && service.group().contains(wanted.group())
    };
    let of = |service: ServiceKey| {
        let found = app.push.subscribers(&service).into_iter();
        let row = move |(clusters, subscriber)| Subscribed { service: service.clone(), clusters, subscriber };
        found.map(row).collect::<Vec<_>>()
    };
    Ok(app.push.subscribed().into_iter().filter(asked).flat_map(of).collect())
}
