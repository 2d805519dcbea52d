//! `/instance`: register, deregister, override, detail.

use std::sync::Arc;

use dyad_naming::cp::{NamingCommand, OverrideChange, OverrideKey};
use dyad_naming::java::parse_boolean;
use dyad_naming::view::{ServiceView, ViewInstance};
use dyad_types::key::DEFAULT_CLUSTER;
use dyad_types::{Address, InstanceIdKind, ServiceKey};

use crate::naming::request::{check_request, parse_weight, read_address, read_instance};
use crate::params::{Key, Params};
use crate::reply::Reply;
use crate::routes::Step;
use dyad_app::App;
use dyad_app::Fault;
use dyad_app::naming::delegate::{Publisher, Write, delegate, propose};
use dyad_app::naming::{check_instance, instance_id};

/// `POST /instance`.
pub(crate) fn register(app: &Arc<App>, params: &Params) -> Step {
    Step::of(prepare_register(app, params))
}

fn prepare_register(app: &Arc<App>, params: &Params) -> Result<Step, Fault> {
    let checked = check_request(params)?;
    let service = checked.service()?;
    let ephemeral = app.switches.load().default_instance_ephemeral;
    let (lifetime, mut instance) = read_instance(params, checked.metadata, ephemeral)?;
    instance.id = instance_id(app, &service, &instance, InstanceIdKind::Simple)?;
    check_instance(&instance)?;
    let app = app.clone();
    Ok(Step::wait(async move {
        delegate(&app, service, lifetime, &Publisher::Address, Write::Register(instance)).await?;
        Ok(Reply::ok())
    }))
}

/// `DELETE /instance`: of an unknown instance it is `ok`, as is that of a persistent one without `ephemeral=false`.
pub(crate) fn deregister(app: &Arc<App>, params: &Params) -> Step {
    Step::of(prepare_deregister(app, params))
}

fn prepare_deregister(app: &Arc<App>, params: &Params) -> Result<Step, Fault> {
    let checked = check_request(params)?;
    let service = checked.service()?;
    let ephemeral = app.switches.load().default_instance_ephemeral;
    let (lifetime, instance) = read_instance(params, checked.metadata, ephemeral)?;
    let app = app.clone();
    Ok(Step::wait(async move {
        delegate(&app, service, lifetime, &Publisher::Address, Write::Deregister(instance.address())).await?;
        Ok(Reply::ok())
    }))
}

/// `PUT /instance`: writes an override; the instance itself may be unknown.
pub(crate) fn update(app: &Arc<App>, params: &Params) -> Step {
    Step::of(prepare_update(app, params))
}

fn prepare_update(app: &Arc<App>, params: &Params) -> Result<Step, Fault> {
    let checked = check_request(params)?;
    let service = checked.service()?;
    let ephemeral = app.switches.load().default_instance_ephemeral;
    let (lifetime, instance) = read_instance(params, checked.metadata, ephemeral)?;
    check_instance(&instance)?;
    let known = app.registry.knows(&service);
    app.ephemeral.admit(known)?;
    if !known {
        return Err(Fault::NoServiceToUpdate { service, ephemeral: lifetime.is_ephemeral() });
    }
    let app = app.clone();
    Ok(Step::wait(async move {
        propose(&app, NamingCommand::put_override(service, &instance)).await?;
        Ok(Reply::ok())
    }))
}

/// `PATCH /instance`: changes the given fields of the override of a known instance.
pub(crate) fn patch(app: &Arc<App>, params: &Params) -> Step {
    Step::of(prepare_patch(app, params))
}

fn prepare_patch(app: &Arc<App>, params: &Params) -> Result<Step, Fault> {
    let checked = check_request(params)?;
    let service = checked.service()?;
    let (ip, port) = read_address(params)?;
    let cluster = params.either(Key::ClusterName, Key::Cluster).unwrap_or(DEFAULT_CLUSTER);
    let change = OverrideChange::Patch {
        enabled: params.get(Key::Enabled).map(parse_boolean),
        weight: params.get(Key::Weight).map(parse_weight).transpose()?,
        metadata: params.get(Key::Metadata).map(|_| checked.metadata.clone()),
    };
    find(app, &service, ip, port, cluster)?;
    let target = OverrideKey { address: Address::new(ip, port), cluster: cluster.into() };
    let app = app.clone();
    Ok(Step::wait(async move {
        propose(&app, NamingCommand::SetOverride { service, target, change }).await?;
        Ok(Reply::ok())
    }))
}

/// `GET /instance`.
pub(crate) fn detail(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Reply, Fault> {
        let checked = check_request(params)?;
        let service = checked.service()?;
        let (ip, port) = read_address(params)?;
        let cluster = params.get(Key::ClusterName).unwrap_or(DEFAULT_CLUSTER);
        let (view, instance) = find(app, &service, ip, port, cluster)?;
        Ok(Reply::json(view.instance_json(&instance)))
    };
    Step::Done(read())
}

/// The instance with this address and cluster, or Nacos's two kinds of 404.
fn find(
    app: &App,
    service: &ServiceKey,
    ip: &str,
    port: u16,
    cluster: &str,
) -> Result<(Arc<ServiceView>, ViewInstance), Fault> {
    let view = app.registry.view(service);
    app.ephemeral.admit(view.is_some())?;
    let Some(view) = view.filter(|view| !view.instances().is_empty()) else {
        return Err(Fault::NoHosts { service: service.clone(), cluster: cluster.to_owned() });
    };
    let instance = view.find(ip, port, cluster).cloned().ok_or(Fault::NoInstance)?;
    Ok((view, instance))
}
