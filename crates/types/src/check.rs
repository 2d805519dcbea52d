//! Nacos's parameter check (`ParamCheckRule`, `DefaultParamChecker`): lengths and characters, with its messages.
//!
//! Every front end checks its input here before anything else reads it. The rules are those of Nacos 2.5, in the same order. As
//! in Nacos, a blank value is not checked, and lengths are counted in UTF-16 units.

use std::fmt;

use crate::metadata::Metadata;

/// Characters of a namespace's shown name.
pub const NAMESPACE_NAME_MAX: usize = 256;
/// Characters of a namespace id.
pub const NAMESPACE_ID_MAX: usize = 64;
/// Characters of a configuration's data id.
pub const DATA_ID_MAX: usize = 256;
/// Characters of a service name without its group.
pub const SERVICE_MAX: usize = 512;
/// Characters of a group name.
pub const GROUP_MAX: usize = 128;
/// Characters of a cluster name.
pub const CLUSTER_MAX: usize = 64;
/// Characters of an ip or host name.
pub const IP_MAX: usize = 128;
/// Characters of all metadata keys and values of one instance (`nacos.naming.service.metadata.length`).
pub const METADATA_MAX: usize = 1024;

/// The values of a request. A value that is `None` or blank is not checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Input<'a> {
    pub namespace_name: Option<&'a str>,
    pub namespace_id: Option<&'a str>,
    pub data_id: Option<&'a str>,
    /// The name of the service, without its group.
    pub service: Option<&'a str>,
    pub group: Option<&'a str>,
    /// A comma-separated list of clusters; each of them is checked.
    pub clusters: Option<&'a str>,
    pub cluster: Option<&'a str>,
    pub ip: Option<&'a str>,
    pub port: Option<&'a str>,
    pub metadata: Option<&'a Metadata>,
    /// Most characters of the metadata. `None`: [`METADATA_MAX`].
    pub metadata_max: Option<usize>,
}

/// The parameter that a rule rejects; displayed as Nacos names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    NamespaceName,
    NamespaceId,
    DataId,
    Service,
    Group,
    Cluster,
    Ip,
    Port,
    Metadata,
}

/// Why a parameter is rejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It has more characters than this.
    TooLong(usize),
    Characters,
    /// It is not a number from 0 to 65535.
    PortRange,
}

/// A rejected parameter. Its text is the message of Nacos.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Illegal {
    pub field: Field,
    pub fault: Fault,
}

/// Checks every value of `input` in the order of Nacos.
///
/// # Errors
/// The first rule that a value breaks.
pub fn check(input: &Input<'_>) -> Result<(), Illegal> {
    rule(input.namespace_name, Field::NamespaceName, NAMESPACE_NAME_MAX, |s| {
        !s.contains(FORBIDDEN_IN_NAMES)
    })?;
    namespace_id(input.namespace_id)?;
    rule(input.data_id, Field::DataId, DATA_ID_MAX, is_token)?;
    rule(input.service, Field::Service, SERVICE_MAX, is_service)?;
    rule(input.group, Field::Group, GROUP_MAX, is_token)?;
    for cluster in input.clusters.unwrap_or_default().split(',') {
        rule(Some(cluster), Field::Cluster, CLUSTER_MAX, is_cluster)?;
    }
    rule(input.cluster, Field::Cluster, CLUSTER_MAX, is_cluster)?;
    rule(input.ip, Field::Ip, IP_MAX, |s| !s.chars().any(is_forbidden))?;
    if let Some(port) = input.port.filter(|p| !is_blank(p)) {
        parse_port(port)?;
    }
    input.metadata.map_or(Ok(()), |given| metadata(given, input.metadata_max.unwrap_or(METADATA_MAX)))
}

/// Checks a namespace id (`namespaceId` or `tenant`).
///
/// # Errors
/// The id has more than 64 characters, or other characters than letters, digits, `_` and `-`.
pub fn namespace_id(id: Option<&str>) -> Result<(), Illegal> {
    rule(id, Field::NamespaceId, NAMESPACE_ID_MAX, is_cluster)
}

