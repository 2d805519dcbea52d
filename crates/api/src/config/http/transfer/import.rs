//! Import of an archive: everything in it is checked before anything is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use dyad_config::{ConfigType, Content, Draft};
use dyad_types::ConfigKey;
use dyad_types::check::{self, Input};
use dyad_types::config_check::{ConfigInput, check_config};

use super::archive::{self, Entry, Unreadable};
use super::metadata::{self, ItemMeta};
use super::multipart::Multipart;
use super::report::{self, Job, Refusal};
use crate::config::fault::{Fault, Generation};
use crate::config::http::{step, turn, wait};
use crate::config::request::{filter, namespace_param, source};
use crate::config::write::blocking;
use crate::params::{Key, Params};
use crate::routes::Step;
use crate::state::AppState;

/// True for an import by v1: the selector is in the query or in the body.
pub(crate) fn is_import(params: &Params) -> bool {
    params.get(Key::Import) == Some("true") || Multipart::is(&params.rest.headers)
}

/// `POST /v3/admin/cs/config/import` and its console twin.
pub(crate) fn v3(app: &Arc<AppState>, params: &Params) -> Step {
    import(app, params, Generation::V3)
}

/// `POST /v1/cs/configs?import=true`.
pub(crate) fn import(app: &Arc<AppState>, params: &Params, generation: Generation) -> Step {
    let prepare = || -> Result<Step, Fault> {
        filter(params)?;
        let body = Multipart::parse(&params.rest.headers, &params.rest.body).map_err(Fault::Invalid)?;
        let policy = report::policy(params, body.field("policy"))?;
        let mut source = source(params);
        for field in ["src_user", "srcUser"] {
            if let Some(user) = body.field(field).filter(|_| source.user.is_empty()) {
                source.user = user.chars().take(256).collect::<String>().into();
            }
        }
        let namespace = namespace_param(params)
            .or_else(|| body.field("namespaceId"))
            .or_else(|| body.field("namespace"))
            .unwrap_or_default();
        let Some(file) = body.file().cloned() else {
            return Ok(Step::Done(Ok(Refusal::NoData.reply(generation, "there is no part \"file\""))));
        };
        if app.configs.state().namespace(namespace).is_none() {
            let reason = format!("namespace {namespace} does not exist");
            return Ok(Step::Done(Ok(Refusal::NoNamespace.reply(generation, &reason))));
        }
        let (app, namespace) = (Arc::clone(app), namespace.to_owned());
        Ok(wait(generation, async move {
            let _turn = turn().await?;
            let read = blocking(move || read(&file, &namespace)).await?;
            let (items, unrecognized) = match read {
                Ok(read) => read,
                Err(Wrong::Refusal(refusal, reason)) => return Ok(refusal.reply(generation, &reason)),
                Err(Wrong::Fault(fault)) => return Err(fault),
            };
            if items.is_empty() {
                let reason = format!("no entry has the name group/dataId; {} others", unrecognized.len());
                return Ok(Refusal::NoData.reply(generation, &reason));
            }
            report::run(&app, Job { items, policy, clone: false, source, unrecognized }, generation).await
        }))
    };
    step(generation, prepare())
}

/// Why an archive is not imported.
enum Wrong {
    /// With a code of Nacos's and what was wrong.
    Refusal(Refusal, String),
    Fault(Fault),
}

impl From<Fault> for Wrong {
    fn from(fault: Fault) -> Wrong {
        Wrong::Fault(fault)
    }
}

type Read = (Vec<(ConfigKey, Draft)>, Vec<String>);

/// The items of an archive, and the names of what is none.
fn read(file: &Bytes, namespace: &str) -> Result<Read, Wrong> {
    let mut entries = archive::read(file).map_err(|unreadable| match unreadable {
        Unreadable::NoArchive => Wrong::Refusal(Refusal::NoData, "the file is no zip archive".into()),
        Unreadable::Refused(what) => Wrong::Fault(Fault::Invalid(what)),
    })?;
    let mut take = |name: &str| {
        let at = entries.iter().position(|(have, _)| have == name)?;
        Some(entries.remove(at).1)
    };
    let (new, old) = (take(metadata::NEW), take(metadata::OLD));
    let bad = |name: &str, what: String| Wrong::Refusal(Refusal::BadMetadata, format!("{name}: {what}"));
    match new {
        Some(text) => {
            let meta = metadata::read_new(&text).map_err(|what| bad(metadata::NEW, what))?;
            by_metadata(entries, meta, namespace)
        }
        None => {
            let text = old.unwrap_or_default();
            let apps = metadata::read_old(&text).map_err(|what| bad(metadata::OLD, what))?;
            by_names(entries, &apps, namespace)
        }
    }
}

