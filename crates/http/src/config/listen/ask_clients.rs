//! `GET /v1/cs/metrics/…`: what the clients with one address say about their own configurations (`ClientConfigMetricRequest`).

use std::sync::Arc;
use std::time::Duration;

use dyad_types::ConfigKey;
use futures::future::join_all;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use crate::ask::{Others, ask_all};
use crate::config::request::{filter, group_key, namespace_param, required};
use crate::fault::Generation;
use crate::params::{Key, Params};
use crate::reply::{Kind, Reply};
use crate::step::Step;
use dyad_app::App;
use dyad_app::Fault;

/// A client that does not answer within this time is left out.
const ANSWER: Duration = Duration::from_millis(1_500);
/// Clients of one address that are asked: there is one for each process on a host.
const CLIENTS_MAX: usize = 100;

/// `GET /v1/cs/metrics/cluster`: on all members.
pub(crate) fn cluster(app: &Arc<App>, params: &Params) -> Step {
    answer(app, params, Generation::V1, true)
}

/// `GET /v1/cs/metrics/current`.
pub(crate) fn current(app: &Arc<App>, params: &Params) -> Step {
    answer(app, params, Generation::V1, false)
}

/// `GET /v3/admin/cs/metrics/cluster`.
pub(crate) fn v3_cluster(app: &Arc<App>, params: &Params) -> Step {
    answer(app, params, Generation::V3, true)
}

/// `GET /v3/admin/cs/metrics/ip`.
pub(crate) fn v3_ip(app: &Arc<App>, params: &Params) -> Step {
    answer(app, params, Generation::V3, false)
}

fn answer(app: &Arc<App>, params: &Params, generation: Generation, everywhere: bool) -> Step {
    let prepared = read(params, generation);
    let (ip, key) = match prepared {
        Ok(read) => read,
        Err(fault) => return Step::Done(Err(fault)),
    };
    let asked = app.clients.clone().ask_metrics(&ip, &metrics_keys(&key), CLIENTS_MAX);
    let others = if everywhere { Others::all(app) } else { Others::none() };
    Step::wait(async move {
        let own = join_all(asked.into_iter().map(|answer| timeout(ANSWER, answer)));
        let target = target(&ip, &key);
        let (own, others) = tokio::join!(own, ask_all::<Map<String, Value>>(&others, &target));
        let own = own.into_iter().filter_map(|answer| answer.ok()?);
        let mut merged = Map::new();
        others.into_iter().chain(own).for_each(|metrics| merged.extend(metrics));
        let v3 = generation == Generation::V3;
        let body = if v3 {
            json!({ "code": 0, "message": "success", "data": merged }).to_string()
        } else {
            Value::Object(merged).to_string()
        };
        Ok(Reply::new(if v3 { Kind::Json } else { Kind::JsonUtf8 }, body))
    })
}

/// The address and the configuration.
fn read(params: &Params, generation: Generation) -> Result<(String, ConfigKey), Fault> {
    filter(params)?;
    let ip = required(params, Key::Ip, generation)?.trim().to_owned();
    let null = |name: &str| Fault::Invalid(format!("invalid {name} : null"));
    let data_id = params.get(Key::DataId).ok_or_else(|| null("dataId"))?;
    let group = params.get(group_key(generation)).ok_or_else(|| null("group"))?;
    Ok((ip, ConfigKey::new(namespace_param(params).unwrap_or_default(), group, data_id)))
}

/// The client's cache and its snapshot on disk of the configuration.
fn metrics_keys(key: &ConfigKey) -> String {
    let of = |kind: &str| json!({ "type": kind, "key": key.group_key() });
    json!([of("cacheData"), of("snapshotData")]).to_string()
}

/// How another member is asked for its own clients.
fn target(ip: &str, key: &ConfigKey) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let (data_id, group, tenant) = (encoded(key.data_id()), encoded(key.group()), encoded(key.namespace()));
    let ip = encoded(ip);
    format!("/nacos/v1/cs/metrics/current?ip={ip}&dataId={data_id}&group={group}&tenant={tenant}")
}