/// Reads a port from 0 to 65535, in the way of Java's `Integer.parseInt`.
///
/// # Errors
/// The text is anything else.
pub fn parse_port(text: &str) -> Result<u16, Illegal> {
    let wrong = Illegal { field: Field::Port, fault: Fault::PortRange };
    let number: i32 = text.trim().parse().map_err(|_| wrong)?;
    u16::try_from(number).map_err(|_| wrong)
}

/// Checks metadata: all keys and values together have at most `max` characters.
///
/// # Errors
/// They have more.
pub fn metadata(metadata: &Metadata, max: usize) -> Result<(), Illegal> {
    if metadata.chars() > max {
        return Err(Illegal { field: Field::Metadata, fault: Fault::TooLong(max) });
    }
    Ok(())
}

/// Whether an instance may have this cluster (`NamingUtils.checkInstanceIsLegal`). This second rule is stricter than that of
/// [`check`]: it forbids the underscore.
pub fn is_instance_cluster(cluster: &str) -> bool {
    !cluster.is_empty() && cluster.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

const FORBIDDEN_IN_NAMES: [char; 7] = ['@', '#', '$', '%', '^', '&', '*'];

fn rule(value: Option<&str>, field: Field, max: usize, legal: impl Fn(&str) -> bool) -> Result<(), Illegal> {
    let Some(value) = value.filter(|v| !is_blank(v)) else { return Ok(()) };
    if value.len() > max && value.encode_utf16().count() > max {
        return Err(Illegal { field, fault: Fault::TooLong(max) });
    }
    if !legal(value) {
        return Err(Illegal { field, fault: Fault::Characters });
    }
    Ok(())
}

fn is_blank(text: &str) -> bool {
    text.chars().all(char::is_whitespace)
}

/// `[a-zA-Z0-9-_:\.]*`: groups and data ids.
fn is_token(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b':' | b'.'))
}

/// `[\w-]+`: namespace ids and clusters.
fn is_cluster(text: &str) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// `(?!@).((?!@@)[^\u4E00-\u9FA5\s])*`: the first character may be anything but `@` and the end of a line.
fn is_service(text: &str) -> bool {
    let mut chars = text.chars();
    let first = chars.next();
    let line_end = |c| matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
    first.is_some_and(|c| c != '@' && !line_end(c)) && !chars.any(is_forbidden) && !text.contains("@@")
}

/// `[\u4E00-\u9FA5\s]`, with Java's `\s`.
fn is_forbidden(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\u{b}' | '\u{c}' | '\r' | '\u{4e00}'..='\u{9fa5}')
}

impl fmt::Display for Field {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Field::NamespaceName => "namespaceShowName",
            Field::NamespaceId => "namespaceId/tenant",
            Field::DataId => "dataId",
            Field::Service => "serviceName",
            Field::Group => "group",
            Field::Cluster => "cluster",
            Field::Ip => "ip",
            Field::Port => "port",
            Field::Metadata => "Metadata",
        })
    }
}

impl fmt::Display for Illegal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Param '{}' is illegal, ", self.field)?;
        match self.fault {
            Fault::TooLong(max) if self.field == Field::Metadata => {
                write!(
                    f,
                    "the param length should not exceed {max}. The setting limits.metadata allows more."
                )
            }
            Fault::TooLong(max) => write!(f, "the param length should not exceed {max}."),
            Fault::Characters => f.write_str("illegal characters should not appear in the param."),
            Fault::PortRange => f.write_str("the value should be between 0 and 65535."),
        }
    }
}

impl std::error::Error for Illegal {}

#[cfg(test)]
mod tests {
    use super::*;

    const CHARACTERS: &str = "illegal characters should not appear in the param.";

    fn text(input: Input<'_>) -> String {
        check(&input).err().map(|e| e.to_string()).unwrap_or_default()
    }

    fn with(field: Field, value: &str) -> String {
        let value = Some(value);
        let none = Input::default();
        text(match field {
            Field::NamespaceName => Input { namespace_name: value, ..none },
            Field::NamespaceId => Input { namespace_id: value, ..none },
            Field::DataId => Input { data_id: value, ..none },
            Field::Service => Input { service: value, ..none },
            Field::Group => Input { group: value, ..none },
            Field::Cluster => Input { clusters: value, ..none },
            Field::Ip => Input { ip: value, ..none },
            Field::Port => Input { port: value, ..none },
            Field::Metadata => none,
        })
    }

