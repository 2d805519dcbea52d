//! `GET /v1/cs/configs`, `/v2/cs/config` and `/v3/client/cs/config`: the requests that clients send most.

use std::sync::Arc;

use bytes::Bytes;
use dyad_config::BETA;
use dyad_types::ConfigKey;
use http::header::{CACHE_CONTROL, EXPIRES, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, PRAGMA};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Serialize;
use serde_json::{Value, json};

use super::result;
use crate::config::request::{client_ip, config_key, reader, required};
use crate::fault::Generation;
use crate::params::{Key, Params};
use crate::reply::{Kind, Reply};
use crate::step::Step;
use dyad_app::App;
use dyad_app::Caller;
use dyad_app::Fault;
use dyad_app::config::read::{Answered, Text, answer, content, item, room};
use dyad_types::date::http_date;

const CONFIG_TYPE: HeaderName = HeaderName::from_static("config-type");
const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const ENCRYPTED_DATA_KEY: HeaderName = HeaderName::from_static("encrypted-data-key");
const IS_BETA: HeaderName = HeaderName::from_static("isbeta");
const TAG: HeaderName = HeaderName::from_static("tag");
/// The headers of an answer, and some room.
const HEADERS: usize = 12;

/// `GET /v1/cs/configs` without a selector.
pub(crate) fn plain(app: &Arc<App>, params: &Params) -> Step {
    get(app, params, Generation::V1)
}

/// `GET /v2/cs/config`.
pub(crate) fn v2(app: &Arc<App>, params: &Params) -> Step {
    get(app, params, Generation::V2)
}

/// `GET /v3/client/cs/config`: failures answer as in v1, a missing configuration is 200 with code 20004.
pub(crate) fn client(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Step, Fault> {
        required(params, Key::GroupName, Generation::V3)?;
        Ok(get(app, params, Generation::V3))
    };
    Step::of(read())
}

fn get(app: &Arc<App>, params: &Params, generation: Generation) -> Step {
    let key = match config_key(params, generation) {
        Ok(key) => key,
        Err(fault) => return Step::Done(Err(fault)),
    };
    if params.consistent() {
        let (app, params) = (Arc::clone(app), params.clone());
        return Step::wait(async move {
            app.linearize.linearize().await?;
            finish(&app, &key, &params, generation).await
        });
    }
    let answered = match look(app, &key, params) {
        Ok(Some(answered)) => answered,
        Ok(None) => return Step::Done(absent(generation)),
        Err(fault) => return Step::Done(Err(fault)),
    };
    match answered.release().and_then(|release| release.inline.as_ref()) {
        Some(text) => {
            let reply = reply(&answered, Text::Inline(Arc::clone(text)), generation);
            Step::Done(Ok(reply))
        }
        None => {
            let (app, caller) = (Arc::clone(app), params.caller());
            Step::wait(async move { load(&app, &caller, &answered, generation).await })
        }
    }
}

async fn finish(
    app: &Arc<App>,
    key: &ConfigKey,
    params: &Params,
    generation: Generation,
) -> Result<Reply, Fault> {
    match look(app, key, params)? {
        Some(answered) => load(app, &params.caller(), &answered, generation).await,
        None => absent(generation),
    }
}

/// What this reader gets. Its address is looked at only where a gray release may ask for it.
fn look(app: &App, key: &ConfigKey, params: &Params) -> Result<Option<Answered>, Fault> {
    let Some(item) = item(app, &params.caller(), key)? else { return Ok(None) };
    let ip = if item.grays().is_empty() { String::new() } else { client_ip(params) };
    Ok(answer(item, &reader(params, &ip)))
}

async fn load(
    app: &Arc<App>,
    caller: &Caller,
    answered: &Answered,
    generation: Generation,
) -> Result<Reply, Fault> {
    let release = answered.release().ok_or(Fault::NoConfig)?;
    let lease = room(app, caller, release.len as usize)?;
    let text = content(app, release).await?;
    Ok(reply(answered, text, generation).leased(lease))
}

fn absent(generation: Generation) -> Result<Reply, Fault> {
    match generation {
        Generation::V3 => {
            let body = json!({ "code": 20_004, "message": "resource not found", "data": Value::Null });
            Ok(Reply::json(body.to_string()))
        }
        _ => Err(Fault::NoConfig),
    }
}

fn reply(answered: &Answered, text: Text, generation: Generation) -> Reply {
    match generation {
        Generation::V1Naming | Generation::V1 => {
            Reply { headers: headers(answered), ..Reply::new(Kind::Text, text.into_bytes()) }
        }
        Generation::V2 => Reply { headers: headers(answered), ..result(&&*text) },
        Generation::V3 => client_reply(answered, &text),
    }
}

/// What goes with a content. The md5 is that of the stored, possibly encrypted content.
fn headers(answered: &Answered) -> HeaderMap {
    let mut headers = HeaderMap::with_capacity(HEADERS);
    let Some(release) = answered.release() else { return headers };
    headers.insert(CONFIG_TYPE, HeaderValue::from_static(answered.kind().as_str()));
    headers.insert(CONTENT_MD5, value(release.md5.to_string()));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
    headers.insert(EXPIRES, HeaderValue::from_static("Thu, 01 Jan 1970 00:00:00 GMT"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache,no-store"));
    headers.insert(LAST_MODIFIED, value(http_date(release.modified_ms)));
    let data_key = &release.extra().encrypted_data_key;
    headers.insert(
        ENCRYPTED_DATA_KEY,
        if data_key.is_empty() { HeaderValue::from_static("") } else { value(data_key.to_string()) },
    );
    match answered.gray() {
        Some((BETA, _)) => {
            headers.insert(IS_BETA, HeaderValue::from_static("true"));
        }
        Some((name, tag)) if name.starts_with("tag_") => {
            headers.insert(TAG, value(utf8_percent_encode(tag, NON_ALPHANUMERIC).to_string()));
        }
        _ => {}
    }
    headers
}

/// A header's value; what no header can carry (a line break) is left out.
fn value(text: String) -> HeaderValue {
    HeaderValue::from_maybe_shared(Bytes::from(text)).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// gRPC's `ConfigQueryResponse` as JSON.
fn client_reply(answered: &Answered, text: &str) -> Reply {
    let (Some(release), gray) = (answered.release(), answered.gray()) else { return result(&Value::Null) };
    let tag = gray.filter(|(name, _)| name.starts_with("tag_")).map(|(_, tag)| tag);
    let data_key = &*release.extra().encrypted_data_key;
    result(&QueryResponse {
        result_code: 200,
        error_code: 0,
        message: None,
        request_id: None,
        content: text,
        encrypted_data_key: (!data_key.is_empty()).then_some(data_key),
        content_type: answered.kind().as_str(),
        md5: release.md5.to_string(),
        last_modified: release.modified_ms,
        tag,
        beta: matches!(gray, Some((BETA, _))),
        success: true,
    })
}

/// `ConfigQueryResponse`, with its content as it is in memory.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct QueryResponse<'a> {
    result_code: u32,
    error_code: u32,
    message: Option<&'a str>,
    request_id: Option<&'a str>,
    content: &'a str,
    encrypted_data_key: Option<&'a str>,
    content_type: &'a str,
    md5: String,
    last_modified: u64,
    tag: Option<&'a str>,
    beta: bool,
    success: bool,
}
