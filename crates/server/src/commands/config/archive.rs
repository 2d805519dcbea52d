//! Archives of configurations, read on this side of the network: for `import --dry-run`, and to count what was exported.
//!
//! Entries are `group/dataId`. `.metadata.yml` (new format) lists the items with their types; without it every such entry is
//! an item whose type is that of its extension (old format).

use std::collections::BTreeMap;
use std::io::{Cursor, Read};
use std::path::Path;

use dyad_config::ConfigType;
use saphyr_parser::{Event, Parser};
use zip::ZipArchive;

/// What the new format calls its list.
const NEW: &str = ".metadata.yml";
/// What the old format calls its applications.
const OLD: &str = ".meta.yml";
/// Entries that an import takes.
const ENTRIES_MAX: usize = 10_000;
/// Bytes that an archive may inflate to, as for an import.
const TOTAL_MAX: usize = 64 * 1024 * 1024;

/// One configuration of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Item {
    pub(super) group: String,
    pub(super) data_id: String,
    pub(super) kind: ConfigType,
    pub(super) content: String,
}

/// What an archive holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Archive {
    /// In the archive's order.
    pub(super) items: Vec<Item>,
    /// Names of entries that are no item, and of listed items that are not there.
    pub(super) others: Vec<String>,
}

/// Reads an archive of either format.
///
/// # Errors
/// What is wrong with it, with the entry's name.
pub(super) fn read(bytes: &[u8]) -> Result<Archive, String> {
    let mut entries = entries(bytes)?;
    let mut take = |name: &str| {
        let at = entries.iter().position(|(have, _)| have == name)?;
        Some(entries.remove(at).1)
    };
    let (new, _old) = (take(NEW), take(OLD));
    let mut listed = new.as_deref().map(listed).transpose().map_err(|what| format!("{NEW}: {what}"))?;
    let mut archive = Archive::default();
    for (name, content) in entries {
        let split = name.split_once('/').filter(|(g, d)| !g.is_empty() && !d.is_empty() && !d.contains('/'));
        let kind = split.and_then(|(group, data_id)| match &mut listed {
            Some(listed) => listed.remove(&(group.to_owned(), data_id.to_owned())),
            None => Some(kind_of(Path::new(data_id)).unwrap_or_default()),
        });
        match (split, kind) {
            (Some((group, data_id)), Some(kind)) => {
                let (group, data_id) = (group.to_owned(), data_id.to_owned());
                archive.items.push(Item { group, data_id, kind, content });
            }
            _ => archive.others.push(name),
        }
    }
    archive
        .others
        .extend(listed.into_iter().flatten().map(|((group, data_id), _)| format!("{group}/{data_id}")));
    Ok(archive)
}

/// The type that an extension stands for.
pub(super) fn kind_of(name: &Path) -> Option<ConfigType> {
    match &*name.extension()?.to_str()?.to_ascii_lowercase() {
        "yml" => Some(ConfigType::Yaml),
        "htm" => Some(ConfigType::Html),
        "txt" => Some(ConfigType::Text),
        extension => ConfigType::parse(extension),
    }
}

fn entries(bytes: &[u8]) -> Result<Vec<(String, String)>, String> {
    let mut archive =
        ZipArchive::new(Cursor::new(bytes)).map_err(|error| format!("it is no zip archive: {error}"))?;
    if archive.len() > ENTRIES_MAX {
        return Err(format!("it has {} entries; {ENTRIES_MAX} may be", archive.len()));
    }
    let (mut entries, mut left) = (Vec::new(), TOTAL_MAX);
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).map_err(|error| format!("entry {}: {error}", at + 1))?;
        if file.is_dir() {
            continue;
        }
        let name = file.name().map(std::borrow::Cow::into_owned);
        let name = name.map_err(|error| format!("the name of entry {}: {error}", at + 1))?;
        let mut content = Vec::new();
        let read = file.by_ref().take(left as u64 + 1).read_to_end(&mut content);
        read.map_err(|error| format!("entry {name:?}: {error}"))?;
        left = left
            .checked_sub(content.len())
            .ok_or_else(|| format!("it inflates to more than {TOTAL_MAX} bytes"))?;
        let content = String::from_utf8(content).map_err(|error| {
            format!("entry {name:?}: is not UTF-8 at byte {}", error.utf8_error().valid_up_to())
        })?;
        entries.push((name, content));
    }
    Ok(entries)
}

