//! Turns a fault into an HTTP answer: the status, and the form that each generation of Nacos's API has for it. No other
//! file does this.
//!
//! The naming routes of v1 answer bare text, those of the configuration center text in `caused: …;`; v2 and v3 answer
//! the envelope `Result` with Nacos's codes, in which the reason is the data. In all of them, the answer of the
//! parameter check is a text without a content type. Where Nacos answers a client's mistake with 500, the status here
//! is 400. A CAS that does not match is not a mistake: its status is 500 in v1 and v2, as in Nacos.

use dyad_app::{Class, Fault};
use http::StatusCode;
use serde_json::json;

use crate::reply::{Kind, Reply};
use dyad_types::NoPlace;
use dyad_types::budget::Full;
use dyad_types::date::timestamp;

/// The generation of the API that a row belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Generation {
    /// `/v1/ns`, `/v1/core` and what has no generation.
    V1Naming,
    /// `/v1/cs` and `/v1/console`.
    V1,
    V2,
    V3,
}

/// Why a request was refused before the handler of its row saw it.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The path or method below `/v1/ns` is unknown (`DistroFilter`).
    #[error("no such api:{method}:{uri}")]
    NoSuchApi { method: String, uri: String },
    #[error("No message available")]
    NotFound,
    /// A browser on another site sent this request.
    #[error("the Origin of the request is not this host")]
    ForeignOrigin,
    #[error("the request body is larger than {0} bytes")]
    BodyTooLarge(usize),
    #[error("the request line is longer than {0} bytes")]
    UriTooLong(usize),
    #[error("the request headers are larger than {0} bytes")]
    HeadersTooLarge(usize),
    #[error("the request body did not arrive within {0} ms")]
    BodyTimeout(u64),
    #[error("the request body broke off")]
    BodyBroken,
    #[error("a body with the Content-Encoding {0} is not read; send it as it is")]
    ContentEncoding(String),
    /// There is no room for the request's body or for its answer.
    #[error("{0}")]
    Full(#[from] Full),
    /// All connections are taken, and this one is for questions about the member's health.
    #[error("{0}")]
    NoPlace(#[from] NoPlace),
}

impl Refusal {
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Refusal::Full(Full::All) | Refusal::NoPlace(_) => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Full(Full::Share) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::BodyBroken => StatusCode::BAD_REQUEST,
            Refusal::ForeignOrigin => StatusCode::FORBIDDEN,
            Refusal::NotFound => StatusCode::NOT_FOUND,
            Refusal::BodyTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            Refusal::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::ContentEncoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Refusal::UriTooLong(_) => StatusCode::URI_TOO_LONG,
            Refusal::HeadersTooLarge(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Refusal::NoSuchApi { .. } => StatusCode::NOT_IMPLEMENTED,
        }
    }

    /// The answer. `path` is the request's path, shown in Spring's JSON.
    pub(crate) fn reply(&self, path: &str, wall_ms: u64) -> Reply {
        let status = self.status();
        match self {
            Refusal::NoSuchApi { .. } | Refusal::NotFound | Refusal::ForeignOrigin => {
                let body = spring(status, &self.to_string(), path, wall_ms);
                Reply { status, ..Reply::json(body) }
            }
            _ => Reply { status, ..Reply::text(self.to_string()) },
        }
    }
}

/// The status; where the generations differ, that of v2.
pub(crate) fn status(fault: &Fault) -> StatusCode {
    if *fault == Fault::CasMismatch {
        return StatusCode::INTERNAL_SERVER_ERROR;
    }
    match fault.class() {
        Class::Invalid => StatusCode::BAD_REQUEST,
        Class::Forbidden => StatusCode::FORBIDDEN,
        Class::NotFound => StatusCode::NOT_FOUND,
        Class::Conflict => StatusCode::CONFLICT,
        Class::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Class::TooMany => StatusCode::TOO_MANY_REQUESTS,
        // "Try again, here or elsewhere": SDKs go to the next member on it.
        Class::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
        Class::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// The answer. `path` is the request's path, shown in Spring's JSON.
pub(crate) fn reply(fault: &Fault, generation: Generation, path: &str, wall_ms: u64) -> Reply {
    let status = status(fault);
    let text = fault.to_string();
    match (fault, generation) {
        (Fault::Illegal(_), _) => Reply { status, ..Reply::new(Kind::Bare, text) },
        (Fault::ServiceName(_), Generation::V1Naming) => {
            Reply { status, ..Reply::json(spring(status, &text, path, wall_ms)) }
        }
        (_, Generation::V1Naming) => Reply { status, ..Reply::text(text) },
        (Fault::NoConfig, Generation::V1) => {
            Reply { status, ..Reply::new(Kind::JsonUtf8, "config data not exist\n") }
        }
        // Spring escapes what it says about a missing parameter.
        (Fault::MissingParam { .. }, Generation::V1) => {
            Reply { status, ..Reply::text(format!("caused: {};", text.replace('\'', "&#39;"))) }
        }
        (_, Generation::V1) => Reply { status, ..Reply::text(format!("caused: {text};")) },
        (_, Generation::V2 | Generation::V3) => {
            let status = match fault {
                Fault::CasMismatch if generation == Generation::V3 => StatusCode::CONFLICT,
                _ => status,
            };
            let (code, message) = fault.code();
            Reply {
                status,
                ..Reply::json(json!({ "code": code, "message": message, "data": text }).to_string())
            }
        }
    }
}

/// Spring Boot's error JSON.
fn spring(status: StatusCode, message: &str, path: &str, wall_ms: u64) -> String {
    json!({
        "timestamp": timestamp(wall_ms),
        "status": status.as_u16(),
        "error": status.canonical_reason().unwrap_or_default(),
        "message": message,
        "path": path,
    })
    .to_string()
}

impl Generation {
    /// What `ParamUtils` calls the namespace in its messages.
    pub(crate) fn tenant_name(self) -> &'static str {
        match self {
            Generation::V1Naming | Generation::V1 => "tenant",
            Generation::V2 | Generation::V3 => "namespaceId",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_has_its_form() {
        let missing = Fault::MissingParam { name: "group", kind: "String" };
        let text = |fault: &Fault, generation| {
            let reply = super::reply(fault, generation, "", 0);
            (reply.status.as_u16(), String::from_utf8_lossy(reply.body.first()).into_owned())
        };
        let escaped = "caused: Required request parameter &#39;group&#39; for method parameter type String is not present;";
        assert_eq!(text(&missing, Generation::V1), (400, escaped.to_owned()));
        assert_eq!(text(&missing, Generation::V2).0, 400);
        let cas = "caused: Cas publish fail, server md5 may have changed.;";
        assert_eq!(text(&Fault::CasMismatch, Generation::V1), (500, cas.to_owned()));
        for (generation, status) in [(Generation::V2, 500), (Generation::V3, 409)] {
            let (got, body) = text(&Fault::CasMismatch, generation);
            let want = r#"{"code":20005,"data":"Cas publish fail, server md5 may have changed.","message":"resource conflict"}"#;
            assert_eq!((got, &*body), (status, want));
        }
    }
}
