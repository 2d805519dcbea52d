//! Why a request to the configuration center was not done, and what each API generation answers then.
//!
//! v1 answers text (`caused: …;`), v2 and v3 the envelope `Result` with Nacos's codes, in which the reason is the data. Where
//! Nacos answers a client's mistake with 500, the status here is 400. A CAS that does not match is none: it stays 500 in v1
//! and v2.

use dyad_config::{ConfigLimit, ContentError, GrayFault};
use dyad_state::ports::ProposeError;
use dyad_types::check::Illegal;
use dyad_types::config_check::ConfigFault;
use http::StatusCode;
use serde_json::json;

use crate::error::ApiError;
use crate::reply::{Kind, Reply};

/// Why a request was not done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum Fault {
    /// `ParamCheckerFilter`: the same text in every generation.
    #[error("{0}\r\n")]
    Filter(Illegal),
    /// A parameter that Spring demands of the method.
    #[error("Required request parameter '{name}' for method parameter type {kind} is not present")]
    MissingParam { name: &'static str, kind: &'static str },
    /// A field that a form demands.
    #[error("Required parameter '{0}' type String is not present")]
    MissingField(&'static str),
    /// The same of the namespace form.
    #[error("required parameter '{0}' is missing")]
    MissingNamespace(&'static str),
    /// `ParamUtils`.
    #[error("{0}")]
    Param(#[from] ConfigFault),
    /// `content is blank : ` with what it was.
    #[error("content is blank : {0}")]
    BlankContent(String),
    /// Anything else that does not parse or is out of range; carries the whole message.
    #[error("{0}")]
    Invalid(String),
    #[error("Cas publish fail, server md5 may have changed.")]
    CasMismatch,
    /// The plain query of v1 and v2.
    #[error("config data not exist")]
    NoConfig,
    /// Something that was named is not there; carries the whole message.
    #[error("{0}")]
    NotFound(String),
    #[error("Please check dataId, group or namespaceId.")]
    OtherConfig,
    #[error("{0}")]
    Gray(#[from] GrayFault),
    #[error("a gray release cannot have the name {0}")]
    GrayName(String),
    #[error("{0}")]
    Limit(ConfigLimit),
    /// Code 22000.
    #[error("{0}")]
    IllegalNamespace(String),
    #[error("namespaceId [ {0} ] not exist")]
    NoNamespace(String),
    #[error(
        "the namespace holds {configs} configurations and {services} services: remove them, or repeat the request with \
         force=true, which removes the configurations and leaves the services to their clients"
    )]
    NamespaceNotEmpty { configs: u64, services: usize },
    /// The store of contents does not yield a content: the member is damaged, or the version was pruned a moment ago.
    #[error("{0}")]
    Content(#[from] ContentError),
    /// Every other error answers as on the naming routes.
    #[error("{0}")]
    Api(#[from] ApiError),
}

impl From<Illegal> for Fault {
    fn from(illegal: Illegal) -> Fault {
        Fault::Filter(illegal)
    }
}

impl From<ProposeError> for Fault {
    fn from(error: ProposeError) -> Fault {
        Fault::Api(ApiError::Propose(error))
    }
}

/// The generation of the API that a request came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Generation {
    V1,
    V2,
    V3,
}

impl Fault {
    /// The status; where the generations differ, that of v2.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Fault::Filter(_)
            | Fault::MissingParam { .. }
            | Fault::MissingField(_)
            | Fault::MissingNamespace(_)
            | Fault::Param(_)
            | Fault::BlankContent(_)
            | Fault::Invalid(_)
            | Fault::Gray(_)
            | Fault::GrayName(_)
            | Fault::IllegalNamespace(_) => StatusCode::BAD_REQUEST,
            Fault::OtherConfig => StatusCode::FORBIDDEN,
            Fault::NoConfig | Fault::NotFound(_) | Fault::NoNamespace(_) => StatusCode::NOT_FOUND,
            Fault::NamespaceNotEmpty { .. } => StatusCode::CONFLICT,
            Fault::Limit(ConfigLimit::Grays(_) | ConfigLimit::Extra(_) | ConfigLimit::Names(_)) => {
                StatusCode::BAD_REQUEST
            }
            Fault::Limit(ConfigLimit::ContentSize(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Fault::Limit(_) => StatusCode::TOO_MANY_REQUESTS,
            Fault::CasMismatch => StatusCode::INTERNAL_SERVER_ERROR,
            Fault::Content(ContentError::Gone(_)) => StatusCode::CONFLICT,
            Fault::Content(ContentError::Damaged(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Fault::Api(error) => error.status(),
        }
    }

    /// Nacos's code with the code's own text.
    pub(crate) fn code(&self) -> (u32, &'static str) {
        match self {
            Fault::MissingParam { .. } | Fault::MissingField(_) | Fault::MissingNamespace(_) => {
                (10_000, "parameter missing")
            }
            Fault::OtherConfig => (10_001, "access denied"),
            Fault::Filter(_) | Fault::Param(_) | Fault::BlankContent(_) | Fault::Invalid(_) => {
                (20_002, "parameter validate error")
            }
            Fault::NoConfig | Fault::NotFound(_) => (20_004, "resource not found"),
            Fault::CasMismatch | Fault::Content(ContentError::Gone(_)) => (20_005, "resource conflict"),
            Fault::Limit(ConfigLimit::Grays(_)) => (20_010, "config gray version version over max count"),
            Fault::Gray(GrayFault::Invalid(_)) => (20_011, "config gray rule format invalid"),
            Fault::Gray(GrayFault::UnknownVersion { .. }) => (20_012, "config gray rule version invalid"),
            Fault::GrayName(_) => (20_013, "config gray name not recognized"),
            Fault::Limit(ConfigLimit::ClusterQuota(_) | ConfigLimit::Configs(_)) => {
                (5_031, "cluster capacity reach quota")
            }
            Fault::Limit(ConfigLimit::GroupQuota(_)) => (5_032, "group capacity reach quota"),
            Fault::Limit(ConfigLimit::NamespaceQuota(_)) => (5_033, "tenant capacity reach quota"),
            Fault::Limit(ConfigLimit::ContentSize(_)) => (5_034, "config content size is over limit"),
            Fault::IllegalNamespace(_) => (22_000, "illegal namespace"),
            Fault::NoNamespace(_) => (22_001, "namespace not exist"),
            Fault::NamespaceNotEmpty { .. } => (20_005, "resource conflict"),
            Fault::Content(ContentError::Damaged(_)) => (10_002, "data access error"),
            Fault::Limit(_) => (30_000, "server error"),
            Fault::Api(error) if error.status().is_client_error() => (20_002, "parameter validate error"),
            Fault::Api(_) => (30_000, "server error"),
        }
    }

    /// The answer.
    pub(crate) fn reply(&self, generation: Generation) -> Reply {
        let body = match self {
            Fault::Filter(_) => {
                return Reply { status: self.status(), ..Reply::new(Kind::Bare, self.to_string()) };
            }
            Fault::NoConfig if generation == Generation::V1 => {
                let body = "config data not exist\n";
                return Reply { status: StatusCode::NOT_FOUND, ..Reply::new(Kind::JsonUtf8, body) };
            }
            // Spring escapes what it says about a missing parameter.
            Fault::MissingParam { .. } if generation == Generation::V1 => {
                format!("caused: {};", self.to_string().replace('\'', "&#39;"))
            }
            _ if generation == Generation::V1 => format!("caused: {self};"),
            _ => return self.envelope(generation),
        };
        Reply { status: self.status(), ..Reply::text(body) }
    }

    fn envelope(&self, generation: Generation) -> Reply {
        let status = match self {
            Fault::CasMismatch if generation == Generation::V3 => StatusCode::CONFLICT,
            _ => self.status(),
        };
        let (code, message) = self.code();
        let body = json!({ "code": code, "message": message, "data": self.to_string() });
        Reply { status, ..Reply::json(body.to_string()) }
    }
}

impl Generation {
    /// Ends a handler: errors become answers of this generation.
    pub(crate) fn answer(self, result: Result<Reply, Fault>) -> Result<Reply, ApiError> {
        Ok(result.unwrap_or_else(|fault| fault.reply(self)))
    }

    /// What `ParamUtils` calls the namespace in its messages.
    pub(crate) fn tenant_name(self) -> &'static str {
        if self == Generation::V1 { "tenant" } else { "namespaceId" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_generation_has_its_form() {
        let missing = Fault::MissingParam { name: "group", kind: "String" };
        let text = |fault: &Fault, generation| {
            let reply = fault.reply(generation);
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
