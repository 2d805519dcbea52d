//! Small operations: the health, and the answers of operations that this server does not need.

use std::sync::Arc;

use serde_json::Value;

use super::{rest_result, result};
use crate::params::Params;
use crate::reply::Reply;
use crate::step::Step;
use dyad_app::App;
use dyad_app::cluster::ready;

/// `GET /v1/cs/health`: without a leader reads go on, writes wait.
pub(crate) fn health(app: &Arc<App>, _: &Params) -> Step {
    let text = if ready(app, false).is_err() {
        "DOWN:this member is starting. "
    } else if ready(app, true).is_err() {
        "WARN:no raft leader is known, writes have to wait. "
    } else {
        "UP"
    };
    Step::Done(Ok(Reply::text(text)))
}

/// `POST /v1/cs/ops/localCache`: there is no copy that could be old, what is applied is what is read.
pub(crate) fn local_cache(_: &Arc<App>, _: &Params) -> Step {
    Step::Done(Ok(Reply::text("200")))
}

/// `POST /v3/admin/cs/ops/localCache`: the same in v3's envelope.
pub(crate) fn local_cache_v3(_: &Arc<App>, _: &Params) -> Step {
    Step::Done(Ok(result(&"Local cache updated from store!")))
}

/// `GET /v1/cs/ops/derby`: there is no SQL store; Nacos's answer of a server where it is switched off.
pub(crate) fn derby(_: &Arc<App>, _: &Params) -> Step {
    let what =
        "Derby ops is disabled, please set `nacos.config.derby.ops.enabled=true` to enabled this feature.";
    Step::Done(Ok(rest_result(500, Some(what), &Value::Null)))
}
