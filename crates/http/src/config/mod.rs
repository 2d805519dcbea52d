//! The HTTP routes of the configuration center, in the three generations of Nacos's API.

pub(crate) mod capacity;
pub(crate) mod detail;
mod diff;
pub(crate) mod get;
pub(crate) mod history;
pub(crate) mod json;
pub(crate) mod list;
pub(crate) mod listen;
pub(crate) mod ops;
pub(crate) mod publish;
pub(crate) mod remove;
pub(crate) mod request;
pub(crate) mod transfer;

use serde_json::{Value, json};

use crate::fault::Generation;
use crate::reply::{Kind, Reply};

/// `Result` of v2 and v3.
pub(crate) fn result(data: &Value) -> Reply {
    Reply::json(json!({ "code": 0, "message": "success", "data": data }).to_string())
}

/// `RestResult` of v1.
pub(crate) fn rest_result(code: u32, message: Option<&str>, data: &Value) -> Reply {
    Reply::new(Kind::JsonUtf8, json!({ "code": code, "message": message, "data": data }).to_string())
}

/// `true` or `false`, as each generation answers a write.
pub(crate) fn truth(generation: Generation, truth: bool) -> Reply {
    match generation {
        Generation::V1 => Reply::new(Kind::JsonUtf8, if truth { "true" } else { "false" }),
        _ => result(&Value::Bool(truth)),
    }
}

/// A JSON value of v1, or the data of the others' envelope.
pub(crate) fn enveloped(generation: Generation, value: &Value) -> Reply {
    match generation {
        Generation::V1 => Reply::new(Kind::JsonUtf8, value.to_string()),
        _ => result(value),
    }
}
