//! `DELETE` of one configuration, of the release for a tag, of gray releases, and of several configurations by their ids.

use std::collections::BTreeSet;
use std::sync::Arc;

use dyad_config::limits::BATCH_MAX;
use dyad_config::{BETA, ConfigItem, RemoveItem, Revision};
use dyad_types::ConfigKey;
use serde_json::Value;

use super::{rest_result, truth};
use crate::config::request::{config_key, filter, number, source};
use crate::fault::Generation;
use crate::params::{Key, Params};
use crate::step::Step;
use dyad_app::App;
use dyad_app::Fault;
use dyad_app::config::View;
use dyad_app::config::write::{release_of_tag, remove, remove_items};

/// Ids of one request: what fits ten commands.
pub(crate) const IDS_MAX: usize = 10 * BATCH_MAX;

/// `DELETE /v1/cs/configs` in its three forms.
pub(crate) fn v1(app: &Arc<App>, params: &Params) -> Step {
    if params.get(Key::Beta) == Some("true") {
        return beta(app, params, Generation::V1);
    }
    if params.get(Key::DelType) == Some("ids") {
        return by_ids(app, params, Generation::V1);
    }
    one(app, params, Generation::V1)
}

/// `DELETE /v2/cs/config`.
pub(crate) fn v2(app: &Arc<App>, params: &Params) -> Step {
    one(app, params, Generation::V2)
}

/// `DELETE /v3/admin/cs/config` and `/v3/console/cs/config`.
pub(crate) fn v3(app: &Arc<App>, params: &Params) -> Step {
    one(app, params, Generation::V3)
}

/// `DELETE /v3/admin/cs/config/beta` and its console twin.
pub(crate) fn v3_beta(app: &Arc<App>, params: &Params) -> Step {
    beta(app, params, Generation::V3)
}

/// `DELETE /v3/admin/cs/config/batch` and `/v3/console/cs/config/batchDelete`.
pub(crate) fn v3_batch(app: &Arc<App>, params: &Params) -> Step {
    by_ids(app, params, Generation::V3)
}

/// True, also when nothing was there.
fn one(app: &Arc<App>, params: &Params, generation: Generation) -> Step {
    let prepare = || -> Result<Step, Fault> {
        let key = config_key(params, generation)?;
        let gray = params.get(Key::GrayName).map(Box::from);
        let tag = || params.get(Key::Tag).map(|tag| release_of_tag(app, &key, tag)).transpose();
        let gray = gray.map_or_else(tag, |gray| Ok(Some(gray)))?;
        let (app, source) = (Arc::clone(app), source(params));
        Ok(Step::wait(async move {
            remove(&app, key, gray, source).await?;
            Ok(truth(generation, true))
        }))
    };
    Step::of(prepare())
}

fn beta(app: &Arc<App>, params: &Params, generation: Generation) -> Step {
    let prepare = || -> Result<Step, Fault> {
        let key = config_key(params, generation)?;
        let (app, source) = (Arc::clone(app), source(params));
        Ok(Step::wait(async move {
            let removed = remove(&app, key, Some(BETA.into()), source).await?;
            Ok(match (generation, removed) {
                (Generation::V1, true) => rest_result(200, Some("stop beta ok"), &Value::Bool(true)),
                (Generation::V1, false) => {
                    rest_result(500, Some("remove beta data error"), &Value::Bool(false))
                }
                _ => truth(generation, true),
            })
        }))
    };
    Step::of(prepare())
}

/// One entry per batch; ids that are unknown, or of a configuration that was created anew, remove nothing.
fn by_ids(app: &Arc<App>, params: &Params, generation: Generation) -> Step {
    let prepare = || -> Result<Step, Fault> {
        filter(params)?;
        let text = params.raw(Key::Ids).ok_or(Fault::MissingParam { name: "ids", kind: "List" })?;
        let ids = ids(text)?;
        let (app, source) = (Arc::clone(app), source(params));
        Ok(Step::wait(async move {
            let turn = app.turns.next().await?;
            let view = View::of(&app, source.caller.clone())?;
            let item = |(key, item): (&ConfigKey, &Arc<ConfigItem>)| RemoveItem {
                key: key.clone(),
                id: item.formal().map(|release| release.id),
            };
            let items: Vec<RemoveItem> =
                turn.run(move |_| Ok(view.by_ids(&ids).into_iter().map(item).collect())).await?;
            remove_items(&app, &items, &source).await?;
            Ok(match generation {
                Generation::V1 => rest_result(200, None, &Value::Bool(true)),
                _ => truth(generation, true),
            })
        }))
    };
    Step::of(prepare())
}

/// A comma-separated list of ids.
///
/// # Errors
/// What is no number, or more than [`IDS_MAX`].
pub(crate) fn ids(text: &str) -> Result<BTreeSet<Revision>, Fault> {
    let mut ids = BTreeSet::new();
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        ids.insert(Revision(number(Key::Ids, part)?));
        if ids.len() > IDS_MAX {
            return Err(Fault::Invalid(format!("ids: more than {IDS_MAX} entries")));
        }
    }
    Ok(ids)
}
