//! The two formats in which an archive says something about its items.
//!
//! `.metadata.yml` is YAML: a list `metadata` of maps with `group`, `dataId`, `type`, and perhaps `appName`, `desc` and
//! `configTags`. Aliases are refused, since a small file of them can stand for a huge one.

use std::collections::{BTreeMap, BTreeSet};

use saphyr_parser::{Event, ScalarStyle};

use super::ENTRIES_MAX;
use crate::yaml::{Events, YamlError};

/// The name of the file in the new format.
pub const NEW: &str = ".metadata.yml";
/// The name of the file in the old format.
pub const OLD: &str = ".meta.yml";
/// How deep the YAML may nest: list in map, map in list, list of tags.
const DEPTH_MAX: usize = 8;
/// The depth of what an item says: in a map, in a list, in a map.
const ITEM_DEPTH: usize = 3;
/// What the new format may say about an item.
const FIELDS: [&str; 6] = ["group", "dataId", "type", "appName", "desc", "configTags"];

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

/// Reads the new format. Nothing but the items is kept while it is read, so that a small archive cannot take much memory.
///
/// # Errors
/// The text is not YAML of this form, it has more items than an archive may have, or an item lacks its group, data id or type.
pub(super) fn read_new(text: &str) -> Result<Vec<ItemMeta>, String> {
    let mut reader = Reader { events: Events::new(text) };
    let mut items = None;
    match reader.root()? {
        Event::MappingStart(..) => {}
        Event::StreamEnd | Event::DocumentEnd => return Err("it is empty".into()),
        _ => return Err("there is no list \"metadata\"".into()),
    }
    while let Some(key) = reader.entry(&Event::MappingEnd)? {
        let key = reader.value(key, 1)?;
        match reader.next()? {
            Event::SequenceStart(..) if key == "metadata" && items.is_none() => items = Some(reader.items()?),
            value => drop(reader.value(value, 1)?),
        }
    }
    match items {
        None => Err("there is no list \"metadata\"".into()),
        Some(items) if items.is_empty() => Err("the list \"metadata\" is empty".into()),
        Some(items) => Ok(items),
    }
}

/// Writes the old format: a line for each item that has an application, if a line can hold it. Items are group, data id and
/// application.
///
/// The key of a line is Nacos's, in which the last dot of a data id is a tilde. Other items may have the same one, since groups
/// and data ids have dots and tildes too. Such an item has `group/dataId` in its key, which Nacos passes over: an
/// item without an application is better than one with another's.
pub fn write_old(items: &[(&str, &str, &str)]) -> String {
    let shared = shared_keys(items.iter().map(|(group, data_id, _)| (*group, *data_id)));
    let line = |(group, data_id, app): &(&str, &str, &str)| {
        let fits = !app.is_empty() && !app.contains(['=', '\r', '\n']);
        let key = Some(old_key(group, data_id)).filter(|key| !shared.contains(key));
        fits.then(|| format!("{}={app}\r\n", key.unwrap_or_else(|| plain_key(group, data_id))))
    };
    items.iter().filter_map(line).collect()
}

/// What a line of the old format calls an item.
fn old_key(group: &str, data_id: &str) -> String {
    match data_id.rsplit_once('.') {
        Some((name, extension)) => format!("{group}.{name}~{extension}.app"),
        None => format!("{group}.{data_id}.app"),
    }
}

/// The key of an item that shares the other one.
fn plain_key(group: &str, data_id: &str) -> String {
    format!("{group}/{data_id}.app")
}

/// The keys that several of these items have, given as group and data id.
pub(super) fn shared_keys<'a>(items: impl Iterator<Item = (&'a str, &'a str)>) -> BTreeSet<String> {
    let (mut seen, mut shared) = (BTreeSet::new(), BTreeSet::new());
    for (group, data_id) in items {
        let key = old_key(group, data_id);
        if seen.contains(&key) {
            shared.insert(key);
        } else {
            seen.insert(key);
        }
    }
    shared
}

/// What the old format says: applications by key. `None` is a key that has several.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct OldApps<'t>(BTreeMap<&'t str, Option<&'t str>>);

