//! `/instance/list` and `/service/list`.

use std::sync::Arc;

use bytes::Bytes;
use dyad_naming::ServiceView;
use dyad_naming::registry::ServicePage;
use dyad_naming::view::ListQuery;
use dyad_types::ServiceKey;
use dyad_types::key::DEFAULT_GROUP;
use dyad_types::limits::PAGE_MAX;

use crate::error::ApiError;
use crate::naming::{check_request, int_or, lookup_key, namespace, required_int};
use crate::params::{Key, Params};
use crate::push::udp::Asker;
use crate::reply::Reply;
use crate::routes::Step;
use crate::state::AppState;

/// `GET /instance/list`. The plain query of a known service writes bytes that are ready.
pub(crate) fn list(app: &Arc<AppState>, params: &Params) -> Step {
    Step::Done(try_list(app, params))
}

fn try_list(app: &AppState, params: &Params) -> Result<Reply, ApiError> {
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
        (None, None) => return Err(ApiError::Required("serviceName")),
    };
    Ok(stamped(&view, params, app.clock.wall_ms()))
}

/// The query of a client that wants to be pushed to.
fn subscribed(app: &AppState, params: &Params, asker: &Asker, port: u16) -> Result<Reply, ApiError> {
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
pub(crate) fn services(app: &Arc<AppState>, params: &Params) -> Step {
    Step::Done(try_services(app, params))
}

fn try_services(app: &AppState, params: &Params) -> Result<Reply, ApiError> {
    check_request(params)?;
    let page = required_int(params, Key::PageNo)?;
    let size = required_int(params, Key::PageSize)?;
    app.ephemeral.admit(true)?;
    let group = params.get(Key::GroupName).unwrap_or(DEFAULT_GROUP);
    let found = self::page(app, namespace(params), group, page, size)?;
    let names: Vec<&str> = found.services.iter().map(ServiceKey::name).collect();
    Ok(Reply::json(serde_json::json!({ "count": found.count, "doms": names }).to_string()))
}

/// A page of a group, in the order of Nacos.
///
/// # Errors
/// A page that is too large, or ends before it begins.
pub(crate) fn page(
    app: &AppState,
    namespace: &str,
    group: &str,
    page: i32,
    size: i32,
) -> Result<ServicePage, ApiError> {
    if usize::try_from(size).is_ok_and(|size| size > app.bounds.page) {
        return Err(ApiError::BadValue(format!("pageSize {size} is over the limit of {}", app.bounds.page)));
    }
    let mut found = app.registry.services(namespace, group, page, size).map_err(ApiError::BadValue)?;
    if found.count <= PAGE_MAX {
        let all = app.registry.services(namespace, group, 1, PAGE_MAX as i32).map_err(ApiError::BadValue)?;
        let start = (i64::from(page) - 1).saturating_mul(i64::from(size)).max(0);
        let start = usize::try_from(start).unwrap_or(usize::MAX);
        let len = found.services.len();
        found.services = in_java_order(all.services).into_iter().skip(start).take(len).collect();
    }
    Ok(found)
}

/// The order of Java's hash set of grouped names, in which Nacos pages: recorded traffic finds the same pages here.
/// Groups larger than one page are listed by name.
fn in_java_order(mut services: Vec<ServiceKey>) -> Vec<ServiceKey> {
    // A table is doubled when it is three quarters full.
    let mut places = 16;
    while services.len() * 4 > places * 3 {
        places *= 2;
    }
    services.sort_by_cached_key(|key| {
        let hash = key
            .grouped_name()
            .encode_utf16()
            .fold(0u32, |hash, unit| hash.wrapping_mul(31).wrapping_add(u32::from(unit)));
        (hash ^ (hash >> 16)) as usize & (places - 1)
    });
    services
}
