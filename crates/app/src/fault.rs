//! Why a use case was not carried out. Every front end turns a fault into its own answer, in one file. The client reads
//! the text of the fault.

use crate::config::WORK_MAX;
use dyad_config::{ConfigLimit, ContentError, GrayFault, Stopped};
use dyad_naming::cp::Limit;
use dyad_naming::ports::EphemeralError;
use dyad_state::ports::ProposeError;
use dyad_types::check::Illegal;
use dyad_types::config_check::ConfigFault;
use dyad_types::{Address, ClientId, Full, Lifetime, NoPlace, ServiceKey};

/// Why a request was not carried out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Fault {
    /// A parameter breaks a rule of the parameter check (`ParamCheckerFilter`).
    #[error("{0}\r\n")]
    Illegal(Illegal),
    /// The name of the service is not valid (`ServiceNameFilter`).
    #[error("Service name filter error,caused: Param 'serviceName' is illegal, {0};")]
    ServiceName(&'static str),
    /// A parameter is missing, in the words of `WebUtils.required`.
    #[error("Param '{0}' is required.")]
    Required(&'static str),
    /// A parameter is missing, in the words of Spring's `MissingServletRequestParameterException`.
    #[error("Parameter '{0}' is missing")]
    Missing(&'static str),
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
    /// `DELETE` of an instance that has the other lifetime than the request says.
    #[error(
        "the instance {address} of service {} is {}: repeat the request with ephemeral={}",
        .service.grouped_name(), .is.word(), .is.is_ephemeral()
    )]
    OtherLifetime { service: ServiceKey, address: Address, is: Lifetime },
    /// `DELETE` of an instance that only a connection can deregister.
    #[error(
        "the instance {address} of service {} belongs to the client with connection {connection}: it goes when that client \
         deregisters it or ends",
        .service.grouped_name()
    )]
    OwnedByConnection { service: ServiceKey, address: Address, connection: ClientId },
    #[error("specified service {} already exists!", .0.grouped_name())]
    ServiceExists(ServiceKey),
    #[error("service {} not found!", .0.grouped_name())]
    ServiceNotFound(ServiceKey),
    #[error("Service {} is not empty, can't be delete. Please unregister instance first", .0.grouped_name())]
    ServiceNotEmpty(ServiceKey),
    /// `GET /service` asks for a service that does not exist.
    #[error("service not found, namespace: {}, serviceName: {}", .0.namespace(), .0.grouped_name())]
    NoServiceDetail(ServiceKey),
    /// `PUT /instance` names a service that does not exist. The text shows the service as Java prints it.
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
    /// The registry would have more than a limit allows (429).
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
    /// Too many requests of one kind are under way. The text has the words of Nacos.
    #[error("server limit match.")]
    Overloaded,
    /// A search, or another request that looks through much, took too long (503).
    #[error(
        "the request was ended after {} s of work: ask for less, by a namespace, a group, a data id or a smaller page",
        WORK_MAX.as_secs()
    )]
    TooLong,
    #[error("the server stops now")]
    Stopping,
    /// What is not here may be there on another member (503).
    #[error("this member has not received the state of its cluster yet: ask another member")]
    NoState,
    /// The state that is here is no longer the cluster's (503).
    #[error("this member was removed from its cluster: ask another member")]
    Removed,
    /// There is no room for the contents that the request would read.
    #[error("{0}")]
    NoRoom(#[from] Full),
    /// Clients, or those of one address, hold as many of something as this member accepts (503).
    #[error("{0}")]
    NoPlace(#[from] NoPlace),
    /// The member is not ready, which `readiness` answers with 500.
    #[error("{part} not in readiness: {why}")]
    NotReady { part: &'static str, why: String },
    /// A parameter is missing that a method demands in Spring.
    #[error("Required request parameter '{name}' for method parameter type {kind} is not present")]
    MissingParam { name: &'static str, kind: &'static str },
    /// A field is missing that a form demands.
    #[error("Required parameter '{0}' type String is not present")]
    MissingField(&'static str),
    /// A field is missing that the form of namespaces demands.
    #[error("required parameter '{0}' is missing")]
    MissingNamespace(&'static str),
    /// A value breaks a rule of `ParamUtils`.
    #[error("{0}")]
    Param(#[from] ConfigFault),
    /// The content is blank. The message repeats it.
    #[error("content is blank : {0}")]
    BlankContent(String),
    /// Any other value cannot be read or is out of range. This is the whole message.
    #[error("{0}")]
    Invalid(String),
    #[error(
        "the content takes {bytes} bytes in an answer, and SDKs take at most {max}: it could not be read over gRPC"
    )]
    AnswerTooLarge { bytes: usize, max: usize },
    #[error("Cas publish fail, server md5 may have changed.")]
    CasMismatch,
    /// The plain query of v1 and v2 finds nothing.
    #[error("config data not exist")]
    NoConfig,
    /// Something that the request names does not exist. This is the whole message.
    #[error("{0}")]
    NotFound(String),
    #[error("Please check dataId, group or namespaceId.")]
    OtherConfig,
    #[error("{0}")]
    Gray(#[from] GrayFault),
    #[error("a gray release cannot have the name {0}")]
    GrayName(String),
    #[error("{0}")]
    ConfigLimit(ConfigLimit),
    /// The namespace is not legal, which has the code 22000. This is the whole message.
    #[error("{0}")]
    IllegalNamespace(String),
    #[error("namespaceId [ {0} ] not exist")]
    NoNamespace(String),
    #[error(
        "the namespace holds {configs} configurations and {services} services: remove them, or repeat the request with \
         force=true, which removes the configurations and leaves the services to their clients"
    )]
    NamespaceNotEmpty { configs: u64, services: usize },
    /// The store of contents cannot give a content, because it is damaged, or because the version was deleted a moment ago.
    #[error("{0}")]
    Content(#[from] ContentError),
}

/// The kind of a fault. Front ends choose their status by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    /// The request breaks a rule, so it is of no use to repeat it.
    Invalid,
    Forbidden,
    NotFound,
    Conflict,
    TooLarge,
    /// The server has reached a limit of what it can hold.
    TooMany,
    /// The same request can succeed later, or on another member.
    Unavailable,
    /// The server is at fault.
    Internal,
}

impl From<Illegal> for Fault {
    fn from(illegal: Illegal) -> Fault {
        Fault::Illegal(illegal)
    }
}

impl From<Stopped> for Fault {
    fn from(_: Stopped) -> Fault {
        Fault::TooLong
    }
}

impl Fault {
    pub fn class(&self) -> Class {
        match self {
            Fault::Illegal(_)
            | Fault::ServiceName(_)
            | Fault::Required(_)
            | Fault::Missing(_)
            | Fault::Invalid(_)
            | Fault::Metadata(_)
            | Fault::Weight
            | Fault::BeatIntervals
            | Fault::ClusterName(_)
            | Fault::Lifetime { .. }
            | Fault::OtherLifetime { .. }
            | Fault::ServiceExists(_)
            | Fault::ServiceNotFound(_)
            | Fault::ServiceNotEmpty(_)
            | Fault::NoServiceDetail(_)
            | Fault::NoServiceToUpdate { .. }
            | Fault::Ephemeral(EphemeralError::TooLong)
            | Fault::MissingParam { .. }
            | Fault::MissingField(_)
            | Fault::MissingNamespace(_)
            | Fault::Param(_)
            | Fault::BlankContent(_)
            | Fault::Gray(_)
            | Fault::GrayName(_)
            | Fault::IllegalNamespace(_)
            | Fault::ConfigLimit(ConfigLimit::Grays(_) | ConfigLimit::Extra(_) | ConfigLimit::Names(_)) => {
                Class::Invalid
            }
            Fault::OtherConfig => Class::Forbidden,
            Fault::NoHosts { .. }
            | Fault::NoInstance
            | Fault::NoConfig
            | Fault::NotFound(_)
            | Fault::NoNamespace(_) => Class::NotFound,
            Fault::NamespaceNotEmpty { .. }
            | Fault::OwnedByConnection { .. }
            | Fault::Content(ContentError::Gone(_))
            | Fault::CasMismatch => Class::Conflict,
            Fault::AnswerTooLarge { .. }
            | Fault::Propose(ProposeError::TooLarge { .. })
            | Fault::ConfigLimit(ConfigLimit::ContentSize(_)) => Class::TooLarge,
            Fault::Full(_) | Fault::ConfigLimit(_) | Fault::NoRoom(Full::Share) => Class::TooMany,
            Fault::Propose(_)
            | Fault::Ephemeral(_)
            | Fault::NoLeader
            | Fault::Overloaded
            | Fault::TooLong
            | Fault::Stopping
            | Fault::NoState
            | Fault::Removed
            | Fault::NoRoom(Full::All)
            | Fault::NoPlace(_) => Class::Unavailable,
            Fault::NotReady { .. } | Fault::UnknownReply | Fault::Content(ContentError::Damaged(_)) => {
                Class::Internal
            }
        }
    }

    /// The code of Nacos (`ErrorCode`), and the text that belongs to the code.
    pub fn code(&self) -> (u32, &'static str) {
        match self {
            Fault::MissingParam { .. } | Fault::MissingField(_) | Fault::MissingNamespace(_) => {
                (10_000, "parameter missing")
            }
            Fault::OtherConfig => (10_001, "access denied"),
            Fault::NoConfig | Fault::NotFound(_) => (20_004, "resource not found"),
            Fault::CasMismatch | Fault::Content(ContentError::Gone(_)) => (20_005, "resource conflict"),
            Fault::ConfigLimit(ConfigLimit::Grays(_)) => {
                (20_010, "config gray version version over max count")
            }
            Fault::Gray(GrayFault::Invalid(_)) => (20_011, "config gray rule format invalid"),
            Fault::Gray(GrayFault::UnknownVersion { .. }) => (20_012, "config gray rule version invalid"),
            Fault::GrayName(_) => (20_013, "config gray name not recognized"),
            Fault::ConfigLimit(ConfigLimit::ClusterQuota(_) | ConfigLimit::Configs(_)) => {
                (5_031, "cluster capacity reach quota")
            }
            Fault::ConfigLimit(ConfigLimit::GroupQuota(_)) => (5_032, "group capacity reach quota"),
            Fault::ConfigLimit(ConfigLimit::NamespaceQuota(_)) => (5_033, "tenant capacity reach quota"),
            Fault::ConfigLimit(ConfigLimit::ContentSize(_)) => (5_034, "config content size is over limit"),
            Fault::ConfigLimit(_) | Fault::NoRoom(_) => (30_000, "server error"),
            Fault::IllegalNamespace(_) => (22_000, "illegal namespace"),
            Fault::NoNamespace(_) => (22_001, "namespace not exist"),
            Fault::NamespaceNotEmpty { .. } | Fault::OwnedByConnection { .. } => {
                (20_005, "resource conflict")
            }
            Fault::Content(ContentError::Damaged(_)) => (10_002, "data access error"),
            fault => match fault.class() {
                Class::Unavailable | Class::Internal => (30_000, "server error"),
                _ => (20_002, "parameter validate error"),
            },
        }
    }
}
