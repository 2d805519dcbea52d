//! Archives of configurations: the reader for imports, which the server and `dyad config import --dry-run` share, and
//! the writer for exports.
//!
//! The name of an entry is `group/dataId`. In the new format the file `.metadata.yml` lists the items. In the old
//! format every such entry is an item, whose type follows from its extension, and the file `.meta.yml` gives the
//! applications. Everything in an archive is checked as in a publish before any of it is used.

mod entries;
mod metadata;

use std::collections::BTreeMap;

use dyad_types::ConfigKey;
use dyad_types::check::{self, Input};
use dyad_types::config_check::{ConfigInput, check_config};

use crate::{ConfigType, Content, Draft};
pub use entries::{ENTRIES_MAX, Writer, write};
use entries::{Entry, split};
pub use metadata::{ItemMeta, NEW, OLD, write_new, write_old};
use metadata::{OldApps, shared_keys};

/// The contents of an archive.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Archive {
    /// The items in the order of the archive, each in the form of a publish.
    pub items: Vec<(ConfigKey, Draft)>,
    /// The names of entries that are not items, and of listed items that do not exist, in the words of Nacos.
    pub unrecognized: Vec<String>,
}

/// Why an archive cannot be imported.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the file is no zip archive")]
    NoArchive,
    /// Nothing in it is a configuration. This many entries are something else.
    #[error("no entry has the name group/dataId; {0} others")]
    NoItems(usize),
    /// The metadata in the file of this name cannot be read; `what` says why.
    #[error("{file}: {what}")]
    Metadata { file: &'static str, what: String },
    /// Something in it is refused. This is the whole message.
    #[error("{0}")]
    Refused(String),
}

/// Reads an archive of either format that is to be imported into this namespace.
///
/// # Errors
/// The first thing that is wrong with it: a name that leads out of it, more entries or bytes than an import accepts,
/// text that is not UTF-8, metadata that does not parse, an item that a publish would refuse, or no item at all.
pub fn read(bytes: &[u8], namespace: &str) -> Result<Archive, Unreadable> {
    let mut entries = entries::read(bytes)?;
    let mut take = |name: &str| {
        let at = entries.iter().position(|entry| entry.name == name)?;
        entries.remove(at).text
    };
    let (new, old) = (take(NEW), take(OLD));
    let bad = |file: &'static str| move |what: String| Unreadable::Metadata { file, what };
    let archive = match new {
        Some(text) => by_metadata(entries, metadata::read_new(&text).map_err(bad(NEW))?, namespace)?,
        None => {
            let old = old.unwrap_or_default();
            by_names(entries, &OldApps::read(&old).map_err(bad(OLD))?, namespace)?
        }
    };
    if archive.items.is_empty() { Err(Unreadable::NoItems(archive.unrecognized.len())) } else { Ok(archive) }
}

/// How many configurations are in an archive that a server exported.
///
/// # Errors
/// The bytes are not an archive, or not one that a server exports.
pub fn count(bytes: &[u8]) -> Result<usize, Unreadable> {
    Ok(entries::read(bytes)?.iter().filter(|entry| entry.name != NEW && entry.name != OLD).count())
}

/// Reads the new format, in which the metadata lists the items.
fn by_metadata(entries: Vec<Entry>, meta: Vec<ItemMeta>, namespace: &str) -> Result<Archive, Unreadable> {
    let mut listed: BTreeMap<(String, String), ItemMeta> = BTreeMap::new();
    for item in meta {
        if let Some(first) = listed.insert((item.group.clone(), item.data_id.clone()), item) {
            let what = format!("{}/{} is listed twice", first.group, first.data_id);
            return Err(Unreadable::Metadata { file: NEW, what });
        }
    }
    let (mut items, mut unrecognized) = (Vec::new(), Vec::new());
    for Entry { name, text } in entries {
        let (Some((group, data_id)), Some(text)) = (split(&name), text) else {
            unrecognized.push(name);
            continue;
        };
        match listed.remove(&(group.to_owned(), data_id.to_owned())) {
            Some(meta) => {
                let draft = Draft {
                    kind: ConfigType::parse(&meta.kind).unwrap_or_default(),
                    app_name: Some(meta.app_name.unwrap_or_default().into()),
                    desc: meta.desc.unwrap_or_default().into(),
                    tags: meta.tags.map(|tags| tags.split(',').map(Box::from).collect()),
                    ..Draft::text("")
                };
                items.push(item(namespace, &name, (group, data_id), text, draft)?);
            }
            None => unrecognized.push(format!("未在元数据中找到: {name}")),
        }
    }
    let missing = listed.keys().map(|(group, data_id)| format!("未在文件中找到: {group}/{data_id}"));
    unrecognized.extend(missing);
    Ok(Archive { items, unrecognized })
}

