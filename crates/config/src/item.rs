//! One configuration: the formal release, the gray releases, and the versions.

use std::sync::{Arc, LazyLock};

use dyad_types::Md5;

use crate::content::{ConfigType, Draft, Revision};
use crate::gray::{GrayRule, ReaderLabels};
use crate::history::{History, HistoryEntry};
use crate::limits::INLINE_MAX;

/// A configuration. With neither formal nor gray release only its history is left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigItem {
    pub(crate) formal: Option<Release>,
    /// By priority, the largest first, then by name: the order in which readers are asked about.
    pub(crate) grays: Vec<Gray>,
    pub(crate) history: History,
}

/// A released content with what was published with it. Who published it, and from where, is in the row of its revision.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// The revision of the write that created it: the configuration's `id`.
    pub id: Revision,
    /// The key of the content's row.
    pub revision: Revision,
    pub md5: Md5,
    /// The content, if it is not over [`INLINE_MAX`] bytes; otherwise it is in the row.
    pub inline: Option<Arc<str>>,
    /// Bytes of the content.
    pub len: u32,
    pub kind: ConfigType,
    /// Milliseconds since the epoch.
    pub created_ms: u64,
    /// Milliseconds since the epoch.
    pub modified_ms: u64,
    pub(crate) extra: Option<Arc<Extra>>,
}

/// A gray release.
#[derive(Clone, Debug, PartialEq)]
pub struct Gray {
    pub name: Box<str>,
    pub rule: Arc<GrayRule>,
    pub release: Release,
}

/// Texts that most configurations have none of, in one allocation. Empty is absent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Extra {
    pub app_name: Box<str>,
    pub tags: Box<[Box<str>]>,
    pub desc: Box<str>,
    pub used_for: Box<str>,
    pub effect: Box<str>,
    pub schema: Box<str>,
    pub encrypted_data_key: Box<str>,
}

/// What a reader gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer<'a> {
    Formal(&'a Release),
    Gray(&'a Gray),
    /// No release is for this reader: 404.
    Absent,
}

impl<'a> Answer<'a> {
    pub fn release(self) -> Option<&'a Release> {
        match self {
            Answer::Formal(release) => Some(release),
            Answer::Gray(gray) => Some(&gray.release),
            Answer::Absent => None,
        }
    }

    /// The md5 that listeners compare; `None`, which they write as `''`, without a release.
    pub fn md5(self) -> Option<Md5> {
        self.release().map(|release| release.md5)
    }
}

impl ConfigItem {
    pub fn formal(&self) -> Option<&Release> {
        self.formal.as_ref()
    }

    /// In the order in which readers are asked about.
    pub fn grays(&self) -> &[Gray] {
        &self.grays
    }

    pub fn gray(&self, name: &str) -> Option<&Gray> {
        self.grays.iter().find(|gray| *gray.name == *name)
    }

    /// Is there anything to read?
    pub fn is_present(&self) -> bool {
        self.formal.is_some() || !self.grays.is_empty()
    }

    /// The release that this reader gets (`ConfigQueryChainService`): the first gray release whose rule holds; else none,
    /// if the reader asked for a tag by parameter; else the formal one.
    pub fn answer(&self, reader: &ReaderLabels<'_>) -> Answer<'_> {
        if let Some(gray) = self.grays.iter().find(|gray| gray.rule.matches(reader)) {
            return Answer::Gray(gray);
        }
        match &self.formal {
            Some(release) if reader.asked_tag().is_none() && release.len > 0 => Answer::Formal(release),
            _ => Answer::Absent,
        }
    }

    /// The versions that are shown, formal and gray, newest first.
    pub fn history(&self) -> impl Iterator<Item = HistoryEntry<'_>> {
        self.history.newest_first()
    }

    /// Versions that are shown.
    pub fn history_len(&self) -> usize {
        self.history.len()
    }

    /// The version with this `nid`.
    pub fn version(&self, revision: Revision) -> Option<HistoryEntry<'_>> {
        self.history.entry(revision)
    }

    /// The release of this name, the formal one for `''`.
    pub(crate) fn release(&self, gray: &str) -> Option<&Release> {
        if gray.is_empty() { self.formal() } else { self.gray(gray).map(|g| &g.release) }
    }

    /// See [`History::prune`].
    pub(crate) fn prune(&mut self, until_ms: u64, keep: usize) -> Vec<Revision> {
        let ConfigItem { formal, grays, history } = self;
        let is_live = |name: &str, revision| {
            let release = match name {
                "" => formal.as_ref(),
                _ => grays.iter().find(|g| *g.name == *name).map(|g| &g.release),
            };
            release.is_some_and(|release| release.revision == revision)
        };
        history.prune(until_ms, keep, is_live)
    }

    /// Puts the gray release where its priority and name belong, in place of one of the same name.
    pub(crate) fn put_gray(&mut self, gray: Gray) {
        self.grays.retain(|present| present.name != gray.name);
        let order = |g: &Gray| (std::cmp::Reverse(g.rule.priority()), g.name.clone());
        let wanted = order(&gray);
        let at = self.grays.partition_point(|present| order(present) < wanted);
        self.grays.insert(at, gray);
    }
}

impl Release {
    /// The texts that were published with the content.
    pub fn extra(&self) -> &Extra {
        static NONE: LazyLock<Extra> = LazyLock::new(Extra::default);
        self.extra.as_deref().unwrap_or(&NONE)
    }
}

impl Extra {
    /// The texts of a draft over those of the release before it; `None` when there are none.
    pub(crate) fn of(draft: &Draft, before: Option<&Extra>) -> Option<Arc<Extra>> {
        let extra = Extra {
            app_name: draft
                .app_name
                .clone()
                .or_else(|| before.map(|b| b.app_name.clone()))
                .unwrap_or_default(),
            tags: draft.tags.clone().or_else(|| before.map(|b| b.tags.clone())).unwrap_or_default(),
            desc: draft.desc.clone(),
            used_for: draft.used_for.clone(),
            effect: draft.effect.clone(),
            schema: draft.schema.clone(),
            encrypted_data_key: draft.encrypted_data_key.clone(),
        };
        (extra != Extra::default()).then(|| Arc::new(extra))
    }
}

/// The content as the state keeps it.
pub(crate) fn inline(text: &Arc<str>) -> Option<Arc<str>> {
    (text.len() <= INLINE_MAX).then(|| Arc::clone(text))
}
