//! The rules that tie settings to one another.

use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::members::{CLUSTER_PORT_OFFSET, MemberAddr, parse_host, parse_list};
use super::sources::{Found, Source, Sources, quote, read_text};
use super::table::{MODE_ENV, PREFER_HOST_MODE_ENV, TOKEN_ENV, row};
use super::{Secret, parse};

/// Shortest token: 32 bytes hold a 192-bit secret in base64.
const TOKEN_MIN: usize = 32;
/// SDKs dial the gRPC port this far above the HTTP port.
pub(super) const GRPC_PORT_OFFSET: u16 = 1000;
/// Longest token; a larger file is some other file.
const TOKEN_MAX: u64 = 4096;

/// The open door needs a word from the operator.
pub(super) fn bind(from: &mut Sources<'_>, bind: IpAddr, insecure: bool) {
    if insecure {
        from.warnings
            .push("insecure is set: whoever reaches the HTTP port can read and change everything".into());
    } else if !bind.is_loopback() {
        let why =
            format!("{bind} is not a loopback address, and nobody has to log in: add --insecure to allow it");
        from.problem("bind", why);
    }
}

pub(super) fn members(from: &mut Sources<'_>, own_port: u16) -> Vec<MemberAddr> {
    let Some(Found { text, source }) = from.found("members").cloned() else { return Vec::new() };
    parse_list(&text, own_port, matches!(source, Source::Nacos(_))).unwrap_or_else(|why| {
        from.problem("members", format!("{why}: want {}", row("members").rule));
        Vec::new()
    })
}

/// The entry of `members` that this member is, as far as the settings say.
pub(super) fn advertise(from: &mut Sources<'_>, members: &[MemberAddr], own_port: u16) -> Option<MemberAddr> {
    let by_host_name = prefers_host_name(from);
    let (text, source) = match from.found("advertise").cloned() {
        Some(Found { text, source }) => (text, source),
        None if by_host_name => {
            (from.inputs.hostname.clone(), Source::Nacos(PREFER_HOST_MODE_ENV.to_owned()))
        }
        None => return None,
    };
    let mut fail = |why: String| {
        from.problem_from("advertise", &source.to_string(), why);
        None
    };
    // NACOS_SERVER_IP carries a bare address, IPv6 without brackets.
    let (host, port) =
        match text.parse::<IpAddr>().map(|ip| (ip.to_string(), None)).or_else(|_| parse_host(&text)) {
            Ok(read) => read,
            Err(why) => return fail(format!("{} {why}: want {}", quote(&text), row("advertise").rule)),
        };
    if members.is_empty() {
        let port = port.unwrap_or(own_port);
        let cluster_port = port.saturating_add(CLUSTER_PORT_OFFSET);
        return Some(MemberAddr { host, port, cluster_port });
    }
    match entry(members, &host, port, own_port) {
        Some(member) => Some(member.clone()),
        None => {
            let list: Vec<String> = members.iter().map(ToString::to_string).collect();
            fail(format!("{} is not exactly one entry of members: {}", quote(&text), list.join(",")))
        }
    }
}

/// The data directory. It may be absent, but nothing else may be in its place.
pub(super) fn data_dir(from: &mut Sources<'_>) -> PathBuf {
    let path = from.read(row("data_dir"), parse::path);
    if fs::metadata(&path).is_ok_and(|found| !found.is_dir()) {
        let why =
            format!("{} is no directory: want {}", quote(&path.to_string_lossy()), row("data_dir").rule);
        from.problem("data_dir", why);
    }
    path
}

/// A directory alone makes no backups, and whoever gives it expects some.
pub(super) fn backup_dir(from: &mut Sources<'_>, every: Option<Duration>) -> Option<PathBuf> {
    if every.is_none() && from.found("backup.dir").is_some() {
        from.warnings.push("backup.dir is set, but backup.every is off: no backups are made".into());
    }
    from.read(row("backup.dir"), parse::backup_dir)
}

/// The token, from the file or from the variable. Required with members.
pub(super) fn token(from: &mut Sources<'_>, members: &[MemberAddr]) -> Option<Secret> {
    let file = from.found("cluster_token_file").cloned();
    let value = from.inputs.env(TOKEN_ENV).map(ToOwned::to_owned);
    let (token, name) = match (file, value) {
        (Some(Found { source: Source::Env(_), .. }), Some(_)) => {
            let both = format!("{TOKEN_ENV} and {}", row("cluster_token_file").env);
            from.problem_from("cluster_token", &both, "both are set: keep one");
            return None;
        }
        (Some(Found { text, source }), value) if matches!(source, Source::Flag(_)) || value.is_none() => {
            match read_text(Path::new(&text), TOKEN_MAX) {
                Ok(token) => (token, format!("{text}, {source}")),
                Err(error) => {
                    let why = format!("{} cannot be read: {error}", quote(&text));
                    from.problem_from("cluster_token_file", &source.to_string(), why);
                    return None;
                }
            }
        }
        (_, Some(value)) => (value, TOKEN_ENV.to_owned()),
        (_, None) => {
            if !members.is_empty() {
                let source = from.source("members").to_string();
                let why = format!(
                    "members need a cluster token: give --cluster-token-file or {TOKEN_ENV} \
                     (`dyad token new` prints one)"
                );
                from.problem_from("cluster_token", &source, why);
            }
            return None;
        }
    };
    let token = token.trim().as_bytes();
    if token.len() < TOKEN_MIN || token.len() as u64 > TOKEN_MAX {
        let why = format!("the token has {} bytes: want {TOKEN_MIN} to {TOKEN_MAX}", token.len());
        from.problem_from("cluster_token", &name, why);
        return None;
    }
    Some(Secret(token.to_vec()))
}