impl<'t> OldApps<'t> {
    /// Reads lines that end with CR, LF or both.
    ///
    /// # Errors
    /// A line that is not `key=value`, or more lines than archives have items.
    pub(super) fn read(text: &'t str) -> Result<OldApps<'t>, String> {
        let mut apps = BTreeMap::new();
        for line in text.split(['\r', '\n']).filter(|line| !line.trim().is_empty()) {
            let Some((key, app)) = line.split_once('=').filter(|(_, app)| !app.contains('=')) else {
                return Err(format!("{line:?} is not group.dataId.app=application"));
            };
            let known = apps.entry(key).or_insert(Some(app));
            if *known != Some(app) {
                *known = None;
            }
            if apps.len() > ENTRIES_MAX {
                return Err(format!("it has more than {ENTRIES_MAX} lines"));
            }
        }
        Ok(OldApps(apps))
    }

    /// The application of an item; `None` when it has none, or when nothing tells whose it is, since its key is among the
    /// shared ones.
    pub(super) fn of(&self, group: &str, data_id: &str, shared: &BTreeSet<String>) -> Option<&'t str> {
        let app = |key: &str| self.0.get(key).copied().flatten();
        let key = Some(old_key(group, data_id)).filter(|key| !shared.contains(key));
        app(&plain_key(group, data_id)).or_else(|| app(&key?))
    }
}

