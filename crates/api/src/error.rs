//! Every error of the front end, and the only place that turns one into a status and a body.
//!
//! Nacos 2.5 has three forms on these routes: bare text (`ResponseExceptionHandler`), the parameter check's text without
//! a content type, and Spring's JSON. Where Nacos answers a client's mistake with 500 or 101, the status here is 400.

use dyad_naming::cp::Limit;
use dyad_naming::ports::EphemeralError;
use dyad_state::ports::ProposeError;
use dyad_types::check::Illegal;
use dyad_types::{Lifetime, ServiceKey};
use http::StatusCode;

use crate::listen::ListenFull;
use crate::reply::{Kind, Reply};
use crate::time::timestamp;

/// Why a request was not done. The text of each is what the client reads.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ApiError {
    /// The parameter check (`ParamCheckerFilter`).
    #[error("{0}\r\n")]
    Illegal(Illegal),
    /// `ServiceNameFilter`.
    #[error("Service name filter error,caused: Param 'serviceName' is illegal, {0};")]
    ServiceName(&'static str),
    /// `WebUtils.required`.
    #[error("Param '{0}' is required.")]
    Required(&'static str),
    /// Spring's `MissingServletRequestParameterException`.
    #[error("Parameter '{0}' is missing")]
    Missing(&'static str),
    /// A value that does not parse; carries the whole message.
    #[error("{0}")]
    BadValue(String),
    #[error("metadata format incorrect:{0}")]
    Metadata(String),
    #[error("instance format invalid: The weights range from 0.0 to 10000.0")]
    Weight,
    #[error("Instance 'heart beat interval' must less than 'heart beat timeout' and 'ip delete timeout'.")]
    BeatIntervals,
    #[error("Instance 'clusterName' should be characters with only 0-9a-zA-Z-. (current: {0})")]
    ClusterName(String),
    #[error("errCode: 400, errMsg: Current service {} is {} service, can't register {} instance. ",
        .service.grouped_name(), .is.word(), .wanted.word())]
    Lifetime { service: ServiceKey, is: Lifetime, wanted: Lifetime },
    #[error("specified service {} already exists!", .0.grouped_name())]
    ServiceExists(ServiceKey),
    #[error("service {} not found!", .0.grouped_name())]
    ServiceNotFound(ServiceKey),
    #[error("Service {} is not empty, can't be delete. Please unregister instance first", .0.grouped_name())]
    ServiceNotEmpty(ServiceKey),
    /// `GET /service`.
    #[error("service not found, namespace: {}, serviceName: {}", .0.namespace(), .0.grouped_name())]
    NoServiceDetail(ServiceKey),
    /// `PUT /instance`, with Java's way of showing the service that was looked for.
    #[error(
        "service not found, namespace: {ns}, service: Service{{namespace='{ns}', group='{}', name='{}', \
         ephemeral={ephemeral}, revision=0}}",
        .service.group(), .service.name(), ns = .service.namespace()
    )]
    NoServiceToUpdate { service: ServiceKey, ephemeral: bool },
    #[error("no ips found for cluster {cluster} in service {}", .service.grouped_name())]
    NoHosts { service: ServiceKey, cluster: String },
    #[error("no matched ip found!")]
    NoInstance,
    /// More than the registry holds (429).
    #[error("{0}")]
    Full(Limit),
    /// The CP half did not acknowledge the write.
    #[error("{0}")]
    Propose(#[from] ProposeError),
    /// The AP half does not serve now.
    #[error("{0}")]
    Ephemeral(#[from] EphemeralError),
    #[error(
        "no raft leader is known; the members elect one as soon as a majority of them can talk to each other"
    )]
    NoLeader,
    #[error(
        "the write was applied with an answer this build does not know; is a newer member in the cluster?"
    )]
    UnknownReply,
    /// Nacos's words where too much of one kind is under way.
    #[error("server limit match.")]
    Overloaded,
    #[error("the server stops now")]
    Stopping,
    /// More listeners than this member takes (503).
    #[error("{0}")]
    Listeners(#[from] ListenFull),
    /// 500 of `readiness`.
    #[error("{0} not in readiness")]
    NotReady(&'static str),
    /// Unknown path or method below `/v1/ns` (`DistroFilter`).
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
}

impl From<Illegal> for ApiError {
    fn from(illegal: Illegal) -> ApiError {
        ApiError::Illegal(illegal)
    }
}

impl ApiError {
    pub fn status(&self) -> StatusCode {
        match self {
            ApiError::Illegal(_)
            | ApiError::ServiceName(_)
            | ApiError::Required(_)
            | ApiError::Missing(_)
            | ApiError::BadValue(_)
            | ApiError::Metadata(_)
            | ApiError::Weight
            | ApiError::BeatIntervals
            | ApiError::ClusterName(_)
            | ApiError::Lifetime { .. }
            | ApiError::ServiceExists(_)
            | ApiError::ServiceNotFound(_)
            | ApiError::ServiceNotEmpty(_)
            | ApiError::NoServiceDetail(_)
            | ApiError::NoServiceToUpdate { .. }
            | ApiError::Ephemeral(EphemeralError::TooLong)
            | ApiError::BodyBroken => StatusCode::BAD_REQUEST,
            ApiError::ForeignOrigin => StatusCode::FORBIDDEN,
            ApiError::NoHosts { .. } | ApiError::NoInstance | ApiError::NotFound => StatusCode::NOT_FOUND,
            ApiError::BodyTimeout(_) => StatusCode::REQUEST_TIMEOUT,
            ApiError::BodyTooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            ApiError::UriTooLong(_) => StatusCode::URI_TOO_LONG,
            ApiError::Full(_) => StatusCode::TOO_MANY_REQUESTS,
            ApiError::HeadersTooLarge(_) => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            ApiError::NotReady(_) | ApiError::UnknownReply => StatusCode::INTERNAL_SERVER_ERROR,
            ApiError::NoSuchApi { .. } => StatusCode::NOT_IMPLEMENTED,
            ApiError::Propose(ProposeError::TooLarge { .. }) => StatusCode::PAYLOAD_TOO_LARGE,
            // "Try again, here or elsewhere": SDKs go to the next member on it.
            ApiError::Propose(_)
            | ApiError::Ephemeral(_)
            | ApiError::NoLeader
            | ApiError::Overloaded
            | ApiError::Stopping
            | ApiError::Listeners(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The answer. `path` is the request's path, shown in Spring's JSON.
    pub fn reply(&self, path: &str, wall_ms: u64) -> Reply {
        let status = self.status();
        let (kind, body) = match self {
            ApiError::Illegal(_) => (Kind::Bare, self.to_string()),
            ApiError::ServiceName(_)
            | ApiError::NoSuchApi { .. }
            | ApiError::NotFound
            | ApiError::ForeignOrigin => (Kind::Json, spring(status, &self.to_string(), path, wall_ms)),
            _ => (Kind::Text, self.to_string()),
        };
        Reply { status, ..Reply::new(kind, body) }
    }
}

/// Spring Boot's error JSON.
fn spring(status: StatusCode, message: &str, path: &str, wall_ms: u64) -> String {
    serde_json::json!({
        "timestamp": timestamp(wall_ms),
        "status": status.as_u16(),
        "error": status.canonical_reason().unwrap_or_default(),
        "message": message,
        "path": path,
    })
    .to_string()
}
