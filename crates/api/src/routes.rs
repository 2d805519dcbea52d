//! The table of routes. axum's router, the metrics' labels, later authorization and the documentation come from it.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::Method;

use crate::error::ApiError;
use crate::params::{Key, Params};
use crate::reply::Reply;
use crate::state::AppState;
use crate::{beat, cluster, health, instance, list, operator, page, service, subscribers};

/// What a request acts on: authorization asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The naming resource that the parameters name: namespace, group and service.
    Naming,
    /// `naming/switches`.
    Switches,
    /// Answered to everybody.
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Read,
    Write,
}

/// What a handler gives: the answer, or the rest of the work when it has to wait for a core.
#[expect(missing_debug_implementations, reason = "a boxed future has nothing to show")]
pub enum Step {
    Done(Result<Reply, ApiError>),
    Wait(BoxFuture<'static, Result<Reply, ApiError>>),
}

impl Step {
    /// The rest of the work; a handler ends with it when it has to wait.
    pub(crate) fn wait(work: impl Future<Output = Result<Reply, ApiError>> + Send + 'static) -> Step {
        Step::Wait(Box::pin(work))
    }

    pub(crate) fn of(prepared: Result<Step, ApiError>) -> Step {
        prepared.unwrap_or_else(|error| Step::Done(Err(error)))
    }
}

/// A handler reads the parameters before it returns; only the rest of the work outlives the call.
pub type Handler = fn(&Arc<AppState>, &Params) -> Step;

/// One row.
#[derive(Debug)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    /// Every parameter that the handler looks at.
    pub params: &'static [Key],
    pub resource: Resource,
    pub action: Action,
    pub(crate) handler: Handler,
}

const fn row(
    method: Method,
    path: &'static str,
    resource: Resource,
    action: Action,
    params: &'static [Key],
    handler: Handler,
) -> Route {
    Route { method, path, params, resource, action, handler }
}

use Action::{Read, Write};
use Key::*;
use Resource::{Naming, Open, Switches};

const INSTANCE: &[Key] = &[
    NamespaceId,
    GroupName,
    ServiceName,
    Ip,
    Port,
    ClusterName,
    Cluster,
    Weight,
    Healthy,
    Enabled,
    Enable,
    Ephemeral,
    Metadata,
];
const DETAIL: &[Key] = &[NamespaceId, GroupName, ServiceName, Ip, Port, ClusterName];
const BEAT: &[Key] = &[NamespaceId, GroupName, ServiceName, Ip, Port, ClusterName, Beat];
const LIST: &[Key] = &[NamespaceId, GroupName, ServiceName, Clusters, HealthyOnly, UdpPort, App];
const NAME: &[Key] = &[NamespaceId, GroupName, ServiceName];
const RECORD: &[Key] = &[NamespaceId, GroupName, ServiceName, ProtectThreshold, Metadata, Selector];
const SUBSCRIBERS: &[Key] = &[NamespaceId, GroupName, ServiceName, PageNo, PageSize, Aggregation];
const PAGE: &[Key] = &[NamespaceId, GroupName, PageNo, PageSize];

/// Rows at the head of the table that are looked up before axum's router: they are nearly all of a registry's traffic.
pub(crate) const HOT: usize = 3;

