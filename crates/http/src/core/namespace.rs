//! Namespaces in the three generations. The default namespace is `''` in v1 and v2 and `public` in v3. Both are
//! understood everywhere, and nobody can create, change or delete it.

use std::sync::Arc;

use dyad_config::NamespaceView;
use dyad_types::config::config_namespace;
use serde_json::{Value, json};

use crate::config::json::or_null;
use crate::config::request::{filter, source};
use crate::config::{result, truth};
use crate::fault::Generation;
use crate::params::{Key, Params};
use crate::reply::Reply;
use crate::step::Step;
use dyad_app::App;
use dyad_app::Fault;
use dyad_app::config::{View, namespace};

/// `GET /v1/console/namespaces`: list, one (`show=all`), existence (`checkNamespaceIdExist=true`).
pub(crate) fn v1(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Step, Fault> {
        filter(params)?;
        if params.get(Key::CheckNamespaceIdExist) == Some("true") {
            let id = params.get(Key::CustomNamespaceId);
            let exists = id.map_or(Ok(false), |id| exists(app, params, id))?;
            return done(bare(exists));
        }
        if params.get(Key::Show) == Some("all") {
            let id = needed(params, Key::NamespaceId)?;
            return done(Reply::json(one(app, params, id, Generation::V1)?.to_string()));
        }
        let body = json!({ "code": 200, "message": Value::Null, "data": all(app, params, Generation::V1)? });
        done(Reply::json(body.to_string()))
    };
    Step::of(read())
}

/// `GET /v2/console/namespace/list`.
pub(crate) fn v2_list(app: &Arc<App>, params: &Params) -> Step {
    Step::of(all(app, params, Generation::V2).and_then(|all| done(result(&all))))
}

/// `GET /v3/…/core/namespace/list`.
pub(crate) fn v3_list(app: &Arc<App>, params: &Params) -> Step {
    Step::of(all(app, params, Generation::V3).and_then(|all| done(result(&all))))
}

/// `GET /v2/console/namespace`.
pub(crate) fn v2(app: &Arc<App>, params: &Params) -> Step {
    detail(app, params, Generation::V2)
}

/// `GET /v3/…/core/namespace`.
pub(crate) fn v3(app: &Arc<App>, params: &Params) -> Step {
    detail(app, params, Generation::V3)
}

fn detail(app: &Arc<App>, params: &Params, generation: Generation) -> Step {
    let read = || -> Result<Step, Fault> {
        filter(params)?;
        let id = needed(params, Key::NamespaceId)?;
        done(result(&one(app, params, id, generation)?))
    };
    Step::of(read())
}

/// `GET /v3/admin/core/namespace/check`: 0 or 1.
pub(crate) fn v3_check(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Step, Fault> {
        filter(params)?;
        let id = needed(params, Key::NamespaceId)?;
        done(result(&u8::from(exists(app, params, id)?)))
    };
    Step::of(read())
}

/// `GET /v3/console/core/namespace/exist`.
pub(crate) fn v3_exist(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Step, Fault> {
        filter(params)?;
        let id = needed(params, Key::CustomNamespaceId)?;
        let exists = !id.trim().is_empty() && exists(app, params, id)?;
        done(truth(Generation::V3, exists))
    };
    Step::of(read())
}

/// `POST /v1/console/namespaces`: every refusal is `false`.
pub(crate) fn v1_create(app: &Arc<App>, params: &Params) -> Step {
    let prepare = || -> Result<Step, Fault> {
        filter(params)?;
        let name = needed(params, Key::NamespaceName)?;
        let Ok(new) = namespace::check(params.get(Key::CustomNamespaceId), name, desc(params)) else {
            return done(bare(false));
        };
        let (app, source) = (Arc::clone(app), source(params));
        Ok(Step::wait(async move {
            match namespace::create(&app, new, source).await {
                Ok(()) => Ok(bare(true)),
                Err(Fault::IllegalNamespace(_)) => Ok(bare(false)),
                Err(fault) => Err(fault),
            }
        }))
    };
    Step::of(prepare())
}

/// `POST /v2/console/namespace`.
pub(crate) fn v2_create(app: &Arc<App>, params: &Params) -> Step {
    create_by_form(app, params, Key::NamespaceId, Generation::V2)
}

/// `POST /v3/admin/core/namespace`.
pub(crate) fn v3_create(app: &Arc<App>, params: &Params) -> Step {
    create_by_form(app, params, Key::NamespaceId, Generation::V3)
}

/// `POST /v3/console/core/namespace`.
pub(crate) fn console_create(app: &Arc<App>, params: &Params) -> Step {
    create_by_form(app, params, Key::CustomNamespaceId, Generation::V3)
}

