//! `/capacity`: how many configurations a group or namespace has, and how many it may have.

use std::sync::Arc;

use dyad_config::{CapacityChange, Change, ConfigReply, Scope};
use http::StatusCode;
use serde_json::{Value, json};

use super::{rest_result, result, truth};
use crate::config::request::{filter, group_key, namespace_param, source};
use crate::fault::Generation;
use crate::params::{Key, Params};
use crate::reply::Reply;
use crate::step::Step;
use dyad_app::App;
use dyad_app::Fault;
use dyad_app::config::View;
use dyad_app::config::write::propose;
use dyad_types::date::timestamp;

/// `GET /v1/cs/capacity`.
pub(crate) fn get_v1(app: &Arc<App>, params: &Params) -> Step {
    get(app, params, Generation::V1)
}

/// `GET /v3/admin/cs/capacity`.
pub(crate) fn get_v3(app: &Arc<App>, params: &Params) -> Step {
    get(app, params, Generation::V3)
}

/// `POST /v1/cs/capacity`.
pub(crate) fn set_v1(app: &Arc<App>, params: &Params) -> Step {
    set(app, params, Generation::V1)
}

/// `POST /v3/admin/cs/capacity`.
pub(crate) fn set_v3(app: &Arc<App>, params: &Params) -> Step {
    set(app, params, Generation::V3)
}

/// A scope with its name as the request gave it.
struct Named<'a> {
    scope: Scope,
    name: &'a str,
    is_namespace: bool,
}

/// The namespace if the request has one, else the group.
fn scope(params: &Params, generation: Generation) -> Result<Option<Named<'_>>, Fault> {
    filter(params)?;
    if let Some(name) = namespace_param(params) {
        return Ok(Some(Named { scope: Scope::namespace(name), name, is_namespace: true }));
    }
    let group = params.get(group_key(generation));
    Ok(group.map(|name| Named { scope: Scope::group(name), name, is_namespace: false }))
}

fn refused(generation: Generation, what: &str) -> Result<Step, Fault> {
    match generation {
        Generation::V1 => {
            let reply = rest_result(400, Some(what), &Value::Null);
            Ok(Step::Done(Ok(Reply { status: StatusCode::BAD_REQUEST, ..reply })))
        }
        _ => {
            let body = json!({ "code": 10_000, "message": "parameter missing", "data": what });
            Ok(Step::Done(Ok(Reply { status: StatusCode::BAD_REQUEST, ..Reply::json(body.to_string()) })))
        }
    }
}

const NO_SCOPE: &str = "The parameter group and tenant cannot be empty at the same time";
const NO_CHANGE: &str =
    "The parameters quota, maxSize, maxAggrCount and maxAggrSize cannot be empty at the same time";

fn get(app: &Arc<App>, params: &Params, generation: Generation) -> Step {
    let read = || -> Result<Step, Fault> {
        let Some(Named { scope, name, is_namespace }) = scope(params, generation)? else {
            return refused(generation, NO_SCOPE);
        };
        let (capacity, usage) = View::of(app, params.caller())?.limits(&scope)?;
        let moment = |ms: u64| (ms > 0).then(|| timestamp(ms));
        let mut data = json!({
            "id": "0",
            "quota": capacity.quota(&scope),
            "usage": usage.count,
            "bytes": usage.bytes,
            "maxSize": capacity.max_size(),
            "maxAggrCount": capacity.max_aggr_count(),
            "maxAggrSize": capacity.max_aggr_size(),
            "gmtCreate": moment(capacity.created_ms),
            "gmtModified": moment(capacity.modified_ms),
        });
        let field = match (is_namespace, generation) {
            (true, Generation::V3) => "namespaceId",
            (true, _) => "tenant",
            (false, Generation::V3) => "groupName",
            (false, _) => "group",
        };
        data[field] = name.into();
        Ok(Step::Done(Ok(match generation {
            Generation::V1 => rest_result(200, None, &data),
            _ => result(&data),
        })))
    };
    Step::of(read())
}

fn set(app: &Arc<App>, params: &Params, generation: Generation) -> Step {
    let prepare = || -> Result<Step, Fault> {
        let Some(Named { scope, name, is_namespace }) = scope(params, generation)? else {
            return refused(generation, NO_SCOPE);
        };
        let value = |key: Key| -> Result<Option<u32>, Fault> {
            let Some(text) = params.get(key) else { return Ok(None) };
            let parsed =
                text.parse().map_err(|_| Fault::Invalid(format!("{}: {text:?} is no number", key.name())));
            parsed.map(Some)
        };
        let change = CapacityChange {
            quota: value(Key::Quota)?,
            max_size: value(Key::MaxSize)?,
            max_aggr_count: value(Key::MaxAggrCount)?,
            max_aggr_size: value(Key::MaxAggrSize)?,
        };
        if change == CapacityChange::default() {
            return refused(generation, NO_CHANGE);
        }
        let what = if is_namespace { "tenant" } else { "group" };
        let message =
            format!("successfully updated the capacity information configuration of {what} to {name}");
        let (app, source) = (Arc::clone(app), source(params));
        Ok(Step::wait(async move {
            match propose(&app, Change::SetCapacity { scope, change }, source).await? {
                ConfigReply::Done { .. } if generation == Generation::V1 => {
                    Ok(rest_result(200, Some(&message), &Value::Bool(true)))
                }
                ConfigReply::Done { .. } => Ok(truth(generation, true)),
                _ => Err(Fault::UnknownReply),
            }
        }))
    };
    Step::of(prepare())
}
