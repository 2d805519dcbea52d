//! What probes, charts and old consoles ask a server for: its state, and the actuator of Spring.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::health;
use crate::config::result;
use crate::naming::operator;
use crate::params::Params;
use crate::reply::{Kind, Reply};
use crate::step::Step;
use dyad_app::cluster;
use dyad_app::{App, Fault};
use dyad_config::limits::{CLUSTER_QUOTA, GROUP_QUOTA};
use dyad_types::config_check::CONTENT_MAX;

/// `GET /v1/console/server/state`: a flat map of texts, as consoles read it.
pub(crate) fn server(app: &Arc<App>, params: &Params) -> Step {
    Step::Done(state(app, params).map(|state| Reply::json(Value::Object(state).to_string())))
}

/// `GET /v3/admin/core/state`.
pub(crate) fn server_v3(app: &Arc<App>, params: &Params) -> Step {
    Step::Done(state(app, params).map(|state| result(&Value::Object(state))))
}

/// Nacos's names. There are no users yet, which `auth_enabled` and `login_page_enabled` say.
fn state(app: &App, params: &Params) -> Result<Map<String, Value>, Fault> {
    let members = cluster::cluster(app, &params.caller())?.members;
    let port = members.iter().find(|member| member.me).and_then(|me| me.address.rsplit(':').next());
    let texts = [
        ("startup_mode", if members.len() > 1 { "cluster" } else { "standalone" }.to_owned()),
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("server_port", port.unwrap_or_default().to_owned()),
        ("auth_enabled", "false".to_owned()),
        ("auth_admin_request", "false".to_owned()),
        ("auth_system_type", "nacos".to_owned()),
        ("login_page_enabled", "false".to_owned()),
        ("console_ui_enabled", "true".to_owned()),
        ("datasource_platform", String::new()),
        ("isHealthCheck", app.switches.load().health_check_enabled.to_string()),
        ("isManageCapacity", "true".to_owned()),
        ("isCapacityLimitCheck", app.bounds.config_quotas.to_string()),
        ("maxContent", CONTENT_MAX.to_string()),
        ("defaultClusterQuota", CLUSTER_QUOTA.to_string()),
        ("defaultGroupQuota", GROUP_QUOTA.to_string()),
    ];
    let mut state: Map<String, Value> =
        texts.into_iter().map(|(name, text)| (name.to_owned(), Value::String(text))).collect();
    state.insert("function_mode".to_owned(), Value::Null);
    Ok(state)
}

/// `GET /v3/admin/core/state/liveness`.
pub(crate) fn liveness(app: &Arc<App>, params: &Params) -> Step {
    health::liveness_v2(app, params)
}

/// `GET /v3/admin/core/state/readiness`.
pub(crate) fn readiness(app: &Arc<App>, params: &Params) -> Step {
    health::readiness_v2(app, params)
}

/// `GET /nacos/actuator/health`: 503 and `DOWN` while this member is not ready, as Spring's probes expect it.
pub(crate) fn actuator_health(app: &Arc<App>, _: &Params) -> Step {
    let ready = cluster::ready(app, false).is_ok();
    let body = json!({ "status": if ready { "UP" } else { "DOWN" } }).to_string();
    let status = if ready { http::StatusCode::OK } else { http::StatusCode::SERVICE_UNAVAILABLE };
    Step::Done(Ok(Reply { status, ..Reply::new(Kind::Json, body) }))
}

/// `GET /nacos/actuator/prometheus`: the same as `GET /metrics`.
pub(crate) fn actuator_prometheus(app: &Arc<App>, params: &Params) -> Step {
    operator::prometheus(app, params)
}

/// `GET /v1/ns/health/checkers`: the kinds of health checks that Nacos knows, with their fields.
pub(crate) fn checkers(_: &Arc<App>, _: &Params) -> Step {
    let body = json!({
        "TCP": {},
        "HTTP": { "path": "", "headers": "", "expectedResponseCode": 200 },
        "MYSQL": { "user": null, "pwd": null, "cmd": null },
        "NONE": {},
    });
    Step::Done(Ok(Reply::json(body.to_string())))
}