/// The items of the new format: the maps of the list `metadata`, as far as they are flat.
fn listed(text: &str) -> Result<BTreeMap<(String, String), ConfigType>, String> {
    /// Map, list, map.
    const ITEM: usize = 3;
    let (mut depth, mut name, mut item) = (0_usize, None::<String>, BTreeMap::<String, String>::new());
    let mut listed = BTreeMap::new();
    for event in Parser::new_from_str(text) {
        match event.map_err(|error| error.to_string())?.0 {
            Event::MappingStart(..) | Event::SequenceStart(..) => depth += 1,
            Event::MappingEnd | Event::SequenceEnd => {
                if depth == ITEM {
                    let mut part = |name: &str| {
                        let missing = || format!("item {} has no {name}", listed.len() + 1);
                        item.remove(name).ok_or_else(missing)
                    };
                    let (group, data_id, kind) = (part("group")?, part("dataId")?, part("type")?);
                    listed.insert((group, data_id), ConfigType::parse(&kind).unwrap_or_default());
                    item.clear();
                } else if depth == ITEM + 1 {
                    // A list as a value: it was one value.
                    name = None;
                }
                depth = depth.saturating_sub(1);
            }
            Event::Scalar(text, ..) if depth == ITEM => match name.take() {
                Some(name) => drop(item.insert(name, text.into_owned())),
                None => name = Some(text.into_owned()),
            },
            Event::Alias(_) => return Err("it has an alias (*): write the value out".into()),
            _ => {}
        }
    }
    Ok(listed)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    fn zip(entries: &[(&str, &[u8])]) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        for (name, content) in entries {
            writer.start_file(*name, SimpleFileOptions::default()).unwrap();
            writer.write_all(content).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    fn item(data_id: &str, kind: ConfigType, content: &str) -> Item {
        Item { group: "G".into(), data_id: data_id.into(), kind, content: content.into() }
    }

    #[test]
    fn both_formats_are_read() {
        let old =
            zip(&[("G/a.yml", b"x"), ("G/b", b"y"), ("readme", b"z"), (".meta.yml", b"G.b.app=shop\r\n")]);
        let items = vec![item("a.yml", ConfigType::Yaml, "x"), item("b", ConfigType::Text, "y")];
        assert_eq!(read(&old), Ok(Archive { items, others: vec!["readme".into()] }));

        let metadata =
            b"!!x\nmetadata:\n- appName: ''\n  configTags: [p, q]\n  dataId: a\n  group: G\n  type: json\n\
                         - {group: G, dataId: gone, type: text, desc: null}\n";
        let new = zip(&[("G/a", b"{}"), ("G/b", b"y"), (".metadata.yml", metadata)]);
        let items = vec![item("a", ConfigType::Json, "{}")];
        assert_eq!(read(&new), Ok(Archive { items, others: vec!["G/b".into(), "G/gone".into()] }));
    }

    #[test]
    fn what_is_wrong_is_named() {
        let metadata = |text: &[u8]| zip(&[("G/a", b"x"), (".metadata.yml", text)]);
        for (bytes, want) in [
            (b"text".to_vec(), "it is no zip archive"),
            (zip(&[("G/a", &[0xd6, 0xd0])]), "entry \"G/a\": is not UTF-8 at byte 0"),
            (metadata(b"metadata:\n- group: G\n  dataId: a\n"), ".metadata.yml: item 1 has no type"),
            (metadata(b"a: &x 1\nb: *x\n"), ".metadata.yml: it has an alias"),
            (metadata(b"metadata: ["), ".metadata.yml: "),
        ] {
            let got = read(&bytes).unwrap_err();
            assert!(got.starts_with(want), "{got}");
        }
    }
}
