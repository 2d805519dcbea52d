//! The table of routes. axum's router, the metrics' labels, later authorization and the documentation come from it.

use std::sync::Arc;

use futures::future::BoxFuture;
use http::Method;

use crate::config::{capacity, detail, get, history, list as search, listen, ops, publish, remove, transfer};
use crate::core::{cluster, health, namespace, namespace_removal};
use crate::fault::Generation;
use crate::naming::{beat, instance, list, operator, service, subscribers};
use crate::page;
use crate::params::{Key, Params};
use crate::reply::Reply;
use dyad_app::App;
use dyad_app::Fault;

/// What a request acts on: authorization asks for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The naming resource that the parameters name: namespace, group and service.
    Naming,
    /// `naming/switches`.
    Switches,
    /// The configuration that the parameters name: namespace, group and data id; without names all of a namespace.
    Config,
    /// Capacities and operations of the configuration center (`/v1/cs/ops`).
    ConfigOps,
    /// `console/namespaces`.
    Namespaces,
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
    Done(Result<Reply, Fault>),
    Wait(BoxFuture<'static, Result<Reply, Fault>>),
}

impl Step {
    /// The rest of the work; a handler ends with it when it has to wait.
    pub(crate) fn wait(work: impl Future<Output = Result<Reply, Fault>> + Send + 'static) -> Step {
        Step::Wait(Box::pin(work))
    }

    pub(crate) fn of(prepared: Result<Step, Fault>) -> Step {
        prepared.unwrap_or_else(|error| Step::Done(Err(error)))
    }
}

/// A handler reads the parameters before it returns; only the rest of the work outlives the call.
pub type Handler = fn(&Arc<App>, &Params) -> Step;

/// One row.
#[derive(Debug)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    /// Every parameter that the handler looks at.
    pub params: &'static [Key],
    pub resource: Resource,
    pub action: Action,
    /// The generation of the API, which decides how a fault is answered.
    pub generation: Generation,
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
    Route { method, path, params, resource, action, generation: generation_of(path), handler }
}

/// The generation by the path's first segments; what has none answers as the naming routes of v1.
const fn generation_of(path: &'static str) -> Generation {
    const fn begins(path: &str, with: &str) -> bool {
        let (path, with) = (path.as_bytes(), with.as_bytes());
        let mut at = 0;
        while at < with.len() {
            if at >= path.len() || path[at] != with[at] {
                return false;
            }
            at += 1;
        }
        true
    }
    // The client API of v3 answers a fault as v1 does.
    if begins(path, "/nacos/v3/client/cs/") {
        Generation::V1
    } else if begins(path, "/nacos/v3/") {
        Generation::V3
    } else if begins(path, "/nacos/v2/") {
        Generation::V2
    } else if begins(path, "/nacos/v1/cs/") || begins(path, "/nacos/v1/console/namespaces") {
        Generation::V1
    } else {
        Generation::V1Naming
    }
}

use Action::{Read, Write};
use Key::*;
use Resource::{Config, ConfigOps, Namespaces, Naming, Open, Switches};

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

