//! The table of routes. A generation of Nacos's API consists of rows, parameters and the form of a fault. The router of
//! axum and the labels of the metrics come from this table.

mod keys;
mod v1;
mod v2;
mod v3;

use std::sync::LazyLock;

use http::Method;

use crate::core::state;
use crate::fault::Generation;
use crate::naming::{discovery, operator};
use crate::page;
use crate::params::Key;
use crate::step::Handler;

/// What a request acts on, for authorization.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resource {
    /// The naming resource that the parameters name: namespace, group and service.
    Naming,
    /// `naming/switches`.
    Switches,
    /// The configuration that the parameters name by namespace, group and data id. Without names it is a whole namespace.
    Config,
    /// Capacities and operations of the configuration center (`/v1/cs/ops`).
    ConfigOps,
    /// `console/namespaces`.
    Namespaces,
    /// Nothing: everybody gets an answer.
    Open,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Read,
    Write,
}

/// The limit of the body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyLimit {
    /// A form of a few fields: `Limits::naming_body`.
    Form,
    /// A content, or an archive of many: `Limits::config_body`.
    Content,
    /// Any other body: `Limits::body`.
    Other,
}

/// One row of the table.
#[derive(Debug)]
pub struct Route {
    pub method: Method,
    pub path: &'static str,
    /// Every parameter that the handler reads.
    pub params: &'static [Key],
    pub resource: Resource,
    pub action: Action,
    /// The generation of the API, which decides how a fault is answered.
    pub generation: Generation,
    pub body: BodyLimit,
    pub(crate) handler: Handler,
}

impl Route {
    fn new(
        method: Method,
        path: &'static str,
        resource: Resource,
        params: &'static [Key],
        handler: Handler,
    ) -> Route {
        let action = if method == Method::GET { Action::Read } else { Action::Write };
        let body = match resource {
            Resource::Naming | Resource::Switches => BodyLimit::Form,
            Resource::Config | Resource::ConfigOps => BodyLimit::Content,
            Resource::Namespaces | Resource::Open => BodyLimit::Other,
        };
        Route { method, path, params, resource, action, generation: generation_of(path), body, handler }
    }

    /// A row that reads, whatever its method.
    fn reads(self) -> Route {
        Route { action: Action::Read, ..self }
    }

    /// A row whose faults have the form of another generation.
    fn answers(self, generation: Generation) -> Route {
        Route { generation, ..self }
    }
}

fn get(path: &'static str, resource: Resource, params: &'static [Key], handler: Handler) -> Route {
    Route::new(Method::GET, path, resource, params, handler)
}

fn post(path: &'static str, resource: Resource, params: &'static [Key], handler: Handler) -> Route {
    Route::new(Method::POST, path, resource, params, handler)
}

fn put(path: &'static str, resource: Resource, params: &'static [Key], handler: Handler) -> Route {
    Route::new(Method::PUT, path, resource, params, handler)
}

fn patch(path: &'static str, resource: Resource, params: &'static [Key], handler: Handler) -> Route {
    Route::new(Method::PATCH, path, resource, params, handler)
}

fn delete(path: &'static str, resource: Resource, params: &'static [Key], handler: Handler) -> Route {
    Route::new(Method::DELETE, path, resource, params, handler)
}

/// The generation by the path's first segments; what has none answers as the naming routes of v1.
fn generation_of(path: &str) -> Generation {
    const BEGINNINGS: [(&str, Generation); 4] = [
        ("/nacos/v3/", Generation::V3),
        ("/nacos/v2/", Generation::V2),
        ("/nacos/v1/cs/", Generation::V1),
        ("/nacos/v1/console/namespaces", Generation::V1),
    ];
    let found = BEGINNINGS.iter().find(|(beginning, _)| path.starts_with(beginning));
    found.map_or(Generation::V1Naming, |(_, generation)| *generation)
}

/// What a path that no row has is answered with: below these 501, as Nacos's `DistroFilter` answers, else 404.
pub(crate) const NOT_IMPLEMENTED: [&str; 1] = ["/nacos/v1/ns/"];

/// Rows at the head of the table that are looked up before axum's router.
pub(crate) const HOT: usize = 6;

/// Every route of the front end.
pub static ROUTES: LazyLock<Vec<Route>> = LazyLock::new(|| {
    let mut rows = v1::rows();
    rows.extend(v2::rows());
    rows.extend(v3::rows());
    rows.extend([
        get("/metrics", Resource::Open, &[], operator::prometheus),
        get("/", Resource::Open, &[], page::root),
        get("/nacos", Resource::Open, &[], page::page),
        get("/nacos/actuator/health", Resource::Open, &[], state::actuator_health),
        get("/nacos/actuator/prometheus", Resource::Open, &[], state::actuator_prometheus),
        get("/nacos/prometheus", Resource::Naming, &[Key::NamespaceId], discovery::targets),
        get("/nacos/dyad/overview", Resource::Open, &[], page::overview),
    ]);
    rows
});

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
        for route in ROUTES.iter() {
            assert!(
                seen.insert((route.path, route.method.as_str())),
                "{} {} twice",
                route.method,
                route.path
            );
            assert!(
                route.path == "/" || !route.path.ends_with('/'),
                "{}: the router adds the trailing slash",
                route.path
            );
            // A poll reads by POST: what it has to say does not fit a query. A login writes nothing.
            let poll = route.params == keys::POLL || route.params == keys::LOGIN;
            assert_eq!(
                route.method == Method::GET || poll,
                route.action == Action::Read,
                "{} {}",
                route.method,
                route.path
            );
            assert!(
                route.resource != Resource::Open || route.action == Action::Read,
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
            (Method::POST, "/nacos/v1/cs/configs"),
        ] {
            assert!(hot(&method, path).is_some(), "{method} {path}");
        }
        assert_eq!(hot(&Method::POST, "/nacos/v1/ns/instance/list"), None);
    }
}
