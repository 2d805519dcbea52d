//! The Nacos v1 calls that the harness makes, as a 1.x client would, and the parts of their answers that it reads.

use std::fmt::Write;

use serde::Deserialize;

use crate::http::Request;

const INSTANCE: &str = "/nacos/v1/ns/instance";
const CONFIGS: &str = "/nacos/v1/cs/configs";
/// Bytes of a large content: more than a server keeps in its state.
const LARGE: usize = 5_000;
/// Answers 200 while a member is ready.
pub const READINESS: &str = "/nacos/v1/console/health/readiness";
/// `code` of a beat's answer: the instance is not known, register it.
pub const NOT_FOUND: u32 = 20404;

/// An instance as its client sees itself.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Instance {
    pub service: String,
    pub ip: String,
    pub port: u16,
    pub persistent: bool,
}

impl Instance {
    /// Registration, everything in the query as Spring Cloud Alibaba 2.2 does.
    pub fn register(&self) -> Request {
        Request::new("POST", format!("{INSTANCE}?{}&weight=1.0&enabled=true&healthy=true", self.identity()))
    }

    /// Registration with `metadata` (JSON).
    pub fn register_with(&self, metadata: &str) -> Request {
        let mut request = self.register();
        request.target += "&metadata=";
        request.target += &encode(metadata);
        request
    }

    pub fn deregister(&self) -> Request {
        Request::new("DELETE", format!("{INSTANCE}?{}", self.identity()))
    }

    /// A light beat: the address only.
    pub fn light_beat(&self) -> Request {
        Request::new("PUT", format!("{INSTANCE}/beat?{}", self.identity()))
    }

    /// A full beat: with it the server can register the instance again.
    pub fn full_beat(&self) -> Request {
        let Instance { service, ip, port, .. } = self;
        let beat = format!(
            r#"{{"cluster":"DEFAULT","ip":"{ip}","metadata":{{}},"port":{port},"scheduled":false,"serviceName":"DEFAULT_GROUP@@{service}","weight":1.0,"ephemeral":true}}"#
        );
        Request::new("PUT", format!("{INSTANCE}/beat?{}&beat={}", self.identity(), encode(&beat)))
    }

    fn identity(&self) -> String {
        let Instance { service, ip, port, persistent } = self;
        let ephemeral = !persistent;
        let service = encode(service);
        format!(
            "serviceName=DEFAULT_GROUP%40%40{service}&groupName=DEFAULT_GROUP&ip={ip}&port={port}&clusterName=DEFAULT&ephemeral={ephemeral}"
        )
    }
}

/// A configuration with one of its contents.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Config {
    pub data_id: String,
    /// Decides the content.
    pub version: u64,
}

impl Config {
    pub fn new(data_id: impl Into<String>, version: u64) -> Config {
        Config { data_id: data_id.into(), version }
    }

    /// What is published. Every eighth version is too large to be kept in the state, and comes from the store of contents.
    pub fn content(&self) -> String {
        let Config { data_id, version } = self;
        let more = if version % 8 == 7 { LARGE } else { 0 };
        format!("{data_id} {version} {}", "x".repeat(more))
    }

    pub fn publish(&self) -> Request {
        let form = format!("{}&content={}", self.identity(), encode(&self.content()));
        Request { form: Some(form), ..Request::new("POST", CONFIGS) }
    }

    pub fn get(&self) -> Request {
        Request::new("GET", format!("{CONFIGS}?{}", self.identity()))
    }

    /// The version whose content `answer` to a get is; None if it is no content of this configuration.
    pub fn version_of(&self, body: &[u8]) -> Option<u64> {
        let text = std::str::from_utf8(body).ok()?;
        let version =
            text.strip_prefix(&*self.data_id)?.strip_prefix(' ')?.split(' ').next()?.parse().ok()?;
        (Config::new(&*self.data_id, version).content() == text).then_some(version)
    }

    fn identity(&self) -> String {
        format!("dataId={}&group=DEFAULT_GROUP", encode(&self.data_id))
    }
}

/// A long poll of `configs`, each with the md5 that the listener has (empty for one that it does not have). The answer
/// comes at the first change, or when `hold_ms` are nearly over.
pub fn long_poll<'a>(configs: impl IntoIterator<Item = (&'a str, &'a str)>, hold_ms: u64) -> Request {
    let mut records = String::new();
    for (data_id, md5) in configs {
        let _ = write!(records, "{data_id}\u{2}DEFAULT_GROUP\u{2}{md5}\u{1}");
    }
    Request {
        form: Some(format!("Listening-Configs={}", encode(&records))),
        header: Some(("Long-Pulling-Timeout", hold_ms.to_string())),
        ..Request::new("POST", format!("{CONFIGS}/listener"))
    }
}

