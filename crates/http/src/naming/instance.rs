//! `/instance`: register, deregister, override, detail.

use std::sync::Arc;

use dyad_naming::cp::{OverrideChange, OverrideKey};
use dyad_naming::java::parse_boolean;
use dyad_types::Address;
use dyad_types::key::DEFAULT_CLUSTER;

use crate::naming::request::{check_request, lifetime, parse_weight, read_address, read_instance};
use crate::params::{Key, Params};
use crate::reply::Reply;
use crate::step::Step;
use dyad_app::naming::{Publisher, overrides, read, register as registrations};
use dyad_app::{App, Fault};

/// `POST /instance`.
pub(crate) fn register(app: &Arc<App>, params: &Params) -> Step {
    let prepare = || {
        let checked = check_request(app, params)?;
        let service = checked.service()?;
        let instance = read_instance(params, checked.metadata)?;
        let lifetime = lifetime(app, params);
        let (app, caller) = (app.clone(), params.caller());
        Ok(Step::wait(async move {
            let publisher = Publisher::Address;
            registrations::register(&app, &caller, &publisher, (service, lifetime), instance).await?;
            Ok(Reply::ok())
        }))
    };
    Step::of(prepare())
}

/// `DELETE /instance`: of an unknown instance it is `ok`.
pub(crate) fn deregister(app: &Arc<App>, params: &Params) -> Step {
    let prepare = || {
        let checked = check_request(app, params)?;
        let service = checked.service()?;
        let instance = read_instance(params, checked.metadata)?;
        let given = params.get(Key::Ephemeral).map(|_| lifetime(app, params));
        let (app, caller) = (app.clone(), params.caller());
        Ok(Step::wait(async move {
            registrations::deregister(&app, &caller, (service, given), instance.address()).await?;
            Ok(Reply::ok())
        }))
    };
    Step::of(prepare())
}

/// `PUT /instance`: writes an override; the instance itself may be unknown.
pub(crate) fn update(app: &Arc<App>, params: &Params) -> Step {
    let prepare = || {
        let checked = check_request(app, params)?;
        let service = checked.service()?;
        let instance = read_instance(params, checked.metadata)?;
        let lifetime = lifetime(app, params);
        let (app, caller) = (app.clone(), params.caller());
        Ok(Step::wait(async move {
            overrides::put(&app, &caller, service, lifetime, &instance).await?;
            Ok(Reply::ok())
        }))
    };
    Step::of(prepare())
}

/// `PATCH /instance`: changes the given fields of the override of a known instance.
pub(crate) fn patch(app: &Arc<App>, params: &Params) -> Step {
    let prepare = || {
        let checked = check_request(app, params)?;
        let service = checked.service()?;
        let (ip, port) = read_address(params)?;
        let cluster = params.either(Key::ClusterName, Key::Cluster).unwrap_or(DEFAULT_CLUSTER);
        let change = OverrideChange::Patch {
            enabled: params.get(Key::Enabled).map(parse_boolean),
            weight: params.get(Key::Weight).map(parse_weight).transpose()?,
            metadata: params.get(Key::Metadata).map(|_| checked.metadata.clone()),
        };
        let target = OverrideKey { address: Address::new(ip, port), cluster: cluster.into() };
        let (app, caller) = (app.clone(), params.caller());
        Ok(Step::wait(async move {
            overrides::patch(&app, &caller, service, target, change).await?;
            Ok(Reply::ok())
        }))
    };
    Step::of(prepare())
}

/// `GET /instance`.
pub(crate) fn detail(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Reply, Fault> {
        let service = check_request(app, params)?.service()?;
        let (ip, port) = read_address(params)?;
        let cluster = params.get(Key::ClusterName).unwrap_or(DEFAULT_CLUSTER);
        let (view, instance) = read::instance(app, &params.caller(), &service, (ip, port, cluster))?;
        Ok(Reply::json(view.instance_json(&instance)))
    };
    Step::Done(read())
}
