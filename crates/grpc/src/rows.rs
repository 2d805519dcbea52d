//! The table of requests: every type that is answered, and its handler.

use std::sync::Arc;

use dyad_types::{ConfigKey, ServiceKey};
use prometheus_client::registry::Registry;

use crate::error::{GrpcError, Module};
use crate::metrics::GrpcMetrics;
use crate::row::{Access, Answer, Call, DONE, Handler, Row, Verb};
use crate::{config, naming, watch};

/// Creates the counters of the gRPC port and registers them: `grpc_requests`, `grpc_request_seconds`,
/// `grpc_connections_refused`, `grpc_connections_dead` and `grpc_connections_reset`.
pub fn register_metrics(registry: &mut Registry) -> Arc<GrpcMetrics> {
    GrpcMetrics::register(registry, ROWS.iter().map(|row| row.kind))
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

fn server_check(call: &Call) -> Result<Answer, GrpcError> {
    let id = call.connection.id();
    Ok(Answer::Json(format!(
        "{{\"resultCode\":200,\"errorCode\":0,\"connectionId\":\"{id}\",\"supportAbilityNegotiation\":true,\
         \"success\":true}}"
    )))
}