/// Every route of the front end.
pub static ROUTES: &[Route] = &[
    row(Method::PUT, "/nacos/v1/ns/instance/beat", Naming, Write, BEAT, beat::beat),
    row(Method::GET, "/nacos/v1/ns/instance/list", Naming, Read, LIST, list::list),
    row(Method::POST, "/nacos/v1/ns/instance", Naming, Write, INSTANCE, instance::register),
    row(Method::PUT, "/nacos/v1/ns/instance", Naming, Write, INSTANCE, instance::update),
    row(Method::PATCH, "/nacos/v1/ns/instance", Naming, Write, INSTANCE, instance::patch),
    row(Method::DELETE, "/nacos/v1/ns/instance", Naming, Write, INSTANCE, instance::deregister),
    row(Method::GET, "/nacos/v1/ns/instance", Naming, Read, DETAIL, instance::detail),
    row(Method::POST, "/nacos/v1/ns/service", Naming, Write, RECORD, service::create),
    row(Method::PUT, "/nacos/v1/ns/service", Naming, Write, RECORD, service::update),
    row(Method::DELETE, "/nacos/v1/ns/service", Naming, Write, NAME, service::delete),
    row(Method::GET, "/nacos/v1/ns/service", Naming, Read, NAME, service::detail),
    row(Method::GET, "/nacos/v1/ns/service/list", Naming, Read, PAGE, list::services),
    row(Method::GET, "/nacos/v1/ns/service/subscribers", Naming, Read, SUBSCRIBERS, subscribers::subscribers),
    row(Method::GET, "/nacos/v1/ns/operator/metrics", Open, Read, &[OnlyStatus], operator::metrics),
    row(Method::GET, "/nacos/v1/ns/ops/metrics", Open, Read, &[OnlyStatus], operator::metrics),
    row(Method::GET, "/nacos/v1/ns/operator/switches", Open, Read, &[], operator::switches),
    row(Method::GET, "/nacos/v1/ns/ops/switches", Open, Read, &[], operator::switches),
    row(
        Method::PUT,
        "/nacos/v1/ns/operator/switches",
        Switches,
        Write,
        &[Entry, Value, Debug],
        operator::set_switch,
    ),
    row(
        Method::PUT,
        "/nacos/v1/ns/ops/switches",
        Switches,
        Write,
        &[Entry, Value, Debug],
        operator::set_switch,
    ),
    row(Method::GET, "/nacos/v1/ns/raft/leader", Open, Read, &[], cluster::leader),
    row(Method::GET, "/nacos/v1/core/cluster/nodes", Open, Read, &[Keyword], cluster::nodes),
    row(Method::GET, "/nacos/v1/console/health/liveness", Open, Read, &[], health::liveness),
    row(Method::GET, "/nacos/v1/console/health/readiness", Open, Read, &[Cp], health::readiness),
    row(Method::GET, "/nacos/v2/console/health/liveness", Open, Read, &[], health::liveness_v2),
    row(Method::GET, "/nacos/v2/console/health/readiness", Open, Read, &[Cp], health::readiness_v2),
    row(Method::GET, "/metrics", Open, Read, &[], operator::prometheus),
    row(Method::GET, "/nacos", Open, Read, &[], page::page),
    row(Method::GET, "/nacos/dyad/overview", Open, Read, &[], page::overview),
];

/// The row of a hot request, with or without a trailing slash.
pub(crate) fn hot(method: &Method, path: &str) -> Option<usize> {
    ROUTES[..HOT].iter().position(|route| route.path == path && route.method == *method)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_table_has_each_method_and_path_once_and_writes_are_never_get() {
        let mut seen = BTreeSet::new();
        for route in ROUTES {
            assert!(
                seen.insert((route.path, route.method.as_str())),
                "{} {} twice",
                route.method,
                route.path
            );
            assert!(!route.path.ends_with('/'), "{}: the router adds the trailing slash", route.path);
            assert_eq!(route.method == Method::GET, route.action == Read, "{} {}", route.method, route.path);
            assert!(
                route.resource != Open || route.action == Read,
                "{} writes without authorization",
                route.path
            );
            let params: BTreeSet<&str> = route.params.iter().map(|key| key.name()).collect();
            assert_eq!(params.len(), route.params.len(), "{}: a parameter is listed twice", route.path);
        }
    }

    #[test]
    fn the_hot_rows_are_the_traffic_of_a_registry() {
        for (method, path) in [
            (Method::PUT, "/nacos/v1/ns/instance/beat"),
            (Method::GET, "/nacos/v1/ns/instance/list"),
            (Method::POST, "/nacos/v1/ns/instance"),
        ] {
            assert!(hot(&method, path).is_some(), "{method} {path}");
        }
        assert_eq!(hot(&Method::POST, "/nacos/v1/ns/instance/list"), None);
    }
}
