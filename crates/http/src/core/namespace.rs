//! Namespaces in the three generations. The default namespace is `''` in v1 and v2 and `public` in v3. Both are
//! understood everywhere, and nobody can create, change or delete it.

use std::sync::Arc;

use dyad_config::{Change, ConfigReply, NamespaceView};
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
use dyad_app::config::write::propose;

/// Characters of an id (`NamespaceOperationService`); the parameter filter is stricter.
const ID_MAX: usize = 128;

/// `GET /v1/console/namespaces`: list, one (`show=all`), existence (`checkNamespaceIdExist=true`).
pub(crate) fn v1(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Step, Fault> {
        filter(params)?;
        if params.get(Key::CheckNamespaceIdExist) == Some("true") {
            let id = params.get(Key::CustomNamespaceId);
            let exists = id.is_some_and(|id| app.configs.state().namespace(id).is_some());
            return done(bare(exists));
        }
        if params.get(Key::Show) == Some("all") {
            let id = needed(params, Key::NamespaceId)?;
            return done(Reply::json(one(app, id, Generation::V1)?.to_string()));
        }
        let body = json!({ "code": 200, "message": Value::Null, "data": all(app, Generation::V1) });
        done(Reply::json(body.to_string()))
    };
    Step::of(read())
}

/// `GET /v2/console/namespace/list`.
pub(crate) fn v2_list(app: &Arc<App>, _: &Params) -> Step {
    Step::Done(Ok(result(&all(app, Generation::V2))))
}

/// `GET /v3/…/core/namespace/list`.
pub(crate) fn v3_list(app: &Arc<App>, _: &Params) -> Step {
    Step::Done(Ok(result(&all(app, Generation::V3))))
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
        done(result(&one(app, id, generation)?))
    };
    Step::of(read())
}

/// `GET /v3/admin/core/namespace/check`: 0 or 1.
pub(crate) fn v3_check(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Step, Fault> {
        filter(params)?;
        let id = needed(params, Key::NamespaceId)?;
        done(result(&u8::from(app.configs.state().namespace(id).is_some())))
    };
    Step::of(read())
}

/// `GET /v3/console/core/namespace/exist`.
pub(crate) fn v3_exist(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Step, Fault> {
        filter(params)?;
        let id = needed(params, Key::CustomNamespaceId)?;
        let exists = !id.trim().is_empty() && app.configs.state().namespace(id).is_some();
        done(truth(Generation::V3, exists))
    };
    Step::of(read())
}

/// `POST /v1/console/namespaces`: every refusal is `false`.
pub(crate) fn v1_create(app: &Arc<App>, params: &Params) -> Step {
    let prepare = || -> Result<Step, Fault> {
        filter(params)?;
        let name = needed(params, Key::NamespaceName)?;
        match create(app, params, params.get(Key::CustomNamespaceId), name) {
            Ok(work) => Ok(Step::wait(async move {
                match work.await {
                    Ok(()) => Ok(bare(true)),
                    Err(Fault::IllegalNamespace(_)) => Ok(bare(false)),
                    Err(fault) => Err(fault),
                }
            })),
            Err(_) => done(bare(false)),
        }
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
        let work = create(app, params, params.get(id), name)?;
        Ok(Step::wait(async move { work.await.map(|()| truth(generation, true)) }))
    };
    Step::of(prepare())
}

/// Checks, then the work of creating. A blank id is drawn.
fn create(
    app: &Arc<App>,
    params: &Params,
    id: Option<&str>,
    name: &str,
) -> Result<impl Future<Output = Result<(), Fault>> + Send + use<>, Fault> {
    let id: Box<str> = id.map_or_else(|| uuid(rand::random()), str::to_owned).into();
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if !id.bytes().all(legal) {
        return Err(Fault::IllegalNamespace(format!("namespaceId [{id}] mismatch the pattern")));
    }
    if id.len() > ID_MAX {
        return Err(Fault::IllegalNamespace(format!("too long namespaceId, over {ID_MAX}")));
    }
    check_name(name)?;
    let existed = Fault::IllegalNamespace(format!("the namespaceId is existed, namespaceId: {id}"));
    let change = Change::CreateNamespace { id, name: name.into(), desc: desc(params) };
    let (app, source) = (Arc::clone(app), source(params));
    Ok(async move {
        match propose(&app, change, source).await? {
            ConfigReply::Done { .. } => Ok(()),
            ConfigReply::Exists => Err(existed),
            _ => Err(Fault::UnknownReply),
        }
    })
}

fn check_name(name: &str) -> Result<(), Fault> {
    if name.trim().is_empty() || name.contains(['@', '#', '$', '%', '^', '&', '*']) {
        return Err(Fault::IllegalNamespace(format!("namespaceName [{name}] contains illegal char")));
    }
    Ok(())
}

/// `PUT /v1/console/namespaces`: false for an illegal name.
pub(crate) fn v1_update(app: &Arc<App>, params: &Params) -> Step {
    let prepare = || -> Result<Step, Fault> {
        filter(params)?;
        let (id, name) = (needed(params, Key::Namespace)?, needed(params, Key::NamespaceShowName)?);
        if check_name(name).is_err() {
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
        check_name(name)?;
        Ok(update(app, params, id, name, generation))
    };
    Step::of(prepare())
}

/// True also for a namespace that nobody created, as in Nacos: nothing depends on it.
fn update(app: &Arc<App>, params: &Params, id: &str, name: &str, generation: Generation) -> Step {
    let change = Change::UpdateNamespace { id: id.into(), name: name.into(), desc: desc(params) };
    let (app, source) = (Arc::clone(app), source(params));
    Step::wait(async move {
        match propose(&app, change, source).await? {
            ConfigReply::Done { .. } | ConfigReply::NotFound => Ok(written(generation)),
            _ => Err(Fault::UnknownReply),
        }
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

fn desc(params: &Params) -> Box<str> {
    params.get(Key::NamespaceDesc).unwrap_or_default().into()
}

fn all(app: &App, generation: Generation) -> Value {
    app.configs.state().namespaces().iter().map(|view| shape(view, generation)).collect()
}

fn one(app: &App, id: &str, generation: Generation) -> Result<Value, Fault> {
    let state = app.configs.state();
    let view = state.namespace(id).ok_or_else(|| Fault::NoNamespace(config_namespace(id).to_owned()))?;
    Ok(shape(&view, generation))
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

/// 128 random bits as a UUID of version 4.
fn uuid(bits: u128) -> String {
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::uuid;

    #[test]
    fn drawn_ids_are_uuids_of_version_4() {
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
