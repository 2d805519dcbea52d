//! Versions: lists of them, one version with its content, both sides of a write, the difference between two, and a
//! rollback to one.

use std::sync::Arc;

use bytes::Bytes;
use dyad_config::{
    Change, ConfigReply, ContentError, ContentRow, Contents, Draft, Filter, HistoryEntry, PageRequest,
    PublishGray, Revision, ShownVersion, Work,
};
use dyad_types::{ConfigKey, Lease};
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
use dyad_app::config::Stop;
use dyad_app::config::read::{LARGEST, room, room_to_write, row};
use dyad_app::config::write::{blocking, propose};
use dyad_app::{App, Caller, Fault};

/// Versions on one page, as in Nacos.
const PAGE_MAX: usize = 500;
/// Bytes of a version: what was written, and what was there before.
const VERSION_MAX: usize = 2 * LARGEST;
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
        let app = Arc::clone(app);
        let reader = Arc::clone(&app);
        let page = move |stop: &Stop| -> Result<Value, Fault> {
            let state = reader.configs.state();
            let found = state.history(&key, asked);
            let one = |entry: &HistoryEntry<'_>| -> Result<Value, Fault> {
                stop.check()?;
                // Of the contents of all versions those of one are in memory at a time, whoever asks.
                let _reading = reader.turns.reading_here(VERSION_MAX);
                let version = shown(&*reader.contents, entry)?;
                Ok(shapes::version(&key, entry, &version, generation, false))
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
        let nid = Revision(required_number(params, Key::Nid, "Long")?);
        Ok(lookup(
            (app, params.caller()),
            key,
            generation,
            move |_, _| Some(nid),
            move |key, entry, version| shapes::version(key, entry, version, generation, true),
        ))
    };
    Step::of(read())
}

/// `GET /v2/cs/history/detail`: the contents before and after the write.
pub(crate) fn v2_detail(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Step, Fault> {
        let key = config_key(params, Generation::V2)?;
        let nid = Revision(required_number(params, Key::Nid, "Long")?);
        Ok(lookup((app, params.caller()), key, Generation::V2, move |_, _| Some(nid), shapes::both_sides))
    };
    Step::of(read())
}

/// The newest version of the configuration with this id.
fn previous(app: &Arc<App>, params: &Params, generation: Generation) -> Step {
    let read = || -> Result<Step, Fault> {
        let key = config_key(params, generation)?;
        let id = Revision(required_number(params, Key::Id, "Long")?);
        let newest = move |app: &App, key: &ConfigKey| {
            let state = app.configs.state();
            let item = state.item(key)?;
            item.formal().filter(|release| release.id == id)?;
            item.history().find(|entry| entry.gray.is_none()).map(|entry| entry.revision)
        };
        Ok(lookup((app, params.caller()), key, generation, newest, move |key, entry, version| {
            shapes::version(key, entry, version, generation, true)
        }))
    };
    Step::of(read())
}