/// The data ids in the answer to a long poll.
pub fn changed(body: &[u8]) -> Vec<String> {
    let text = percent_encoding::percent_decode(body).decode_utf8_lossy();
    let records = text.trim().split('\u{1}').filter(|record| !record.is_empty());
    records.map(|record| record.split('\u{2}').next().unwrap_or_default().to_owned()).collect()
}

/// All instances of a service.
pub fn list(service: &str) -> Request {
    Request::new("GET", format!("{INSTANCE}/list?serviceName={}", encode(service)))
}

/// Sets a switch of the cluster.
pub fn set_switch(entry: &str, value: &str) -> Request {
    Request::new("PUT", format!("/nacos/v1/ns/operator/switches?entry={entry}&value={value}"))
}

/// Percent-encoding of everything but unreserved characters.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            _ => write!(out, "%{byte:02X}").expect("writing to a String does not fail"),
        }
    }
    out
}

/// The part of an instance list that is checked.
#[derive(Debug, Deserialize)]
pub struct Listing<'a> {
    #[serde(borrow)]
    pub hosts: Vec<Host<'a>>,
}

/// The part of an instance that is checked.
#[derive(Debug, Deserialize)]
pub struct Host<'a> {
    #[serde(borrow)]
    pub ip: std::borrow::Cow<'a, str>,
    pub port: u16,
    pub healthy: bool,
}

impl Listing<'_> {
    /// Reads the body of a 200 answer.
    ///
    /// # Errors
    /// Not the JSON of a list.
    pub fn parse(body: &[u8]) -> Result<Listing<'_>, serde_json::Error> {
        serde_json::from_slice(body)
    }

    /// True if `instance` is in the list.
    pub fn shows(&self, instance: &Instance) -> bool {
        self.hosts.iter().any(|host| host.port == instance.port && host.ip == instance.ip)
    }
}

/// `code` of a beat's answer.
pub fn beat_code(body: &[u8]) -> Option<u32> {
    #[derive(Deserialize)]
    struct Beat {
        code: u32,
    }
    serde_json::from_slice::<Beat>(body).ok().map(|beat| beat.code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_and_answers() {
        let instance = Instance { service: "a b".into(), ip: "1.2.3.4".into(), port: 5, persistent: true };
        assert_eq!(
            instance.deregister().target,
            "/nacos/v1/ns/instance?serviceName=DEFAULT_GROUP%40%40a%20b&groupName=DEFAULT_GROUP&ip=1.2.3.4&port=5\
             &clusterName=DEFAULT&ephemeral=false"
        );
        assert!(instance.full_beat().target.contains("&beat=%7B%22cluster%22"));
        assert_eq!(
            beat_code(br#"{"clientBeatInterval":5000,"code":20404,"lightBeatEnabled":true}"#),
            Some(20404)
        );
        assert_eq!(beat_code(b"ok"), None);
        let body = br#"{"name":"x","hosts":[{"ip":"1.2.3.4","port":5,"healthy":false,"metadata":{}}]}"#;
        let listing = Listing::parse(body).unwrap();
        assert!(listing.shows(&instance) && !listing.hosts[0].healthy);
        assert!(!listing.shows(&Instance { port: 6, ..instance }));
    }

    #[test]
    fn configurations_and_polls() {
        let (small, large) = (Config::new("a b", 3), Config::new("a b", 7));
        assert_eq!(small.publish().form.unwrap(), "dataId=a%20b&group=DEFAULT_GROUP&content=a%20b%203%20");
        assert_eq!([small.content().len(), large.content().len()], [6, 6 + LARGE]);
        for (body, version) in [
            (small.content(), Some(3)),
            (large.content(), Some(7)),
            (large.content()[1..].to_owned(), None),
            (large.content().replace("xx", "x"), None),
            ("a b 3".to_owned(), None),
            ("config data not exist".to_owned(), None),
        ] {
            assert_eq!(small.version_of(body.as_bytes()), version, "{body}");
        }
        let request = long_poll([("a", ""), ("b", "0f")], 9);
        assert_eq!(
            request.form.unwrap(),
            "Listening-Configs=a%02DEFAULT_GROUP%02%01b%02DEFAULT_GROUP%020f%01"
        );
        assert_eq!(changed(b"a%02DEFAULT_GROUP%01b%20c%02G%02t%01\n"), ["a", "b c"]);
        assert_eq!(changed(b""), Vec::<String>::new());
    }
}
