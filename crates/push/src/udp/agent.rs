//! Decides which clients get pushes by UDP: those whose kind and version understand them (`UdpPushService.canEnablePush`).

use dyad_naming::Switches;

/// Whether this `User-Agent`, e.g. `Nacos-Java-Client:v1.4.8`, names such a client. Its least version is a switch.
pub(super) fn may_be_pushed(agent: &str, switches: &Switches) -> bool {
    let least = [
        ("Nacos-Java-Client", &switches.push_java_version),
        ("Nacos-SDK-Java", &switches.push_java_version),
        ("Nacos-DNS", &switches.push_python_version),
        ("Nacos-C-Client", &switches.push_c_version),
        ("vip-client4cpp", &switches.push_c_version),
        ("Nacos-Go-Client", &switches.push_go_version),
        ("Nacos-CSharp-Client", &switches.push_csharp_version),
    ];
    let Some((_, least)) = least.iter().find(|(kind, _)| agent.starts_with(kind)) else { return false };
    let Some((_, version)) = agent.split_once(":v") else { return false };
    match (numbers(version), numbers(least)) {
        (Some(version), Some(least)) => version >= least,
        _ => false,
    }
}

/// Up to three numbers, without what follows a dash or a space: `1.4.8-SNAPSHOT` is 1.4.8.
fn numbers(version: &str) -> Option<[u32; 3]> {
    let plain = version.split(['-', ' ', '+']).next()?.trim();
    let mut parts = plain.split('.').take(3).map(|part| part.parse().ok());
    let first = parts.next()??;
    Some([first, parts.next().unwrap_or(Some(0))?, parts.next().unwrap_or(Some(0))?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_clients_of_a_sufficient_version_are_pushed_to() {
        let switches = Switches::default();
        for (agent, may) in [
            ("Nacos-Java-Client:v1.4.8", true),
            ("Nacos-Java-Client:v1.0.0", true),
            ("Nacos-Java-Client:v0.1.0", true),
            ("Nacos-Java-Client:v0.0.9", false),
            ("Nacos-Java-Client:v1.4.0-SNAPSHOT", true),
            ("Nacos-Java-Client:v", false),
            ("Nacos-Java-Client:vx.y", false),
            ("Nacos-Java-Client", false),
            ("Nacos-Go-Client:v1.0.9", true),
            ("Nacos-DNS:v0.4.2", false),
            ("vip-client4cpp:v1.0.12", true),
            ("Nacos-CSharp-Client:v0.8.9", false),
            ("Nacos-Python-Client:v0.1.17", false),
            ("curl/8.0", false),
            ("", false),
        ] {
            assert_eq!(may_be_pushed(agent, &switches), may, "{agent}");
        }
    }
}
