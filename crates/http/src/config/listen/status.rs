//! Shows which clients listen to which configuration, with which content, since when, and whether they have heard of
//! the last change. It shows those of this member or of all members.
//!
//! The answers of Nacos have an md5 for each address or configuration. The answers of v3 also have one entry for each listener.

use std::collections::BTreeMap;
use std::sync::Arc;

use dyad_naming::java::parse_boolean;
use dyad_types::ConfigKey;
use dyad_types::config::config_namespace;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::ask::{ASKED_MAX, Others, ask_all};
use crate::config::request::{config_key, filter, namespace_param, required};
use crate::fault::Generation;
use crate::params::{Key, Params};
use crate::reply::{Kind, Reply};
use crate::step::Step;
use dyad_app::App;
use dyad_app::Fault;
use dyad_app::config::Stop;
use dyad_push::config::{Listening, Means};

/// One listener of one configuration.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    namespace_id: String,
    group_name: String,
    data_id: String,
    ip: String,
    /// What the client said it has; empty is nothing.
    md5: String,
    /// `longPoll` or `grpc`.
    means: String,
    /// The connection's id; empty for a long poll.
    client: String,
    app: String,
    /// The HTTP address of the member that it is connected to.
    member: String,
    /// Milliseconds since the epoch; for a long poll since it began to wait.
    since: u64,
    /// The md5 of what it should read, as it was last told or compared.
    seen: String,
    /// When it was told of a change; 0 if it was not since it listens.
    notified: u64,
    /// It acknowledged that.
    acked: bool,
}

/// What a request asks for.
#[derive(Clone, Debug)]
enum Asked {
    /// Who listens to this configuration.
    Key(ConfigKey),
    /// What this address listens to: in one namespace, or in all.
    Ip { ip: String, namespace: Option<String> },
}

/// The form of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `GroupkeyListenserStatus`.
    Collected,
    /// `SampleResult`: between members of Nacos, so that it is about this one only.
    Sample,
    V3,
}

/// `GET /v1/cs/configs/listener`.
pub(crate) fn by_key(app: &Arc<App>, params: &Params) -> Step {
    answer(app, params, Generation::V1, Form::Collected, key_of)
}

/// `GET /v1/cs/listener`.
pub(crate) fn by_ip(app: &Arc<App>, params: &Params) -> Step {
    answer(app, params, Generation::V1, Form::Collected, ip_of)
}

/// `GET /v1/cs/communication/configWatchers`.
pub(crate) fn watchers(app: &Arc<App>, params: &Params) -> Step {
    answer(app, params, Generation::V1, Form::Sample, key_of)
}

/// `GET /v1/cs/communication/watcherConfigs`.
pub(crate) fn watched(app: &Arc<App>, params: &Params) -> Step {
    let all = |params: &Params, generation| match ip_of(params, generation)? {
        Asked::Ip { ip, .. } => Ok(Asked::Ip { ip, namespace: None }),
        other => Ok(other),
    };
    answer(app, params, Generation::V1, Form::Sample, all)
}

/// `GET …/config/listener` of v3.
pub(crate) fn v3_by_key(app: &Arc<App>, params: &Params) -> Step {
    answer(app, params, Generation::V3, Form::V3, key_of)
}

/// `GET /v3/admin/cs/listener`, `GET /v3/console/cs/config/listener/ip`.
pub(crate) fn v3_by_ip(app: &Arc<App>, params: &Params) -> Step {
    answer(app, params, Generation::V3, Form::V3, ip_of)
}

fn key_of(params: &Params, generation: Generation) -> Result<Asked, Fault> {
    config_key(params, generation).map(Asked::Key)
}

/// Without a namespace, and unless `all` is true, only the default one.
fn ip_of(params: &Params, generation: Generation) -> Result<Asked, Fault> {
    filter(params)?;
    let ip = required(params, Key::Ip, generation)?.trim().to_owned();
    let all = params.get(Key::All).is_some_and(parse_boolean);
    let namespace = match namespace_param(params) {
        None if all => None,
        named => Some(config_namespace(named.unwrap_or_default()).to_owned()),
    };
    Ok(Asked::Ip { ip, namespace })
}

fn answer(
    app: &Arc<App>,
    params: &Params,
    generation: Generation,
    form: Form,
    read: impl Fn(&Params, Generation) -> Result<Asked, Fault>,
) -> Step {
    let asked = match read(params, generation) {
        Ok(asked) => asked,
        Err(fault) => return Step::Done(Err(fault)),
    };
    let alone = form == Form::Sample || !params.get(Key::Aggregation).is_none_or(parse_boolean);
    let others = if alone { Others::none() } else { Others::all(app) };
    let app = app.clone();
    Step::wait(async move {
        let target = target(&asked);
        // A million listeners take a while to go through, and ten thousand rows to show. The turn is given back before others
        // are asked: they need one of their own.
        let of_here = Arc::clone(&app);
        let (mut found, asked) =
            app.turns.next().await?.run(move |stop| Ok((here(&of_here, &asked, stop)?, asked))).await?;
        for answer in ask_all::<Envelope>(&others, &target).await {
            found.total += answer.data.total;
            found.rows.extend(answer.data.listeners);
        }
        app.turns.next().await?.run(move |_| reply(form, &asked, found)).await
    })
}

