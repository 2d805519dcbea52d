//! The way from a payload to its row of the table: the checks that every request needs, in the order of Nacos, the
//! handler, and the bytes of the answer.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use dyad_app::{Caller, Means};
use dyad_naming::ports::BoxFuture;
use dyad_naming::view::ServiceInfoParts;
use dyad_proto::sdk::Payload;
use dyad_types::{ConfigKey, ServiceKey};
use serde::de::IgnoredAny;

use crate::connection::Connection;
use crate::error::GrpcError;
use crate::frame::{self, quoted};
use crate::listen::Front;
use crate::{config, naming, watch};

/// One type of request.
#[derive(Debug)]
pub(crate) struct Row {
    /// Simple name of the Java class.
    pub(crate) kind: &'static str,
    /// The type of its answer.
    pub(crate) answer: &'static str,
    /// What it is about and whether it changes it: for whoever decides who may.
    pub(crate) module: Module,
    #[expect(dead_code, reason = "read by the issue that brings users")]
    pub(crate) verb: Verb,
    pub(crate) access: Access,
    pub(crate) handler: Handler,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    Internal,
    Naming,
    Config,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Read,
    Write,
}

/// From whom and when a request is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// From any transport.
    Anyone,
    /// From a registered client, while this member serves.
    Client,
    /// From a registered client, always: a member that recovers must not look dead to its clients.
    ClientAlways,
    /// Of Nacos's own cluster: never from the SDK port.
    Forbidden,
}

#[derive(Debug)]
pub(crate) enum Handler {
    /// Answered without waiting.
    Now(fn(&Call) -> Result<Answer, GrpcError>),
    Wait(fn(Call) -> BoxFuture<'static, Result<Answer, GrpcError>>),
}

/// A request that passed the checks.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) front: Arc<Front>,
    pub(crate) connection: Arc<Connection>,
    pub(crate) body: Bytes,
    headers: HashMap<String, String>,
}

impl Call {
    /// Who asks.
    pub(crate) fn caller(&self) -> Caller {
        Caller { name: None, address: Some(self.connection.peer().ip()), means: Means::Grpc }
    }

    /// A header of the request, whatever its case; `None` when it is absent or blank.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header.eq_ignore_ascii_case(name))?;
        Some(found.1.as_str()).filter(|value| !value.trim().is_empty())
    }
}

