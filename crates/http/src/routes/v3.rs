//! The rows of v3, for clients, administrators and the console. Most rows for administrators and for the console are twins.

use super::Resource::*;
use super::keys::*;
use super::{Handler, Resource, Route, delete, get, post, put};
use crate::config::{capacity, detail, get, history, list as search, listen, ops, publish, remove, transfer};
use crate::core::{login, namespace, namespace_removal, state};
use crate::fault::Generation;
use crate::params::Key;

/// The two paths of a row that administrators and the console share.
macro_rules! twin {
    ($path:literal) => {
        [concat!("/nacos/v3/admin", $path), concat!("/nacos/v3/console", $path)]
    };
}

type Make = fn(&'static str, Resource, &'static [Key], Handler) -> Route;

fn twin(
    make: Make,
    paths: [&'static str; 2],
    resource: Resource,
    params: &'static [Key],
    handler: Handler,
) -> [Route; 2] {
    paths.map(|path| make(path, resource, params, handler))
}

pub(super) fn rows() -> Vec<Route> {
    let mut rows =
        vec![get("/nacos/v3/client/cs/config", Config, CONFIG, get::client).answers(Generation::V1)];
    rows.push(post("/nacos/v3/auth/user/login", Open, LOGIN, login::login).reads());
    rows.push(get("/nacos/v3/admin/core/state", Open, &[], state::server_v3));
    rows.push(get("/nacos/v3/admin/core/state/liveness", Open, &[], state::liveness));
    rows.push(get("/nacos/v3/admin/core/state/readiness", Open, &[Key::Cp], state::readiness));
    rows.push(get("/nacos/v3/console/server/state", Open, &[], state::server));
    rows.push(get("/nacos/v3/admin/cs/config", Config, CONFIG, detail::admin));
    rows.extend(twin(post, twin!("/cs/config"), Config, PUBLISH, publish::v3));
    rows.extend(twin(delete, twin!("/cs/config"), Config, REMOVE, remove::v3));
    rows.push(delete("/nacos/v3/admin/cs/config/batch", Config, REMOVE, remove::v3_batch));
    rows.extend(twin(get, twin!("/cs/config/list"), Config, SEARCH, search::v3));
    rows.extend(twin(get, twin!("/cs/config/grep"), Config, GREP, search::grep));
    rows.extend(twin(get, twin!("/cs/config/grays"), Config, CONFIG, detail::grays));
    rows.extend(twin(get, twin!("/cs/config/beta"), Config, CONFIG, detail::beta));
    rows.extend(twin(delete, twin!("/cs/config/beta"), Config, REMOVE, remove::v3_beta));
    rows.extend(twin(post, twin!("/cs/config/import"), Config, IMPORT, transfer::v3_import));
    rows.push(get("/nacos/v3/admin/cs/config/export", Config, EXPORT, transfer::v3_export));
    rows.push(post("/nacos/v3/admin/cs/config/clone", Config, IMPORT, transfer::v3_clone));
    rows.extend(twin(get, twin!("/cs/history/list"), Config, HISTORY, history::v3_list));
    rows.extend(twin(get, twin!("/cs/history"), Config, HISTORY, history::v3));
    rows.extend(twin(get, twin!("/cs/history/previous"), Config, HISTORY, history::v3_previous));
    rows.extend(twin(get, twin!("/cs/history/configs"), Config, HISTORY, history::v3_configs));
    rows.extend(twin(get, twin!("/cs/history/diff"), Config, DIFF, history::diff));
    rows.extend(twin(post, twin!("/cs/history/rollback"), Config, ROLLBACK, history::rollback));
    rows.push(get("/nacos/v3/console/cs/config", Config, CONFIG, detail::console));
    rows.push(delete("/nacos/v3/console/cs/config/batchDelete", Config, REMOVE, remove::v3_batch));
    rows.push(get("/nacos/v3/console/cs/config/searchDetail", Config, SEARCH, search::v3));
    rows.push(get("/nacos/v3/console/cs/config/export2", Config, EXPORT, transfer::v3_export));
    rows.push(post("/nacos/v3/console/cs/config/clone", Config, IMPORT, transfer::console_clone));
    rows.push(get("/nacos/v3/admin/cs/capacity", ConfigOps, CAPACITY, capacity::get_v3));
    rows.push(post("/nacos/v3/admin/cs/capacity", ConfigOps, CAPACITY, capacity::set_v3));
    rows.push(post("/nacos/v3/admin/cs/ops/localCache", ConfigOps, &[], ops::local_cache_v3));
    rows.extend(twin(get, twin!("/core/namespace/list"), Namespaces, &[], namespace::v3_list));
    rows.extend(twin(get, twin!("/core/namespace"), Namespaces, NAMESPACE, namespace::v3));
    rows.push(get("/nacos/v3/admin/core/namespace/check", Namespaces, NAMESPACE, namespace::v3_check));
    rows.push(post("/nacos/v3/admin/core/namespace", Namespaces, NAMESPACE, namespace::v3_create));
    rows.extend(twin(put, twin!("/core/namespace"), Namespaces, NAMESPACE, namespace::v3_update));
    rows.extend(twin(delete, twin!("/core/namespace"), Namespaces, NAMESPACE, namespace_removal::v3));
    rows.push(get("/nacos/v3/console/core/namespace/exist", Namespaces, NAMESPACE, namespace::v3_exist));
    rows.push(post("/nacos/v3/console/core/namespace", Namespaces, NAMESPACE, namespace::console_create));
    rows.extend(twin(get, twin!("/cs/config/listener"), Config, LISTENERS, listen::status::v3_by_key));
    rows.push(get("/nacos/v3/admin/cs/listener", Config, LISTENERS, listen::status::v3_by_ip));
    rows.push(get("/nacos/v3/admin/cs/metrics/cluster", Config, LISTENERS, listen::ask_clients::v3_cluster));
    rows.push(get("/nacos/v3/admin/cs/metrics/ip", Config, LISTENERS, listen::ask_clients::v3_ip));
    rows.push(get("/nacos/v3/console/cs/config/listener/ip", Config, LISTENERS, listen::status::v3_by_ip));
    rows
}
