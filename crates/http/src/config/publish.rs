//! `POST` of a configuration in v1, v2 and v3, each with its own names for the fields. Imports and clones of v1 come
//! through here too.

use std::sync::Arc;

use bytes::Bytes;
use dyad_config::{ConfigType, syntax};
use http::header::{HeaderName, HeaderValue};
use tokio::sync::Semaphore;

use super::{transfer, truth};
use crate::config::request::{filter, group_key, namespace_param, source};
use crate::fault::Generation;
use crate::params::{Key, Params};
use crate::step::Step;
use dyad_app::App;
use dyad_app::Fault;
use dyad_app::config::write::{self, Fields, GrayFields, Prepared, blocking};

/// Says what is wrong with a content of the declared type. It was published all the same, as in Nacos.
const WARNING: HeaderName = HeaderName::from_static("dyad-warning");
/// Bytes of a content up to which its type is checked where the request is answered.
const CHECK_INLINE_MAX: usize = 64 * 1024;
/// Bytes of a content up to which its type is checked at all: some 50 ms of parsing.
const CHECK_MAX: usize = 1024 * 1024;
/// Checks at a time of contents that are not checked at once: each takes up to 100 MB. Those that find no room are left out.
static CHECKS: Semaphore = Semaphore::const_new(2);
/// Characters of a warning.
const WARNING_MAX: usize = 200;

/// `POST /v1/cs/configs`.
pub(crate) fn v1(app: &Arc<App>, params: &Params) -> Step {
    if transfer::is_import(params) {
        return transfer::import(app, params, Generation::V1);
    }
    if params.get(Key::Clone) == Some("true") {
        return transfer::clone(app, params, Generation::V1);
    }
    publish(app, params, Generation::V1)
}

/// `POST /v2/cs/config`.
pub(crate) fn v2(app: &Arc<App>, params: &Params) -> Step {
    publish(app, params, Generation::V2)
}

/// `POST /v3/admin/cs/config` and `/v3/console/cs/config`.
pub(crate) fn v3(app: &Arc<App>, params: &Params) -> Step {
    publish(app, params, Generation::V3)
}

fn publish(app: &Arc<App>, params: &Params, generation: Generation) -> Step {
    let prepare = || -> Result<Step, Fault> {
        filter(params)?;
        // Nacos stores replacement characters: what was published is not what is read.
        if let Some((key, at)) = params.damaged() {
            return Err(Fault::Invalid(format!("{} is not UTF-8 at byte {at}", key.name())));
        }
        let prepared = write::prepare(&fields(params, generation)?, generation.tenant_name())?;
        let (app, source) = (Arc::clone(app), source(params));
        Ok(Step::wait(async move {
            let warning = warning(&prepared).await?;
            write::publish(&app, prepared, source).await?;
            let mut reply = truth(generation, true);
            if let Some(warning) = warning {
                reply.headers.insert(WARNING, warning);
            }
            Ok(reply)
        }))
    };
    Step::of(prepare())
}

fn fields(params: &Params, generation: Generation) -> Result<Fields<'_>, Fault> {
    let needed = |key: Key| match generation {
        Generation::V1 => params.raw(key).ok_or(Fault::MissingParam { name: key.name(), kind: "String" }),
        // The forms of v2 and v3 take a blank field for a missing one.
        _ => params.get(key).and(params.raw(key)).ok_or(Fault::MissingField(key.name())),
    };
    Ok(Fields {
        data_id: needed(Key::DataId)?,
        group: needed(group_key(generation))?,
        content: needed(Key::Content)?,
        namespace: namespace_param(params),
        kind: params.get(Key::Type),
        config_tags: params.raw(Key::ConfigTags).or_else(|| params.raw(Key::ConfigTagsV1)),
        app_name: params.get(Key::AppName),
        desc: params.raw(Key::Desc),
        used_for: params.raw(Key::Use),
        effect: params.raw(Key::Effect),
        schema: params.raw(Key::Schema),
        encrypted_data_key: params.raw(Key::EncryptedDataKey),
        beta_ips: params.rest.header("betaips"),
        tag: params.get(Key::Tag),
        gray: gray(params)?,
        cas_md5: params.rest.header("casmd5"),
    })
}

/// A gray release by its own name.
fn gray(params: &Params) -> Result<Option<GrayFields<'_>>, Fault> {
    let Some(name) = params.get(Key::GrayName) else { return Ok(None) };
    let priority = match params.get(Key::GrayPriority) {
        Some(text) => {
            text.parse().map_err(|_| Fault::Invalid(format!("grayPriority: {text:?} is no number")))?
        }
        None => 0,
    };
    let expression = params.get(Key::GrayRuleExp).ok_or(Fault::MissingField("grayRuleExp"))?;
    Ok(Some(GrayFields { name, expression, version: params.get(Key::GrayVersion), priority }))
}

/// Whether the content is what its type says.
async fn warning(prepared: &Prepared) -> Result<Option<HeaderValue>, Fault> {
    let (kind, content) = (prepared.kind(), Arc::clone(prepared.content()));
    if matches!(kind, ConfigType::Text | ConfigType::Html | ConfigType::Unset) || content.len() > CHECK_MAX {
        return Ok(None);
    }
    let found = if content.len() <= CHECK_INLINE_MAX {
        syntax::check(kind, &content)
    } else {
        let Ok(room) = CHECKS.try_acquire() else { return Ok(None) };
        blocking(move || {
            let _room = room;
            syntax::check(kind, &content)
        })
        .await?
    };
    Ok(found.map(|what| header(&format!("the content is no valid {}: {what}", kind.as_str()))))
}

/// One line of ASCII that a header can carry.
fn header(text: &str) -> HeaderValue {
    let plain = |c: char| if c.is_ascii_graphic() || c == ' ' { c } else { '?' };
    let line: String = text.lines().next().unwrap_or_default().chars().take(WARNING_MAX).map(plain).collect();
    HeaderValue::from_maybe_shared(Bytes::from(line)).unwrap_or_else(|_| HeaderValue::from_static(""))
}
