//! Versions: lists of them, one version with its content, both sides of a write, the difference between two, and a
//! rollback to one.

use std::sync::Arc;

use bytes::Bytes;
use dyad_config::{Filter, HistoryEntry, PageRequest, Revision, ShownVersion, Work};
use dyad_types::ConfigKey;
use serde_json::{Value, json};

use super::json as shapes;
use super::{diff, enveloped, result};
use crate::config::request::{
    config_key, filter, namespace_param, number, page, required, required_number, source,
};
use crate::fault::Generation;
use crate::params::{Key, Params};
use crate::reply::{Kind, Reply};
use crate::step::Step;
use dyad_app::config::history::{self, Wanted};
use dyad_app::config::write::blocking;
use dyad_app::config::{Stop, View};
use dyad_app::{App, Fault};

/// Versions on one page, as in Nacos.
const PAGE_MAX: usize = 500;
/// Configurations that `history/configs` lists: it has no paging.
const CONFIGS_MAX: usize = 10_000;

/// `GET /v1/cs/history`: a list with `search=accurate`, else one version.
pub(crate) fn v1(app: &Arc<App>, params: &Params) -> Step {
    if params.get(Key::Search) == Some("accurate") {
        return list(app, params, Generation::V1);
    }
    one(app, params, Generation::V1)
}

/// `GET /v1/cs/history/previous`.
pub(crate) fn v1_previous(app: &Arc<App>, params: &Params) -> Step {
    previous(app, params, Generation::V1)
}

/// `GET /v1/cs/history/configs`.
pub(crate) fn v1_configs(app: &Arc<App>, params: &Params) -> Step {
    configs(app, params, Generation::V1)
}

/// `GET /v2/cs/history/list`.
pub(crate) fn v2_list(app: &Arc<App>, params: &Params) -> Step {
    list(app, params, Generation::V2)
}

/// `GET /v2/cs/history`.
pub(crate) fn v2(app: &Arc<App>, params: &Params) -> Step {
    one(app, params, Generation::V2)
}

/// `GET /v2/cs/history/previous`.
pub(crate) fn v2_previous(app: &Arc<App>, params: &Params) -> Step {
    previous(app, params, Generation::V2)
}

/// `GET /v2/cs/history/configs`.
pub(crate) fn v2_configs(app: &Arc<App>, params: &Params) -> Step {
    configs(app, params, Generation::V2)
}

/// `GET /v3/…/cs/history/list`.
pub(crate) fn v3_list(app: &Arc<App>, params: &Params) -> Step {
    list(app, params, Generation::V3)
}

/// `GET /v3/…/cs/history`.
pub(crate) fn v3(app: &Arc<App>, params: &Params) -> Step {
    one(app, params, Generation::V3)
}

/// `GET /v3/…/cs/history/previous`.
pub(crate) fn v3_previous(app: &Arc<App>, params: &Params) -> Step {
    previous(app, params, Generation::V3)
}

/// `GET /v3/…/cs/history/configs`.
pub(crate) fn v3_configs(app: &Arc<App>, params: &Params) -> Step {
    configs(app, params, Generation::V3)
}

fn list(app: &Arc<App>, params: &Params, generation: Generation) -> Step {
    let read = || -> Result<Step, Fault> {
        let key = config_key(params, generation)?;
        let asked = page(params, Some((1, 100)), PAGE_MAX)?;
        let (app, view) = (Arc::clone(app), View::of(app, params.caller())?);
        let reader = Arc::clone(&app);
        let page = move |stop: &Stop| -> Result<Value, Fault> {
            let found = view.history(&key, asked)?;
            let one = |entry: &HistoryEntry<'_>| -> Result<Value, Fault> {
                stop.check()?;
                history::listed(&reader, entry, |version| {
                    shapes::version(&key, entry, version, generation, false)
                })
            };
            let items = found.page.iter().map(one).collect::<Result<Vec<Value>, Fault>>()?;
            Ok(shapes::page(&found, asked, items))
        };
        Ok(Step::wait(async move {
            let turn = app.turns.next().await?;
            Ok(enveloped(generation, &turn.run(page).await?))
        }))
    };
    Step::of(read())
}

fn one(app: &Arc<App>, params: &Params, generation: Generation) -> Step {
    let read = || -> Result<Step, Fault> {
        let key = config_key(params, generation)?;
        let wanted = Wanted::Write(Revision(required_number(params, Key::Nid, "Long")?));
        Ok(lookup(app, params, (key, wanted), generation, move |key, entry, version| {
            shapes::version(key, entry, version, generation, true)
        }))
    };
    Step::of(read())
}

/// `GET /v2/cs/history/detail`: the contents before and after the write.
pub(crate) fn v2_detail(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Step, Fault> {
        let key = config_key(params, Generation::V2)?;
        let wanted = Wanted::Write(Revision(required_number(params, Key::Nid, "Long")?));
        Ok(lookup(app, params, (key, wanted), Generation::V2, shapes::both_sides))
    };
    Step::of(read())
}

