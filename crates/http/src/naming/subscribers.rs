//! `GET /service/subscribers`: the subscribers of a service, on this member or on all members.

use std::sync::Arc;

use dyad_naming::java::parse_boolean;
use dyad_types::ServiceKey;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde::{Deserialize, Serialize};

use crate::ask::{ASKED_MAX, Others, ask_all};
use crate::naming::request::{check_request, int_or};
use crate::params::{Key, Params};
use crate::reply::Reply;
use crate::step::Step;
use dyad_app::naming::read::{self, Subscribed};
use dyad_app::{App, Fault};

const PAGE_SIZE: i32 = 1_000;

/// One subscriber; the fields are those of Nacos's `Subscriber`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    service_name: String,
    ip: String,
    port: u16,
    addr_str: String,
    agent: String,
    app: String,
    namespace_id: String,
    cluster: String,
}

#[derive(Serialize, Deserialize)]
struct Page {
    subscribers: Vec<Row>,
    count: usize,
}

/// The services whose name and group contain those asked for, in the same namespace, as Nacos looks them up. Members that do
/// not answer are left out.
pub(crate) fn subscribers(app: &Arc<App>, params: &Params) -> Step {
    let prepare = || {
        let wanted = check_request(app, params)?.service()?;
        let page = int_or(params, Key::PageNo, 1)?;
        let size = int_or(params, Key::PageSize, PAGE_SIZE)?;
        let max = i32::try_from(app.bounds.page.max(ASKED_MAX)).unwrap_or(i32::MAX);
        let size = size.min(max);
        let all = params.get(Key::Aggregation).is_none_or(parse_boolean);
        let others = if all { Others::all(app) } else { Others::none() };
        let (app, caller, target) = (app.clone(), params.caller(), target(&wanted));
        Ok(Step::wait(async move {
            // The turn is given back before others are asked: they need one of their own.
            let of_here = Arc::clone(&app);
            let found =
                app.turns.next().await?.run(move |_| read::subscribers(&of_here, &caller, &wanted)).await?;
            let answers: Vec<Page> = ask_all(&others, &target).await;
            let turn = app.turns.next().await?;
            turn.run(move |_| {
                let mut rows: Vec<Row> = found.into_iter().map(Row::from).collect();
                rows.extend(answers.into_iter().flat_map(|page| page.subscribers));
                reply(rows, page, size)
            })
            .await
        }))
    };
    Step::of(prepare())
}

impl From<Subscribed> for Row {
    fn from(found: Subscribed) -> Row {
        let Subscribed { service, clusters, subscriber: info } = found;
        Row {
            service_name: service.grouped_name().to_owned(),
            addr_str: format!("{}:{}", info.ip, info.port),
            ip: info.ip,
            port: info.port,
            agent: info.agent,
            app: info.app,
            namespace_id: service.namespace().to_owned(),
            cluster: clusters.to_string(),
        }
    }
}

/// A page that begins after the end is empty, as Nacos's is for want of a better answer.
fn reply(mut rows: Vec<Row>, page: i32, size: i32) -> Result<Reply, Fault> {
    rows.sort_unstable();
    let start = (i64::from(page) - 1).saturating_mul(i64::from(size)).max(0);
    let (start, size) = (usize::try_from(start).unwrap_or(usize::MAX), usize::try_from(size).unwrap_or(0));
    let count = rows.len();
    let subscribers = rows.into_iter().skip(start).take(size).collect();
    let body = serde_json::to_vec(&Page { subscribers, count }).map_err(|_| Fault::UnknownReply)?;
    Ok(Reply::json(body))
}

/// How another member is asked for its own subscribers.
fn target(wanted: &ServiceKey) -> String {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    format!(
        "/nacos/v1/ns/service/subscribers?aggregation=false&pageSize={ASKED_MAX}&namespaceId={}&serviceName={}",
        encoded(wanted.namespace()),
        encoded(wanted.grouped_name()),
    )
}
