//! Requests of a 1.x client, as bytes.

/// `code` of a beat's answer: the instance is not known.
pub(super) const UNKNOWN: i64 = 20404;

/// Instances and their services.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    /// For the header Host.
    pub(super) host: String,
    pub(super) tag: String,
    pub(super) services: usize,
    pub(super) instances: usize,
}

impl Pool {
    pub(super) fn register(&self, n: usize) -> Vec<u8> {
        self.request("POST", "", &format!("{}&weight=1.0&enabled=true&healthy=true", self.identity(n)))
    }

    /// A light beat: the address only.
    pub(super) fn beat(&self, n: usize) -> Vec<u8> {
        self.request("PUT", "/beat", &self.identity(n))
    }

    pub(super) fn list(&self, service: usize) -> Vec<u8> {
        self.request("GET", "/list", &format!("serviceName={}-{service}", self.tag))
    }

    fn identity(&self, n: usize) -> String {
        let (a, b, c) = (n / 62_500, n / 250 % 250, n % 250 + 1);
        format!(
            "serviceName=DEFAULT_GROUP%40%40{}-{}&groupName=DEFAULT_GROUP&ip=10.{a}.{b}.{c}&port=8080\
             &clusterName=DEFAULT&ephemeral=true",
            self.tag,
            n % self.services
        )
    }

    fn request(&self, method: &str, path: &str, query: &str) -> Vec<u8> {
        let length = if method == "GET" { "" } else { "Content-Length: 0\r\n" };
        let host = &self.host;
        format!("{method} /nacos/v1/ns/instance{path}?{query} HTTP/1.1\r\nHost: {host}\r\n{length}\r\n")
            .into_bytes()
    }
}

/// Does a beat's answer say that the instance is unknown?
pub(super) fn is_unknown(body: &[u8]) -> bool {
    body.windows(5).any(|part| part == b"20404")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_on_the_wire() {
        let pool = Pool { host: "h:1".into(), tag: "t".into(), services: 10, instances: 100 };
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        assert_eq!(
            text(pool.list(3)),
            "GET /nacos/v1/ns/instance/list?serviceName=t-3 HTTP/1.1\r\nHost: h:1\r\n\r\n"
        );
        let beat = text(pool.beat(12));
        assert!(
            beat.starts_with("PUT /nacos/v1/ns/instance/beat?serviceName=DEFAULT_GROUP%40%40t-2&"),
            "{beat}"
        );
        assert!(
            beat.contains("&ip=10.0.0.13&port=8080&") && beat.ends_with("Content-Length: 0\r\n\r\n"),
            "{beat}"
        );
        assert!(is_unknown(b"{\"code\":20404}") && !is_unknown(b"{\"code\":10200}"));
    }
}
