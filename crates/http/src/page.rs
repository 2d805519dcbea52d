//! `/nacos/`: one read-only page that shows members, services and instances. It is refreshed every second.

use std::sync::Arc;

use dyad_naming::view::ServiceView;
use http::header::LOCATION;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::params::Params;
use crate::reply::{Kind, Reply};
use crate::step::Step;
use dyad_app::App;
use dyad_app::cluster::{self, Cluster};
use dyad_app::naming::read;

/// Services shown: what a person can look through, and what may be serialized each second for each open page.
const SERVICES_MAX: usize = 200;
/// Instances shown of one service.
const INSTANCES_MAX: usize = 100;
/// Instances shown altogether.
const ALL_INSTANCES_MAX: usize = 2_000;

const PAGE: &str = include_str!("page.html");

/// `GET /`: leads to the page. The address is relative, so that a proxy may put us below a path of its own.
pub(crate) fn root(_: &Arc<App>, _: &Params) -> Step {
    let mut headers = HeaderMap::new();
    headers.insert(LOCATION, HeaderValue::from_static("nacos/"));
    Step::Done(Ok(Reply { status: StatusCode::FOUND, headers, ..Reply::text("") }))
}

/// `GET /nacos/`.
pub(crate) fn page(_: &Arc<App>, _: &Params) -> Step {
    Step::Done(Ok(Reply { kind: Kind::Html, ..Reply::text(PAGE) }))
}

/// `GET /nacos/dyad/overview`: what the page shows.
pub(crate) fn overview(app: &Arc<App>, params: &Params) -> Step {
    let caller = params.caller();
    let Cluster { members, leader } = match cluster::cluster(app, &caller) {
        Ok(known) => known,
        Err(fault) => return Step::Done(Err(fault)),
    };
    let counts = app.registry.counts();
    let members: Vec<Value> = members
        .iter()
        .map(|m| {
            json!({
                "id": m.id.map(|id| id.to_string()),
                "address": m.address,
                "state": m.state,
                "me": m.me,
                "leader": m.leader,
            })
        })
        .collect();
    let mut left = ALL_INSTANCES_MAX;
    let views = read::views(app, &caller, SERVICES_MAX);
    let services: Vec<Value> = views.iter().map(|view| service(view, &mut left)).collect();
    let body = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "ready": cluster::ready(app, false).is_ok(),
        "leader": leader.map(|leader| json!({ "address": leader.address, "term": leader.term })),
        "counts": {
            "services": counts.services,
            "ephemeral": counts.ephemeral_instances,
            "persistent": counts.persistent_instances,
            "conflicts": counts.lifetime_conflicts,
        },
        "members": members,
        "services": services,
    });
    Step::Done(Ok(Reply::json(body.to_string())))
}

fn service(view: &ServiceView, left: &mut usize) -> Value {
    let all = view.instances();
    let shown = all.len().min(INSTANCES_MAX).min(*left);
    *left -= shown;
    let instances: Vec<Value> = all[..shown]
        .iter()
        .map(|shown| {
            let instance = &shown.instance;
            json!({
                "address": instance.address().to_string(),
                "cluster": instance.cluster,
                "weight": instance.weight,
                "healthy": instance.healthy,
                "enabled": instance.enabled,
                "lifetime": shown.lifetime.word(),
            })
        })
        .collect();
    let key = view.key();
    json!({
        "namespace": key.namespace(),
        "group": key.group(),
        "name": key.name(),
        "threshold": view.record().map(|record| record.protect_threshold),
        "total": all.len(),
        "healthy": all.iter().filter(|shown| shown.instance.healthy).count(),
        "instances": instances,
    })
}

#[cfg(test)]
mod tests {
    use super::PAGE;

    #[test]
    fn the_page_is_self_contained_and_never_writes_markup_from_data() {
        for forbidden in
            ["http://", "https://", "src=", "innerHTML", "insertAdjacentHTML", "document.write", "eval("]
        {
            assert!(!PAGE.contains(forbidden), "{forbidden}");
        }
    }
}
