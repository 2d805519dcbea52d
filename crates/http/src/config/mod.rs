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

use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::fault::Generation;
use crate::reply::{Kind, Reply};
use dyad_app::Fault;

/// Requests at a time that go through the whole list, read many contents or hold many in memory: searches, histories,
/// archives. Each can take seconds and 100 MiB, and the machine has other work.
static HEAVY: Semaphore = Semaphore::const_new(4);
/// How long one waits for its turn; then 503, as Nacos answers.
const TURN_WAIT: Duration = Duration::from_secs(8);

/// Waits for the turn of a heavy request, which lasts until the permit is dropped.
///
/// # Errors
/// It did not come in time.
pub(crate) async fn turn() -> Result<SemaphorePermit<'static>, Fault> {
    let turn = tokio::time::timeout(TURN_WAIT, HEAVY.acquire()).await;
    turn.map_err(|_| Fault::Overloaded)?.map_err(|_| Fault::Stopping)
}

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
