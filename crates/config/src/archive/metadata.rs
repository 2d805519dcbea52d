//! The two formats in which an archive says something about its items.
//!
//! `.metadata.yml` is YAML: a list `metadata` of maps with `group`, `dataId`, `type`, and perhaps `appName`, `desc` and
//! `configTags`. Aliases are refused, since a small file of them can stand for a huge one.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Parser, ScalarStyle, StrInput};

type Events<'i> = Parser<'i, StrInput<'i>>;

/// The name of the file in the new format.
pub const NEW: &str = ".metadata.yml";
/// The name of the file in the old format.
pub const OLD: &str = ".meta.yml";
/// How deep the YAML may nest: list in map, map in list, list of tags.
const DEPTH_MAX: usize = 8;

/// What the new format says about one item.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ItemMeta {
    pub group: String,
    pub data_id: String,
    pub kind: String,
    pub app_name: Option<String>,
    pub desc: Option<String>,
    /// The tags, as a comma-separated list.
    pub tags: Option<String>,
}

/// Writes the new format.
pub fn write_new(items: &[ItemMeta]) -> String {
    if items.is_empty() {
        return "metadata: []\n".into();
    }
    let mut text = String::from("metadata:\n");
    for item in items {
        text += &format!("- appName: {}\n", scalar(item.app_name.as_deref().unwrap_or_default()));
        if let Some(tags) = &item.tags {
            text += &format!("  configTags: {}\n", scalar(tags));
        }
        text += &format!("  dataId: {}\n", scalar(&item.data_id));
        if let Some(desc) = &item.desc {
            text += &format!("  desc: {}\n", scalar(desc));
        }
        text += &format!("  group: {}\n  type: {}\n", scalar(&item.group), scalar(&item.kind));
    }
    text
}

/// A text for YAML. It is plain if nobody can misread it; otherwise it is in quotes as in JSON, which YAML understands.
fn scalar(text: &str) -> String {
    let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
    let plain = text.as_bytes().first().is_some_and(u8::is_ascii_alphabetic)
        && text.bytes().all(word)
        && !["true", "false", "null", "yes", "no", "on", "off", "y", "n"]
            .contains(&&*text.to_ascii_lowercase());
    match text {
        "" => "''".into(),
        _ if plain => text.into(),
        _ => serde_json::Value::from(text).to_string(),
    }
}

/// Reads the new format.
///
/// # Errors
/// The text is not YAML of this form, or an item lacks its group, data id or type.
pub(super) fn read_new(text: &str) -> Result<Vec<ItemMeta>, String> {
    let root = Tree::read(text)?;
    let Some(Tree::List(items)) = root.get("metadata") else {
        return Err("there is no list \"metadata\"".into());
    };
    if items.is_empty() {
        return Err("the list \"metadata\" is empty".into());
    }
    let item = |(n, tree): (usize, &Tree)| {
        let text = |name: &str| match tree.get(name) {
            Some(Tree::Text(text)) if !text.is_empty() => Some(text.clone()),
            Some(Tree::List(list)) => {
                let words: Vec<&str> = list.iter().filter_map(Tree::text).collect();
                Some(words.join(","))
            }
            _ => None,
        };
        let needed = |name: &str| text(name).ok_or_else(|| format!("item {} has no {name}", n + 1));
        Ok(ItemMeta {
            group: needed("group")?,
            data_id: needed("dataId")?,
            kind: needed("type")?,
            app_name: text("appName"),
            desc: text("desc"),
            tags: text("configTags"),
        })
    };
    items.iter().enumerate().map(item).collect()
}

/// The line of the old format for one item. `None` if the item has no application, or one that a line cannot hold. The
/// last dot of a data id becomes a tilde in it.
pub fn old_line(group: &str, data_id: &str, app_name: &str) -> Option<String> {
    (!app_name.is_empty() && !app_name.contains(['=', '\r', '\n']))
        .then(|| format!("{}={app_name}\r\n", old_key(group, data_id)))
}

/// The name of an item in a line of the old format.
pub(super) fn old_key(group: &str, data_id: &str) -> String {
    match data_id.rsplit_once('.') {
        Some((name, extension)) => format!("{group}.{name}~{extension}.app"),
        None => format!("{group}.{data_id}.app"),
    }
}

/// Reads the old format, which has the names of applications by [`old_key`].
///
/// # Errors
/// A line does not have the form `key=value`.
pub(super) fn read_old(text: &str) -> Result<BTreeMap<String, String>, String> {
    let line = |line: &str| match line.split_once('=') {
        Some((key, app)) if !app.contains('=') => Ok((key.to_owned(), app.to_owned())),
        _ => Err(format!("{line:?} is not group.dataId.app=application")),
    };
    text.lines().filter(|l| !l.trim().is_empty()).map(line).collect()
}

/// The part of YAML that the format needs.
#[derive(Clone, Debug, PartialEq)]
enum Tree {
    /// A text. `null` becomes the empty text.
    Text(String),
    List(Vec<Tree>),
    Map(Vec<(Tree, Tree)>),
}