fn create_by_form(app: &Arc<App>, params: &Params, id: Key, generation: Generation) -> Step {
    let prepare = || -> Result<Step, Fault> {
        filter(params)?;
        if id == Key::NamespaceId && params.raw(id).is_none() {
            return Err(Fault::MissingNamespace("namespaceId"));
        }
        let name = params.get(Key::NamespaceName).ok_or(Fault::MissingNamespace("namespaceName"))?;
        let new = namespace::check(params.get(id), name, desc(params))?;
        let (app, source) = (Arc::clone(app), source(params));
        Ok(Step::wait(async move {
            namespace::create(&app, new, source).await?;
            Ok(truth(generation, true))
        }))
    };
    Step::of(prepare())
}

/// `PUT /v1/console/namespaces`: false for an illegal name.
pub(crate) fn v1_update(app: &Arc<App>, params: &Params) -> Step {
    let prepare = || -> Result<Step, Fault> {
        filter(params)?;
        let (id, name) = (needed(params, Key::Namespace)?, needed(params, Key::NamespaceShowName)?);
        if namespace::check_name(name).is_err() {
            return done(bare(false));
        }
        Ok(update(app, params, id, name, Generation::V1))
    };
    Step::of(prepare())
}

/// `PUT /v2/console/namespace`.
pub(crate) fn v2_update(app: &Arc<App>, params: &Params) -> Step {
    update_by_form(app, params, Generation::V2)
}

/// `PUT /v3/…/core/namespace`.
pub(crate) fn v3_update(app: &Arc<App>, params: &Params) -> Step {
    update_by_form(app, params, Generation::V3)
}

fn update_by_form(app: &Arc<App>, params: &Params, generation: Generation) -> Step {
    let prepare = || -> Result<Step, Fault> {
        filter(params)?;
        let id = params.get(Key::NamespaceId).ok_or(Fault::MissingNamespace("namespaceId"))?;
        let name = params.get(Key::NamespaceName).ok_or(Fault::MissingNamespace("namespaceName"))?;
        namespace::check_name(name)?;
        Ok(update(app, params, id, name, generation))
    };
    Step::of(prepare())
}

fn update(app: &Arc<App>, params: &Params, id: &str, name: &str, generation: Generation) -> Step {
    let (id, name, desc) = (id.to_owned(), name.to_owned(), desc(params).to_owned());
    let (app, source) = (Arc::clone(app), source(params));
    Step::wait(async move {
        namespace::update(&app, &id, (&name, &desc), source).await?;
        Ok(written(generation))
    })
}

fn done(reply: Reply) -> Result<Step, Fault> {
    Ok(Step::Done(Ok(reply)))
}

/// `true` or `false` without an envelope.
fn bare(truth: bool) -> Reply {
    Reply::json(if truth { "true" } else { "false" })
}

pub(super) fn written(generation: Generation) -> Reply {
    if generation == Generation::V1 { bare(true) } else { truth(generation, true) }
}

pub(super) fn needed(params: &Params, key: Key) -> Result<&str, Fault> {
    params.raw(key).ok_or(Fault::MissingParam { name: key.name(), kind: "String" })
}

fn desc(params: &Params) -> &str {
    params.get(Key::NamespaceDesc).unwrap_or_default()
}

fn all(app: &App, params: &Params, generation: Generation) -> Result<Value, Fault> {
    Ok(View::of(app, params.caller())?.namespaces().iter().map(|view| shape(view, generation)).collect())
}

fn one(app: &App, params: &Params, id: &str, generation: Generation) -> Result<Value, Fault> {
    let seen = View::of(app, params.caller())?;
    let view = seen.namespace(id)?.ok_or_else(|| Fault::NoNamespace(config_namespace(id).to_owned()))?;
    Ok(shape(&view, generation))
}

fn exists(app: &App, params: &Params, id: &str) -> Result<bool, Fault> {
    Ok(View::of(app, params.caller())?.namespace(id)?.is_some())
}

fn shape(view: &NamespaceView<'_>, generation: Generation) -> Value {
    let id = if view.is_default && generation != Generation::V3 { "" } else { view.id };
    // Nacos 3 lists what was created as type 1.
    let kind = match generation {
        _ if view.is_default => 0,
        Generation::V3 => 1,
        _ => 2,
    };
    json!({
        "namespace": id,
        "namespaceShowName": view.name,
        "namespaceDesc": or_null(view.desc),
        "quota": view.quota,
        "configCount": view.configs,
        "type": kind,
    })
}