/// The newest version of the configuration with this id.
fn previous(app: &Arc<App>, params: &Params, generation: Generation) -> Step {
    let read = || -> Result<Step, Fault> {
        let key = config_key(params, generation)?;
        let wanted = Wanted::NewestOf(Revision(required_number(params, Key::Id, "Long")?));
        Ok(lookup(app, params, (key, wanted), generation, move |key, entry, version| {
            shapes::version(key, entry, version, generation, true)
        }))
    };
    Step::of(read())
}

fn lookup(
    app: &Arc<App>,
    params: &Params,
    (key, wanted): (ConfigKey, Wanted),
    generation: Generation,
    show: impl FnOnce(&ConfigKey, &HistoryEntry<'_>, &ShownVersion) -> Value + Send + 'static,
) -> Step {
    let (app, caller) = (Arc::clone(app), params.caller());
    let read =
        move || history::version(&app, &caller, (&key, wanted), |entry, version| show(&key, entry, version));
    Step::wait(async move {
        match (blocking(read).await??, generation, wanted) {
            (Some((value, lease)), ..) => Ok(enveloped(generation, &value).leased(lease)),
            (None, Generation::V3, Wanted::Write(nid)) => {
                Err(Fault::NotFound(format!("certain config history for nid = {nid} not exist")))
            }
            (None, Generation::V1, _) => Ok(Reply::new(Kind::JsonUtf8, Bytes::new())),
            (None, ..) => Ok(result(&Value::Null)),
        }
    })
}

/// All configurations of a namespace, without contents.
fn configs(app: &Arc<App>, params: &Params, generation: Generation) -> Step {
    let read = || -> Result<Step, Fault> {
        filter(params)?;
        if generation == Generation::V1 {
            required(params, Key::Tenant, generation)?;
        } else {
            required(params, Key::NamespaceId, Generation::V2)?;
        }
        let namespace = Box::from(namespace_param(params).unwrap_or_default());
        let (app, view) = (Arc::clone(app), View::of(app, params.caller())?);
        Ok(Step::wait(async move {
            let list = move |stop: &Stop| -> Result<Value, Fault> {
                let filter = Filter { namespace: Some(namespace), ..Filter::default() };
                let is_due = || stop.is_due();
                let asked = PageRequest { number: 1, size: CONFIGS_MAX };
                let found = view.list(&filter, asked, &mut Work::new(&is_due))?;
                if found.total > CONFIGS_MAX {
                    let total = found.total;
                    let what =
                        format!("{total} configurations are over {CONFIGS_MAX}: use a list with pages");
                    return Err(Fault::Invalid(what));
                }
                let items = found.page.iter().filter_map(|(key, item)| Some((*key, item.formal()?)));
                Ok(items
                    .map(|(key, release)| match generation {
                        Generation::V3 => shapes::basic_without_md5(key, release),
                        _ => shapes::wrapped(key, release),
                    })
                    .collect())
            };
            let turn = app.turns.next().await?;
            Ok(enveloped(generation, &turn.run(list).await?))
        }))
    };
    Step::of(read())
}

/// `GET /v3/admin/cs/history/diff`: what changed between two versions, each the `nid` of the write that made it. Without
/// `to` it is the newest, without `from` the one before `to`. Not in Nacos.
pub(crate) fn diff(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Step, Fault> {
        let key = config_key(params, Generation::V3)?;
        let nid = |name: Key| params.get(name).map(|text| number(name, text).map(Revision)).transpose();
        let (from, to) = (nid(Key::From)?, nid(Key::To)?);
        let (app, reader) = (Arc::clone(app), Arc::clone(app));
        let caller = params.caller();
        let compare = move |_: &Stop| history::two(&reader, &caller, (&key, from, to), diff::unified);
        Ok(Step::wait(async move {
            let turn = app.turns.next().await?;
            let (difference, lease) = turn.run(compare).await?;
            Ok(result(&difference).leased(lease))
        }))
    };
    Step::of(read())
}

/// `POST /v3/admin/cs/history/rollback`: publishes again what the write `nid` made: the formal release, or the gray one by its
/// rule, which must never become everybody's. Not in Nacos.
pub(crate) fn rollback(app: &Arc<App>, params: &Params) -> Step {
    let prepare = || -> Result<Step, Fault> {
        let key = config_key(params, Generation::V3)?;
        let nid = params.get(Key::Nid).ok_or(Fault::MissingField("nid"))?;
        let to = Revision(number(Key::Nid, nid)?);
        let (app, source) = (Arc::clone(app), source(params));
        Ok(Step::wait(async move {
            let done = history::rollback(&app, key, to, source).await?;
            Ok(result(&json!({
                "nid": done.revision.to_string(),
                "md5": done.md5.map(|md5| md5.to_string()),
                "grayName": done.gray,
            })))
        }))
    };
    Step::of(prepare())
}
