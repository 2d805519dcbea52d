//! Requests to the configuration center, as its tests make them.

use dyad_http::Limits;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::{Answer, Server};

pub const FORM: (&str, &str) = ("Content-Type", "application/x-www-form-urlencoded");

pub fn server() -> Server {
    Server::start(Limits::default())
}

/// A form to `/nacos{path}`.
pub fn form(
    server: &Server,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    fields: &[(&str, &str)],
) -> Answer {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let pairs: Vec<String> =
        fields.iter().map(|(name, value)| format!("{name}={}", encoded(value))).collect();
    let headers: Vec<(&str, &str)> = headers.iter().copied().chain([FORM]).collect();
    server.send(method, &format!("/nacos{path}"), &headers, pairs.join("&").as_bytes())
}

pub fn get(server: &Server, path: &str) -> Answer {
    server.get(&format!("/nacos{path}"))
}

/// Publishes by v3 and gives the answer.
pub fn publish(server: &Server, fields: &[(&str, &str)], headers: &[(&str, &str)]) -> Answer {
    form(server, "POST", "/v3/admin/cs/config", headers, fields)
}

pub fn published(server: &Server, namespace: &str, data_id: &str, content: &str) {
    let fields = [
        ("namespaceId", namespace),
        ("groupName", "G"),
        ("dataId", data_id),
        ("content", content),
        ("srcUser", "me"),
    ];
    assert_eq!(publish(server, &fields, &[]).status, 200);
}

pub fn data(answer: &Answer) -> Value {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.json()["data"].clone()
}