/// Reads the old format, in which every entry whose name has two parts is an item. Its type follows from its extension.
fn by_names(entries: Vec<Entry>, apps: &OldApps<'_>, namespace: &str) -> Result<Archive, Unreadable> {
    let (mut items, mut unrecognized) = (Vec::new(), Vec::new());
    let names = entries.iter().filter(|entry| entry.text.is_some()).filter_map(|entry| split(&entry.name));
    let shared = shared_keys(names);
    for Entry { name, text } in entries {
        let (Some((group, data_id)), Some(text)) = (split(&name), text) else {
            unrecognized.push(name);
            continue;
        };
        let draft = Draft {
            kind: ConfigType::of_name(data_id).unwrap_or_default(),
            app_name: apps.of(group, data_id, &shared).map(Box::from),
            ..Draft::text("")
        };
        items.push(item(namespace, &name, (group, data_id), text, draft)?);
    }
    Ok(Archive { items, unrecognized })
}

/// Checks one item in the way of a publish, and takes its md5.
fn item(
    namespace: &str,
    name: &str,
    (group, data_id): (&str, &str),
    text: String,
    draft: Draft,
) -> Result<(ConfigKey, Draft), Unreadable> {
    let wrong = |what: String| Unreadable::Refused(format!("entry {name:?}: {what}"));
    check::check(&Input { data_id: Some(data_id), group: Some(group), ..Input::default() })
        .map_err(|illegal| wrong(illegal.to_string()))?;
    let tags = draft.tags.as_ref().map(|tags| tags.join(","));
    let input = ConfigInput {
        data_id: Some(data_id),
        group: Some(group),
        content: Some(&text),
        config_tags: tags.as_deref(),
        desc: Some(&draft.desc),
        app_name: draft.app_name.as_deref(),
        ..ConfigInput::default()
    };
    check_config(&input, "tenant").map_err(|fault| wrong(fault.to_string()))?;
    let draft = Draft { content: Content::new(text), ..draft };
    Ok((ConfigKey::new(namespace, group, data_id), draft))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn item(data_id: &str, kind: ConfigType, content: &str) -> (ConfigKey, Draft) {
        (ConfigKey::new("dev", "G", data_id), Draft { kind, ..Draft::text(content) })
    }

    #[test]
    fn both_formats_are_read() {
        let old = [("G/a.yml", "x"), ("G/b", "y"), ("readme", "z"), (OLD, "G.b.app=shop\r\n")];
        let mut items = vec![item("a.yml", ConfigType::Yaml, "x"), item("b", ConfigType::Text, "y")];
        items[1].1.app_name = Some("shop".into());
        let want = Archive { items, unrecognized: vec!["readme".into()] };
        let old = write(old).unwrap();
        assert_eq!((read(&old, "dev"), count(&old)), (Ok(want), Ok(3)));

        let metadata = "!!x\nmetadata:\n- appName: ''\n  configTags: [p, q]\n  dataId: a\n  group: G\n  type: json\n\
                        - {group: G, dataId: gone, type: text, desc: null}\n";
        let new = [("G/a", "{}"), ("G/b", "y"), (NEW, metadata)];
        let mut items = vec![item("a", ConfigType::Json, "{}")];
        items[0].1.app_name = Some("".into());
        items[0].1.tags = Some(["p".into(), "q".into()].into());
        let unrecognized = vec!["未在元数据中找到: G/b".into(), "未在文件中找到: G/gone".into()];
        assert_eq!(read(&write(new).unwrap(), "dev"), Ok(Archive { items, unrecognized }));
    }

    #[test]
    fn what_is_not_recognized_is_named_and_the_rest_is_read() {
        let old = [
            ("G/one.yml", "a: 1"),
            ("G/two", "b"),
            ("G/deep/three", "c"),
            ("G/.DS_Store", "Bud1"),
            ("__MACOSX/G/._one.yml", "\0\u{5}\u{16}\u{7}"),
            (OLD, "G.one~yml.app=app1\rG.two.app=app2"),
        ];
        let read = read(&write(old).unwrap(), "dev").unwrap();
        let apps: Vec<_> =
            read.items.iter().map(|(key, draft)| (key.data_id(), draft.app_name.as_deref())).collect();
        assert_eq!(apps, [("one.yml", Some("app1")), ("two", Some("app2"))]);
        assert_eq!(read.unrecognized, ["G/deep/three", "G/.DS_Store", "__MACOSX/G/._one.yml"]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let twice = "metadata: [{group: G, dataId: a, type: text}, {group: G, dataId: a, type: json}]";
        for (entries, want) in [
            (&[("readme", "x")][..], "no entry has the name group/dataId; 1 others"),
            (&[("G/a", " ")], "entry \"G/a\": content is blank : "),
            (&[("G/a", "x"), (OLD, "x")], ".meta.yml: \"x\" is not group.dataId.app=application"),
            (&[("G/a", "x"), (NEW, "a: 1")], ".metadata.yml: there is no list \"metadata\""),
            (&[("G/a", "x"), (NEW, twice)], ".metadata.yml: G/a is listed twice"),
            (
                &[
                    ("G/a", "x"),
                    (NEW, r#"metadata: [{group: G, dataId: a, type: text, appName: "a\u0001b"}]"#),
                ],
                "entry \"G/a\": invalid appName, it has a control character",
            ),
        ] {
            assert_eq!(read(&write(entries.iter().copied()).unwrap(), "").unwrap_err().to_string(), want);
        }
        assert_eq!(read(b"text", "").unwrap_err().to_string(), "the file is no zip archive");
    }
}
