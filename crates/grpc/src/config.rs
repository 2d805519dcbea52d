//! The requests of the configuration center, and the notification of a change (`config.server.remote` of Nacos).

use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use dyad_config::{ContentError, Source, tag_gray_name};
use dyad_types::ConfigKey;
use dyad_types::check::{self, Input};
use dyad_types::config_check::{ConfigInput, TAG_MAX, check_config};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::Deserialize;

use crate::dto::{self, Pairs, Text};
use crate::error::GrpcError;
use crate::frame::{self, quoted};
use crate::row::{Answer, Call, DONE};
use dyad_app::Fault;
use dyad_app::config::cut;
use dyad_app::config::read::{self, Answered};
use dyad_app::config::write::{self, Author, Fields};
use dyad_app::json::List;
use dyad_push::config::{Listening, Reported};

/// A content that was pruned while it was looked up has a successor; so often it is looked up again.
const READS_MAX: usize = 3;
/// Configurations of one request to listen: as many as one connection may listen to.
const CONTEXTS_MAX: usize = 20_000;
const TAG: &str = "Vipserver-Tag";
/// Bytes of the longest tag: its characters have three at most.
const TAG_BYTES_MAX: usize = 3 * TAG_MAX;
/// `ConfigQueryResponse` of what is not there; all its fields are mandatory for some SDK.
const MISSING: &str = "{\"resultCode\":500,\"errorCode\":300,\"message\":\"config data not exist\",\"lastModified\":0,\
                       \"beta\":false,\"success\":false}";

/// Every field of every request of this module; each handler reads its own.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigRequest<'a> {
    #[serde(borrow, default)]
    data_id: Text<'a>,
    #[serde(borrow, default)]
    group: Text<'a>,
    #[serde(borrow, default)]
    tenant: Text<'a>,
    #[serde(borrow, default)]
    tag: Text<'a>,
    #[serde(borrow, default)]
    content: Text<'a>,
    #[serde(borrow, default)]
    cas_md5: Text<'a>,
    #[serde(borrow, default)]
    addition_map: Pairs<'a>,
    #[serde(default)]
    listen: Option<bool>,
    #[serde(borrow, default)]
    config_listen_contexts: Option<List<Context<'a>, CONTEXTS_MAX>>,
}

/// What a client has of one configuration.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Context<'a> {
    #[serde(borrow, default)]
    data_id: Text<'a>,
    #[serde(borrow, default)]
    group: Text<'a>,
    #[serde(borrow, default)]
    tenant: Option<Text<'a>>,
    /// Absent is unknown; empty is nothing.
    #[serde(borrow, default)]
    md5: Option<Text<'a>>,
}

