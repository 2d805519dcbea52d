//! The use cases of versions: one version with the row before it, the difference of two, and a rollback to one.

use std::sync::Arc;

use dyad_config::{
    Change, ConfigReply, ContentError, ContentRow, Draft, HistoryEntry, PublishGray, Revision, ShownVersion,
};
use dyad_types::{ConfigKey, Lease, Md5};

use super::read::{LARGEST, room, room_to_write, row};
use super::view::View;
use super::write::{Author, propose};
use crate::caller::Caller;
use crate::fault::Fault;
use crate::state::App;

/// Bytes of the contents of a version and of the one before it, which nobody knows before they are read.
const VERSION_MAX: usize = 2 * LARGEST;

/// What a version is looked up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// The write that made it.
    Write(Revision),
    /// The newest one of the formal release with this id.
    NewestOf(Revision),
}

/// A version, and the room of its contents.
pub type Roomed<T> = (T, Option<Lease>);

/// Calls `show` with the version, if the history has it. Blocks.
///
/// # Errors
/// A caller that may not read it, a version of another configuration, no room, or the store cannot give it.
pub fn version<T>(
    app: &App,
    caller: &Caller,
    (key, wanted): (&ConfigKey, Wanted),
    show: impl FnOnce(&HistoryEntry<'_>, &ShownVersion) -> T,
) -> Result<Option<Roomed<T>>, Fault> {
    let view = View::of(app, caller.clone())?;
    let item = view.item(key)?;
    let nid = match wanted {
        Wanted::Write(nid) => nid,
        Wanted::NewestOf(id) => {
            let item = item.filter(|item| item.formal().is_some_and(|release| release.id == id));
            let newest = item.and_then(|item| item.history().find(|entry| entry.gray.is_none()));
            let Some(newest) = newest else { return Ok(None) };
            newest.revision
        }
    };
    let _reading = app.turns.reading_here(VERSION_MAX);
    let Some(entry) = item.and_then(|item| item.version(nid)) else {
        return match app.contents.read(nid) {
            Ok(row) if row.key != *key => Err(Fault::OtherConfig),
            _ => Ok(None),
        };
    };
    let version = with_before(app, &entry)?;
    let lease = room(app, caller, bytes(Some(&version.write)) + bytes(version.before.as_ref()))?;
    Ok(Some((show(&entry, &version), lease)))
}

/// A version of a list, with the row before it. Of the contents of all versions those of one are in memory at a time, whoever
/// asks. Blocks.
///
/// # Errors
/// The store cannot give it.
pub fn listed<T>(
    app: &App,
    entry: &HistoryEntry<'_>,
    show: impl FnOnce(&ShownVersion) -> T,
) -> Result<T, Fault> {
    let _reading = app.turns.reading_here(VERSION_MAX);
    Ok(show(&with_before(app, entry)?))
}

/// Calls `compare` with two versions, each given by the write that made it. Without `to` it is the newest, without `from` the
/// one before `to`, if there is one. Blocks.
///
/// # Errors
/// A caller that may not read them, an unknown version, no room, or the store cannot give them.
pub fn two<T>(
    app: &App,
    caller: &Caller,
    (key, from, to): (&ConfigKey, Option<Revision>, Option<Revision>),
    compare: impl FnOnce(Option<&ContentRow>, &ContentRow) -> Result<T, Fault>,
) -> Result<Roomed<T>, Fault> {
    let view = View::of(app, caller.clone())?;
    let none = || Fault::NotFound(format!("{key} has no history"));
    let item = view.item(key)?.ok_or_else(none)?;
    let to = match to {
        Some(to) => item.version(to).ok_or_else(|| unknown(key, to))?,
        None => item.history().next().ok_or_else(none)?,
    };
    let from = match from {
        Some(from) => Some(item.version(from).ok_or_else(|| unknown(key, from))?.revision),
        None => to.before,
    };
    let reading = app.turns.reading_here(VERSION_MAX);
    let before = from.map(|revision| app.contents.read(revision)).transpose()?;
    let after = app.contents.read(to.revision)?;
    let lease = room(app, caller, bytes(before.as_ref()) + bytes(Some(&after)))?;
    drop(reading);
    Ok((compare(before.as_ref(), &after)?, lease))
}

/// What a rollback published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RolledBack {
    pub revision: Revision,
    pub md5: Option<Md5>,
    /// The gray release. `None` is the formal one.
    pub gray: Option<String>,
}

/// Publishes again what the write `to` made: the formal release, or the gray one by its rule, which must never become
/// everybody's.
///
/// # Errors
/// A caller that may not, an unknown version, one that removed the release, a limit, or a core that does not acknowledge.
pub async fn rollback(
    app: &Arc<App>,
    key: ConfigKey,
    to: Revision,
    author: Author,
) -> Result<RolledBack, Fault> {
    if View::of(app, author.caller.clone())?.item(&key)?.is_none_or(|item| item.version(to).is_none()) {
        return Err(unknown(&key, to));
    }
    let row = match row(app, to, LARGEST).await {
        Err(Fault::Content(ContentError::Gone(_))) => return Err(unknown(&key, to)),
        row => row?,
    };
    let _room = room_to_write(app, &author.caller, bytes(Some(&row)))?;
    let draft = draft(&row)?;
    let gone = unknown(&key, to);
    let (change, gray) = match row.gray {
        Some((name, Some(rule))) => {
            let shown = name.to_string();
            (Change::PublishGray(PublishGray { key, name, rule, draft, cas: None }), Some(shown))
        }
        _ => (Change::Rollback { key, to, draft }, None),
    };
    match propose(app, change, author).await? {
        ConfigReply::Done { revision, md5 } => Ok(RolledBack { revision, md5, gray }),
        ConfigReply::NotFound => Err(gone),
        _ => Err(Fault::UnknownReply),
    }
}

/// What a write published, to be published again.
///
/// # Errors
/// The write removed the release.
pub fn draft(row: &ContentRow) -> Result<Draft, Fault> {
    let content = row.content.clone().ok_or_else(|| {
        Fault::Invalid(format!(
            "version {} removed the configuration: it has no content to go back to",
            row.revision
        ))
    })?;
    let extra = row.extra.as_deref().cloned().unwrap_or_default();
    Ok(Draft {
        content,
        kind: row.kind,
        app_name: Some(extra.app_name),
        tags: Some(extra.tags),
        desc: extra.desc,
        used_for: extra.used_for,
        effect: extra.effect,
        schema: extra.schema,
        encrypted_data_key: extra.encrypted_data_key,
    })
}

fn unknown(key: &ConfigKey, what: Revision) -> Fault {
    Fault::NotFound(format!("version {what} is not in the history of {key}"))
}

fn with_before(app: &App, entry: &HistoryEntry<'_>) -> Result<ShownVersion, Fault> {
    let before = entry.before.map(|revision| app.contents.read(revision)).transpose()?;
    Ok(ShownVersion { write: app.contents.read(entry.revision)?, before })
}

/// The bytes of the content of a row.
fn bytes(row: Option<&ContentRow>) -> usize {
    row.and_then(|row| row.content.as_ref()).map_or(0, |content| content.text().len())
}
