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

use serde::Serialize;
use serde_json::Value;

use crate::fault::Generation;
use crate::reply::{Kind, Reply};

/// The envelope of all generations. The data may be large, and is not copied into it.
#[derive(Serialize)]
struct Envelope<'a, T> {
    code: u32,
    message: Option<&'a str>,
    data: &'a T,
}

fn envelope<T: Serialize>(code: u32, message: Option<&str>, data: &T) -> Vec<u8> {
    serde_json::to_vec(&Envelope { code, message, data }).expect("what is shown has texts for keys")
}

/// `Result` of v2 and v3.
pub(crate) fn result<T: Serialize>(data: &T) -> Reply {
    Reply::json(envelope(0, Some("success"), data))
}

/// `RestResult` of v1.
pub(crate) fn rest_result<T: Serialize>(code: u32, message: Option<&str>, data: &T) -> Reply {
    Reply::new(Kind::JsonUtf8, envelope(code, message, data))
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