/// Shows the version that `which` names.
fn lookup(
    (app, caller): (&Arc<App>, Caller),
    key: ConfigKey,
    generation: Generation,
    which: impl FnOnce(&App, &ConfigKey) -> Option<Revision> + Send + 'static,
    show: impl FnOnce(&ConfigKey, &HistoryEntry<'_>, &ShownVersion) -> Value + Send + 'static,
) -> Step {
    let app = Arc::clone(app);
    let read = move || -> Result<Option<(Value, Option<Lease>)>, Fault> {
        let Some(nid) = which(&app, &key) else { return Ok(None) };
        let _reading = app.turns.reading_here(VERSION_MAX);
        let state = app.configs.state();
        let Some(entry) = state.item(&key).and_then(|item| item.version(nid)) else {
            return match app.contents.read(nid) {
                Ok(row) if row.key != key => Err(Fault::OtherConfig),
                _ if generation == Generation::V3 => {
                    Err(Fault::NotFound(format!("certain config history for nid = {nid} not exist")))
                }
                _ => Ok(None),
            };
        };
        let version = shown(&*app.contents, &entry)?;
        let lease = room(&app, &caller, bytes(Some(&version.write)) + bytes(version.before.as_ref()))?;
        Ok(Some((show(&key, &entry, &version), lease)))
    };
    Step::wait(async move {
        Ok(match (blocking(read).await??, generation) {
            (Some((value, lease)), _) => enveloped(generation, &value).leased(lease),
            (None, Generation::V1) => Reply::new(Kind::JsonUtf8, Bytes::new()),
            (None, _) => result(&Value::Null),
        })
    })
}

/// A version with the row before it. Blocks.
fn shown(contents: &dyn Contents, entry: &HistoryEntry<'_>) -> Result<ShownVersion, Fault> {
    let before = entry.before.map(|revision| contents.read(revision)).transpose()?;
    Ok(ShownVersion { write: contents.read(entry.revision)?, before })
}

/// The bytes of the content of a row.
fn bytes(row: Option<&ContentRow>) -> usize {
    row.and_then(|row| row.content.as_ref()).map_or(0, |content| content.text().len())
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
        let (app, state) = (Arc::clone(app), app.configs.state());
        Ok(Step::wait(async move {
            let list = move |stop: &Stop| -> Result<Value, Fault> {
                let filter = Filter { namespace: Some(namespace), ..Filter::default() };
                let is_due = || stop.is_due();
                let asked = PageRequest { number: 1, size: CONFIGS_MAX };
                let found = state.list(&filter, asked, &mut Work::new(&is_due))?;
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
        let compare = move |_: &Stop| -> Result<(Value, Option<Lease>), Fault> {
            let state = reader.configs.state();
            let unknown =
                |what: &str| Fault::NotFound(format!("version {what} is not in the history of {key}"));
            let none = || Fault::NotFound(format!("{key} has no history"));
            let item = state.item(&key).ok_or_else(none)?;
            let to = match to {
                Some(to) => item.version(to).ok_or_else(|| unknown(&to.to_string()))?,
                None => item.history().next().ok_or_else(none)?,
            };
            let from = match from {
                Some(from) => Some(item.version(from).ok_or_else(|| unknown(&from.to_string()))?.revision),
                None => to.before,
            };
            let reading = reader.turns.reading_here(VERSION_MAX);
            let before = from.map(|revision| reader.contents.read(revision)).transpose()?;
            let after = reader.contents.read(to.revision)?;
            let lease = room(&reader, &caller, bytes(before.as_ref()) + bytes(Some(&after)))?;
            drop(reading);
            Ok((diff::unified(before.as_ref(), &after)?, lease))
        };
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
            let unknown = || Fault::NotFound(format!("version {to} is not in the history of {key}"));
            if app.configs.state().item(&key).is_none_or(|item| item.version(to).is_none()) {
                return Err(unknown());
            }
            let row = match row(&app, to, LARGEST).await {
                Err(Fault::Content(ContentError::Gone(_))) => return Err(unknown()),
                row => row?,
            };
            let _room = room_to_write(&app, &source.caller, bytes(Some(&row)))?;
            let draft = draft(&row)?;
            let (change, gray) = match row.gray {
                Some((name, Some(rule))) => {
                    let (key, shown) = (key.clone(), name.to_string());
                    (Change::PublishGray(PublishGray { key, name, rule, draft, cas: None }), Some(shown))
                }
                _ => (Change::Rollback { key: key.clone(), to, draft }, None),
            };
            match propose(&app, change, source).await? {
                ConfigReply::Done { revision, md5 } => Ok(result(&json!({
                    "nid": revision.to_string(),
                    "md5": md5.map(|md5| md5.to_string()),
                    "grayName": gray,
                }))),
                ConfigReply::NotFound => Err(unknown()),
                _ => Err(Fault::UnknownReply),
            }
        }))
    };
    Step::of(prepare())
}

/// What a write published, to be published again.
///
/// # Errors
/// The write removed the release.
pub(super) fn draft(row: &ContentRow) -> Result<Draft, Fault> {
    let content = row.content.clone().ok_or_else(|| {
        Fault::Invalid(format!(
            "version {} removed the configuration: it has no content to go back to",
            row.revision
        ))
    })?;
    let extra = row.extra.as_deref().cloned().unwrap_or_default();
    Ok(Draft {
        content,
        kind: row.kind,
        app_name: Some(extra.app_name),
        tags: Some(extra.tags),
        desc: extra.desc,
        used_for: extra.used_for,
        effect: extra.effect,
        schema: extra.schema,
        encrypted_data_key: extra.encrypted_data_key,
    })
}
