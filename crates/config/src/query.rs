//! Reads for listings: searches by patterns in pages, look-ups by id, and histories.

use std::collections::BTreeSet;
use std::sync::Arc;

use dyad_types::ConfigKey;
use dyad_types::config::config_namespace;

use crate::content::{ConfigType, Revision};
use crate::history::HistoryEntry;
use crate::item::{ConfigItem, Release};
use crate::limits::PAGE_MAX;
use crate::pattern::{Pattern, Stopped, Work};
use crate::state::ConfigState;

/// What a search asks for. A field that is `None` or empty is not checked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// The id of the namespace, in any spelling. `None` searches all namespaces.
    pub namespace: Option<Box<str>>,
    pub data_id: Option<Pattern>,
    pub group: Option<Pattern>,
    pub app_name: Option<Pattern>,
    /// At least one of these must match a tag of the configuration.
    pub tags: Vec<Pattern>,
    /// The type must be one of these.
    pub kinds: Vec<ConfigType>,
    pub content: Option<Pattern>,
}

/// A page of a listing. Pages are counted from 1. A number or size below 1 counts as 1, and a size above [`PAGE_MAX`] counts as
/// [`PAGE_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PageRequest {
    pub number: usize,
    pub size: usize,
}

impl PageRequest {
    /// The range of the entries on this page.
    fn range(self, total: usize) -> std::ops::Range<usize> {
        let size = self.size.clamp(1, PAGE_MAX);
        let start = (self.number.max(1) - 1).saturating_mul(size).min(total);
        start..start.saturating_add(size).min(total)
    }
}

/// A page of a listing.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<T> {
    /// The number of entries on all pages.
    pub total: usize,
    pub page: Vec<T>,
}

impl Filter {
    fn accepts(&self, key: &ConfigKey, release: &Release, work: &mut Work<'_>) -> Result<bool, Stopped> {
        let extra = release.extra();
        if !self.kinds.is_empty() && !self.kinds.contains(&release.kind) {
            return Ok(false);
        }
        for (pattern, text) in
            [(&self.data_id, key.data_id()), (&self.group, key.group()), (&self.app_name, &extra.app_name)]
        {
            if let Some(pattern) = pattern
                && !pattern.matches(text, work)?
            {
                return Ok(false);
            }
        }
        if self.tags.is_empty() {
            return Ok(true);
        }
        for tag in &extra.tags {
            for pattern in &self.tags {
                if pattern.matches(tag, work)? {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }
}

impl ConfigState {
    /// The configurations with a formal release that match and for which `seen` holds, in the order of their creation, which is
    /// the order of Nacos.
    ///
    /// If the filter has a content, `stored` decides about the contents that are not in memory: the caller reads the row of
    /// `release.revision` and compares. It is called after all other checks, and never if the filter has no content.
    ///
    /// # Errors
    /// The work must stop, or what `stored` fails with.
    pub fn find<'a, E: From<Stopped>>(
        &'a self,
        filter: &Filter,
        seen: &dyn Fn(&ConfigKey) -> bool,
        page: PageRequest,
        work: &mut Work<'_>,
        mut stored: impl FnMut(&Pattern, &Release, &mut Work<'_>) -> Result<bool, E>,
    ) -> Result<Found<(&'a ConfigKey, &'a Arc<ConfigItem>)>, E> {
        let mut matches: Vec<(Revision, &ConfigKey, &Arc<ConfigItem>)> = Vec::new();
        for (key, item) in self.candidates(filter) {
            work.spend(1)?;
            let Some(release) = item.formal().filter(|_| seen(key)) else { continue };
            if !filter.accepts(key, release, work)? {
                continue;
            }
            let held = match (&filter.content, &release.inline) {
                (None, _) => true,
                (Some(pattern), Some(text)) => pattern.matches(text, work)?,
                (Some(pattern), None) => stored(pattern, release, work)?,
            };
            if held {
                matches.push((release.id, key, item));
            }
        }
        let total = matches.len();
        let range = page.range(total);
        if range.start > 0 && range.start < total {
            matches.select_nth_unstable_by_key(range.start, |m| m.0);
        }
        let mut rest = matches.split_off(range.start);
        if range.len() < rest.len() && !range.is_empty() {
            rest.select_nth_unstable_by_key(range.len(), |m| m.0);
        }
        rest.truncate(range.len());
        rest.sort_unstable_by_key(|m| m.0);
        Ok(Found { total, page: rest.into_iter().map(|(_, key, item)| (key, item)).collect() })
    }

    /// The configurations with these ids, sorted by key. Unknown ids are left out.
    pub fn by_ids(&self, ids: &BTreeSet<Revision>) -> Vec<(&ConfigKey, &Arc<ConfigItem>)> {
        let wanted = |item: &ConfigItem| item.formal().is_some_and(|release| ids.contains(&release.id));
        self.items.iter().filter(|(_, item)| wanted(item)).collect()
    }

    /// A page of the versions of a configuration, of its formal and its gray releases, newest first.
    pub fn history(&self, key: &ConfigKey, page: PageRequest) -> Found<HistoryEntry<'_>> {
        let Some(item) = self.item(key) else { return Found { total: 0, page: Vec::new() } };
        let total = item.history_len();
        let range = page.range(total);
        Found { total, page: item.history().skip(range.start).take(range.len()).collect() }
    }

    /// The part of the map that can contain matches.
    fn candidates<'a>(
        &'a self,
        filter: &Filter,
    ) -> impl Iterator<Item = (&'a ConfigKey, &'a Arc<ConfigItem>)> {
        let namespace = filter.namespace.as_deref().map(config_namespace);
        let group = filter.group.as_ref().and_then(Pattern::as_exact);
        let data_id = filter.data_id.as_ref().and_then(Pattern::as_exact);
        let from = namespace.map(|namespace| match group {
            Some(group) => ConfigKey::new(namespace, group, data_id.unwrap_or_default()),
            None => ConfigKey::new(namespace, "", ""),
        });
        let beyond = move |key: &ConfigKey| {
            namespace.is_some_and(|namespace| {
                key.namespace() != namespace
                    || group.is_some_and(|group| {
                        key.group() > group
                            || (key.group() == group && data_id.is_some_and(|d| key.data_id() > d))
                    })
            })
        };
        self.items_from(from.as_ref()).take_while(move |(key, _)| !beyond(key))
    }
}
