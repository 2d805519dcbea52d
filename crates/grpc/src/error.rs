//! Turns an error into the codes of an answer over gRPC. No other file does this.

use dyad_app::{Class, Fault};
use dyad_naming::ports::EphemeralError;
use dyad_push::fuzzy::FuzzyError;
use dyad_types::check::Illegal;
use dyad_types::{NoPlace, Place};

/// Why a request is not done.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum GrpcError {
    #[error("Server is starting,please try later.")]
    Starting,
    #[error("Connection is unregistered.")]
    Unregistered,
    #[error("RequestHandler Not Found")]
    NoHandler,
    #[error(" invoke {0} from sdk is forbidden")]
    Forbidden(&'static str),
    #[error("errCode: 101, errMsg: Nacos deserialize failed.  ")]
    Malformed,
    /// A field that cannot be read.
    #[error("{path}: {why}")]
    BadField { path: String, why: String },
    /// The parameter check: answered under the request's own type.
    #[error("Param check invalid:{0}")]
    Illegal(Illegal),
    #[error("Unsupported request type {0}")]
    Unsupported(String),
    #[error("Instance can not be null.")]
    NoInstance,
    #[error("{what} is over the limit of {max}")]
    TooMany { what: &'static str, max: usize },
    #[error("{0}")]
    NoPlace(#[from] NoPlace),
    /// Answered under the request's own type.
    #[error("{0}")]
    Fuzzy(#[from] FuzzyError),
    /// Of `ConfigRemoveRequest`, whose failures Nacos gives no code.
    #[error("{0}")]
    Removal(Fault),
    #[error("{0}")]
    Fault(Fault),
}

/// What a request is about. It decides the codes of its errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Module {
    Internal,
    Naming,
    Config,
}

/// `resultCode` and `errorCode`, and whether the answer has the request's own type instead of `ErrorResponse`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Codes {
    pub(crate) result: u16,
    pub(crate) error: u16,
    pub(crate) own_type: bool,
}

/// Errors of the transport, as SDKs compare them.
const STARTING: u16 = 300;
const UNREGISTERED: u16 = 301;
const NO_HANDLER: u16 = 302;
const FAIL: u16 = 500;
const INVALID: u16 = 400;
const BAD_GATEWAY: u16 = 502;
const OVER_THRESHOLD: u16 = 503;
/// `FUZZY_WATCH_PATTERN_OVER_LIMIT` and `FUZZY_WATCH_PATTERN_MATCH_COUNT_OVER_LIMIT`.
const FUZZY_PATTERNS: u16 = 50310;
pub(crate) const FUZZY_MATCHES: u16 = 50311;

impl From<Illegal> for GrpcError {
    fn from(illegal: Illegal) -> GrpcError {
        GrpcError::Illegal(illegal)
    }
}

impl From<Fault> for GrpcError {
    fn from(fault: Fault) -> GrpcError {
        match fault {
            Fault::Illegal(illegal) => GrpcError::Illegal(illegal),
            Fault::Ephemeral(EphemeralError::Starting) => GrpcError::Starting,
            other => GrpcError::Fault(other),
        }
    }
}

impl GrpcError {
    pub(crate) fn codes(&self, module: Module) -> Codes {
        let of = |result, error| Codes { result, error, own_type: false };
        let own = |error| Codes { result: FAIL, error, own_type: true };
        match self {
            GrpcError::Starting => of(FAIL, STARTING),
            GrpcError::Unregistered => of(FAIL, UNREGISTERED),
            GrpcError::NoHandler => of(FAIL, NO_HANDLER),
            GrpcError::Forbidden(_) | GrpcError::Malformed => of(FAIL, BAD_GATEWAY),
            GrpcError::Illegal(_) | GrpcError::Fuzzy(FuzzyError::Malformed) => own(INVALID),
            GrpcError::Fuzzy(FuzzyError::NoPlace(_)) => own(FUZZY_PATTERNS),
            GrpcError::BadField { .. } | GrpcError::Unsupported(_) | GrpcError::NoInstance => own(INVALID),
            GrpcError::TooMany { .. } => own(OVER_THRESHOLD),
            GrpcError::NoPlace(refused) if refused.place == Place::Listenings => {
                of(OVER_THRESHOLD, OVER_THRESHOLD)
            }
            GrpcError::NoPlace(_) => own(OVER_THRESHOLD),
            GrpcError::Removal(_) => own(0),
            // Another member, or this one a moment later, may have room.
            GrpcError::Fault(Fault::NoRoom(_)) => of(OVER_THRESHOLD, OVER_THRESHOLD),
            // What the configuration handlers of Nacos make of an exception: its code under their own type.
            GrpcError::Fault(fault) if module == Module::Config => own(config_code(fault)),
            // Nacos answers `ErrorResponse` here. The Java client asks three times for each of them and then leaves its connection,
            // so only what another member, or a later attempt, may do better is one.
            GrpcError::Fault(fault) => {
                let code = naming_code(fault);
                let own_type = !matches!(fault.class(), Class::Unavailable | Class::Internal);
                Codes { result: if own_type { FAIL } else { code }, error: code, own_type }
            }
        }
    }
}

fn config_code(fault: &Fault) -> u16 {
    match fault {
        Fault::Param(_) | Fault::BlankContent(_) | Fault::Invalid(_) => INVALID,
        Fault::Gray(_) | Fault::GrayName(_) | Fault::ConfigLimit(_) => {
            u16::try_from(fault.code().0).unwrap_or(FAIL)
        }
        _ => FAIL,
    }
}

fn naming_code(fault: &Fault) -> u16 {
    match fault.class() {
        Class::Invalid => INVALID,
        Class::Forbidden => 403,
        Class::NotFound => 404,
        Class::Conflict => 409,
        Class::TooLarge => 413,
        Class::TooMany => OVER_THRESHOLD,
        // SDKs try the same server again, and go elsewhere when it stays so.
        Class::Unavailable | Class::Internal => FAIL,
    }
}
