//! The use case that reads a configuration: which release a reader gets, and its content without a copy.

use std::net::{IpAddr, Ipv4Addr};
use std::ops::Deref;
use std::sync::Arc;

use bytes::Bytes;
use dyad_config::{
    Answer, ConfigItem, ConfigType, Content, ContentError, ContentRow, ReaderLabels, Release, Revision,
};

use super::write::blocking;
use dyad_types::{ConfigKey, Lease, Part};

use crate::caller::{Action, Caller, Resource};
use crate::fault::Fault;
use crate::state::App;

/// The text of a release. Whoever reads a large one while another reader holds it shares its memory.
#[derive(Clone, Debug)]
pub enum Text {
    /// From the state.
    Inline(Arc<str>),
    /// From the store.
    Stored(Content),
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Text::Inline(text) => text,
            Text::Stored(content) => content.text(),
        }
    }
}

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl Text {
    /// Its bytes, which share its memory.
    pub fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

/// The configuration, and which of its releases a reader gets.
#[derive(Clone, Debug)]
pub struct Answered {
    pub item: Arc<ConfigItem>,
    /// The position of the release in `item.grays()`. `None` means the formal release.
    pub gray: Option<usize>,
}

impl Answered {
    pub fn release(&self) -> Option<&Release> {
        match self.gray {
            Some(at) => self.item.grays().get(at).map(|gray| &gray.release),
            None => self.item.formal(),
        }
    }

    /// The type of the release; see [`ConfigItem::kind`].
    pub fn kind(&self) -> ConfigType {
        self.release().map_or(ConfigType::Text, |release| self.item.kind(release))
    }

    /// The name of the gray release, and the expression of its rule. `None` for the formal release.
    pub fn gray(&self) -> Option<(&str, &str)> {
        let gray = self.item.grays().get(self.gray?)?;
        Some((&gray.name, gray.rule.expression()))
    }
}

/// The configuration of a key, also when only its history is left; `None` when it never was.
///
/// # Errors
/// A caller that may not read it.
pub fn item(app: &App, caller: &Caller, key: &ConfigKey) -> Result<Option<Arc<ConfigItem>>, Fault> {
    caller.may(Action::Read, &Resource::Config(key))?;
    app.has_state()?;
    Ok(app.configs.item(key))
}

/// May the caller listen to the configuration? The comparison with what it has tells it that there is another content.
///
/// # Errors
/// A caller that may not read it, or a member that could only call it removed.
pub fn listens(app: &App, caller: &Caller, key: &ConfigKey) -> Result<(), Fault> {
    caller.may(Action::Read, &Resource::Config(key))?;
    app.has_state()
}

/// Which release of a configuration this reader gets; `None` is 404.
pub fn answer(item: Arc<ConfigItem>, reader: &ReaderLabels<'_>) -> Option<Answered> {
    let gray = match item.answer(reader) {
        Answer::Formal(_) => None,
        Answer::Gray(gray) => Some(item.grays().iter().position(|g| std::ptr::eq(g, gray))?),
        Answer::Absent => return None,
    };
    Some(Answered { item, gray })
}

/// Bytes of the largest content. Of a version in a history nobody knows the size before it is read.
pub const LARGEST: usize = dyad_types::limits::COMMAND_MAX;

/// Takes room for an answer with contents of so many bytes, before they are read. Who has it keeps it with the contents.
///
/// # Errors
/// There is no room.
pub fn room(app: &App, caller: &Caller, bytes: usize) -> Result<Option<Lease>, Fault> {
    Ok(app.budget.take(Part::Answers, address(caller), bytes)?)
}

/// The same as [`room`], for contents that are to be written and not answered: they count like the body of a request.
///
/// # Errors
/// There is no room.
pub fn room_to_write(app: &App, caller: &Caller, bytes: usize) -> Result<Lease, Fault> {
    Ok(app.budget.room(Part::Bodies).take(address(caller), bytes)?)
}

/// The address whose share it is. It is known of every client.
pub fn address(caller: &Caller) -> IpAddr {
    caller.address.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
}

/// The content of a release. A small one comes from memory, and a large one from the store.
///
/// # Errors
/// The store cannot give it.
pub async fn content(app: &Arc<App>, release: &Release) -> Result<Text, Fault> {
    match &release.inline {
        Some(text) => Ok(Text::Inline(Arc::clone(text))),
        None => text_of(&row(app, release.revision, release.len as usize).await?),
    }
}

/// The same as [`content`], for callers that may block.
///
/// # Errors
/// The same as those of [`content`].
pub fn content_here(app: &App, release: &Release) -> Result<Text, Fault> {
    match &release.inline {
        Some(text) => Ok(Text::Inline(Arc::clone(text))),
        None => text_of(&row_here(app, release.revision, release.len as usize)?),
    }
}

/// The content of a row that must have one.
///
/// # Errors
/// The row is of a removal, which no release refers to.
pub fn text_of(row: &ContentRow) -> Result<Text, Fault> {
    let damaged = || ContentError::Damaged(format!("row {} has no content", row.revision)).into();
    row.content.clone().map(Text::Stored).ok_or_else(damaged)
}

/// The row of a write, with a content of `len` bytes or [`LARGEST`]. It is read on a thread that may block.
///
/// # Errors
/// The store cannot give it.
pub async fn row(app: &Arc<App>, revision: Revision, len: usize) -> Result<ContentRow, Fault> {
    let (contents, reading) = (Arc::clone(&app.contents), app.turns.reading(len).await);
    let read = move || {
        let _reading = reading;
        contents.read(revision)
    };
    Ok(blocking(read).await??)
}

/// The same as [`row`], for callers that may block.
///
/// # Errors
/// The same as those of [`row`].
pub fn row_here(app: &App, revision: Revision, len: usize) -> Result<ContentRow, Fault> {
    let _reading = app.turns.reading_here(len);
    Ok(app.contents.read(revision)?)
}
