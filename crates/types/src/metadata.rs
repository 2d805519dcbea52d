//! Metadata of instances and services: a small sorted string map that costs nothing while empty.

use std::sync::Arc;

/// One entry: key and value. JSON `null` is kept as `None`, as Nacos keeps it.
pub type Entry = (Box<str>, Option<Box<str>>);

/// Sorted key → value pairs, immutable and shared. Empty metadata holds no allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(Option<Arc<[Entry]>>);

impl Metadata {
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub fn get(&self, key: &str) -> Option<&str> {
        let entries = self.0.as_deref()?;
        let at = entries.binary_search_by(|(k, _)| (**k).cmp(key)).ok()?;
        entries[at].1.as_deref()
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.0.as_deref().unwrap_or_default().iter().map(|(k, v)| (&**k, v.as_deref()))
    }

    /// Total length of keys and values in characters, as the parameter check counts it.
    pub fn chars(&self) -> usize {
        self.iter().map(|(k, v)| k.chars().count() + v.map_or(0, |v| v.chars().count())).sum()
    }

    /// These entries with `over`'s put on top, key by key.
    pub fn merged(&self, over: &Metadata) -> Metadata {
        if over.is_empty() {
            return self.clone();
        }
        if self.is_empty() {
            return over.clone();
        }
        self.iter().chain(over.iter()).map(|(k, v)| (k.into(), v.map(Into::into))).collect()
    }
}

impl FromIterator<Entry> for Metadata {
    /// Sorts; of equal keys the last one stays.
    fn from_iter<T: IntoIterator<Item = Entry>>(entries: T) -> Metadata {
        let map: std::collections::BTreeMap<Box<str>, Option<Box<str>>> = entries.into_iter().collect();
        if map.is_empty() { Metadata(None) } else { Metadata(Some(map.into_iter().collect())) }
    }
}

impl<'a> FromIterator<(&'a str, &'a str)> for Metadata {
    fn from_iter<T: IntoIterator<Item = (&'a str, &'a str)>>(entries: T) -> Metadata {
        entries.into_iter().map(|(k, v)| (k.into(), Some(v.into()))).collect()
    }
}