/// Reads the YAML of the new format event by event.
struct Reader<'t> {
    events: Events<'t>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Result<Event<'t>, String> {
        let event = self.events.next().unwrap_or(Err(YamlError::Syntax("it breaks off".into())));
        match event.map_err(|error| error.to_string())? {
            // Without an anchor the parser itself refuses an alias.
            Event::Scalar(_, _, anchor, _)
            | Event::SequenceStart(anchor, _)
            | Event::MappingStart(anchor, _)
                if anchor > 0 =>
            {
                Err("it has an anchor (&) for aliases (*): write each value out".into())
            }
            event => Ok(event),
        }
    }

    /// What the document is, or the end of a text that has none.
    fn root(&mut self) -> Result<Event<'t>, String> {
        loop {
            match self.next()? {
                Event::StreamStart | Event::DocumentStart(_) | Event::Nothing => {}
                event => return Ok(event),
            }
        }
    }

    /// The first event of the next entry of a collection that ends with `end`.
    fn entry(&mut self, end: &Event<'_>) -> Result<Option<Event<'t>>, String> {
        let event = self.next()?;
        Ok((event != *end).then_some(event))
    }

    /// The items, whose list has begun.
    fn items(&mut self) -> Result<Vec<ItemMeta>, String> {
        let mut items = Vec::new();
        while let Some(event) = self.entry(&Event::SequenceEnd)? {
            if items.len() == ENTRIES_MAX {
                return Err(format!("it lists more than {ENTRIES_MAX} items"));
            }
            items.push(self.item(event, items.len() + 1)?);
        }
        Ok(items)
    }

    /// The item with this number, which begins with this event.
    fn item(&mut self, event: Event<'t>, number: usize) -> Result<ItemMeta, String> {
        let mut fields = BTreeMap::from(FIELDS.map(|name| (name, None)));
        if matches!(event, Event::MappingStart(..)) {
            while let Some(key) = self.entry(&Event::MappingEnd)? {
                let key = self.value(key, ITEM_DEPTH)?;
                let event = self.next()?;
                let value = self.value(event, ITEM_DEPTH)?;
                if let Some(field) = fields.get_mut(&*key) {
                    field.get_or_insert(value);
                }
            }
        } else {
            self.value(event, ITEM_DEPTH)?;
        }
        let mut given =
            |name: &str| fields.get_mut(name).and_then(Option::take).filter(|text| !text.is_empty());
        let mut needed = |name: &str| given(name).ok_or_else(|| format!("item {number} has no {name}"));
        Ok(ItemMeta {
            group: needed("group")?,
            data_id: needed("dataId")?,
            kind: needed("type")?,
            app_name: given("appName"),
            desc: given("desc"),
            tags: given("configTags"),
        })
    }

    /// A text; the texts of a list, with commas between them; or the empty text for `null` and for a map, which is passed over.
    fn value(&mut self, event: Event<'t>, depth: usize) -> Result<String, String> {
        if depth > DEPTH_MAX {
            return Err(format!("it nests deeper than {DEPTH_MAX}"));
        }
        match event {
            Event::Scalar(text, style, ..) => {
                let null = style == ScalarStyle::Plain && matches!(&*text, "null" | "~");
                Ok(if null { String::new() } else { text.into_owned() })
            }
            Event::SequenceStart(..) => {
                let mut list = String::new();
                let mut comma = "";
                while let Some(event) = self.entry(&Event::SequenceEnd)? {
                    let is_text = matches!(event, Event::Scalar(..));
                    let value = self.value(event, depth + 1)?;
                    if is_text {
                        list += comma;
                        list += &value;
                        comma = ",";
                    }
                }
                Ok(list)
            }
            Event::MappingStart(..) => {
                while let Some(event) = self.entry(&Event::MappingEnd)? {
                    self.value(event, depth + 1)?;
                }
                Ok(String::new())
            }
            _ => Err("it has a node that is neither text, list nor map".into()),
        }
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
            ("a: &x [1]\nmetadata: [*x]", "it has an anchor (&) for aliases (*): write each value out"),
            ("metadata: [*x]", "while parsing node, found unknown anchor at byte 11 line 1 column 12"),
            ("[metadata]", "there is no list \"metadata\""),
            ("metadata:\n- a\n", "item 1 has no group"),
            (&*deep, "it nests deeper than 8"),
        ] {
            assert_eq!(read_new(text).unwrap_err(), want, "{text}");
        }
        assert!(read_new("metadata: [").is_err());
        let item = "- {group: G, dataId: d, type: text}\n";
        let many = format!("metadata:\n{}", item.repeat(ENTRIES_MAX + 1));
        assert_eq!(read_new(&many).unwrap_err(), "it lists more than 10000 items");
        let long = format!("[{}]", "a,".repeat(100_000));
        assert!(
            read_new(&long)
                .unwrap_err()
                .starts_with("one text, or one collection in [] or {}, has more than 65536")
        );
    }

    #[test]
    fn the_old_format_is_lines() {
        assert_eq!(write_old(&[("G", "a.b.yaml", "app"), ("G", "x", "")]), "G.a.b~yaml.app=app\r\n");
        for none in ["", "a=b", "a\nG.b.app=c", "a\r"] {
            assert_eq!(write_old(&[("G", "a", none)]), "", "{none:?}: an archive that nobody could read");
        }
        let none = BTreeSet::new();
        for end in ["\r", "\n", "\r\n"] {
            let text = format!("G.a~yaml.app=x{end}{end}G.b.app={end}");
            let apps = OldApps::read(&text).unwrap();
            assert_eq!(
                (apps.of("G", "a.yaml", &none), apps.of("G", "b", &none)),
                (Some("x"), Some("")),
                "{end:?}"
            );
        }
        assert!(OldApps::read("garbage").is_err());
        assert!(OldApps::read("a=b=c").is_err());
        let many: String = (0..=ENTRIES_MAX).map(|n| format!("G.{n}.app=x\n")).collect();
        assert_eq!(OldApps::read(&many).unwrap_err(), "it has more than 10000 lines");
    }

    #[test]
    fn items_that_share_a_key_of_the_old_format_keep_their_applications() {
        let items =
            [("g", "a.b.yml", "one"), ("g.a", "b.yml", "two"), ("g", "c~yml", ""), ("g", "c.yml", "three")];
        let shared = shared_keys(items.iter().map(|(group, data_id, _)| (*group, *data_id)));
        let text = write_old(&items);
        let apps = OldApps::read(&text).unwrap();
        for (group, data_id, app) in items {
            assert_eq!(apps.of(group, data_id, &shared).unwrap_or_default(), app, "{group}/{data_id}");
        }
        // An archive of another server does not tell whose they are.
        let foreign = OldApps::read("g.a.b~yml.app=one\ng.a.b~yml.app=two\ng.c~yml.app=three").unwrap();
        for (group, data_id, _) in items {
            assert_eq!(foreign.of(group, data_id, &shared), None, "{group}/{data_id}");
        }
    }
}
