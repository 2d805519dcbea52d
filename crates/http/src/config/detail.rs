//! One configuration with everything that is known of it: `show=all`, `catalog` and the beta query of v1, and the
//! details of v3.

use std::sync::Arc;

use bytes::Bytes;
use dyad_config::{BETA, ConfigItem, ContentRow, Gray, Release};
use dyad_types::{ConfigKey, Lease};
use serde_json::{Value, json};

use super::json as shapes;
use super::{get, list, rest_result, result};
use crate::config::request::config_key;
use crate::fault::Generation;
use crate::params::{Key, Params};
use crate::reply::{Kind, Reply};
use crate::step::Step;
use dyad_app::config::read::{self, Text, content, room, row, text_of};
use dyad_app::{App, Caller, Fault};

/// `GET /v1/cs/configs`: the selectors, and the plain query without one.
pub(crate) fn v1(app: &Arc<App>, params: &Params) -> Step {
    let is = |key: Key, value: &str| params.get(key) == Some(value);
    if is(Key::Show, "all") {
        return show_all(app, params);
    }
    match params.get(Key::Search) {
        Some("accurate") => return list::v1(app, params, true),
        Some("blur") => return list::v1(app, params, false),
        _ => {}
    }
    if is(Key::Beta, "true") {
        return beta_v1(app, params);
    }
    if is(Key::Export, "true") || is(Key::ExportV2, "true") {
        return super::transfer::export(app, params, is(Key::ExportV2, "true"));
    }
    get::plain(app, params)
}

/// `show=all`: 200 with an empty body for what is not there.
fn show_all(app: &Arc<App>, params: &Params) -> Step {
    with_item(app, params, Generation::V1, async |app, caller, key, item| {
        let Some(release) = item.as_deref().and_then(ConfigItem::formal) else {
            return Ok(Reply::new(Kind::JsonUtf8, Bytes::new()));
        };
        let Whole { row, text, lease } = whole(&app, &caller, release).await?;
        let info = shapes::all_info(&key, release, &row, &text).to_string();
        Ok(Reply::new(Kind::JsonUtf8, info).leased(lease))
    })
}

/// `GET /v1/cs/configs/catalog`.
pub(crate) fn catalog(app: &Arc<App>, params: &Params) -> Step {
    with_item(app, params, Generation::V1, async |app, _, _, item| {
        let Some(release) = item.as_deref().and_then(ConfigItem::formal) else {
            return Ok(rest_result(200, None, &Value::Null));
        };
        let row = row(&app, release.revision, release.len as usize).await?;
        Ok(rest_result(200, None, &shapes::catalog(release, &row)))
    })
}

/// `GET /v1/cs/configs?beta=true`.
fn beta_v1(app: &Arc<App>, params: &Params) -> Step {
    with_item(app, params, Generation::V1, async |app, caller, key, item| {
        let found = item.as_ref().and_then(|item| Some((item.gray(BETA)?, item)));
        let (data, lease) = match found {
            Some((gray, item)) => {
                let lease = room(&app, &caller, gray.release.len as usize)?;
                let content = content(&app, &gray.release).await?;
                (shapes::beta(&key, gray, item.kind(&gray.release), &content), lease)
            }
            None => (Value::Null, None),
        };
        Ok(rest_result(200, Some("query beta ok"), &data).leased(lease))
    })
}

/// `GET /v3/admin/cs/config`.
pub(crate) fn admin(app: &Arc<App>, params: &Params) -> Step {
    with_item(app, params, Generation::V3, async |app, caller, key, item| {
        match detail(&app, &caller, &key, item).await? {
            Some(detail) => Ok(detail),
            None => Err(Fault::NotFound("Config not exist, please publish Config first.".into())),
        }
    })
}

/// `GET /v3/console/cs/config`: null for what is not there.
pub(crate) fn console(app: &Arc<App>, params: &Params) -> Step {
    with_item(app, params, Generation::V3, async |app, caller, key, item| {
        Ok(detail(&app, &caller, &key, item).await?.unwrap_or_else(|| result(&Value::Null)))
    })
}

/// A release with everything that is known of it.
struct Whole {
    row: ContentRow,
    text: Text,
    lease: Option<Lease>,
}

async fn whole(app: &Arc<App>, caller: &Caller, release: &Release) -> Result<Whole, Fault> {
    let lease = room(app, caller, release.len as usize)?;
    let row = row(app, release.revision, release.len as usize).await?;
    Ok(Whole { text: text_of(&row)?, row, lease })
}

async fn detail(
    app: &Arc<App>,
    caller: &Caller,
    key: &ConfigKey,
    item: Option<Arc<ConfigItem>>,
) -> Result<Option<Reply>, Fault> {
    let Some(release) = item.as_deref().and_then(ConfigItem::formal) else { return Ok(None) };
    let Whole { row, text, lease } = whole(app, caller, release).await?;
    Ok(Some(result(&shapes::detail(key, release, &row, &text)).leased(lease)))
}

/// `GET /v3/admin/cs/config/beta`, and of any gray release with `grayName`.
pub(crate) fn beta(app: &Arc<App>, params: &Params) -> Step {
    let name = params.get(Key::GrayName).unwrap_or(BETA).to_owned();
    with_item(app, params, Generation::V3, async move |app, caller, key, item| {
        let Some((gray, item)) = item.as_ref().and_then(|item| Some((item.gray(&name)?, item))) else {
            return Err(Fault::NotFound(format!("Config is not in {name}.")));
        };
        let Whole { row, text, lease } = whole(&app, &caller, &gray.release).await?;
        let mut detail = shapes::detail(&key, &gray.release, &row, &text);
        detail.extend(gray_parts(item, gray));
        Ok(result(&detail).leased(lease))
    })
}

/// `GET /v3/admin/cs/config/grays`: all gray releases, in the order in which readers are asked about. Not in Nacos.
pub(crate) fn grays(app: &Arc<App>, params: &Params) -> Step {
    with_item(app, params, Generation::V3, async |_, _, key, item| {
        let one = |item: &ConfigItem, gray: &Gray| {
            let mut basic = shapes::basic(&key, &gray.release);
            basic.extend(gray_parts(item, gray));
            Value::Object(basic)
        };
        let of = |item: &ConfigItem| item.grays().iter().map(|gray| one(item, gray)).collect();
        let grays: Vec<Value> = item.as_deref().map_or_else(Vec::new, of);
        Ok(result(&Value::Array(grays)))
    })
}

/// What a gray release has besides a formal one, and the type that its readers are told.
fn gray_parts(item: &ConfigItem, gray: &Gray) -> serde_json::Map<String, Value> {
    shapes::object(json!({
        "type": item.kind(&gray.release).as_str(),
        "grayName": gray.name,
        "grayRule": shapes::gray_rule(&gray.rule),
    }))
}

/// Reads the configuration that the parameters name, and goes on with it.
fn with_item<F>(
    app: &Arc<App>,
    params: &Params,
    generation: Generation,
    then: impl FnOnce(Arc<App>, Caller, ConfigKey, Option<Arc<ConfigItem>>) -> F,
) -> Step
where
    F: Future<Output = Result<Reply, Fault>> + Send + 'static,
{
    let prepare = || -> Result<Step, Fault> {
        let key = config_key(params, generation)?;
        let caller = params.caller();
        let item = read::item(app, &caller, &key)?;
        Ok(Step::wait(then(Arc::clone(app), caller, key, item)))
    };
    Step::of(prepare())
}
