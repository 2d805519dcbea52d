//! `/operator` and its alias `/ops`: switches and figures; and `/metrics` for Prometheus.

use std::sync::Arc;

use dyad_naming::cp::NamingCommand;
use dyad_naming::java::parse_boolean;
use serde_json::json;

use crate::params::{Key, Params};
use crate::reply::{Kind, Reply};
use crate::routes::Step;
use dyad_app::App;
use dyad_app::Fault;
use dyad_app::naming::delegate::propose;

/// `GET /operator/switches`.
pub(crate) fn switches(app: &Arc<App>, _: &Params) -> Step {
    Step::Done(Ok(Reply::json(app.switches.load().to_json())))
}

/// `PUT /operator/switches`. Always replicated: `debug=true`, which means "this member only" in Nacos, changes nothing.
pub(crate) fn set_switch(app: &Arc<App>, params: &Params) -> Step {
    let prepare = || {
        let entry = params.raw(Key::Entry).ok_or(Fault::Missing("entry"))?.trim().to_owned();
        let value = params.raw(Key::Value).ok_or(Fault::Missing("value"))?.trim().to_owned();
        let app = app.clone();
        Ok(Step::wait(async move {
            propose(&app, NamingCommand::SetSwitch { entry, value }).await?;
            Ok(Reply::ok())
        }))
    };
    Step::of(prepare())
}

/// `GET /operator/metrics`. What this build does not measure is left out: figures of the responsible member alone, CPU.
pub(crate) fn metrics(app: &Arc<App>, params: &Params) -> Step {
    let status = if app.members.ready() { "UP" } else { "STARTING" };
    if params.get(Key::OnlyStatus).is_none_or(parse_boolean) {
        return Step::Done(Ok(Reply::json(json!({ "status": status }).to_string())));
    }
    let counts = app.registry.counts();
    let instances = counts.ephemeral_instances + counts.persistent_instances;
    let connections = app.clients.count();
    let body = json!({
        "status": status,
        "serviceCount": counts.services,
        "instanceCount": instances,
        "subscribeCount": app.push.count(),
        "clientCount": instances + connections,
        "connectionBasedClientCount": connections,
        "ephemeralIpPortClientCount": counts.ephemeral_instances,
        "persistentIpPortClientCount": counts.persistent_instances,
        "load": load_average(),
    });
    Step::Done(Ok(Reply::json(body.to_string())))
}

/// The load average of the last minute; −1 where the system does not tell, as Java has it.
fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(-1.0)
}

/// `GET /metrics`.
pub(crate) fn prometheus(app: &Arc<App>, _: &Params) -> Step {
    let mut text = String::new();
    let encoded = prometheus_client::encoding::text::encode(&mut text, &app.prometheus);
    let reply = Reply { kind: Kind::Metrics, ..Reply::text(text) };
    Step::Done(encoded.map(|()| reply).map_err(|_| Fault::UnknownReply))
}