/// The cluster port as given, or 1001 above the HTTP port. What it is matters only with a token.
pub(super) fn cluster_port(from: &mut Sources<'_>, port: u16, open: bool) -> u16 {
    derived_port(from, "cluster_port", port, CLUSTER_PORT_OFFSET, open)
}

/// The gRPC port as given, or 1000 above the HTTP port, where SDKs look for it.
pub(super) fn grpc_port(from: &mut Sources<'_>, port: u16) -> u16 {
    derived_port(from, "grpc_port", port, GRPC_PORT_OFFSET, true)
}

/// A port as given, or `offset` above the HTTP port. `open`: it will be opened, so it must be one that can be.
fn derived_port(from: &mut Sources<'_>, key: &'static str, port: u16, offset: u16, open: bool) -> u16 {
    let derived = if port == 0 { Some(0) } else { port.checked_add(offset) };
    let given = from.found(key).map(|found| found.text.clone());
    let chosen = match given {
        None => derived,
        Some(text) => match parse::port(&text) {
            Some(number) => Some(number),
            None => {
                from.problem(key, format!("{} is not valid: want {}", quote(&text), row("port").rule));
                return 0;
            }
        },
    };
    match chosen {
        Some(number) if open && number != 0 && number == port => {
            from.problem(key, format!("{number} is the HTTP port: want another one"));
            number
        }
        Some(number) => number,
        None if open => {
            let flag = row(key).flag;
            from.problem(key, format!("{port} + {offset} is above 65535: give one with --{flag}"));
            0
        }
        None => 0,
    }
}

/// Nacos's MODE sets nothing here; it must not contradict the members.
pub(super) fn mode(from: &mut Sources<'_>, members: &[MemberAddr]) {
    // Members that could not be read are a problem of their own.
    let given = from.found("members").is_some_and(|found| !found.text.is_empty());
    let Some(mode) = from.inputs.env(MODE_ENV).map(str::to_ascii_lowercase) else { return };
    match mode.as_str() {
        "standalone" if given => {
            let why = format!("standalone, but members are given ({}): remove one", from.source("members"));
            from.problem_from("members", MODE_ENV, why);
        }
        "cluster" if members.is_empty() && !given => {
            from.problem_from(
                "members",
                MODE_ENV,
                "cluster, but no members are given: set --members or NACOS_SERVERS",
            );
        }
        "standalone" | "cluster" => {}
        other => {
            from.problem_from(
                "members",
                MODE_ENV,
                format!("{} is not valid: want standalone or cluster", quote(other)),
            );
        }
    }
}

fn prefers_host_name(from: &mut Sources<'_>) -> bool {
    match from.inputs.env(PREFER_HOST_MODE_ENV).map(str::to_ascii_lowercase).as_deref() {
        Some("hostname") => true,
        None | Some("ip") => false,
        Some(other) => {
            let why = format!("{} is not valid: want ip or hostname", quote(other));
            from.problem_from("advertise", PREFER_HOST_MODE_ENV, why);
            false
        }
    }
}

/// The one entry that `host` and `port` name. A host name also names the entry whose first label it is (a pod's name
/// and its full name); among several of one host the own port decides.
fn entry<'m>(
    members: &'m [MemberAddr],
    host: &str,
    port: Option<u16>,
    own_port: u16,
) -> Option<&'m MemberAddr> {
    let one = |mut matches: Vec<&'m MemberAddr>| {
        if matches.len() > 1 {
            matches.retain(|member| port.is_none() && member.port == own_port);
        }
        match matches.as_slice() {
            [only] => Some(*only),
            _ => None,
        }
    };
    let with_port = |member: &&MemberAddr| port.is_none_or(|port| member.port == port);
    let exact: Vec<_> = members.iter().filter(|member| member.host == host).filter(with_port).collect();
    if !exact.is_empty() {
        return one(exact);
    }
    let label = |member: &&MemberAddr| member.host.split_once('.').is_some_and(|(first, _)| first == host);
    one(members.iter().filter(label).filter(with_port).collect())
}
