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
use crate::routes::Step;
use dyad_app::App;
use dyad_app::Fault;

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
        let wanted = check_request(params)?.service()?;
        let page = int_or(params, Key::PageNo, 1)?;
        let size = int_or(params, Key::PageSize, PAGE_SIZE)?;
        if usize::try_from(size).is_ok_and(|size| size > app.bounds.page.max(ASKED_MAX)) {
            return Err(Fault::Invalid(format!("pageSize {size} is over the limit of {}", app.bounds.page)));
        }
        let mut rows = here(app, &wanted);
        if !params.get(Key::Aggregation).is_none_or(parse_boolean) {
            return Ok(Step::Done(reply(rows, page, size)));
        }
        let others = Others::all(app);
        Ok(Step::wait(async move {
            let answers: Vec<Page> = ask_all(&others, &target(&wanted)).await;
            rows.extend(answers.into_iter().flat_map(|page| page.subscribers));
            reply(rows, page, size)
        }))
    };
    Step::of(prepare())
}

fn here(app: &App, wanted: &ServiceKey) -> Vec<Row> {
    let asked = |service: &ServiceKey| {
        service.namespace() == wanted.namespace()
            && service.name().contains(wanted.name())
            && service.group().contains(wanted.group())
    };
    let services = app.push.subscribed().into_iter().filter(asked);
    let rows_of = |service: ServiceKey| {
        let row = |(clusters, info): (Arc<str>, dyad_push::naming::SubscriberInfo)| Row {
            service_name: service.grouped_name().to_owned(),
            addr_str: format!("{}:{}", info.ip, info.port),
            ip: info.ip,
            port: info.port,
            agent: info.agent,
            app: info.app,
            namespace_id: service.namespace().to_owned(),
            cluster: clusters.to_string(),
        };
        app.push.subscribers(&service).into_iter().map(row).collect::<Vec<_>>()
    };
    services.flat_map(rows_of).collect()
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