/// The JSON of an answer.
#[derive(Debug)]
pub(crate) enum Answer {
    Fixed(&'static str),
    Json(String),
    /// `before`, a `ServiceInfo` with this `lastRefTime`, `success`.
    Info {
        before: &'static str,
        parts: ServiceInfoParts,
        last_ref_ms: u64,
    },
}

const fn row(
    (kind, answer): (&'static str, &'static str),
    module: Module,
    verb: Verb,
    access: Access,
    handler: Handler,
) -> Row {
    Row { kind, answer, module, verb, access, handler }
}

const NEVER: Handler = Handler::Now(|_| Err(GrpcError::NoHandler));

/// Every type that is answered. The most frequent first: it is searched in this order.
pub(crate) const ROWS: &[Row] = &[
    row(
        ("ServiceQueryRequest", "QueryServiceResponse"),
        Module::Naming,
        Verb::Read,
        Access::Client,
        Handler::Now(naming::query),
    ),
    row(
        ("InstanceRequest", "InstanceResponse"),
        Module::Naming,
        Verb::Write,
        Access::Client,
        Handler::Wait(|call| Box::pin(naming::instance(call))),
    ),
    row(
        ("HealthCheckRequest", "HealthCheckResponse"),
        Module::Internal,
        Verb::Read,
        Access::ClientAlways,
        Handler::Now(|_| Ok(Answer::Fixed(DONE))),
    ),
    row(
        ("SubscribeServiceRequest", "SubscribeServiceResponse"),
        Module::Naming,
        Verb::Read,
        Access::Client,
        Handler::Now(naming::subscribe),
    ),
    row(
        ("BatchInstanceRequest", "BatchInstanceResponse"),
        Module::Naming,
        Verb::Write,
        Access::Client,
        Handler::Wait(|call| Box::pin(naming::batch(call))),
    ),
    row(
        ("PersistentInstanceRequest", "InstanceResponse"),
        Module::Naming,
        Verb::Write,
        Access::Client,
        Handler::Wait(|call| Box::pin(naming::persistent(call))),
    ),
    row(
        ("ServiceListRequest", "ServiceListResponse"),
        Module::Naming,
        Verb::Read,
        Access::Client,
        Handler::Now(naming::list),
    ),
    row(
        ("ConfigBatchListenRequest", "ConfigChangeBatchListenResponse"),
        Module::Config,
        Verb::Read,
        Access::Client,
        Handler::Now(config::listen),
    ),
    row(
        ("ConfigQueryRequest", "ConfigQueryResponse"),
        Module::Config,
        Verb::Read,
        Access::Client,
        Handler::Wait(|call| Box::pin(config::query(call))),
    ),
    row(
        ("ConfigPublishRequest", "ConfigPublishResponse"),
        Module::Config,
        Verb::Write,
        Access::Client,
        Handler::Wait(|call| Box::pin(config::publish(call))),
    ),
    row(
        ("ConfigRemoveRequest", "ConfigRemoveResponse"),
        Module::Config,
        Verb::Write,
        Access::Client,
        Handler::Wait(|call| Box::pin(config::remove(call))),
    ),
    row(
        ("ConfigFuzzyWatchRequest", "ConfigFuzzyWatchResponse"),
        Module::Config,
        Verb::Read,
        Access::Client,
        Handler::Now(watch::watch::<ConfigKey>),
    ),
    row(
        ("NamingFuzzyWatchRequest", "NamingFuzzyWatchResponse"),
        Module::Naming,
        Verb::Read,
        Access::Client,
        Handler::Now(watch::watch::<ServiceKey>),
    ),
    row(
        ("ServerCheckRequest", "ServerCheckResponse"),
        Module::Internal,
        Verb::Read,
        Access::Anyone,
        Handler::Now(server_check),
    ),
    row(("DistroDataRequest", ""), Module::Internal, Verb::Write, Access::Forbidden, NEVER),
    row(("MemberReportRequest", ""), Module::Internal, Verb::Write, Access::Forbidden, NEVER),
    row(("ConfigChangeClusterSyncRequest", ""), Module::Internal, Verb::Write, Access::Forbidden, NEVER),
    row(("ServerLoaderInfoRequest", ""), Module::Internal, Verb::Read, Access::Forbidden, NEVER),
    row(("ServerReloadRequest", ""), Module::Internal, Verb::Write, Access::Forbidden, NEVER),
];

/// An answer without fields of its own.
pub(crate) const DONE: &str = "{\"resultCode\":200,\"errorCode\":0,\"success\":true}";
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

fn server_check(call: &Call) -> Result<Answer, GrpcError> {
    let id = call.connection.id();
    Ok(Answer::Json(format!(
        "{{\"resultCode\":200,\"errorCode\":0,\"connectionId\":\"{id}\",\"supportAbilityNegotiation\":true,\
         \"success\":true}}"
    )))
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

impl Answer {
    fn message(&self, kind: &str) -> Bytes {
        match self {
            Answer::Fixed(json) => frame::payload(kind, "", &[json.as_bytes()]),
            Answer::Json(json) => frame::payload(kind, "", &[json.as_bytes()]),
            Answer::Info { before, parts, last_ref_ms } => {
                let mut digits = itoa::Buffer::new();
                let [a, b, c, d, e] = parts.pieces(digits.format(*last_ref_ms));
                let after = b",\"success\":true}";
                frame::payload(kind, "", &[before.as_bytes(), a, b, c, d, e, after])
            }
        }
    }
}
