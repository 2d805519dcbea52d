//! The list of members: `host[:port][/cluster_port]`, separated by commas or spaces.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use super::parse;

/// Most members in one list. Every member talks to every other one each second, and no Nacos cluster comes near 64 members.
pub const MEMBERS_MAX: usize = 64;
/// The HTTP port of an entry without one, when this member's own port is "any free one".
const PORT_DEFAULT: u16 = 8848;
/// Distance from the HTTP port to the cluster port.
pub(super) const CLUSTER_PORT_OFFSET: u16 = 1001;
/// Longest host name (RFC 1035).
const HOST_MAX: usize = 253;

/// One entry of the list of members.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberAddr {
    /// An IP address (IPv6 without brackets) or a host name in lower case.
    pub host: String,
    /// The HTTP port.
    pub port: u16,
    /// The port that members use among themselves.
    pub cluster_port: u16,
}

impl MemberAddr {
    /// `host:port` of the HTTP port, as clients and other members write it.
    pub fn http(&self) -> String {
        join(&self.host, self.port)
    }

    /// `host:port` of the cluster port.
    pub fn cluster(&self) -> String {
        join(&self.host, self.cluster_port)
    }
}

impl fmt::Display for MemberAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.http())?;
        if self.port.checked_add(CLUSTER_PORT_OFFSET) != Some(self.cluster_port) {
            write!(f, "/{}", self.cluster_port)?;
        }
        Ok(())
    }
}

/// Reads the list. `own_port` is this member's HTTP port: the port of an entry that names none, as in Nacos.
/// `nacos` drops the `?raft_port=…` that `NACOS_SERVERS` may carry. The error says what is wrong with which entry.
pub(super) fn parse_list(text: &str, own_port: u16, nacos: bool) -> Result<Vec<MemberAddr>, String> {
    let own_port = if own_port == 0 { PORT_DEFAULT } else { own_port };
    let mut members: Vec<MemberAddr> = Vec::new();
    for entry in text.split([',', ' ', '\t', '\n', '\r']).filter(|entry| !entry.is_empty()) {
        let plain = if nacos { entry.split('?').next().unwrap_or(entry) } else { entry };
        let member = parse_entry(plain, own_port).map_err(|why| format!("entry {entry:?} {why}"))?;
        for other in &members {
            if other.http() == member.http() {
                return Err(format!("{} is named twice", member.http()));
            }
            if other.cluster() == member.cluster() {
                return Err(format!("{other} and {member} have the same cluster port"));
            }
        }
        if members.len() == MEMBERS_MAX {
            return Err(format!("more than {MEMBERS_MAX} entries"));
        }
        members.push(member);
    }
    Ok(members)
}

/// Reads one member, as a command of an operator names it. The error says what is wrong with it.
pub(crate) fn parse_member(text: &str, own_port: u16) -> Result<MemberAddr, String> {
    match parse_list(text, own_port, false)?.as_slice() {
        [member] => Ok(member.clone()),
        _ => Err(format!("{text:?} is not one address: want HOST:PORT[/CLUSTER_PORT]")),
    }
}

/// Reads `HOST[:PORT]`.
pub(super) fn parse_host(text: &str) -> Result<(String, Option<u16>), &'static str> {
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or("lacks the closing bracket")?;
        let host: Ipv6Addr = host.parse().map_err(|_| "has no IPv6 address in its brackets")?;
        match rest.strip_prefix(':') {
            Some(port) => (host.to_string(), Some(port)),
            None if rest.is_empty() => (host.to_string(), None),
            None => return Err("has more than a port after its bracket"),
        }
    } else if text.matches(':').count() > 1 {
        return Err("looks like an IPv6 address: write it in brackets");
    } else {
        match text.split_once(':') {
            Some((host, port)) => (host.to_ascii_lowercase(), Some(port)),
            None => (text.to_ascii_lowercase(), None),
        }
    };
    if !is_host(&host) {
        return Err("has no good host name or IP address");
    }
    let port = match port {
        Some(port) => Some(nonzero_port(port).ok_or("has a port outside 1 to 65535")?),
        None => None,
    };
    Ok((host, port))
}

