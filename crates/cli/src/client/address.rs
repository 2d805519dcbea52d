//! The address of a server, from its URL.

use http::Uri;

use crate::exit::{Exit, Failure};

/// Port of a URL without one.
const PORT: u16 = 8848;
/// Where Nacos serves below, unless the URL says otherwise.
const CONTEXT: &str = "/nacos";

/// Where requests go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Address {
    url: String,
    /// Without the brackets of IPv6.
    pub(super) host: String,
    pub(super) port: u16,
    /// `host:port`, for the header Host.
    pub(super) authority: String,
    /// Starts every path.
    pub(super) context: String,
}

impl Address {
    /// Reads `http://HOST[:PORT][/CONTEXT]`.
    ///
    /// # Errors
    /// `Exit::Settings` with what is wrong.
    pub(super) fn parse(url: &str) -> Result<Address, Failure> {
        let wrong = |why: &str| {
            let message = format!("--server (DYAD_SERVER): {url:?} is not http://HOST[:PORT]: {why}");
            Failure::new(Exit::Settings, message)
        };
        let uri: Uri = url.parse().map_err(|_| wrong("it cannot be read"))?;
        match uri.scheme_str() {
            None | Some("http") => {}
            Some("https") => return Err(wrong("TLS is not spoken here")),
            Some(_) => return Err(wrong("the scheme is unknown")),
        }
        let authority = uri.authority().ok_or_else(|| wrong("the host is missing"))?;
        if authority.as_str().contains('@') {
            return Err(wrong("user names are not used"));
        }
        if uri.query().is_some() {
            return Err(wrong("it has a query"));
        }
        let (host, port) = (authority.host(), authority.port_u16());
        if host.is_empty() {
            return Err(wrong("the host is missing"));
        }
        if (port.is_none() && authority.as_str().len() > host.len()) || port == Some(0) {
            return Err(wrong("the port is no number from 1 to 65535"));
        }
        let port = port.unwrap_or(PORT);
        let path = uri.path().trim_end_matches('/');
        Ok(Address {
            url: url.trim_end_matches('/').to_owned(),
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port,
            authority: format!("{host}:{port}"),
            context: if path.is_empty() { CONTEXT.to_owned() } else { path.to_owned() },
        })
    }

    /// As it was given.
    pub(super) fn url(&self) -> &str {
        &self.url
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        for (url, want) in [
            ("http://a", Some(("a", 8848, "a:8848", "/nacos"))),
            ("http://a:1/", Some(("a", 1, "a:1", "/nacos"))),
            ("a:1", Some(("a", 1, "a:1", "/nacos"))),
            ("http://[::1]:7/registry/", Some(("::1", 7, "[::1]:7", "/registry"))),
            ("", None),
            ("https://a", None),
            ("ftp://a", None),
            ("http://a:x", None),
            ("http://a:0", None),
            ("http://a:65536", None),
            ("http://u@a", None),
            ("http://a?x", None),
            ("a b", None),
        ] {
            let got = Address::parse(url).ok();
            let got = got.as_ref().map(|a| (&*a.host, a.port, &*a.authority, &*a.context));
            assert_eq!(got, want, "{url:?}");
        }
    }
}
