//! The rows of v1: naming, members, health, the configuration center and namespaces.

use super::Resource::*;
use super::keys::*;
use super::{Route, delete, get, patch, post, put};
use crate::config::{capacity, detail, history, listen, ops, publish, remove};
use crate::core::{cluster, health, login, namespace, namespace_removal, state};
use crate::naming::{beat, instance, list, operator, service, subscribers};
use crate::params::Key::*;

/// The first [`super::HOT`] rows are nearly all of a registry's traffic.
pub(super) fn rows() -> Vec<Route> {
    vec![
        put("/nacos/v1/ns/instance/beat", Naming, BEAT, beat::beat),
        get("/nacos/v1/ns/instance/list", Naming, LIST, list::list),
        post("/nacos/v1/ns/instance", Naming, INSTANCE, instance::register),
        get("/nacos/v1/cs/configs", Config, CONFIG_V1, detail::v1),
        post("/nacos/v1/cs/configs/listener", Config, POLL, listen::poll::listener).reads(),
        post("/nacos/v1/cs/configs", Config, PUBLISH, publish::v1),
        put("/nacos/v1/ns/instance", Naming, INSTANCE, instance::update),
        patch("/nacos/v1/ns/instance", Naming, INSTANCE, instance::patch),
        delete("/nacos/v1/ns/instance", Naming, INSTANCE, instance::deregister),
        get("/nacos/v1/ns/instance", Naming, DETAIL, instance::detail),
        post("/nacos/v1/ns/service", Naming, RECORD, service::create),
        put("/nacos/v1/ns/service", Naming, RECORD, service::update),
        delete("/nacos/v1/ns/service", Naming, NAME, service::delete),
        get("/nacos/v1/ns/service", Naming, NAME, service::detail),
        get("/nacos/v1/ns/service/list", Naming, PAGE, list::services),
        get("/nacos/v1/ns/service/subscribers", Naming, SUBSCRIBERS, subscribers::subscribers),
        get("/nacos/v1/ns/operator/metrics", Open, &[OnlyStatus], operator::metrics),
        get("/nacos/v1/ns/ops/metrics", Open, &[OnlyStatus], operator::metrics),
        get("/nacos/v1/ns/operator/switches", Open, &[], operator::switches),
        get("/nacos/v1/ns/ops/switches", Open, &[], operator::switches),
        put("/nacos/v1/ns/operator/switches", Switches, &[Entry, Value, Debug], operator::set_switch),
        put("/nacos/v1/ns/ops/switches", Switches, &[Entry, Value, Debug], operator::set_switch),
        get("/nacos/v1/ns/raft/leader", Open, &[], cluster::leader),
        get("/nacos/v1/core/cluster/nodes", Open, &[Keyword], cluster::nodes),
        get("/nacos/v1/console/server/state", Open, &[], state::server),
        get("/nacos/v1/ns/health/checkers", Open, &[], state::checkers),
        post("/nacos/v1/auth/login", Open, LOGIN, login::login).reads(),
        post("/nacos/v1/auth/users/login", Open, LOGIN, login::login).reads(),
        get("/nacos/v1/console/health/liveness", Open, &[], health::liveness),
        get("/nacos/v1/console/health/readiness", Open, &[Cp], health::readiness),
        delete("/nacos/v1/cs/configs", Config, REMOVE, remove::v1),
        get("/nacos/v1/cs/configs/catalog", Config, CONFIG, detail::catalog),
        get("/nacos/v1/cs/history", Config, HISTORY, history::v1),
        get("/nacos/v1/cs/history/previous", Config, HISTORY, history::v1_previous),
        get("/nacos/v1/cs/history/configs", Config, HISTORY, history::v1_configs),
        get("/nacos/v1/cs/capacity", ConfigOps, CAPACITY, capacity::get_v1),
        post("/nacos/v1/cs/capacity", ConfigOps, CAPACITY, capacity::set_v1),
        get("/nacos/v1/cs/health", Open, &[], ops::health),
        post("/nacos/v1/cs/ops/localCache", ConfigOps, &[], ops::local_cache),
        get("/nacos/v1/cs/ops/derby", ConfigOps, &[], ops::derby),
        get("/nacos/v1/console/namespaces", Open, NAMESPACE, namespace::v1),
        post("/nacos/v1/console/namespaces", Namespaces, NAMESPACE, namespace::v1_create),
        put("/nacos/v1/console/namespaces", Namespaces, NAMESPACE, namespace::v1_update),
        delete("/nacos/v1/console/namespaces", Namespaces, NAMESPACE, namespace_removal::v1),
        get("/nacos/v1/cs/configs/listener", Config, LISTENERS, listen::status::by_key),
        get("/nacos/v1/cs/listener", Config, LISTENERS, listen::status::by_ip),
        get("/nacos/v1/cs/communication/configWatchers", Config, LISTENERS, listen::status::watchers),
        get("/nacos/v1/cs/communication/watcherConfigs", Config, LISTENERS, listen::status::watched),
        get("/nacos/v1/cs/metrics/cluster", Config, LISTENERS, listen::ask_clients::cluster),
        get("/nacos/v1/cs/metrics/current", Config, LISTENERS, listen::ask_clients::current),
    ]
}