fn parse_entry(text: &str, own_port: u16) -> Result<MemberAddr, &'static str> {
    let (address, cluster_port) = match text.split_once('/') {
        Some((address, port)) => {
            (address, Some(nonzero_port(port).ok_or("has a cluster port outside 1 to 65535")?))
        }
        None => (text, None),
    };
    let (host, port) = parse_host(address)?;
    let port = port.unwrap_or(own_port);
    let cluster_port = match cluster_port {
        Some(port) => port,
        None => port
            .checked_add(CLUSTER_PORT_OFFSET)
            .ok_or("leaves no room for a cluster port 1001 above: add /cluster_port")?,
    };
    Ok(MemberAddr { host, port, cluster_port })
}

fn nonzero_port(text: &str) -> Option<u16> {
    parse::port(text).filter(|port| *port != 0)
}

fn is_host(host: &str) -> bool {
    if host.parse::<Ipv6Addr>().is_ok() || host.parse::<Ipv4Addr>().is_ok() {
        return true;
    }
    let label = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    // Four numbers that are no address are a typing error, not a host name.
    let numeric = host.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    host.len() <= HOST_MAX && !numeric && host.split('.').all(label)
}

fn join(host: &str, port: u16) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_lists() {
        let cases = [
            ("", 8848, false, ""),
            ("a", 8848, false, "a:8848"),
            ("A:1,b:2  c", 9000, false, "a:1 b:2 c:9000"),
            ("a,b/7", 0, false, "a:8848 b:8848/7"),
            ("[::1]:8848/9849 [fe80::2]", 8858, false, "[::1]:8848 [fe80::2]:8858"),
            ("10.0.0.1:8848?raft_port=7848 n-2.svc.x:8848", 8848, true, "10.0.0.1:8848 n-2.svc.x:8848"),
        ];
        for (text, own, nacos, want) in cases {
            let got = parse_list(text, own, nacos).expect(text);
            let shown: Vec<String> = got.iter().map(ToString::to_string).collect();
            assert_eq!(shown.join(" "), want, "{text:?}");
        }
    }

    #[test]
    fn bad_lists() {
        let cases = [
            ("a:8848,a", "a:8848 is named twice"),
            ("a:1/5 a:2/5", "a:1/5 and a:2/5 have the same cluster port"),
            ("fe80::1", "entry \"fe80::1\" looks like an IPv6 address: write it in brackets"),
            ("[::1", "entry \"[::1\" lacks the closing bracket"),
            ("[x]", "entry \"[x]\" has no IPv6 address in its brackets"),
            ("[::1]x", "entry \"[::1]x\" has more than a port after its bracket"),
            ("a:0", "entry \"a:0\" has a port outside 1 to 65535"),
            ("a:65536", "entry \"a:65536\" has a port outside 1 to 65535"),
            ("a:+1", "entry \"a:+1\" has a port outside 1 to 65535"),
            ("a:", "entry \"a:\" has a port outside 1 to 65535"),
            ("a/0", "entry \"a/0\" has a cluster port outside 1 to 65535"),
            ("a:65000", "entry \"a:65000\" leaves no room for a cluster port 1001 above: add /cluster_port"),
            (":8848", "entry \":8848\" has no good host name or IP address"),
            ("10.0.0.256", "entry \"10.0.0.256\" has no good host name or IP address"),
            ("http://a", "entry \"http://a\" has a cluster port outside 1 to 65535"),
            ("a?raft_port=1", "entry \"a?raft_port=1\" has no good host name or IP address"),
        ];
        for (text, want) in cases {
            assert_eq!(parse_list(text, 8848, false), Err(want.to_owned()), "{text:?}");
        }
        let many: Vec<String> = (0..65).map(|n| format!("h{n}")).collect();
        assert_eq!(parse_list(&many.join(","), 8848, false), Err("more than 64 entries".to_owned()));
    }
}