/// Listeners, and how many there are: of one member at most [`ASKED_MAX`] are shown.
#[derive(Default)]
struct Found {
    total: usize,
    rows: Vec<Row>,
}

/// The listeners on this member.
fn here(app: &App, asked: &Asked, stop: &Stop) -> Result<Found, Fault> {
    let me = app.members.members().into_iter().find(|member| member.me).map(|member| member.address);
    let me = me.unwrap_or_default();
    let mut found = Found::default();
    let mut see = |listening: &Arc<Listening>| {
        if stop.is_due() || !is_asked(listening, asked) {
            return;
        }
        found.total += 1;
        if found.rows.len() < ASKED_MAX {
            found.rows.push(row(listening, &me));
        }
    };
    match asked {
        Asked::Key(key) => app.listeners.listeners(key).iter().for_each(see),
        Asked::Ip { .. } => app.listeners.each(&mut see),
    }
    stop.check()?;
    Ok(found)
}

fn is_asked(listening: &Listening, asked: &Asked) -> bool {
    match asked {
        Asked::Key(_) => true,
        Asked::Ip { ip, namespace } => {
            listening.ip() == ip
                && namespace.as_ref().is_none_or(|namespace| listening.key().namespace() == namespace)
        }
    }
}

fn row(listening: &Listening, me: &str) -> Row {
    let (key, info) = (listening.key(), listening.describe());
    let told = listening.told();
    let text = |md5: Option<dyad_types::Md5>| md5.map(|md5| md5.to_string()).unwrap_or_default();
    let means = match info.means {
        Means::LongPoll => "longPoll",
        Means::Grpc => "grpc",
    };
    Row {
        namespace_id: key.namespace().to_owned(),
        group_name: key.group().to_owned(),
        data_id: key.data_id().to_owned(),
        ip: listening.ip().to_owned(),
        md5: text(told.reported),
        means: means.to_owned(),
        client: info.client,
        app: info.app,
        member: me.to_owned(),
        since: listening.since_ms(),
        seen: text(told.seen),
        notified: told.notified_ms,
        acked: told.acked,
    }
}

/// How another member is asked for its own listeners.
fn target(asked: &Asked) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    match asked {
        Asked::Key(key) => format!(
            "/nacos/v3/admin/cs/config/listener?aggregation=false&namespaceId={}&groupName={}&dataId={}",
            encoded(key.namespace()),
            encoded(key.group()),
            encoded(key.data_id()),
        ),
        Asked::Ip { ip, namespace } => {
            let namespace = namespace.as_deref().map(|id| format!("&namespaceId={}", encoded(id)));
            format!(
                "/nacos/v3/admin/cs/listener?aggregation=false&ip={}{}",
                encoded(ip),
                namespace.unwrap_or_else(|| "&all=true".to_owned())
            )
        }
    }
}

#[derive(Serialize, Deserialize)]
struct Envelope {
    code: u32,
    message: String,
    data: V3,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct V3 {
    query_type: String,
    listeners_status: BTreeMap<String, String>,
    /// All that there are, shown or not.
    total: usize,
    listeners: Vec<Row>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct V1 {
    #[serde(skip_serializing_if = "Option::is_none")]
    collect_status: Option<u16>,
    /// Spelled as on Nacos's wire.
    lisenters_groupkey_status: BTreeMap<String, String>,
}

fn reply(form: Form, asked: &Asked, Found { total, mut rows }: Found) -> Result<Reply, Fault> {
    rows.sort_unstable();
    let name = |row: &Row| match asked {
        Asked::Key(_) => row.ip.clone(),
        Asked::Ip { .. } => ConfigKey::new(&row.namespace_id, &row.group_name, &row.data_id).group_key(),
    };
    let status = rows.iter().map(|row| (name(row), row.md5.clone())).collect();
    let body = match form {
        Form::Collected | Form::Sample => serde_json::to_vec(&V1 {
            collect_status: (form == Form::Collected).then_some(200),
            lisenters_groupkey_status: status,
        }),
        Form::V3 => serde_json::to_vec(&Envelope {
            code: 0,
            message: "success".to_owned(),
            data: V3 {
                query_type: if matches!(asked, Asked::Key(_)) { "config" } else { "ip" }.to_owned(),
                listeners_status: status,
                total,
                listeners: rows,
            },
        }),
    };
    let kind = if form == Form::V3 { Kind::Json } else { Kind::JsonUtf8 };
    Ok(Reply::new(kind, body.map_err(|_| Fault::UnknownReply)?))
}