/// The new format: items are what the metadata lists.
fn by_metadata(entries: Vec<Entry>, meta: Vec<ItemMeta>, namespace: &str) -> Result<Read, Wrong> {
    let mut listed: BTreeMap<(String, String), ItemMeta> =
        meta.into_iter().map(|item| ((item.group.clone(), item.data_id.clone()), item)).collect();
    let (mut items, mut unrecognized) = (Vec::new(), Vec::new());
    for (name, text) in entries {
        let Some((group, data_id)) = split(&name) else {
            unrecognized.push(name);
            continue;
        };
        match listed.remove(&(group.to_owned(), data_id.to_owned())) {
            Some(meta) => {
                let draft = Draft {
                    kind: ConfigType::parse(&meta.kind).unwrap_or_default(),
                    app_name: Some(meta.app_name.unwrap_or_default().into()),
                    desc: meta.desc.unwrap_or_default().into(),
                    tags: meta.tags.map(|tags| tags.split(',').map(Box::from).collect()),
                    ..Draft::text("")
                };
                items.push(item(namespace, &name, (group, data_id), text, draft)?);
            }
            None => unrecognized.push(format!("未在元数据中找到: {name}")),
        }
    }
    let missing = listed.keys().map(|(group, data_id)| format!("未在文件中找到: {group}/{data_id}"));
    unrecognized.extend(missing);
    Ok((items, unrecognized))
}

/// The old format: items are what has a name of two parts, and the type is that of its extension.
fn by_names(entries: Vec<Entry>, apps: &BTreeMap<String, String>, namespace: &str) -> Result<Read, Wrong> {
    let (mut items, mut unrecognized) = (Vec::new(), Vec::new());
    for (name, text) in entries {
        let Some((group, data_id)) = split(&name) else {
            unrecognized.push(name);
            continue;
        };
        let app = apps.get(&metadata::old_key(group, data_id));
        let draft =
            Draft { kind: kind_of(data_id), app_name: app.map(|app| Box::from(&**app)), ..Draft::text("") };
        items.push(item(namespace, &name, (group, data_id), text, draft)?);
    }
    Ok((items, unrecognized))
}

/// `group/dataId`.
fn split(name: &str) -> Option<(&str, &str)> {
    name.split_once('/')
        .filter(|(group, data_id)| !group.is_empty() && !data_id.is_empty() && !data_id.contains('/'))
}

fn kind_of(data_id: &str) -> ConfigType {
    let extension = data_id.rsplit_once('.').map_or("", |(_, extension)| extension).to_ascii_lowercase();
    match &*extension {
        "yml" => ConfigType::Yaml,
        "htm" => ConfigType::Html,
        extension => ConfigType::parse(extension).unwrap_or_default(),
    }
}

/// Checks one item as a publish would be, and takes its md5.
fn item(
    namespace: &str,
    name: &str,
    (group, data_id): (&str, &str),
    text: String,
    draft: Draft,
) -> Result<(ConfigKey, Draft), Fault> {
    let wrong = |what: String| Fault::Invalid(format!("entry {name:?}: {what}"));
    check::check(&Input { data_id: Some(data_id), group: Some(group), ..Input::default() })
        .map_err(|illegal| wrong(illegal.to_string()))?;
    let tags = draft.tags.as_ref().map(|tags| tags.join(","));
    let input = ConfigInput {
        data_id: Some(data_id),
        group: Some(group),
        content: Some(&text),
        config_tags: tags.as_deref(),
        desc: Some(&draft.desc),
        app_name: draft.app_name.as_deref(),
        ..ConfigInput::default()
    };
    check_config(&input, "tenant").map_err(|fault| wrong(fault.to_string()))?;
    let draft = Draft { content: Content::new(text), ..draft };
    Ok((ConfigKey::new(namespace, group, data_id), draft))
}
