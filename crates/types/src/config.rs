//! Identity of a configuration and of its content.

use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

use md5::{Digest, Md5 as Hasher};

use crate::key::DEFAULT_NAMESPACE;

/// Brings the id of a namespace into one form (`NamespaceUtil.processNamespaceParameter`): a blank id, `public` and
/// `null`, in upper or lower case, all become `public`; any other id is trimmed.
pub fn config_namespace(id: &str) -> &str {
    let id = id.trim();
    let default =
        id.is_empty() || id.eq_ignore_ascii_case(DEFAULT_NAMESPACE) || id.eq_ignore_ascii_case("null");
    if default { DEFAULT_NAMESPACE } else { id }
}

/// Identity of a configuration: namespace, group and data id. Clones are cheap, because they share one allocation. Keys are
/// ordered by namespace, then group, then data id.
#[derive(Clone)]
pub struct ConfigKey {
    /// `namespace ++ group ++ data id`.
    text: Arc<str>,
    namespace_len: u32,
    group_len: u32,
}

impl ConfigKey {
    /// Makes a key. The namespace is brought into one form by [`config_namespace`]; group and data id stay as they are.
    pub fn new(namespace: &str, group: &str, data_id: &str) -> ConfigKey {
        let namespace = config_namespace(namespace);
        ConfigKey {
            text: Arc::from([namespace, group, data_id].concat()),
            namespace_len: namespace.len() as u32,
            group_len: group.len() as u32,
        }
    }

    pub fn namespace(&self) -> &str {
        &self.text[..self.namespace_len as usize]
    }

    pub fn group(&self) -> &str {
        let start = self.namespace_len as usize;
        &self.text[start..start + self.group_len as usize]
    }

    pub fn data_id(&self) -> &str {
        &self.text[(self.namespace_len + self.group_len) as usize..]
    }

    /// The text `dataId+group[+tenant]` with `+` and `%` escaped (`GroupKey2`). It leaves out the default namespace.
    pub fn group_key(&self) -> String {
        let mut text = String::with_capacity(self.text.len() + 2);
        escape(self.data_id(), &mut text);
        text.push('+');
        escape(self.group(), &mut text);
        if !self.is_public() {
            text.push('+');
            escape(self.namespace(), &mut text);
        }
        text
    }

    /// The inverse of [`ConfigKey::group_key`]. `None` if the text has fewer than two or more than three parts, or an
    /// empty part.
    pub fn parse_group_key(text: &str) -> Option<ConfigKey> {
        let parts: Vec<String> = text.split('+').map(unescape).collect();
        let (data_id, group, namespace) = match parts.as_slice() {
            [data_id, group] => (data_id, group, ""),
            [data_id, group, namespace] => (data_id, group, namespace.as_str()),
            _ => return None,
        };
        let whole = !data_id.is_empty() && !group.is_empty();
        whole.then(|| ConfigKey::new(namespace, group, data_id))
    }

    /// True for the default namespace, which Nacos 2 writes as `''` and Nacos 3 as `public`.
    pub fn is_public(&self) -> bool {
        self.namespace() == DEFAULT_NAMESPACE
    }
}

fn escape(part: &str, out: &mut String) {
    for c in part.chars() {
        match c {
            '+' => out.push_str("%2B"),
            '%' => out.push_str("%25"),
            c => out.push(c),
        }
    }
}

fn unescape(part: &str) -> String {
    part.replace("%2B", "+").replace("%2b", "+").replace("%25", "%")
}

impl PartialEq for ConfigKey {
    fn eq(&self, other: &Self) -> bool {
        self.namespace_len == other.namespace_len
            && self.group_len == other.group_len
            && (Arc::ptr_eq(&self.text, &other.text) || self.text == other.text)
    }
}

impl Eq for ConfigKey {}

impl PartialOrd for ConfigKey {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for ConfigKey {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.namespace(), self.group(), self.data_id()).cmp(&(
            other.namespace(),
            other.group(),
            other.data_id(),
        ))
    }
}

impl std::hash::Hash for ConfigKey {
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.text.hash(state);
        state.write_u32(self.namespace_len);
        state.write_u32(self.group_len);
    }
}

impl fmt::Debug for ConfigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for ConfigKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.namespace(), self.group(), self.data_id())
    }
}

/// The MD5 of a content's UTF-8 bytes, shown as 32 lower-case hex digits (`MD5Utils.md5Hex`).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Md5(pub [u8; 16]);

impl Md5 {
    /// Stands for a `casMd5` that is not an md5. No known text has this md5, so it matches no release.
    pub const UNMATCHED: Md5 = Md5([0; 16]);

    /// The md5 of these bytes.
    pub fn of(content: &[u8]) -> Md5 {
        Md5(Hasher::digest(content).into())
    }

    /// Reads 32 hex digits in upper or lower case. `None` for anything else.
    pub fn parse(text: &str) -> Option<Md5> {
        let digits = text.as_bytes();
        if digits.len() != 32 {
            return None;
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = (high * 16 + low) as u8;
        }
        Some(Md5(bytes))
    }
}

impl fmt::Display for Md5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Md5 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_namespace_has_many_spellings_and_one_form() {
        for spelling in ["", "  ", "public", "PUBLIC", "Public", "null", "NULL", " public "] {
            let key = ConfigKey::new(spelling, "G", "d");
            assert_eq!((key.namespace(), key.group(), key.data_id()), ("public", "G", "d"), "{spelling:?}");
            assert!(key.is_public());
        }
        let other = ConfigKey::new(" dev ", "G", "d");
        assert_eq!((other.namespace(), other.is_public()), ("dev", false));
    }

    #[test]
    fn keys_with_the_same_concatenation_differ() {
        assert_ne!(ConfigKey::new("n", "ab", "c"), ConfigKey::new("n", "a", "bc"));
        assert!(ConfigKey::new("a", "z", "z") < ConfigKey::new("ab", "a", "a"));
        assert_eq!(ConfigKey::new("n", "g", "d"), ConfigKey::new("n", "g", "d"));
    }

    #[test]
    fn a_group_key_is_written_and_read_as_nacos_does() {
        for (key, text) in [
            (ConfigKey::new("", "G", "a.yaml"), "a.yaml+G"),
            (ConfigKey::new("dev", "G", "a.yaml"), "a.yaml+G+dev"),
            (ConfigKey::new("dev", "g%2B", "a+b"), "a%2Bb+g%252B+dev"),
        ] {
            assert_eq!(key.group_key(), text);
            assert_eq!(ConfigKey::parse_group_key(text), Some(key));
        }
        for bad in ["", "a", "+G", "a+", "a+b+c+d"] {
            assert_eq!(ConfigKey::parse_group_key(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_md5_is_shown_and_read_as_hex() {
        let md5 = Md5::of("k=v".as_bytes());
        assert_eq!(md5.to_string(), "5a8a83c40ada249c61f6b20210c9448c");
        assert_eq!(Md5::parse(&md5.to_string().to_uppercase()), Some(md5));
        for bad in [
            "",
            "5a8a",
            "5a8a83c40ada249c61f6b20210c9448",
            "5a8a83c40ada249c61f6b20210c9448g",
            "中中中中中中中中中中aa",
        ] {
            assert_eq!(Md5::parse(bad), None, "{bad:?}");
        }
    }
}
