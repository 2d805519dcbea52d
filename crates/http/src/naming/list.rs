//! `/instance/list` and `/service/list`.

use std::sync::Arc;

use bytes::Bytes;
use dyad_naming::ServiceView;
use dyad_naming::view::ListQuery;
use dyad_types::ServiceKey;
use dyad_types::key::DEFAULT_GROUP;

use crate::naming::request::{check_request, int_or, lookup_key, namespace, required_int};
use crate::params::{Key, Params};
use crate::reply::Reply;
use crate::routes::Step;
use dyad_app::App;
use dyad_app::Fault;
use dyad_app::naming::page;
use dyad_push::udp::Asker;

/// `GET /instance/list`. The plain query of a known service writes bytes that are ready.
pub(crate) fn list(app: &Arc<App>, params: &Params) -> Step {
    Step::Done(try_list(app, params))
}

fn try_list(app: &App, params: &Params) -> Result<Reply, Fault> {
    // Illegal names are never known, so a known service needs no check of its name.
    let view = lookup_key(params).and_then(|key| app.registry.view(&key));
    let clusters = params.get(Key::Clusters).unwrap_or_default();
    let (view, service) = match view {
        Some(view) if clusters.is_empty() => (Some(view), None),
        view => (view, Some(check_request(params)?.service()?)),
    };
    let udp_port = int_or(params, Key::UdpPort, 0)?;
    app.ephemeral.admit(view.is_some())?;
    if let Some((asker, port)) = params.asker.as_ref().zip(u16::try_from(udp_port).ok()) {
        // What changes after this is pushed; so the view is read anew, and stamped before that.
        return subscribed(app, params, asker, port);
    }
    let view = match (view, service) {
        (Some(view), _) => view,
        (None, Some(service)) => app.registry.view_or_unknown(&service),
        (None, None) => return Err(Fault::Required("serviceName")),
    };
    Ok(stamped(&view, params, app.clock.wall_ms()))
}

/// The query of a client that wants to be pushed to.
fn subscribed(app: &App, params: &Params, asker: &Asker, port: u16) -> Result<Reply, Fault> {
    let service = check_request(params)?.service()?;
    let clusters = params.get(Key::Clusters).unwrap_or_default();
    asker.asked(port, params.get(Key::App).unwrap_or_default(), &service, clusters);
    let last_ref_ms = app.push.stamp(&service);
    Ok(stamped(&app.registry.view_or_unknown(&service), params, last_ref_ms))
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

fn try_services(app: &App, params: &Params) -> Result<Reply, Fault> {
    check_request(params)?;
    let number = required_int(params, Key::PageNo)?;
    let size = required_int(params, Key::PageSize)?;
    app.ephemeral.admit(true)?;
    let group = params.get(Key::GroupName).unwrap_or(DEFAULT_GROUP);
    let found = page(app, namespace(params), group, number, size)?;
    let names: Vec<&str> = found.services.iter().map(ServiceKey::name).collect();
    Ok(Reply::json(serde_json::json!({ "count": found.count, "doms": names }).to_string()))
}
