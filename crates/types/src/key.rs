//! Keys of services, clients and publications, and the only place that knows Nacos's separators.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// Separates group and service in a grouped name (`NamingUtils.getGroupedName`).
const GROUP_SEPARATOR: &str = "@@";

/// The group of a service for which no group was given (`Constants.DEFAULT_GROUP`).
pub const DEFAULT_GROUP: &str = "DEFAULT_GROUP";
/// The namespace of a request that gives no namespace (`Constants.DEFAULT_NAMESPACE_ID`).
pub const DEFAULT_NAMESPACE: &str = "public";
/// The cluster of an instance for which no cluster was given (`UtilsAndCommons.DEFAULT_CLUSTER_NAME`).
pub const DEFAULT_CLUSTER: &str = "DEFAULT";

/// The name of a cluster, to be stored. Nearly all instances are in the default cluster, so they share one allocation
/// of its name.
pub fn cluster_name(name: &str) -> Arc<str> {
    static DEFAULT: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from(DEFAULT_CLUSTER));
    if name == DEFAULT_CLUSTER { DEFAULT.clone() } else { Arc::from(name) }
}

/// A namespace id. `''` and `public` are one namespace.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NamespaceId(Arc<str>);

impl NamespaceId {
    pub fn new(id: &str) -> NamespaceId {
        NamespaceId(Arc::from(if id.is_empty() { DEFAULT_NAMESPACE } else { id }))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NamespaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identity of a service: namespace, group and name. Clones are cheap: the log, the registry and the views share one
/// allocation. Keys are ordered by namespace, then group, then name.
#[derive(Clone)]
pub struct ServiceKey(Arc<Parts>);

struct Parts {
    hash: u64,
    namespace_len: u32,
    group_len: u32,
    /// `namespace ++ group ++ "@@" ++ name`, so that the grouped name is a slice of it.
    text: Box<str>,
}

impl ServiceKey {
    /// Makes a key from its parts. A blank namespace means `public`, and a blank group means `DEFAULT_GROUP`.
    pub fn new(namespace: &str, group: &str, name: &str) -> ServiceKey {
        let namespace = if namespace.is_empty() { DEFAULT_NAMESPACE } else { namespace };
        let group = if group.is_empty() { DEFAULT_GROUP } else { group };
        let text = [namespace, group, GROUP_SEPARATOR, name].concat().into_boxed_str();
        let hash = xxhash_rust::xxh3::xxh3_64_with_seed(text.as_bytes(), namespace.len() as u64);
        ServiceKey(Arc::new(Parts {
            hash,
            namespace_len: namespace.len() as u32,
            group_len: group.len() as u32,
            text,
        }))
    }

    /// Makes a key from a name that may contain its group (`group@@name`). As in Nacos, a group in the name wins over `group`.
    pub fn parse(namespace: &str, group: &str, name: &str) -> ServiceKey {
        match split_grouped(name) {
            Some((group, name)) => ServiceKey::new(namespace, group, name),
            None => ServiceKey::new(namespace, group, name),
        }
    }

    pub fn namespace(&self) -> &str {
        &self.0.text[..self.0.namespace_len as usize]
    }

    pub fn group(&self) -> &str {
        let start = self.0.namespace_len as usize;
        &self.0.text[start..start + self.0.group_len as usize]
    }

    pub fn name(&self) -> &str {
        let start = (self.0.namespace_len + self.0.group_len) as usize + GROUP_SEPARATOR.len();
        &self.0.text[start..]
    }

    /// `group@@name`.
    pub fn grouped_name(&self) -> &str {
        &self.0.text[self.0.namespace_len as usize..]
    }

    /// A hash of the key with 64 bits. It is the same on every member and in every release.
    pub fn hash64(&self) -> u64 {
        self.0.hash
    }
}

/// Splits `group@@name` at the first separator.
pub fn split_grouped(name: &str) -> Option<(&str, &str)> {
    name.split_once(GROUP_SEPARATOR)
}

/// `group@@name`, as Nacos writes it in answers and messages.
pub fn grouped(group: &str, name: &str) -> String {
    [group, GROUP_SEPARATOR, name].concat()
}

impl PartialEq for ServiceKey {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
            || (self.0.hash == other.0.hash
                && self.0.namespace_len == other.0.namespace_len
                && self.0.group_len == other.0.group_len
                && self.0.text == other.0.text)
    }
}

impl Eq for ServiceKey {}

impl PartialOrd for ServiceKey {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ServiceKey {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        if Arc::ptr_eq(&self.0, &other.0) {
            return std::cmp::Ordering::Equal;
        }
        (self.namespace(), self.group(), self.name()).cmp(&(other.namespace(), other.group(), other.name()))
    }
}

impl Hash for ServiceKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.0.hash);
    }
}

impl fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ServiceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace(), self.grouped_name())
    }
}

/// The ip and port of an instance. The ip may be any text that the parameter check accepts, such as a host name or `::1`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    pub ip: Arc<str>,
    pub port: u16,
}

impl Address {
    pub fn new(ip: &str, port: u16) -> Address {
        Address { ip: Arc::from(ip), port }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.ip, self.port)
    }
}

/// Who publishes: an HTTP client (`ip:port#true`, as in Nacos) or a gRPC connection (its id).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(Arc<str>);

impl ClientId {
    /// The id of the client that keeps an ephemeral instance alive by HTTP heartbeats.
    pub fn beat(ip: &str, port: u16) -> ClientId {
        ClientId(format!("{ip}:{port}#true").into())
    }

    /// The id of a connection, or any id that a peer sent.
    pub fn from_text(text: &str) -> ClientId {
        ClientId(Arc::from(text))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether the client lives by HTTP heartbeats, whose times the responsible member watches.
    pub fn is_beat(&self) -> bool {
        self.0.ends_with("#true")
    }
}

impl fmt::Display for ClientId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Key of a datum: one client's publication for one service.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicationKey {
    pub service: ServiceKey,
    pub client: ClientId,
}

impl fmt::Display for PublicationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} by {}", self.service, self.client)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_in_the_name_wins_over_the_group_parameter() {
        let key = ServiceKey::parse("", "G3", "G2@@svc");
        assert_eq!((key.namespace(), key.group(), key.name()), ("public", "G2", "svc"));
        assert_eq!(key.grouped_name(), "G2@@svc");
        assert_eq!(key, ServiceKey::new("public", "G2", "svc"));
    }

    #[test]
    fn keys_with_the_same_concatenation_differ() {
        assert_ne!(ServiceKey::new("ab", "c", "d"), ServiceKey::new("a", "bc", "d"));
        assert!(ServiceKey::new("a", "z", "z") < ServiceKey::new("ab", "a", "a"));
    }
}
