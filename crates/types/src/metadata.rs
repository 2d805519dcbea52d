//! Metadata of instances and services: a small sorted string map that costs nothing while empty.

use std::sync::Arc;

/// One entry: key and value. `None` stands for JSON `null`, which Nacos keeps too.
pub type Entry = (Box<str>, Option<Box<str>>);

/// Pairs of key and value, sorted by key, immutable and shared. Empty metadata allocates nothing.
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

    /// The length of all keys and values together, in characters.
    pub fn chars(&self) -> usize {
        self.iter().map(|(k, v)| k.chars().count() + v.map_or(0, |v| v.chars().count())).sum()
    }

    /// These entries, in which the entries of `over` replace those with the same key.
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
    /// Sorts the entries. Of entries with equal keys the last one stays.
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