impl<'a> ConfigRequest<'a> {
    fn read(body: &'a [u8]) -> Result<ConfigRequest<'a>, GrpcError> {
        dto::read(body)
    }

    /// The configuration, after the parameter check.
    fn key(&self) -> Result<ConfigKey, GrpcError> {
        checked(&self.data_id, &self.group, &self.tenant.0)
    }

    fn addition(&self, name: &str) -> Option<&str> {
        self.addition_map.given(name).filter(|text| !text.is_empty())
    }

    /// `ParamUtils`, for requests that have no more than a name and a tag.
    fn check_names(&self) -> Result<(), Fault> {
        Ok(check_config(
            &ConfigInput {
                data_id: Some(&self.data_id.0),
                group: Some(&self.group.0),
                tag: self.tag.some(),
                ..ConfigInput::default()
            },
            "tenant",
        )?)
    }
}

fn checked(data_id: &Text<'_>, group: &Text<'_>, tenant: &str) -> Result<ConfigKey, GrpcError> {
    check::check(&Input {
        namespace_id: Some(tenant),
        data_id: Some(&data_id.0),
        group: Some(&group.0),
        ..Input::default()
    })?;
    Ok(ConfigKey::new(tenant, &group.0, &data_id.0))
}

/// `ConfigQueryRequest`.
pub(crate) async fn query(call: Call) -> Result<Answer, GrpcError> {
    let (key, tag) = {
        let request = ConfigRequest::read(&call.body)?;
        (request.key()?, request.tag.some().map(str::to_owned))
    };
    let app = &call.front.app;
    for _ in 0..READS_MAX {
        let reader = call.connection.reader(tag.as_deref(), call.header(TAG));
        let answered = read::item(app, &call.caller(), &key)?.and_then(|item| read::answer(item, &reader));
        let Some((answered, release)) = answered.as_ref().and_then(|a| Some((a, a.release()?))) else {
            return Ok(Answer::Fixed(MISSING));
        };
        // Until the message is made. Then the transport takes room for all of it.
        let _room = read::room(app, &call.caller(), release.len as usize)?;
        match read::content(app, release).await {
            Ok(content) => return Ok(Answer::Json(found(answered, release, &content))),
            Err(Fault::Content(ContentError::Gone(_))) => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    Ok(Answer::Fixed(MISSING))
}

fn found(answered: &Answered, release: &dyad_config::Release, content: &str) -> String {
    let mut json = Vec::with_capacity(content.len() + content.len() / 8 + 256);
    json.extend_from_slice(b"{\"resultCode\":200,\"errorCode\":0,\"content\":");
    serde_json::to_writer(&mut json, content).expect("a string always serializes");
    let mut json = String::from_utf8(json).expect("JSON is UTF-8");
    // Writing to a string cannot fail.
    let _ = write!(
        json,
        ",\"encryptedDataKey\":{},\"contentType\":\"{}\",\"md5\":\"{}\",\"lastModified\":{}",
        quoted(&release.extra().encrypted_data_key),
        answered.kind().as_str(),
        release.md5,
        release.modified_ms,
    );
    let gray = answered.gray.and_then(|at| answered.item.grays().get(at));
    let kind = gray.map_or("", |gray| gray.rule.kind());
    if let Some(gray) = gray.filter(|_| kind == "tag") {
        let tag = utf8_percent_encode(gray.rule.expression(), NON_ALPHANUMERIC);
        let _ = write!(json, ",\"tag\":\"{tag}\"");
    }
    let _ = write!(json, ",\"beta\":{},\"success\":true}}", kind == dyad_config::BETA);
    json
}

/// `ConfigPublishRequest`.
pub(crate) async fn publish(call: Call) -> Result<Answer, GrpcError> {
    let (prepared, source) = {
        let request = ConfigRequest::read(&call.body)?;
        request.key()?;
        let fields = Fields {
            data_id: &request.data_id.0,
            group: &request.group.0,
            namespace: request.tenant.some(),
            content: &request.content.0,
            kind: request.addition("type"),
            config_tags: request.addition_map.given("config_tags"),
            app_name: request.addition("appName"),
            desc: request.addition_map.given("desc"),
            used_for: request.addition_map.given("use"),
            effect: request.addition_map.given("effect"),
            schema: request.addition_map.given("schema"),
            encrypted_data_key: request.addition("encryptedDataKey"),
            beta_ips: request.addition("betaIps"),
            tag: request.addition("tag"),
            gray: None,
            cas_md5: request.cas_md5.some().filter(|md5| !md5.trim().is_empty()),
        };
        (write::prepare(&fields, "tenant")?, source(&call, request.addition("src_user")))
    };
    write::publish(&call.front.app, prepared, source).await?;
    Ok(Answer::Fixed(DONE))
}

/// `ConfigRemoveRequest`: also when there was nothing, it is done.
pub(crate) async fn remove(call: Call) -> Result<Answer, GrpcError> {
    // Nacos gives a removal that failed no code.
    let plain = |fault: Fault| match GrpcError::from(fault) {
        GrpcError::Fault(fault) => GrpcError::Removal(fault),
        other => other,
    };
    let (key, gray) = {
        let request = ConfigRequest::read(&call.body)?;
        let key = request.key()?;
        request.check_names().map_err(plain)?;
        (key, request.tag.some().map(|tag| tag_gray_name(tag).into()))
    };
    let source = source(&call, None);
    write::remove(&call.front.app, key, gray, source).await.map_err(plain)?;
    Ok(Answer::Fixed(DONE))
}

/// Who writes, for the history: the address is that of the transport, which nobody can make up.
fn source(call: &Call, user: Option<&str>) -> Author {
    let source = Source {
        user: cut(user.unwrap_or_default()),
        ip: call.connection.peer().ip().to_canonical().to_string().into(),
        reason: "".into(),
    };
    Author { caller: call.caller(), source }
}

/// `ConfigBatchListenRequest`: the answer lists, in the client's own spelling, those of which it has something else than there
/// is; from now on it is told of changes of all of them.
pub(crate) fn listen(call: &Call) -> Result<Answer, GrpcError> {
    let request = ConfigRequest::read(&call.body)?;
    let contexts = request.config_listen_contexts.as_deref().unwrap_or_default();
    let caller = call.caller();
    let keys = contexts
        .iter()
        .enumerate()
        .map(|(at, context)| {
            for (field, text) in [("dataId", &context.data_id), ("group", &context.group)] {
                if text.0.trim().is_empty() {
                    let path = format!("configListenContexts[{at}].{field}");
                    return Err(GrpcError::BadField { path, why: "it is empty".into() });
                }
            }
            let key = checked(&context.data_id, &context.group, tenant_of(context))?;
            read::listens(&call.front.app, &caller, &key)?;
            Ok(key)
        })
        .collect::<Result<Vec<ConfigKey>, GrpcError>>()?;
    let named = contexts.iter().zip(&keys);
    let listeners = &call.front.app.listeners;
    let mut json = "{\"resultCode\":200,\"errorCode\":0,\"changedConfigs\":[".to_owned();
    if request.listen.unwrap_or(true) {
        // A longer one is the tag of no release, and need not be kept.
        *call.connection.tag.lock() =
            call.header(TAG).filter(|tag| tag.len() <= TAG_BYTES_MAX).map(Box::from);
        // All before the first comparison: who compares is answered, not refused.
        let listenings: Vec<Arc<Listening>> = named
            .map(|(context, key)| listen_to(call, tenant_of(context), key))
            .collect::<Result<_, GrpcError>>()?;
        let start = json.len();
        for (context, listening) in contexts.iter().zip(&listenings) {
            let reported = context.md5.as_ref().map_or(Reported::Unknown, |md5| Reported::parse(&md5.0));
            if listening.compare(listeners.catalog(), reported) {
                if json.len() > start {
                    json.push(',');
                }
                changed(&mut json, context);
            }
        }
    } else {
        let mut held = call.connection.listenings.lock();
        for ended in named.filter_map(|(_, key)| held.remove(key)) {
            listeners.unlisten(&ended);
        }
    }
    json.push_str("],\"success\":true}");
    Ok(Answer::Json(json))
}

fn tenant_of<'a>(context: &'a Context<'_>) -> &'a str {
    context.tenant.as_ref().map_or("", |tenant| &tenant.0)
}

fn changed(json: &mut String, context: &Context<'_>) {
    json.push_str("{\"group\":");
    json.push_str(&quoted(&context.group.0));
    json.push_str(",\"dataId\":");
    json.push_str(&quoted(&context.data_id.0));
    if let Some(tenant) = &context.tenant {
        json.push_str(",\"tenant\":");
        json.push_str(&quoted(&tenant.0));
    }
    json.push('}');
}

/// Listens to one configuration, or goes on with it.
fn listen_to(call: &Call, tenant: &str, key: &ConfigKey) -> Result<Arc<Listening>, GrpcError> {
    let (listeners, max) = (&call.front.app.listeners, call.front.connections.limits().subscriptions);
    let mut held = call.connection.listenings.lock();
    // The end of a connection takes what is held here; nothing may come after it.
    if !call.connection.is_registered() {
        return Err(GrpcError::Unregistered);
    }
    if let Some(present) = held.get(key).filter(|present| present.tenant() == tenant) {
        return Ok(present.clone());
    }
    if held.len() >= max && !held.contains_key(key) {
        return Err(GrpcError::TooMany { what: "configurations that a connection listens to", max });
    }
    let address = call.connection.peer().ip();
    let place = listeners.room_for(address, 1)?;
    let listening = listeners.listen(key, tenant, 0, call.connection.clone(), place);
    if let Some(replaced) = held.insert(listening.key().clone(), listening.clone()) {
        listeners.unlisten(&replaced);
    }
    Ok(listening)
}

/// `ConfigChangeNotifyRequest`: no content; the default namespace only if the client spells it out.
pub(crate) fn encode(listening: &Listening, id: u64, own_ip: &str) -> Bytes {
    let key = listening.key();
    let tenant = match listening.tenant() {
        "" => String::new(),
        tenant => format!("\"tenant\":{},", quoted(tenant)),
    };
    let json = format!(
        "{{\"headers\":{{}},\"requestId\":\"{id}\",\"dataId\":{},\"group\":{},{tenant}\"module\":\"config\"}}",
        quoted(key.data_id()),
        quoted(key.group()),
    );
    frame::payload("ConfigChangeNotifyRequest", own_ip, &[json.as_bytes()])
}
