//! `/instance/list` and `/service/list`.

use std::sync::Arc;

use bytes::Bytes;
use dyad_naming::ServiceView;
use dyad_naming::view::ListQuery;
use dyad_types::ServiceKey;
use dyad_types::key::DEFAULT_GROUP;
use serde::Serialize;

use crate::naming::request::{check_request, int_or, lookup_key, namespace, required_int};
use crate::params::{Key, Params};
use crate::reply::Reply;
use crate::step::Step;
use dyad_app::naming::read::{List, list_known};
use dyad_app::naming::{read, services as service_names};
use dyad_app::{App, Fault};
use dyad_push::udp::Asker;

/// `GET /instance/list`. The plain query of a known service writes bytes that are ready. A consistent one sees every write of a
/// persistent instance that any member acknowledged before.
pub(crate) fn list(app: &Arc<App>, params: &Params) -> Step {
    if params.consistent() {
        let (app, params) = (Arc::clone(app), params.clone());
        return Step::wait(async move {
            app.linearize.linearize().await?;
            try_list(&app, &params)
        });
    }
    Step::Done(try_list(app, params))
}

fn try_list(app: &App, params: &Params) -> Result<Reply, Fault> {
    let caller = params.caller();
    let udp_port = int_or(params, Key::UdpPort, 0)?;
    if let Some((asker, port)) = params.asker.as_ref().zip(u16::try_from(udp_port).ok()) {
        return subscribed(app, params, asker, port);
    }
    // Illegal names are never known, so a known service needs no check of its name.
    if params.get(Key::Clusters).unwrap_or_default().is_empty()
        && let Some(key) = lookup_key(params)
        && let Some(list) = list_known(app, &caller, &key)?
    {
        return Ok(stamped(&list.view, params, list.last_ref_ms));
    }
    let service = check_request(app, params)?.service()?;
    let List { view, last_ref_ms } = read::list(app, &caller, &service)?;
    Ok(stamped(&view, params, last_ref_ms))
}

/// The query of a client that wants to be pushed to: what changes after it is pushed.
fn subscribed(app: &App, params: &Params, asker: &Asker, port: u16) -> Result<Reply, Fault> {
    let service = check_request(app, params)?.service()?;
    let clusters = params.get(Key::Clusters).unwrap_or_default();
    read::present(app, &service)?;
    asker.asked(port, params.get(Key::App).unwrap_or_default(), &service, clusters);
    let List { view, last_ref_ms } = read::list(app, &params.caller(), &service)?;
    Ok(stamped(&view, params, last_ref_ms))
}

fn stamped(view: &ServiceView, params: &Params, last_ref_ms: u64) -> Reply {
    let query = ListQuery {
        clusters: params.get(Key::Clusters).unwrap_or_default(),
        healthy_only: params.get(Key::HealthyOnly).is_some_and(|text| text.eq_ignore_ascii_case("true")),
    };
    let halves = view.list(&query);
    let mut digits = itoa::Buffer::new();
    let stamp = Bytes::copy_from_slice(digits.format(last_ref_ms).as_bytes());
    Reply::json_pieces(halves.head, stamp, halves.tail)
}

/// `GET /service/list`: names of a group, by page. The selector is ignored, as in Nacos 2.5.
pub(crate) fn services(app: &Arc<App>, params: &Params) -> Step {
    Step::Done(try_services(app, params))
}

#[derive(Serialize)]
struct Names<'a> {
    count: usize,
    doms: Vec<&'a str>,
}

fn try_services(app: &App, params: &Params) -> Result<Reply, Fault> {
    check_request(app, params)?;
    let page = (required_int(params, Key::PageNo)?, required_int(params, Key::PageSize)?);
    let group = params.get(Key::GroupName).unwrap_or(DEFAULT_GROUP);
    let found = service_names::services(app, &params.caller(), (namespace(params), group), page)?;
    let names = Names { count: found.count, doms: found.services.iter().map(ServiceKey::name).collect() };
    Ok(Reply::json(serde_json::to_vec(&names).map_err(|_| Fault::UnknownReply)?))
}