impl Tree {
    fn read(text: &str) -> Result<Tree, String> {
        let mut parser = Parser::new_from_str(text);
        loop {
            match next(&mut parser)? {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                Event::StreamEnd | Event::DocumentEnd => return Err("it is empty".into()),
                event => return Tree::of(event, &mut parser, 0),
            }
        }
    }

    fn of<'i>(event: Event<'i>, parser: &mut Events<'i>, depth: usize) -> Result<Tree, String> {
        if depth > DEPTH_MAX {
            return Err(format!("it nests deeper than {DEPTH_MAX}"));
        }
        match event {
            Event::Scalar(text, style, ..) => {
                let null = style == ScalarStyle::Plain && matches!(&*text, "null" | "~");
                Ok(Tree::Text(if null { String::new() } else { text.into_owned() }))
            }
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match next(parser)? {
                        Event::SequenceEnd => return Ok(Tree::List(items)),
                        event => items.push(Tree::of(event, parser, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut pairs = Vec::new();
                loop {
                    let key = match next(parser)? {
                        Event::MappingEnd => return Ok(Tree::Map(pairs)),
                        event => Tree::of(event, parser, depth + 1)?,
                    };
                    let event = next(parser)?;
                    pairs.push((key, Tree::of(event, parser, depth + 1)?));
                }
            }
            Event::Alias(_) => Err("it has an alias (*): write the value out".into()),
            _ => Err("it has a node that is neither text, list nor map".into()),
        }
    }

    fn get(&self, name: &str) -> Option<&Tree> {
        let Tree::Map(pairs) = self else { return None };
        pairs.iter().find(|(key, _)| key.text() == Some(name)).map(|(_, value)| value)
    }

    fn text(&self) -> Option<&str> {
        if let Tree::Text(text) = self { Some(text) } else { None }
    }
}

fn next<'i>(parser: &mut Events<'i>) -> Result<Event<'i>, String> {
    match parser.next_event() {
        Some(Ok((event, _))) => Ok(event),
        Some(Err(error)) => Err(error.to_string()),
        None => Err("it breaks off".into()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let item = |data_id: &str, desc: Option<&str>| ItemMeta {
            group: "G".into(),
            data_id: data_id.into(),
            kind: "yaml".into(),
            app_name: None,
            desc: desc.map(str::to_owned),
            tags: desc.map(|_| "a,b".into()),
        };
        let items = vec![
            item("a.yaml", None),
            item("123", Some("x: \"y\"\n# z")),
            item("no", Some("中 - 'q'")),
            item("a:b", None),
        ];
        assert_eq!(read_new(&write_new(&items)).unwrap(), items);
        let plain = write_new(&items[..1]);
        assert_eq!(plain, "metadata:\n- appName: ''\n  dataId: a.yaml\n  group: G\n  type: yaml\n");
    }

    #[test]
    fn nacos_writes_a_tag_and_nulls() {
        let text = "!!com.alibaba.nacos.config.server.model.ConfigMetadata\nmetadata:\n- appName: null\n  dataId: d\n  \
                    desc: ~\n  group: G\n  type: text\n  configTags: [a, b]\n";
        let items = read_new(text).unwrap();
        let want = ItemMeta {
            group: "G".into(),
            data_id: "d".into(),
            kind: "text".into(),
            tags: Some("a,b".into()),
            ..ItemMeta::default()
        };
        assert_eq!(items, [want]);
    }

    #[test]
    fn what_is_no_metadata_is_told() {
        let deep = format!("metadata: {}{}", "[".repeat(50), "]".repeat(50));
        for (text, want) in [
            ("", "it is empty"),
            ("a: 1", "there is no list \"metadata\""),
            ("G.a.app=x", "there is no list \"metadata\""),
            ("metadata: []", "the list \"metadata\" is empty"),
            ("metadata:\n- group: G\n  dataId: d\n", "item 1 has no type"),
            ("a: &x [1]\nmetadata: [*x]", "it has an alias (*): write the value out"),
            (&*deep, "it nests deeper than 8"),
        ] {
            assert_eq!(read_new(text).unwrap_err(), want, "{text}");
        }
        assert!(read_new("metadata: [").is_err());
    }

    #[test]
    fn the_old_format_is_lines() {
        assert_eq!(old_line("G", "a.b.yaml", "app").unwrap(), "G.a.b~yaml.app=app\r\n");
        for none in ["", "a=b", "a\nG.b.app=c", "a\r"] {
            assert_eq!(old_line("G", "a", none), None, "{none:?}: an archive that nobody could read");
        }
        let read = read_old("G.a~yaml.app=x\r\n\nG.b.app=\n").unwrap();
        assert_eq!(read.get(&old_key("G", "a.yaml")).map(String::as_str), Some("x"));
        assert!(read_old("garbage").is_err());
        assert!(read_old("a=b=c").is_err());
    }
}
