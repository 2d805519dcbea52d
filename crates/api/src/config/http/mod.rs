//! The HTTP routes of the configuration center, in the three generations of Nacos's API.

pub(crate) mod capacity;
mod check;
pub(crate) mod detail;
mod diff;
pub(crate) mod get;
pub(crate) mod history;
mod json;
pub(crate) mod list;
pub(crate) mod namespace;
pub(crate) mod ops;
pub(crate) mod publish;
pub(crate) mod remove;
pub(crate) mod transfer;

use serde_json::{Value, json};

use super::fault::{Fault, Generation};
use crate::reply::{Kind, Reply};
use crate::routes::Step;

/// Ends a handler that may have to wait.
fn step(generation: Generation, prepared: Result<Step, Fault>) -> Step {
    prepared.unwrap_or_else(|fault| Step::Done(generation.answer(Err(fault))))
}

/// The rest of a handler's work.
fn wait(generation: Generation, work: impl Future<Output = Result<Reply, Fault>> + Send + 'static) -> Step {
    Step::wait(async move { generation.answer(work.await) })
}

/// `Result` of v2 and v3.
fn result(data: &Value) -> Reply {
    Reply::json(json!({ "code": 0, "message": "success", "data": data }).to_string())
}

/// `RestResult` of v1.
fn rest_result(code: u32, message: Option<&str>, data: &Value) -> Reply {
    Reply::new(Kind::JsonUtf8, json!({ "code": code, "message": message, "data": data }).to_string())
}

/// `true` or `false`, as each generation answers a write.
fn truth(generation: Generation, truth: bool) -> Reply {
    match generation {
        Generation::V1 => Reply::new(Kind::JsonUtf8, if truth { "true" } else { "false" }),
        _ => result(&Value::Bool(truth)),
    }
}

/// A JSON value of v1, or the data of the others' envelope.
fn enveloped(generation: Generation, value: &Value) -> Reply {
    match generation {
        Generation::V1 => Reply::new(Kind::JsonUtf8, value.to_string()),
        _ => result(value),
    }
}
