//! `/operator` and its alias `/ops`: switches and figures; and `/metrics` for Prometheus.

use std::sync::Arc;

use dyad_naming::java::parse_boolean;
use serde_json::json;

use crate::exposition;
use crate::params::{Key, Params};
use crate::reply::{Kind, Reply};
use crate::step::Step;
use dyad_app::naming::operator;
use dyad_app::{App, Fault};

/// `GET /operator/switches`.
pub(crate) fn switches(app: &Arc<App>, params: &Params) -> Step {
    let switches = operator::switches(app, &params.caller());
    Step::Done(switches.map(|switches| Reply::json(switches.to_json())))
}

/// `PUT /operator/switches`. Always replicated: `debug=true`, which means "this member only" in Nacos, changes nothing.
pub(crate) fn set_switch(app: &Arc<App>, params: &Params) -> Step {
    let prepare = || {
        let entry = params.raw(Key::Entry).ok_or(Fault::Missing("entry"))?.trim().to_owned();
        let value = params.raw(Key::Value).ok_or(Fault::Missing("value"))?.trim().to_owned();
        let (app, caller) = (app.clone(), params.caller());
        Ok(Step::wait(async move {
            operator::set_switch(&app, &caller, &entry, &value).await?;
            Ok(Reply::ok())
        }))
    };
    Step::of(prepare())
}

/// `GET /operator/metrics`.
pub(crate) fn metrics(app: &Arc<App>, params: &Params) -> Step {
    let status = operator::status(app);
    if params.get(Key::OnlyStatus).is_none_or(parse_boolean) {
        return Step::Done(Ok(Reply::json(json!({ "status": status }).to_string())));
    }
    let figures = move |found: operator::Metrics| {
        let body = json!({
            "status": status,
            "serviceCount": found.services,
            "instanceCount": found.instances,
            "subscribeCount": found.subscriptions,
            "responsibleInstanceCount": found.responsible_instances,
            "clientCount": found.connections + found.beats + found.persistent,
            "connectionBasedClientCount": found.connections,
            "ephemeralIpPortClientCount": found.beats,
            "persistentIpPortClientCount": found.persistent,
            "responsibleClientCount": found.responsible_clients,
            "cpu": found.cpu,
            "load": found.load,
            "mem": found.mem,
        });
        Reply::json(body.to_string())
    };
    let (app, caller) = (app.clone(), params.caller());
    Step::wait(async move {
        let turn = app.turns.next().await?;
        turn.run(move |_| operator::metrics(&app, &caller).map(figures)).await
    })
}

/// `GET /metrics`.
pub(crate) fn prometheus(app: &Arc<App>, params: &Params) -> Step {
    let mut text = String::new();
    let encoded = prometheus_client::encoding::text::encode(&mut text, &app.prometheus);
    let reply = match params.rest.header("accept").is_some_and(exposition::wants_openmetrics) {
        true => Reply { kind: Kind::OpenMetrics, ..Reply::text(text) },
        false => Reply { kind: Kind::Metrics, ..Reply::text(exposition::plain(&text)) },
    };
    Step::Done(encoded.map(|()| reply).map_err(|_| Fault::UnknownReply))
}