/// The names that v1, v2 and v3 have for a configuration.
const CONFIG: &[Key] = &[
    DataId,
    Group,
    GroupName,
    Tenant,
    NamespaceId,
    Tag,
    GrayName,
    Beta,
    Consistent,
    SrcUser,
    SrcUserV1,
    Reason,
];
/// v1 has one path for reading in all forms.
const CONFIG_V1: &[Key] = &[
    DataId,
    Group,
    Tenant,
    NamespaceId,
    Tag,
    Consistent,
    Show,
    Search,
    Beta,
    Export,
    ExportV2,
    Ids,
    AppName,
    ConfigTagsV1,
    ConfigTags,
    Types,
    ConfigDetailV1,
    PageNo,
    PageSize,
];
const PUBLISH: &[Key] = &[
    DataId,
    Group,
    GroupName,
    Tenant,
    NamespaceId,
    Namespace,
    Content,
    Tag,
    AppName,
    SrcUser,
    SrcUserV1,
    ConfigTags,
    ConfigTagsV1,
    Desc,
    Use,
    Effect,
    Type,
    Schema,
    EncryptedDataKey,
    GrayName,
    GrayRuleExp,
    GrayVersion,
    GrayPriority,
    Reason,
    Import,
    Clone,
    Policy,
];
const REMOVE: &[Key] = &[
    DataId,
    Group,
    GroupName,
    Tenant,
    NamespaceId,
    Tag,
    GrayName,
    Beta,
    DelType,
    Ids,
    SrcUser,
    SrcUserV1,
    Reason,
];
const SEARCH: &[Key] = &[
    DataId,
    Group,
    GroupName,
    Tenant,
    NamespaceId,
    Search,
    AppName,
    ConfigTags,
    ConfigTagsV1,
    Type,
    Types,
    ConfigDetail,
    ConfigDetailV1,
    PageNo,
    PageSize,
];
const GREP: &[Key] = &[Content, DataId, GroupName, NamespaceId, AppName, ConfigTags, Type, PageNo, PageSize];
const HISTORY: &[Key] = &[DataId, Group, GroupName, Tenant, NamespaceId, Search, Nid, Id, PageNo, PageSize];
const DIFF: &[Key] = &[DataId, GroupName, NamespaceId, From, To];
const ROLLBACK: &[Key] = &[DataId, GroupName, NamespaceId, Nid, SrcUser, Reason];
const CAPACITY: &[Key] = &[Group, GroupName, Tenant, NamespaceId, Quota, MaxSize, MaxAggrCount, MaxAggrSize];
const IMPORT: &[Key] = &[NamespaceId, TargetNamespaceId, Namespace, Policy, SrcUser, SrcUserV1, Reason];
const EXPORT: &[Key] = &[Ids, DataId, GroupName, NamespaceId, AppName];
const NAMESPACE: &[Key] = &[
    NamespaceId,
    CustomNamespaceId,
    Namespace,
    NamespaceName,
    NamespaceShowName,
    NamespaceDesc,
    Show,
    CheckNamespaceIdExist,
    Force,
    SrcUser,
    Reason,
];

/// What a long poll reads; the rest is in its headers.
const POLL: &[Key] = &[ListeningConfigs];
const LISTENERS: &[Key] = &[DataId, Group, GroupName, Tenant, NamespaceId, Namespace, Ip, All, Aggregation];

/// Rows at the head of the table that are looked up before axum's router: they are nearly all of a registry's traffic.
pub(crate) const HOT: usize = 5;

