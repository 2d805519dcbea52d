//! One request and its answer, before and after the network.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// What need not be encoded: a form of a large content stays small.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// Longest time for an answer: a write waits for a majority for 5 s, a search for its turn for 8 s.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A request to any of the servers.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(super) method: Method,
    /// Below the context.
    path: &'static str,
    query: String,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Bytes,
    pub(super) timeout: Duration,
}

impl Request {
    pub(crate) fn new(method: Method, path: &'static str) -> Request {
        let (query, headers) = (String::new(), Vec::new());
        Request { method, path, query, headers, body: Bytes::new(), timeout: TIMEOUT }
    }

    pub(crate) fn get(path: &'static str) -> Request {
        Request::new(Method::GET, path)
    }

    /// Adds a parameter to the query.
    pub(crate) fn with(mut self, name: &str, value: &str) -> Request {
        pair(&mut self.query, name, value);
        self
    }

    /// Adds it if there is one.
    pub(crate) fn with_some(self, name: &str, value: Option<&str>) -> Request {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Request {
        self.headers.push((name, value.into()));
        self
    }

    /// A form as the body.
    pub(crate) fn form(self, fields: &[(&str, &str)]) -> Request {
        let mut form = String::new();
        fields.iter().for_each(|(name, value)| pair(&mut form, name, value));
        self.body("application/x-www-form-urlencoded".to_owned(), form.into())
    }

    /// A body of any type.
    pub(crate) fn body(self, content_type: String, body: Bytes) -> Request {
        Request { body, ..self.header("content-type", content_type) }
    }

    /// Waits for so long for the whole answer.
    pub(crate) fn within(self, timeout: Duration) -> Request {
        Request { timeout, ..self }
    }

    pub(super) fn target(&self, context: &str) -> String {
        let mark = if self.query.is_empty() { "" } else { "?" };
        [context, self.path, mark, &self.query].concat()
    }
}

fn pair(text: &mut String, name: &str, value: &str) {
    if !text.is_empty() {
        text.push('&');
    }
    text.push_str(name);
    text.push('=');
    text.extend(utf8_percent_encode(value, ENCODED));
}

/// A whole answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(super) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The URL of the server that gave it.
    pub(super) server: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_encoded() {
        let request = Request::get("/x").with("a", "b c").with_some("d", None).with_some("e", Some("中&"));
        assert_eq!(request.target("/nacos"), "/nacos/x?a=b%20c&e=%E4%B8%AD%26");
        let request = Request::new(Method::POST, "/x").form(&[("a", "x=1\n"), ("b", "")]);
        assert_eq!((request.target(""), &*request.body), ("/x".into(), &b"a=x%3D1%0A&b="[..]));
    }
}
