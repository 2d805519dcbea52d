//! The rows of v2.

use super::Resource::*;
use super::keys::*;
use super::{Route, delete, get, post, put};
use crate::config::{get, history, list as search, publish, remove};
use crate::core::{health, namespace, namespace_removal};
use crate::params::Key::*;

pub(super) fn rows() -> Vec<Route> {
    vec![
        get("/nacos/v2/console/health/liveness", Open, &[], health::liveness_v2),
        get("/nacos/v2/console/health/readiness", Open, &[Cp], health::readiness_v2),
        get("/nacos/v2/cs/config", Config, CONFIG, get::v2),
        post("/nacos/v2/cs/config", Config, PUBLISH, publish::v2),
        delete("/nacos/v2/cs/config", Config, REMOVE, remove::v2),
        get("/nacos/v2/cs/config/searchDetail", Config, SEARCH, search::v2),
        get("/nacos/v2/cs/history/list", Config, HISTORY, history::v2_list),
        get("/nacos/v2/cs/history", Config, HISTORY, history::v2),
        get("/nacos/v2/cs/history/detail", Config, HISTORY, history::v2_detail),
        get("/nacos/v2/cs/history/previous", Config, HISTORY, history::v2_previous),
        get("/nacos/v2/cs/history/configs", Config, HISTORY, history::v2_configs),
        get("/nacos/v2/console/namespace/list", Open, &[], namespace::v2_list),
        get("/nacos/v2/console/namespace", Namespaces, NAMESPACE, namespace::v2),
        post("/nacos/v2/console/namespace", Namespaces, NAMESPACE, namespace::v2_create),
        put("/nacos/v2/console/namespace", Namespaces, NAMESPACE, namespace::v2_update),
        delete("/nacos/v2/console/namespace", Namespaces, NAMESPACE, namespace_removal::v2),
    ]
}
