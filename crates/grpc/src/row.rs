//! What a row of the table of requests is: who may send the request, its handler, and what a handler is given and gives back.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use dyad_app::{Caller, Means};
use dyad_naming::ports::BoxFuture;
use dyad_naming::view::ServiceInfoParts;

use crate::connection::Connection;
use crate::error::{GrpcError, Module};
use crate::frame;
use crate::front::Front;

/// One type of request.
#[derive(Debug)]
pub(crate) struct Row {
    /// Simple name of the Java class.
    pub(crate) kind: &'static str,
    /// The type of its answer.
    pub(crate) answer: &'static str,
    /// What it is about and whether it changes it: for whoever decides who may.
    pub(crate) module: Module,
    #[expect(dead_code, reason = "read once there are users")]
    pub(crate) verb: Verb,
    pub(crate) access: Access,
    pub(crate) handler: Handler,
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
    pub(crate) headers: HashMap<String, String>,
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

/// An answer without fields of its own.
pub(crate) const DONE: &str = "{\"resultCode\":200,\"errorCode\":0,\"success\":true}";

impl Answer {
    /// The whole message of an answer of this type.
    pub(crate) fn message(&self, kind: &str) -> Bytes {
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