/// Every route of the front end.
pub static ROUTES: &[Route] = &[
    row(Method::PUT, "/nacos/v1/ns/instance/beat", Naming, Write, BEAT, beat::beat),
    row(Method::GET, "/nacos/v1/ns/instance/list", Naming, Read, LIST, list::list),
    row(Method::POST, "/nacos/v1/ns/instance", Naming, Write, INSTANCE, instance::register),
    row(Method::GET, "/nacos/v1/cs/configs", Config, Read, CONFIG_V1, detail::v1),
    row(Method::POST, "/nacos/v1/cs/configs/listener", Config, Read, POLL, listen::poll::listener),
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
    row(Method::POST, "/nacos/v1/cs/configs", Config, Write, PUBLISH, publish::v1),
    row(Method::DELETE, "/nacos/v1/cs/configs", Config, Write, REMOVE, remove::v1),
    row(Method::GET, "/nacos/v1/cs/configs/catalog", Config, Read, CONFIG, detail::catalog),
    row(Method::GET, "/nacos/v1/cs/history", Config, Read, HISTORY, history::v1),
    row(Method::GET, "/nacos/v1/cs/history/previous", Config, Read, HISTORY, history::v1_previous),
    row(Method::GET, "/nacos/v1/cs/history/configs", Config, Read, HISTORY, history::v1_configs),
    row(Method::GET, "/nacos/v1/cs/capacity", ConfigOps, Read, CAPACITY, capacity::get_v1),
    row(Method::POST, "/nacos/v1/cs/capacity", ConfigOps, Write, CAPACITY, capacity::set_v1),
    row(Method::GET, "/nacos/v1/cs/health", Open, Read, &[], ops::health),
    row(Method::POST, "/nacos/v1/cs/ops/localCache", ConfigOps, Write, &[], ops::local_cache),
    row(Method::GET, "/nacos/v1/cs/ops/derby", ConfigOps, Read, &[], ops::derby),
    row(Method::GET, "/nacos/v2/cs/config", Config, Read, CONFIG, get::v2),
    row(Method::POST, "/nacos/v2/cs/config", Config, Write, PUBLISH, publish::v2),
    row(Method::DELETE, "/nacos/v2/cs/config", Config, Write, REMOVE, remove::v2),
    row(Method::GET, "/nacos/v2/cs/config/searchDetail", Config, Read, SEARCH, search::v2),
    row(Method::GET, "/nacos/v2/cs/history/list", Config, Read, HISTORY, history::v2_list),
    row(Method::GET, "/nacos/v2/cs/history", Config, Read, HISTORY, history::v2),
    row(Method::GET, "/nacos/v2/cs/history/detail", Config, Read, HISTORY, history::v2_detail),
    row(Method::GET, "/nacos/v2/cs/history/previous", Config, Read, HISTORY, history::v2_previous),
    row(Method::GET, "/nacos/v2/cs/history/configs", Config, Read, HISTORY, history::v2_configs),
    row(Method::GET, "/nacos/v3/client/cs/config", Config, Read, CONFIG, get::client),
    row(Method::GET, "/nacos/v3/admin/cs/config", Config, Read, CONFIG, detail::admin),
    row(Method::POST, "/nacos/v3/admin/cs/config", Config, Write, PUBLISH, publish::v3),
    row(Method::DELETE, "/nacos/v3/admin/cs/config", Config, Write, REMOVE, remove::v3),
    row(Method::DELETE, "/nacos/v3/admin/cs/config/batch", Config, Write, REMOVE, remove::v3_batch),
    row(Method::GET, "/nacos/v3/admin/cs/config/list", Config, Read, SEARCH, search::v3),
    row(Method::GET, "/nacos/v3/admin/cs/config/grep", Config, Read, GREP, search::grep),
    row(Method::GET, "/nacos/v3/admin/cs/config/grays", Config, Read, CONFIG, detail::grays),
    row(Method::GET, "/nacos/v3/admin/cs/config/beta", Config, Read, CONFIG, detail::beta),
    row(Method::DELETE, "/nacos/v3/admin/cs/config/beta", Config, Write, REMOVE, remove::v3_beta),
    row(Method::POST, "/nacos/v3/admin/cs/config/import", Config, Write, IMPORT, transfer::v3_import),
    row(Method::GET, "/nacos/v3/admin/cs/config/export", Config, Read, EXPORT, transfer::v3_export),
    row(Method::POST, "/nacos/v3/admin/cs/config/clone", Config, Write, IMPORT, transfer::v3_clone),
    row(Method::GET, "/nacos/v3/admin/cs/history/list", Config, Read, HISTORY, history::v3_list),
    row(Method::GET, "/nacos/v3/admin/cs/history", Config, Read, HISTORY, history::v3),
    row(Method::GET, "/nacos/v3/admin/cs/history/previous", Config, Read, HISTORY, history::v3_previous),
    row(Method::GET, "/nacos/v3/admin/cs/history/configs", Config, Read, HISTORY, history::v3_configs),
    row(Method::GET, "/nacos/v3/admin/cs/history/diff", Config, Read, DIFF, history::diff),
    row(Method::POST, "/nacos/v3/admin/cs/history/rollback", Config, Write, ROLLBACK, history::rollback),
    row(Method::GET, "/nacos/v3/console/cs/config", Config, Read, CONFIG, detail::console),
    row(Method::POST, "/nacos/v3/console/cs/config", Config, Write, PUBLISH, publish::v3),
    row(Method::DELETE, "/nacos/v3/console/cs/config", Config, Write, REMOVE, remove::v3),
    row(Method::DELETE, "/nacos/v3/console/cs/config/batchDelete", Config, Write, REMOVE, remove::v3_batch),
    row(Method::GET, "/nacos/v3/console/cs/config/list", Config, Read, SEARCH, search::v3),
    row(Method::GET, "/nacos/v3/console/cs/config/searchDetail", Config, Read, SEARCH, search::v3),
    row(Method::GET, "/nacos/v3/console/cs/config/grep", Config, Read, GREP, search::grep),
    row(Method::GET, "/nacos/v3/console/cs/config/grays", Config, Read, CONFIG, detail::grays),
    row(Method::GET, "/nacos/v3/console/cs/config/beta", Config, Read, CONFIG, detail::beta),
    row(Method::DELETE, "/nacos/v3/console/cs/config/beta", Config, Write, REMOVE, remove::v3_beta),
    row(Method::POST, "/nacos/v3/console/cs/config/import", Config, Write, IMPORT, transfer::v3_import),
    row(Method::GET, "/nacos/v3/console/cs/config/export2", Config, Read, EXPORT, transfer::v3_export),
    row(Method::POST, "/nacos/v3/console/cs/config/clone", Config, Write, IMPORT, transfer::console_clone),
    row(Method::GET, "/nacos/v3/console/cs/history/list", Config, Read, HISTORY, history::v3_list),
    row(Method::GET, "/nacos/v3/console/cs/history", Config, Read, HISTORY, history::v3),
    row(Method::GET, "/nacos/v3/console/cs/history/previous", Config, Read, HISTORY, history::v3_previous),
    row(Method::GET, "/nacos/v3/console/cs/history/configs", Config, Read, HISTORY, history::v3_configs),
    row(Method::GET, "/nacos/v3/console/cs/history/diff", Config, Read, DIFF, history::diff),
    row(Method::POST, "/nacos/v3/console/cs/history/rollback", Config, Write, ROLLBACK, history::rollback),
    row(Method::GET, "/nacos/v3/admin/cs/capacity", ConfigOps, Read, CAPACITY, capacity::get_v3),
    row(Method::POST, "/nacos/v3/admin/cs/capacity", ConfigOps, Write, CAPACITY, capacity::set_v3),
    row(Method::POST, "/nacos/v3/admin/cs/ops/localCache", ConfigOps, Write, &[], ops::local_cache),
    row(Method::GET, "/nacos/v1/console/namespaces", Open, Read, NAMESPACE, namespace::v1),
    row(Method::POST, "/nacos/v1/console/namespaces", Namespaces, Write, NAMESPACE, namespace::v1_create),
    row(Method::PUT, "/nacos/v1/console/namespaces", Namespaces, Write, NAMESPACE, namespace::v1_update),
    row(Method::DELETE, "/nacos/v1/console/namespaces", Namespaces, Write, NAMESPACE, namespace_removal::v1),
    row(Method::GET, "/nacos/v2/console/namespace/list", Open, Read, &[], namespace::v2_list),
    row(Method::GET, "/nacos/v2/console/namespace", Namespaces, Read, NAMESPACE, namespace::v2),
    row(Method::POST, "/nacos/v2/console/namespace", Namespaces, Write, NAMESPACE, namespace::v2_create),
    row(Method::PUT, "/nacos/v2/console/namespace", Namespaces, Write, NAMESPACE, namespace::v2_update),
    row(Method::DELETE, "/nacos/v2/console/namespace", Namespaces, Write, NAMESPACE, namespace_removal::v2),
    row(Method::GET, "/nacos/v3/admin/core/namespace/list", Namespaces, Read, &[], namespace::v3_list),
    row(Method::GET, "/nacos/v3/admin/core/namespace", Namespaces, Read, NAMESPACE, namespace::v3),
    row(
        Method::GET,
        "/nacos/v3/admin/core/namespace/check",
        Namespaces,
        Read,
        NAMESPACE,
        namespace::v3_check,
    ),
    row(Method::POST, "/nacos/v3/admin/core/namespace", Namespaces, Write, NAMESPACE, namespace::v3_create),
    row(Method::PUT, "/nacos/v3/admin/core/namespace", Namespaces, Write, NAMESPACE, namespace::v3_update),
    row(
        Method::DELETE,
        "/nacos/v3/admin/core/namespace",
        Namespaces,
        Write,
        NAMESPACE,
        namespace_removal::v3,
    ),
    row(Method::GET, "/nacos/v3/console/core/namespace/list", Namespaces, Read, &[], namespace::v3_list),
    row(Method::GET, "/nacos/v3/console/core/namespace", Namespaces, Read, NAMESPACE, namespace::v3),
    row(
        Method::GET,
        "/nacos/v3/console/core/namespace/exist",
        Namespaces,
        Read,
        NAMESPACE,
        namespace::v3_exist,
    ),
    row(
        Method::POST,
        "/nacos/v3/console/core/namespace",
        Namespaces,
        Write,
        NAMESPACE,
        namespace::console_create,
    ),
    row(Method::PUT, "/nacos/v3/console/core/namespace", Namespaces, Write, NAMESPACE, namespace::v3_update),
    row(
        Method::DELETE,
        "/nacos/v3/console/core/namespace",
        Namespaces,
        Write,
        NAMESPACE,
        namespace_removal::v3,
    ),
    row(Method::GET, "/nacos/v1/cs/configs/listener", Config, Read, LISTENERS, listen::status::by_key),
    row(Method::GET, "/nacos/v1/cs/listener", Config, Read, LISTENERS, listen::status::by_ip),
    row(
        Method::GET,
        "/nacos/v1/cs/communication/configWatchers",
        Config,
        Read,
        LISTENERS,
        listen::status::watchers,
    ),
    row(
        Method::GET,
        "/nacos/v1/cs/communication/watcherConfigs",
        Config,
        Read,
        LISTENERS,
        listen::status::watched,
    ),
    row(Method::GET, "/nacos/v1/cs/metrics/cluster", Config, Read, LISTENERS, listen::ask_clients::cluster),
    row(Method::GET, "/nacos/v1/cs/metrics/current", Config, Read, LISTENERS, listen::ask_clients::current),
    row(
        Method::GET,
        "/nacos/v3/admin/cs/config/listener",
        Config,
        Read,
        LISTENERS,
        listen::status::v3_by_key,
    ),
    row(Method::GET, "/nacos/v3/admin/cs/listener", Config, Read, LISTENERS, listen::status::v3_by_ip),
    row(
        Method::GET,
        "/nacos/v3/admin/cs/metrics/cluster",
        Config,
        Read,
        LISTENERS,
        listen::ask_clients::v3_cluster,
    ),
    row(Method::GET, "/nacos/v3/admin/cs/metrics/ip", Config, Read, LISTENERS, listen::ask_clients::v3_ip),
    row(
        Method::GET,
        "/nacos/v3/console/cs/config/listener",
        Config,
        Read,
        LISTENERS,
        listen::status::v3_by_key,
    ),
    row(
        Method::GET,
        "/nacos/v3/console/cs/config/listener/ip",
        Config,
        Read,
        LISTENERS,
        listen::status::v3_by_ip,
    ),
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
            // A poll reads by POST: what it has to say does not fit a query.
            let poll = route.params == POLL;
            assert_eq!(
                route.method == Method::GET || poll,
                route.action == Read,
                "{} {}",
                route.method,
                route.path
            );
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
            (Method::GET, "/nacos/v1/cs/configs"),
            (Method::POST, "/nacos/v1/cs/configs/listener"),
        ] {
            assert!(hot(&method, path).is_some(), "{method} {path}");
        }
        assert_eq!(hot(&Method::POST, "/nacos/v1/ns/instance/list"), None);
    }
}
