//! The way from a payload to its row of the table: the checks that every request needs, in the order of Nacos, the
//! handler, and the bytes of the answer.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use dyad_naming::ports::BoxFuture;
use dyad_proto::sdk::Payload;
use serde::de::IgnoredAny;

use crate::connection::Connection;
use crate::error::{GrpcError, Module};
use crate::frame::{self, quoted};
use crate::front::Front;
use crate::row::{Access, Answer, Call, Handler, Row};
use crate::rows::ROWS;

const ERROR: &str = "ErrorResponse";

/// What became of a request.
pub(crate) enum Begun {
    /// A whole message.
    Answered(Bytes),
    Waits(Pending),
}

/// A request whose answer waits, e.g. for a write. Ends with a whole message. It goes on when nobody wants its answer any more.
pub(crate) struct Pending {
    answer: BoxFuture<'static, Result<Answer, GrpcError>>,
    finish: Finish,
}

/// What an answer is made into.
struct Finish {
    front: Arc<Front>,
    at: Option<usize>,
    started: Instant,
}

/// Answers one request, at once if that is possible.
pub(crate) fn begin(
    front: &Arc<Front>,
    connection: &Arc<Connection>,
    payload: Payload,
    cx: &mut Context<'_>,
) -> Begun {
    let started = Instant::now();
    let metadata = payload.metadata.unwrap_or_default();
    let body = payload.body.map(|body| body.value).unwrap_or_default();
    let at = ROWS.iter().position(|row| row.kind == metadata.r#type);
    let finish = Finish { front: front.clone(), at, started };
    let result = match admit(front, connection, at, &body) {
        Ok(row) => {
            let headers = metadata.headers;
            let call = Call { front: front.clone(), connection: connection.clone(), body, headers };
            match &row.handler {
                Handler::Now(handle) => handle(&call),
                Handler::Wait(handle) => {
                    let mut answer = handle(call);
                    match answer.as_mut().poll(cx) {
                        Poll::Ready(result) => result,
                        Poll::Pending => return Begun::Waits(Pending { answer, finish }),
                    }
                }
            }
        }
        Err(error) => Err(error),
    };
    Begun::Answered(finish.message(result))
}

impl Future for Pending {
    type Output = Bytes;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Bytes> {
        self.answer.as_mut().poll(cx).map(|result| self.finish.message(result))
    }
}

impl Finish {
    fn message(&self, result: Result<Answer, GrpcError>) -> Bytes {
        let own_type = self.at.map_or(ERROR, |at| ROWS[at].answer);
        let ok = result.is_ok();
        let bytes = match result {
            Ok(answer) => answer.message(own_type),
            Err(error) => {
                let module = self.at.map_or(Module::Internal, |at| ROWS[at].module);
                refuse(&error, module, own_type)
            }
        };
        let metrics = &self.front.connections.metrics;
        metrics.observe(self.at.unwrap_or(usize::MAX), ok, self.started.elapsed());
        bytes
    }
}

/// The checks that hold for every request.
fn admit(
    front: &Front,
    connection: &Connection,
    at: Option<usize>,
    body: &[u8],
) -> Result<&'static Row, GrpcError> {
    let row = at.map(|at| &ROWS[at]);
    let access = row.map_or(Access::Client, |row| row.access);
    if let (Access::Forbidden, Some(row)) = (access, row) {
        return Err(GrpcError::Forbidden(row.kind));
    }
    let registered = connection.is_registered();
    let exempt = registered && access == Access::ClientAlways;
    let draining = front.connections.is_draining() && !registered;
    if !exempt && (draining || front.app.ephemeral.admit(true).is_err()) {
        return Err(GrpcError::Starting);
    }
    let row = row.ok_or(GrpcError::NoHandler)?;
    if access == Access::Anyone {
        return Ok(row);
    }
    if !registered {
        return Err(GrpcError::Unregistered);
    }
    // Handlers that read the body refuse it themselves.
    if row.module == Module::Internal && serde_json::from_slice::<IgnoredAny>(body).is_err() {
        return Err(GrpcError::Malformed);
    }
    Ok(row)
}

fn refuse(error: &GrpcError, module: Module, own_type: &str) -> Bytes {
    let codes = error.codes(module);
    let message = quoted(&error.to_string());
    let json = format!(
        "{{\"resultCode\":{},\"errorCode\":{},\"message\":{message},\"success\":false}}",
        codes.result, codes.error
    );
    frame::payload(if codes.own_type { own_type } else { ERROR }, "", &[json.as_bytes()])
}