    #[test]
    fn characters_that_a_rule_forbids_are_named_with_their_field() {
        let table: &[(Field, &[&str], &[&str])] = &[
            (Field::NamespaceName, &["dev space", "中文"], &["a@b", "a#", "$", "a%b", "^", "&", "*"]),
            (Field::NamespaceId, &["a-b_C9"], &["a.b", "a b", "é", "a@b"]),
            (Field::DataId, &["a.b:c-d_E9"], &["a/b", "a b", "中"]),
            (
                Field::Service,
                &["a/b", "a#b", "a@b", "a,b", "a%b", ".dot", "-dash", "_us", "é", "中", "a@"],
                &["@a", "a@@b", "ab@@", "a b", "a\tb", "a中", "\u{85}x"],
            ),
            (Field::Group, &["g:1", "g-1.x_y"], &["G@H", "a b", "a/b"]),
            (Field::Cluster, &["c1,DEFAULT", "c_1", "a,,b", ","], &["c.1", "a,b c", "中"]),
            (Field::Ip, &["256.1.1.1", "::1", "10.0.0.1:80", "host.example.com", "é"], &["not an ip", "中"]),
        ];
        for (field, good, bad) in table {
            for value in *good {
                assert_eq!(with(*field, value), "", "{field} {value:?}");
            }
            for value in *bad {
                assert_eq!(
                    with(*field, value),
                    format!("Param '{field}' is illegal, {CHARACTERS}"),
                    "{value:?}"
                );
            }
        }
    }

    #[test]
    fn a_value_of_the_longest_length_passes_and_one_more_does_not() {
        for (field, max) in [
            (Field::NamespaceName, 256),
            (Field::NamespaceId, 64),
            (Field::DataId, 256),
            (Field::Service, 512),
            (Field::Group, 128),
            (Field::Cluster, 64),
            (Field::Ip, 128),
        ] {
            assert_eq!(with(field, &"a".repeat(max)), "");
            let want = format!("Param '{field}' is illegal, the param length should not exceed {max}.");
            assert_eq!(with(field, &"a".repeat(max + 1)), want);
        }
        assert_eq!(with(Field::Ip, &"é".repeat(128)), "", "lengths are characters, not bytes");
    }

    #[test]
    fn ports_outside_0_to_65535_are_refused() {
        for good in ["0", "65535", " 80 ", ""] {
            assert_eq!(with(Field::Port, good), "", "{good:?}");
        }
        for bad in ["-1", "65536", "abc", "8.0", "99999999999"] {
            let want = "Param 'port' is illegal, the value should be between 0 and 65535.";
            assert_eq!(with(Field::Port, bad), want, "{bad:?}");
        }
    }

    #[test]
    fn metadata_counts_keys_and_values_together() {
        let of = |n: usize| -> Metadata { [("k", &*"v".repeat(n))].into_iter().collect() };
        assert_eq!(text(Input { metadata: Some(&of(1023)), ..Input::default() }), "");
        let want = "Param 'Metadata' is illegal, the param length should not exceed 1024. The setting limits.metadata allows more.";
        assert_eq!(text(Input { metadata: Some(&of(1024)), ..Input::default() }), want);
    }

    #[test]
    fn the_first_broken_rule_in_nacoss_order_is_the_answer() {
        let all = Input {
            namespace_id: Some("a b"),
            service: Some("@"),
            group: Some("@"),
            port: Some("x"),
            ..Input::default()
        };
        assert_eq!(check(&all).unwrap_err().field, Field::NamespaceId);
        assert_eq!(check(&Input { namespace_id: None, ..all }).unwrap_err().field, Field::Service);
        assert_eq!(
            check(&Input { namespace_id: None, service: None, ..all }).unwrap_err().field,
            Field::Group
        );
        let port = Input { namespace_id: None, service: None, group: None, ..all };
        assert_eq!(check(&port).unwrap_err().field, Field::Port);
    }
}
