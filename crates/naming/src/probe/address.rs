//! Which addresses may be dialed. A registration is input from strangers. It must not make a member connect to
//! something that only the member can reach.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use dyad_types::Address;

/// The socket to dial for an instance, whose ip may be in brackets. `None` for an address that is never dialed: a host name, the port 0, an
/// unspecified, multicast, broadcast or link-local address, and a cluster port of a member. `cluster` has the sockets
/// of these ports; on loopback the port alone decides.
pub fn dialable(address: &Address, cluster: &[SocketAddr]) -> Option<SocketAddr> {
    let bare = address.ip.strip_prefix('[').and_then(|ip| ip.strip_suffix(']'));
    let bare = bare.filter(|ip| ip.contains(':')).unwrap_or(&address.ip);
    let ip = bare.parse::<IpAddr>().ok()?.to_canonical();
    let port = address.port;
    let forbidden = port == 0
        || match ip {
            IpAddr::V4(ip) => forbidden_v4(ip),
            IpAddr::V6(ip) => forbidden_v6(ip),
        }
        || cluster.iter().any(|m| m.port() == port && (ip.is_loopback() || m.ip().to_canonical() == ip));
    (!forbidden).then(|| SocketAddr::new(ip, port))
}

/// Whether this address is never dialed. On some systems, 0.0.0.0/8 reaches the own host.
fn forbidden_v4(ip: Ipv4Addr) -> bool {
    ip.octets()[0] == 0 || ip.is_multicast() || ip.is_broadcast() || ip.is_link_local()
}

fn forbidden_v6(ip: Ipv6Addr) -> bool {
    ip.is_unspecified() || ip.is_multicast() || ip.is_unicast_link_local() || embedded_v4(ip)
}

/// Whether a gateway or the system turns this address into an IPv4 address (`64:ff9b::/96`, and `::/96` except the
/// loopback). In IPv4 form the address would be checked; in this form it is not dialed.
fn embedded_v4(ip: Ipv6Addr) -> bool {
    let prefix = &ip.segments()[..6];
    prefix == [0x64, 0xff9b, 0, 0, 0, 0] || (prefix == [0; 6] && !ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_harmless_literal_addresses_are_dialed() {
        let cluster = ["10.9.0.1:9849", "[fd00::1]:9849"].map(|m| m.parse().unwrap());
        let cases = [
            ("10.0.0.1", 80, true),
            ("127.0.0.1", 80, true),
            ("::1", 80, true),
            ("[::1]", 80, true),
            ("[10.0.0.1]", 80, false),
            ("[::]", 80, false),
            ("fd00::2", 80, true),
            ("::ffff:10.0.0.1", 80, true),
            ("10.9.0.1", 80, true),
            ("10.9.0.2", 9849, true),
            ("10.9.0.1", 9849, false),
            ("::ffff:10.9.0.1", 9849, false),
            ("fd00::1", 9849, false),
            ("127.0.0.1", 9849, false),
            ("127.8.8.8", 9849, false),
            ("::1", 9849, false),
            ("10.0.0.1", 0, false),
            ("0.0.0.0", 80, false),
            ("0.1.2.3", 80, false),
            ("169.254.169.254", 80, false),
            ("::ffff:169.254.169.254", 80, false),
            ("64:ff9b::a9fe:a9fe", 80, false),
            ("::10.0.0.1", 80, false),
            ("224.0.0.1", 80, false),
            ("255.255.255.255", 80, false),
            ("::", 80, false),
            ("fe80::1", 80, false),
            ("ff02::1", 80, false),
            ("host.example.com", 80, false),
            ("localhost", 80, false),
            ("256.1.1.1", 80, false),
            ("1.2.3", 80, false),
            ("10.0.0.1:80", 80, false),
            ("", 80, false),
        ];
        for (ip, port, want) in cases {
            assert_eq!(dialable(&Address::new(ip, port), &cluster).is_some(), want, "{ip} {port}");
        }
    }
}
