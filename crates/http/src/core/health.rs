//! Liveness says that the process serves. Readiness says that this member has what the others have. A member without a
//! leader stays ready, since reads and ephemeral writes go on; with `?cp=true` readiness needs a leader too.

use std::sync::Arc;

use dyad_naming::java::parse_boolean;
use serde_json::json;

use crate::fault::status;
use crate::params::{Key, Params};
use crate::reply::Reply;
use crate::step::Step;
use dyad_app::App;
use dyad_app::Fault;
use dyad_app::cluster;

/// `GET /v1/console/health/liveness`.
pub(crate) fn liveness(_: &Arc<App>, _: &Params) -> Step {
    Step::Done(Ok(Reply::text("OK")))
}

/// `GET /v1/console/health/readiness`.
pub(crate) fn readiness(app: &Arc<App>, params: &Params) -> Step {
    Step::Done(ready(app, params).map(|()| Reply::text("OK")))
}

/// `GET /v2/console/health/liveness`.
pub(crate) fn liveness_v2(_: &Arc<App>, _: &Params) -> Step {
    Step::Done(Ok(Reply::json(r#"{"code":0,"message":"success","data":"ok"}"#)))
}

/// `GET /v2/console/health/readiness`. Not ready is status 500 as in v1: a probe looks at nothing else.
pub(crate) fn readiness_v2(app: &Arc<App>, params: &Params) -> Step {
    Step::Done(Ok(match ready(app, params) {
        Ok(()) => Reply::json(r#"{"code":0,"message":"success","data":"ok"}"#),
        Err(error) => {
            let body = json!({ "code": 30_000, "message": error.to_string(), "data": null }).to_string();
            Reply { status: status(&error), ..Reply::json(body) }
        }
    }))
}

fn ready(app: &App, params: &Params) -> Result<(), Fault> {
    cluster::ready(app, params.get(Key::Cp).is_some_and(parse_boolean))
}
