//! Clone: writes the configurations with certain ids to a namespace, perhaps under other names.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dyad_config::{Draft, Revision};
use dyad_types::check::{self, Input};
use dyad_types::config_check::{ConfigInput, check_config};
use dyad_types::{ConfigKey, Lease};
use serde::Deserialize;

use super::report::{self, Job, Refusal};
use crate::config::remove::IDS_MAX;
use crate::config::request::{filter, namespace_param, source};
use crate::fault::Generation;
use crate::params::{Key, Params};
use crate::step::Step;
use dyad_app::config::history::draft;
use dyad_app::config::read::{room_to_write, row_here};
use dyad_app::config::{Stop, View};
use dyad_app::json::{List, Scalar};
use dyad_app::{App, Caller, Fault};

/// Bytes of contents of one clone: they are in memory at once.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// One wish.
struct Wish {
    id: Revision,
    data_id: Option<String>,
    group: Option<String>,
}

/// `POST /v3/admin/cs/config/clone`.
pub(crate) fn admin(app: &Arc<App>, params: &Params) -> Step {
    clone(app, params, Generation::V3)
}

/// `POST /v3/console/cs/config/clone`.
pub(crate) fn console(app: &Arc<App>, params: &Params) -> Step {
    clone(app, params, Generation::V3)
}

/// `POST /v1/cs/configs?clone=true`.
pub(crate) fn clone(app: &Arc<App>, params: &Params, generation: Generation) -> Step {
    let prepare = || -> Result<Step, Fault> {
        filter(params)?;
        let namespace =
            params.get(Key::TargetNamespaceId).or_else(|| namespace_param(params)).unwrap_or_default();
        check::check(&Input { namespace_id: Some(namespace), ..Input::default() })?;
        let policy = report::policy(params)?;
        let wishes = wishes(&params.rest.body)?;
        let refuse = |refusal: Refusal, reason: &str| Ok(Step::Done(Ok(refusal.reply(generation, reason))));
        if wishes.is_empty() {
            return refuse(Refusal::NothingSelected, "the list is empty");
        }
        if View::of(app, params.caller())?.namespace(namespace)?.is_none() {
            return refuse(Refusal::NoNamespace, &format!("namespace {namespace} does not exist"));
        }
        let (app, namespace, source) = (Arc::clone(app), namespace.to_owned(), source(params));
        Ok(Step::wait(async move {
            let turn = app.turns.next().await?;
            let (reader, caller) = (Arc::clone(&app), source.caller.clone());
            let load = move |stop: &Stop| load(&reader, &caller, &wishes, &namespace, stop);
            let (items, _room) = turn.run(load).await?;
            if items.is_empty() {
                return Ok(Refusal::NoData.reply(generation, "none of the ids is known"));
            }
            report::run(
                &app,
                Job { items, policy, clone: true, source, unrecognized: Vec::new() },
                generation,
            )
            .await
        }))
    };
    Step::of(prepare())
}

/// An item of the body, with the names of its fields in each generation.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    cfg_id: Option<Scalar>,
    config_id: Option<Scalar>,
    data_id: Option<Scalar>,
    target_data_id: Option<Scalar>,
    group: Option<Scalar>,
    target_group_name: Option<Scalar>,
}

/// Reads the body: a JSON list.
fn wishes(body: &[u8]) -> Result<Vec<Wish>, Fault> {
    let wrong = |what: String| Fault::Invalid(format!("the body is no list of configurations: {what}"));
    let list: List<Item, IDS_MAX> = serde_json::from_slice(body).map_err(|error| wrong(error.to_string()))?;
    let given = |field: &Option<Scalar>| {
        let text = field.as_ref()?.0.as_deref()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let wish = |item: &Item| {
        let id = given(&item.cfg_id).or_else(|| given(&item.config_id)).and_then(|id| id.parse().ok());
        Ok(Wish {
            id: Revision(id.ok_or_else(|| wrong("an item has no cfgId or configId".into()))?),
            data_id: given(&item.data_id).or_else(|| given(&item.target_data_id)),
            group: given(&item.group).or_else(|| given(&item.target_group_name)),
        })
    };
    list.iter().map(wish).collect()
}

/// The configurations with their contents and new names, and room for these; unknown ids are left out.
fn load(
    app: &App,
    caller: &Caller,
    wishes: &[Wish],
    namespace: &str,
    stop: &Stop,
) -> Result<(Vec<(ConfigKey, Draft)>, Lease), Fault> {
    let view = View::of(app, caller.clone())?;
    let ids: BTreeSet<Revision> = wishes.iter().map(|wish| wish.id).collect();
    let found = view.by_ids(&ids);
    let by_id: BTreeMap<Revision, _> = found
        .into_iter()
        .filter_map(|(key, item)| Some((item.formal()?.id, (key, item.formal()?))))
        .collect();
    let len = |wish: &Wish| by_id.get(&wish.id).map_or(0, |(_, release)| release.len as usize);
    let bytes: usize = wishes.iter().map(len).sum();
    if bytes > BYTES_MAX {
        let max = BYTES_MAX / (1024 * 1024);
        return Err(Fault::Invalid(format!("the contents are over {max} MiB: clone fewer at a time")));
    }
    let room = room_to_write(app, caller, bytes)?;
    let mut items = Vec::new();
    for wish in wishes {
        let Some((key, release)) = by_id.get(&wish.id) else { continue };
        let data_id = wish.data_id.as_deref().unwrap_or(key.data_id());
        let group = wish.group.as_deref().unwrap_or(key.group());
        check::check(&Input { data_id: Some(data_id), group: Some(group), ..Input::default() })?;
        let names = ConfigInput { data_id: Some(data_id), group: Some(group), ..ConfigInput::default() };
        check_config(&names, "tenant")?;
        stop.check()?;
        let row = row_here(app, release.revision, release.len as usize)?;
        let draft = draft(&row).map_err(|_| Fault::UnknownReply)?;
        items.push((ConfigKey::new(namespace, group, data_id), draft));
    }
    Ok((items, room))
}
