//! One configuration: its name in messages and in requests, and what is known of it.

use serde_json::{Value, json};

use super::args::KeyArgs;
use crate::client::{Answer, Client, Request};
use crate::exit::{Exit, Failure};

pub(super) const CONFIG: &str = "/v3/admin/cs/config";
const GRAY: &str = "/v3/admin/cs/config/beta";

/// The default namespace has no id in keys of configurations.
pub(crate) fn shown_namespace(id: &str) -> &str {
    if id.is_empty() { "public" } else { id }
}

/// A configuration as messages name it.
pub(super) fn named(namespace: &str, group: &str, data_id: &str) -> String {
    format!("{}/{group}/{data_id}", shown_namespace(namespace))
}

impl KeyArgs {
    pub(super) fn named(&self) -> String {
        named(&self.place.namespace, &self.place.group, &self.data_id)
    }

    /// The parameters of this configuration in v3.
    pub(super) fn on(&self, request: Request) -> Request {
        request
            .with("namespaceId", &self.place.namespace)
            .with("groupName", &self.place.group)
            .with("dataId", &self.data_id)
    }

    pub(super) fn missing(&self) -> Failure {
        Failure::new(Exit::Missing, format!("{}: there is no such configuration", self.named()))
    }

    /// What was done to this configuration, as JSON: `rest` after what names it.
    pub(super) fn done(&self, result: &str, gray: Option<&str>, rest: Value) -> Value {
        let mut done = json!({
            "result": result,
            "namespaceId": shown_namespace(&self.place.namespace),
            "groupName": self.place.group,
            "dataId": self.data_id,
            "grayName": gray,
        });
        if let (Value::Object(done), Value::Object(mut rest)) = (&mut done, rest) {
            done.append(&mut rest);
        }
        done
    }
}

/// A configuration or gray release with everything that is known of it; `None` if it is not there.
pub(super) async fn detail(
    client: &mut Client,
    key: &KeyArgs,
    gray: Option<&str>,
) -> Result<Option<Value>, Failure> {
    let path = if gray.is_some() { GRAY } else { CONFIG };
    let request = key.on(Request::get(path)).with_some("grayName", gray);
    client.read(&request).await?.data_if_any()
}

/// A text of an object, or nothing.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// What the server remarks beside its answer.
pub(super) fn warning(answer: &Answer) -> Option<&str> {
    answer.header("dyad-warning")
}
