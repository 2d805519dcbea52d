//! One configuration: its formal release, its gray releases and its versions.

use std::sync::{Arc, LazyLock};

use dyad_types::Md5;

use crate::content::{ConfigType, Draft, Revision};
use crate::gray::{GrayRule, ReaderLabels};
use crate::history::{History, HistoryEntry};
use crate::limits::INLINE_MAX;

/// A configuration. If it has neither a formal nor a gray release, only its history is left.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigItem {
    pub(crate) formal: Option<Release>,
    /// Sorted by priority, the largest first, and then by name. This is the order in which they are checked for a reader.
    pub(crate) grays: Vec<Gray>,
    pub(crate) history: History,
}

/// A released content with everything that was published with it. The row of its revision says who published it, and
/// from where.
#[derive(Clone, Debug, PartialEq)]
pub struct Release {
    /// The revision of the write that created the release. It is the `id` of the configuration.
    pub id: Revision,
    /// The key of the content's row.
    pub revision: Revision,
    pub md5: Md5,
    /// The content, if it has at most [`INLINE_MAX`] bytes. Otherwise it is in the row only.
    pub inline: Option<Arc<str>>,
    /// The number of bytes of the content.
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

/// Texts that most configurations do not have, in one allocation. An empty text is absent.
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

/// The release that a reader gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Answer<'a> {
    Formal(&'a Release),
    Gray(&'a Gray),
    /// There is no release for this reader; the answer is 404.
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

    /// The md5 that listeners compare. `None` if there is no release; listeners write `''` then.
    pub fn md5(self) -> Option<Md5> {
        self.release().map(|release| release.md5)
    }
}

impl ConfigItem {
    pub fn formal(&self) -> Option<&Release> {
        self.formal.as_ref()
    }

    /// The gray releases, in the order in which they are checked for a reader.
    pub fn grays(&self) -> &[Gray] {
        &self.grays
    }

    pub fn gray(&self, name: &str) -> Option<&Gray> {
        self.grays.iter().find(|gray| *gray.name == *name)
    }

    /// The type that readers of one of its releases are told. As in Nacos, a gray release without a type has the type of the
    /// formal release.
    pub fn kind(&self, release: &Release) -> ConfigType {
        match self.formal() {
            Some(formal) if release.kind == ConfigType::Text => formal.kind,
            _ => release.kind,
        }
    }

    /// Whether there is a release.
    pub fn is_present(&self) -> bool {
        self.formal.is_some() || !self.grays.is_empty()
    }

    /// The release that this reader gets (`ConfigQueryChainService`). It is the first gray release whose rule holds. If
    /// none holds, a reader that asked for a tag by parameter gets no release, and any other reader gets the formal
    /// one.
    pub fn answer(&self, reader: &ReaderLabels<'_>) -> Answer<'_> {
        if let Some(gray) = self.grays.iter().find(|gray| gray.rule.matches(reader)) {
            return Answer::Gray(gray);
        }
        match &self.formal {
            Some(release) if reader.asked_tag().is_none() && release.len > 0 => Answer::Formal(release),
            _ => Answer::Absent,
        }
    }

    /// The versions that are shown, of the formal and the gray releases, newest first.
    pub fn history(&self) -> impl Iterator<Item = HistoryEntry<'_>> {
        self.history.newest_first()
    }

    /// The number of versions that are shown.
    pub fn history_len(&self) -> usize {
        self.history.len()
    }

    /// The version with this number (`nid`), if it is shown.
    pub fn version(&self, revision: Revision) -> Option<HistoryEntry<'_>> {
        self.history.entry(revision)
    }

    /// The gray release of this name, or the formal release if the name is empty.
    pub(crate) fn release(&self, gray: &str) -> Option<&Release> {
        if gray.is_empty() { self.formal() } else { self.gray(gray).map(|g| &g.release) }
    }

    /// See [`History::prune`].
    pub(crate) fn prune(&mut self, until_ms: u64, keep: usize) -> Vec<Revision> {
        let ConfigItem { formal, grays, history } = self;
        history.prune(until_ms, keep, is_live(formal.as_ref(), grays))
    }

    /// See [`History::droppable`].
    pub(crate) fn droppable(&self) -> impl Iterator<Item = (Revision, u64)> {
        self.history.droppable(is_live(self.formal(), self.grays()))
    }

    /// Puts the gray release at the place of its priority and name. It replaces a release of the same name.
    pub(crate) fn put_gray(&mut self, gray: Gray) {
        self.grays.retain(|present| present.name != gray.name);
        let order = |g: &Gray| (std::cmp::Reverse(g.rule.priority()), g.name.clone());
        let wanted = order(&gray);
        let at = self.grays.partition_point(|present| order(present) < wanted);
        self.grays.insert(at, gray);
    }
}

/// Whether the release of this name is the one that was written with this revision.
fn is_live<'i>(formal: Option<&'i Release>, grays: &'i [Gray]) -> impl Fn(&str, Revision) -> bool + 'i {
    move |name, revision| {
        let release = match name {
            "" => formal,
            _ => grays.iter().find(|gray| *gray.name == *name).map(|gray| &gray.release),
        };
        release.is_some_and(|release| release.revision == revision)
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
    /// The texts of a draft, in which those that the draft keeps come from the release before it. `None` if there are none.
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

/// The content, if it is small enough to be kept in the state.
pub(crate) fn inline(text: &Arc<str>) -> Option<Arc<str>> {
    (text.len() <= INLINE_MAX).then(|| Arc::clone(text))
}
