//! Servers by their URLs.

use std::net::SocketAddr;
use std::time::Duration;

use http::Uri;

use crate::error::BenchError;

/// Port of a URL without one.
const PORT: u16 = 8848;
/// SDKs dial the gRPC port this far above the HTTP port.
const GRPC_OFFSET: u16 = 1000;
/// A server on any network accepts within this.
const CONNECT_MAX: Duration = Duration::from_secs(3);

/// One member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// As it was given.
    pub(crate) name: String,
    /// `host:port`, for the header Host.
    pub(crate) host: String,
    /// None for `grpc://`.
    pub(crate) http: Option<SocketAddr>,
    pub(crate) grpc: SocketAddr,
}

/// What is measured together: the members of one cluster, and the processes whose CPU and memory count.
#[derive(Clone, Debug)]
pub(crate) struct Side {
    members: Vec<Target>,
    pub(crate) pids: Vec<u32>,
}

impl Side {
    /// Resolves the URLs and checks that each member accepts connections.
    pub(crate) async fn resolve(urls: &[String], pids: &[u32], over_http: bool) -> Result<Side, BenchError> {
        let mut members = Vec::with_capacity(urls.len());
        for url in urls {
            let target = Target::resolve(url).await?;
            target.check(over_http).await?;
            members.push(target);
        }
        if members.is_empty() {
            return Err(BenchError::Usage("--url needs a server".into()));
        }
        Ok(Side { members, pids: pids.to_vec() })
    }

    pub(crate) fn members(&self) -> &[Target] {
        &self.members
    }

    pub(crate) fn first(&self) -> &Target {
        &self.members[0]
    }

    pub(crate) fn last(&self) -> &Target {
        &self.members[self.members.len() - 1]
    }

    pub(crate) fn name(&self) -> String {
        self.members.iter().map(|member| member.name.as_str()).collect::<Vec<_>>().join(",")
    }
}

impl Target {
    async fn resolve(url: &str) -> Result<Target, BenchError> {
        let (scheme, host, port) = parse(url).map_err(|why| {
            BenchError::Usage(format!(
                "{url:?} is not a server: {why}; want http://HOST:PORT or grpc://HOST:PORT"
            ))
        })?;
        let name = host.trim_start_matches('[').trim_end_matches(']');
        let found = tokio::net::lookup_host((name, port)).await.map(|mut found| found.next());
        let Ok(Some(address)) = found else {
            return Err(BenchError::Server {
                server: url.into(),
                why: format!("the name {name} is not known"),
            });
        };
        let (http, grpc_port) = match scheme {
            Scheme::Grpc => (None, Some(port)),
            Scheme::Http => (Some(address), port.checked_add(GRPC_OFFSET)),
        };
        let grpc_port = grpc_port.ok_or_else(|| {
            BenchError::Usage(format!(
                "{url}: port {port} + {GRPC_OFFSET} is above 65535; use grpc://HOST:PORT"
            ))
        })?;
        let grpc = SocketAddr::new(address.ip(), grpc_port);
        Ok(Target { name: url.into(), host: format!("{host}:{port}"), http, grpc })
    }

    async fn check(&self, over_http: bool) -> Result<(), BenchError> {
        let address = match (over_http, self.http) {
            (true, None) => {
                return Err(BenchError::Usage(format!(
                    "{}: HTTP is measured over http://HOST:PORT",
                    self.name
                )));
            }
            (true, Some(address)) => address,
            (false, _) => self.grpc,
        };
        let connect = tokio::net::TcpStream::connect(address);
        let why = match tokio::time::timeout(CONNECT_MAX, connect).await {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => format!("no server answers on {address}: {error}"),
            Err(_) => format!("no server answers on {address}: no connection within {CONNECT_MAX:?}"),
        };
        Err(BenchError::Server { server: self.name.clone(), why })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Http,
    Grpc,
}

fn parse(url: &str) -> Result<(Scheme, String, u16), &'static str> {
    let uri: Uri = url.trim().parse().map_err(|_| "it cannot be read")?;
    let scheme = match uri.scheme_str() {
        None | Some("http") => Scheme::Http,
        Some("grpc") => Scheme::Grpc,
        Some("https") => return Err("TLS is not spoken here"),
        Some(_) => return Err("the scheme is unknown"),
    };
    let authority = uri.authority().ok_or("the host is missing")?;
    if authority.as_str().contains('@') {
        return Err("user names are not used");
    }
    if !matches!(uri.path(), "" | "/") || uri.query().is_some() {
        return Err("it has a path");
    }
    let host = authority.host();
    if host.is_empty() {
        return Err("the host is missing");
    }
    let port = match (authority.port(), scheme) {
        (Some(port), _) => port.as_str().parse().map_err(|_| "the port is no number below 65536")?,
        (None, _) if authority.as_str().len() > host.len() => {
            return Err("the port is no number below 65536");
        }
        (None, Scheme::Http) => PORT,
        (None, Scheme::Grpc) => PORT + GRPC_OFFSET,
    };
    if port == 0 {
        return Err("port 0 is nobody's");
    }
    Ok((scheme, host.to_owned(), port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls() {
        let http = |host: &str, port| Ok((Scheme::Http, host.to_owned(), port));
        assert_eq!(parse("http://a:1"), http("a", 1));
        assert_eq!(parse("http://a/"), http("a", 8848));
        assert_eq!(parse("a:1"), http("a", 1));
        assert_eq!(parse("[::1]:7"), http("[::1]", 7));
        assert_eq!(parse("grpc://a"), Ok((Scheme::Grpc, "a".to_owned(), 9848)));
        for bad in [
            "",
            "http://",
            "https://a",
            "ftp://a",
            "http://a:x",
            "http://a:65536",
            "http://a:0",
            "http://a/nacos",
            "http://u@a",
            "a b",
            "http://a?x",
        ] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[tokio::test]
    async fn servers_that_are_not_there() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let url = |scheme: &str| vec![format!("{scheme}://{free}")];
        let message = |result: Result<Side, BenchError>| result.unwrap_err().to_string();
        let refused = message(Side::resolve(&url("http"), &[], true).await);
        assert!(refused.contains("no server answers on"), "{refused}");
        let refused = message(Side::resolve(&url("grpc"), &[], false).await);
        assert!(refused.contains("no server answers on"), "{refused}");
        let wrong = message(Side::resolve(&url("grpc"), &[], true).await);
        assert!(wrong.contains("HTTP is measured over"), "{wrong}");
        let above = message(Side::resolve(&["http://127.0.0.1:65000".into()], &[], false).await);
        assert!(above.contains("above 65535"), "{above}");
    }
}
