//! Payloads and the JSON in them.

use std::borrow::Cow;

use dyad_proto::sdk::{Body, Metadata, Payload};
use serde::Deserialize;

use crate::error::Failed;

pub(super) const OK: i64 = 200;
/// The setup of a client that negotiates abilities, as those from 2.3 on do.
pub(super) const SETUP: &str = r#"{"headers":{},"clientVersion":"Nacos-Java-Client:v2.5.1","tenant":"","labels":{"source":"sdk","module":"naming","AppName":"dyad-bench"},"abilityTable":{},"module":"internal"}"#;
pub(super) const EMPTY: &str = r#"{"headers":{},"module":"internal"}"#;

/// Where instances say they are.
pub(super) const PORT: u16 = 8080;

pub(super) fn payload(kind: &str, json: String) -> Payload {
    let metadata = Metadata { r#type: kind.into(), client_ip: "127.0.0.1".into(), ..Metadata::default() };
    Payload { metadata: Some(metadata), body: Some(Body { value: json.into(), ..Body::default() }) }
}

/// `InstanceRequest`, without the instance's own `serviceName`, which servers read in different ways. The weight tells one version of an instance from the next.
pub(super) fn register(service: &str, ip: &str, weight: u32) -> String {
    format!(
        r#"{{"headers":{{}},"namespace":"public","serviceName":"{service}","groupName":"DEFAULT_GROUP","type":"registerInstance","instance":{{"ip":"{ip}","port":{PORT},"weight":{weight}.0,"healthy":true,"enabled":true,"ephemeral":true,"clusterName":"DEFAULT","metadata":{{}}}},"module":"naming"}}"#
    )
}

/// `ServiceQueryRequest`.
pub(super) fn query(service: &str) -> String {
    format!(
        r#"{{"headers":{{}},"namespace":"public","serviceName":"{service}","groupName":"DEFAULT_GROUP","cluster":"","healthyOnly":false,"udpPort":0,"module":"naming"}}"#
    )
}

/// `SubscribeServiceRequest`.
pub(super) fn subscribe(service: &str) -> String {
    format!(
        r#"{{"headers":{{}},"namespace":"public","serviceName":"{service}","groupName":"DEFAULT_GROUP","subscribe":true,"clusters":"","module":"naming"}}"#
    )
}

/// `ConfigQueryRequest`.
pub(crate) fn config_query(data_id: &str, group: &str) -> String {
    format!(r#"{{"headers":{{}},"dataId":"{data_id}","group":"{group}","tenant":"","module":"config"}}"#)
}

/// `ConfigPublishRequest`. The content has no character that JSON escapes but lines' ends.
pub(crate) fn config_publish(data_id: &str, group: &str, content: &str) -> String {
    let content = content.replace('\n', "\\n");
    format!(
        r#"{{"headers":{{}},"dataId":"{data_id}","group":"{group}","tenant":"","content":"{content}","additionMap":{{"type":"text"}},"module":"config"}}"#
    )
}

/// `ConfigBatchListenRequest` about one configuration.
pub(crate) fn config_listen(data_id: &str, group: &str, md5: &str) -> String {
    format!(
        r#"{{"headers":{{}},"listen":true,"configListenContexts":[{{"group":"{group}","md5":"{md5}","dataId":"{data_id}","tenant":""}}],"module":"config"}}"#
    )
}

/// The acknowledgement of a push.
pub(super) fn acknowledgement(id: &str) -> String {
    // Ids are decimal numbers; anything else is not repeated into JSON.
    let id: String = id.chars().filter(char::is_ascii_alphanumeric).collect();
    format!(r#"{{"resultCode":200,"errorCode":0,"requestId":"{id}","success":true}}"#)
}

/// The address of instance `n`.
pub(super) fn ip(n: usize) -> String {
    format!("10.{}.{}.{}", n / 62_500 % 250, n / 250 % 250, n % 250 + 1)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Codes {
    result_code: i64,
    error_code: i64,
}

/// Is an answer a success? Its beginning says so at nearly every server; only else is it read as JSON.
pub(super) fn success(payload: &Payload) -> Result<(), Failed> {
    const MARK: &[u8] = b"\"resultCode\":200";
    let body = body(payload);
    let start = &body[..body.len().min(64)];
    let kind = payload.metadata.as_ref().map_or("", |metadata| metadata.r#type.as_str());
    if kind != "ErrorResponse" && start.windows(MARK.len()).any(|part| part == MARK) {
        return Ok(());
    }
    let codes: Codes =
        serde_json::from_slice(body).map_err(|_| Failed::Answer("not the JSON of a response"))?;
    match codes {
        Codes { result_code: OK, .. } if kind != "ErrorResponse" => Ok(()),
        Codes { result_code, error_code: 0 } => Err(Failed::Code(result_code)),
        Codes { error_code, .. } => Err(Failed::Code(error_code)),
    }
}

pub(crate) fn body(payload: &Payload) -> &[u8] {
    payload.body.as_ref().map(|body| &*body.value).unwrap_or_default()
}

/// The part of a push, or of an answer with a list, that is looked at.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listing<'a> {
    #[serde(borrow)]
    pub(super) service_info: ServiceInfo<'a>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct ServiceInfo<'a> {
    #[serde(borrow)]
    pub(super) hosts: Vec<Host<'a>>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Host<'a> {
    #[serde(borrow)]
    pub(super) ip: Cow<'a, str>,
    #[serde(default)]
    pub(super) weight: f64,
}

impl ServiceInfo<'_> {
    /// The weight of the instance at `ip`, as [`register`] gave it.
    pub(super) fn version(&self, ip: &str) -> Option<u32> {
        let host = self.hosts.iter().find(|host| host.ip == ip)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "saturates, and weights are small"
        )]
        Some(host.weight.round() as u32)
    }
}

/// Ids of requests from the server.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RequestId<'a> {
    #[serde(borrow, default)]
    pub(super) request_id: Option<Cow<'a, str>>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_success() {
        let answer = |kind: &str, json: &str| success(&payload(kind, json.into()));
        assert_eq!(answer("InstanceResponse", r#"{"resultCode":200,"errorCode":0}"#), Ok(()));
        assert_eq!(answer("InstanceResponse", r#"{"errorCode":0,"resultCode": 200}"#), Ok(()));
        assert_eq!(answer("ErrorResponse", r#"{"resultCode":500,"errorCode":301}"#), Err(Failed::Code(301)));
        assert_eq!(answer("InstanceResponse", r#"{"resultCode":500,"errorCode":0}"#), Err(Failed::Code(500)));
        assert!(matches!(answer("InstanceResponse", "x"), Err(Failed::Answer(_))));
        assert!(matches!(success(&Payload::default()), Err(Failed::Answer(_))));
    }

    #[test]
    fn requests_are_json_and_lists_are_read() {
        for text in [
            register("s", "1.2.3.4", 7),
            query("s"),
            subscribe("s"),
            acknowledgement("1\"2"),
            config_query("d", "g"),
            config_publish("d", "g", "a\nb"),
            config_listen("d", "g", ""),
            SETUP.into(),
        ] {
            serde_json::from_str::<serde_json::Value>(&text).unwrap();
        }
        let push = r#"{"requestId":"4","serviceInfo":{"name":"s","hosts":[{"ip":"1.2.3.4","weight":7.0,"port":1}]}}"#;
        let info = serde_json::from_str::<Listing<'_>>(push).unwrap().service_info;
        assert_eq!((info.version("1.2.3.4"), info.version("x")), (Some(7), None));
        assert_eq!(serde_json::from_str::<RequestId<'_>>(push).unwrap().request_id.as_deref(), Some("4"));
    }
}
