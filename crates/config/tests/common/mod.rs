//! A log of commands over one state, with the store of rows that the machine would keep.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::collections::BTreeMap;

use dyad_config::{
    Change, ConfigChanges, ConfigCommand, ConfigReply, ConfigState, ContentRow, Draft, Publish, Revision,
    ShownVersion, Source,
};
use dyad_types::{ConfigKey, Md5, Stamp};

/// Milliseconds from one entry to the next.
pub(crate) const STEP_MS: u64 = 1_000;

#[derive(Clone, Default)]
pub(crate) struct Log {
    pub(crate) state: ConfigState,
    pub(crate) store: BTreeMap<Revision, Vec<u8>>,
    pub(crate) index: u64,
}

impl Log {
    pub(crate) fn apply(&mut self, command: &ConfigCommand) -> (ConfigReply, ConfigChanges) {
        self.index += 1;
        let stamp = Stamp { now_ms: self.index * STEP_MS, index: self.index };
        let (reply, changes) = self.state.apply(command, stamp);
        for (revision, row) in &changes.contents_put {
            self.store.insert(*revision, row.encode());
        }
        for revision in &changes.contents_dropped {
            assert!(self.store.remove(revision).is_some(), "{revision} was dropped twice");
        }
        (reply, changes)
    }

    pub(crate) fn reply(&mut self, change: Change) -> ConfigReply {
        self.apply(&command(change)).0
    }

    pub(crate) fn publish(&mut self, data_id: &str, content: &str) -> Revision {
        done(&self.reply(publish(data_id, content)))
    }

    pub(crate) fn row(&self, revision: Revision) -> ContentRow {
        ContentRow::decode(revision, &self.store[&revision]).expect("rows decode")
    }

    /// The content of the formal release, from its row.
    pub(crate) fn content(&self, data_id: &str) -> Option<String> {
        let release = self.state.item(&key(data_id))?.formal()?;
        Some(self.row(release.revision).content?.text().to_string())
    }

    /// The versions as Nacos would list them, newest first: operation, release and shown content.
    pub(crate) fn history(&self, data_id: &str) -> Vec<String> {
        let item = self.state.item(&key(data_id));
        let shown = |entry: dyad_config::HistoryEntry<'_>| {
            let before = entry.before.map(|revision| self.row(revision));
            let version = ShownVersion { write: self.row(entry.revision), before };
            assert_eq!(version.write.modified_ms, entry.modified_ms);
            assert_eq!(version.write.op, entry.op);
            let content = version.shown().content.as_ref().map(|c| c.text().to_string());
            format!("{} {}={}", entry.op.as_str(), entry.gray.unwrap_or(""), content.unwrap_or_default())
        };
        item.into_iter().flat_map(|item| item.history()).map(shown).collect()
    }
}

pub(crate) fn key(data_id: &str) -> ConfigKey {
    ConfigKey::new("", "G", data_id)
}

pub(crate) fn command(change: Change) -> ConfigCommand {
    let source = Source { user: "ann".into(), ip: "10.0.0.9".into(), reason: "test".into() };
    ConfigCommand { source, change }
}

pub(crate) fn publish(data_id: &str, content: &str) -> Change {
    let draft = Draft::text(content);
    Change::Publish(Publish { key: key(data_id), draft, cas: None, enforce: false })
}

pub(crate) fn publish_if(data_id: &str, content: &str, cas: Md5) -> Change {
    let draft = Draft::text(content);
    Change::Publish(Publish { key: key(data_id), draft, cas: Some(cas), enforce: false })
}

pub(crate) fn remove(data_id: &str, gray: Option<&str>) -> Change {
    Change::Remove { key: key(data_id), gray: gray.map(Box::from) }
}

/// The revision of a `Done`.
pub(crate) fn done(reply: &ConfigReply) -> Revision {
    match reply {
        ConfigReply::Done { revision, .. } => *revision,
        other => panic!("not done: {other:?}"),
    }
}
