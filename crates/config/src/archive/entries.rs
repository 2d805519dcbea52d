//! Reads and writes the entries of an archive. An archive comes from outside, so its entries and bytes are counted
//! before they are used.

use std::collections::BTreeSet;
use std::io::{Cursor, Read, Seek, Write};

use dyad_types::limits::COMMAND_MAX;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::Unreadable;
use super::metadata::{NEW, OLD};

/// Most entries of an archive, which is as many as ten commands hold.
pub const ENTRIES_MAX: usize = 10_000;
/// Most bytes of one entry after it was uncompressed. A larger content could not be published.
const ENTRY_BYTES_MAX: usize = COMMAND_MAX;
/// Most bytes of all entries together after they were uncompressed, because all of them are in memory at once.
const TOTAL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Bytes that any archive may inflate to, however small it is.
const FREE_BYTES: usize = 16 * 1024 * 1024;
/// Bytes that each byte of an archive may inflate to beyond that. Deflate reaches 1,000 with one repeated character, text 20:
/// who wants our memory has to send something for it.
const RATIO_MAX: usize = 200;
/// Starts each entry of the directory at the archive's end.
const DIRECTORY_SIGNATURE: &[u8] = b"PK\x01\x02";

/// The bytes of such an entry before its name. The lengths of name, extra field and comment are at the offsets 28, 30 and 32.
const DIRECTORY_FIXED: usize = 46;

/// Files that desktops leave in folders.
const DESKTOP_FILES: [&str; 3] = [".DS_Store", "Thumbs.db", "desktop.ini"];
/// The folder that Finder adds to an archive, for what its files have beside their contents.
const FINDER_FOLDER: &str = "__MACOSX/";
/// Starts a file of that kind, whose name is that of another file with `._` before it.
const APPLE_DOUBLE: &[u8] = &[0, 5, 0x16, 7];

/// A file of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    /// `None` for what is neither an item nor metadata; that was not inflated, or not kept.
    pub(super) text: Option<String>,
}

/// The group and the data id of an entry that may be an item.
pub(super) fn split(name: &str) -> Option<(&str, &str)> {
    let (group, data_id) = name.split_once('/')?;
    let plain = !group.is_empty() && !data_id.is_empty() && !data_id.contains('/');
    let foreign = name.starts_with(FINDER_FOLDER) || DESKTOP_FILES.contains(&data_id);
    (plain && !foreign).then_some((group, data_id))
}

/// Lists all entries that are files, and uncompresses what may be an item or metadata.
///
/// # Errors
/// The bytes are not an archive, a name leads out of it, it has too many entries or bytes, it is encrypted or damaged,
/// or a text is not UTF-8.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<Entry>, Unreadable> {
    // The library reads the whole directory at once: bound it by the number of its signatures. Contents may hold one too.
    if count(bytes, DIRECTORY_SIGNATURE) > 2 * ENTRIES_MAX {
        return Err(Unreadable::Refused(format!("the archive has more than {ENTRIES_MAX} entries")));
    }
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|_| Unreadable::NoArchive)?;
    if archive.len() > ENTRIES_MAX {
        return Err(Unreadable::Refused(format!(
            "the archive has {} entries; {ENTRIES_MAX} may be",
            archive.len()
        )));
    }
    let directory = usize::try_from(archive.central_directory_start()).unwrap_or(usize::MAX);
    if let Some(name) = twice(bytes.get(directory..).unwrap_or_default()) {
        return Err(Unreadable::Refused(format!("entry {name:?}: is there twice")));
    }
    let mut entries = Vec::new();
    let mut names = BTreeSet::new();
    let max = TOTAL_BYTES_MAX.min(FREE_BYTES.saturating_add(bytes.len().saturating_mul(RATIO_MAX)));
    let mut left = max;
    for at in 0..archive.len() {
        let mut file = archive
            .by_index(at)
            .map_err(|error| Unreadable::Refused(format!("entry {}: {error}", at + 1)))?;
        if file.is_dir() {
            continue;
        }
        let name = file.name().map(std::borrow::Cow::into_owned);
        let name =
            name.map_err(|error| Unreadable::Refused(format!("the name of entry {}: {error}", at + 1)))?;
        let refused = |what: &str| Unreadable::Refused(format!("entry {name:?}: {what}"));
        if name.starts_with('/') || name.contains(['\\', '\0']) || climbs(&name) {
            return Err(refused("its name leads out of the archive"));
        }
        if !names.insert(name.clone()) {
            return Err(refused("is there twice"));
        }
        if name != NEW && name != OLD && split(&name).is_none() {
            entries.push(Entry { name, text: None });
            continue;
        }
        let bytes =
            inflate(&mut file, ENTRY_BYTES_MAX.min(left)).map_err(|error| refused(&error.to_string()))?;
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(refused(&format!("inflates to more than {ENTRY_BYTES_MAX} bytes")));
        }
        left = left.checked_sub(bytes.len()).ok_or_else(|| over_total(max))?;
        let text = text(&name, bytes).map_err(|at| refused(&format!("is not UTF-8 at byte {at}")))?;
        entries.push(Entry { name, text });
    }
    Ok(entries)
}

/// One byte more than `max`, where there is more. The size that the archive announces is not believed.
fn inflate(file: &mut impl Read, max: usize) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(max as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn over_total(max: usize) -> Unreadable {
    let why = match max {
        TOTAL_BYTES_MAX => String::new(),
        _ => format!(", {FREE_BYTES} and {RATIO_MAX} times its own size"),
    };
    Unreadable::Refused(format!("the archive inflates to more than {max} bytes{why}"))
}

/// The text of an entry; `None` for what Finder keeps beside a file; the place of the first byte that is not UTF-8.
fn text(name: &str, bytes: Vec<u8>) -> Result<Option<String>, usize> {
    let apple = name.rsplit('/').next().is_some_and(|last| last.starts_with("._"));
    if apple && bytes.starts_with(APPLE_DOUBLE) {
        return Ok(None);
    }
    String::from_utf8(bytes).map(Some).map_err(|error| error.utf8_error().valid_up_to())
}

/// A name that the directory has more than once, if any. The library keeps only the last of these entries.
fn twice(mut directory: &[u8]) -> Option<String> {
    let mut names = BTreeSet::new();
    while directory.starts_with(DIRECTORY_SIGNATURE) {
        let length =
            |at: usize| Some(usize::from(u16::from_le_bytes([*directory.get(at)?, *directory.get(at + 1)?])));
        let (name, extra, comment) = (length(28)?, length(30)?, length(32)?);
        let bytes = directory.get(DIRECTORY_FIXED..DIRECTORY_FIXED + name)?;
        if !names.insert(bytes) {
            return Some(String::from_utf8_lossy(bytes).into_owned());
        }
        directory = directory.get(DIRECTORY_FIXED + name + extra + comment..)?;
    }
    None
}

fn climbs(name: &str) -> bool {
    name.split('/').any(|part| matches!(part, "." | ".."))
}

fn count(bytes: &[u8], needle: &[u8]) -> usize {
    let mut found = 0;
    let mut rest = bytes;
    while let Some(at) = rest.windows(needle.len()).position(|window| window == needle) {
        found += 1;
        rest = &rest[at + needle.len()..];
    }
    found
}

/// Writes an archive entry by entry.
#[derive(Debug)]
pub struct Writer<W: Write + Seek>(ZipWriter<W>);

impl<W: Write + Seek> Writer<W> {
    pub fn new(out: W) -> Writer<W> {
        Writer(ZipWriter::new(out))
    }

    /// Adds an entry.
    ///
    /// # Errors
    /// The format of archives cannot hold it, or it cannot be written.
    pub fn add(&mut self, name: &str, text: &str) -> Result<(), String> {
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        self.0.start_file(name, options).map_err(|error| format!("{name}: {error}"))?;
        self.0.write_all(text.as_bytes()).map_err(|error| format!("{name}: {error}"))
    }

    /// Writes the directory, with which an archive ends.
    ///
    /// # Errors
    /// The same as those of [`Writer::add`].
    pub fn finish(self) -> Result<W, String> {
        self.0.finish().map_err(|error| error.to_string())
    }
}

/// Writes an archive of these entries.
///
/// # Errors
/// The format of archives cannot hold the entries.
pub fn write<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Vec<u8>, String> {
    let mut writer = Writer::new(Cursor::new(Vec::new()));
    entries.into_iter().try_for_each(|(name, text)| writer.add(name, text))?;
    writer.finish().map(Cursor::into_inner)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

    use super::*;

    fn refusal(bytes: Vec<u8>) -> String {
        match read(&bytes) {
            Err(unreadable) => unreadable.to_string(),
            Ok(entries) => format!("{} entries", entries.len()),
        }
    }

    /// An archive of these entries, as they are.
    fn stored<'a>(entries: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Vec<u8> {
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        for (name, bytes) in entries {
            writer.start_file(name, options).unwrap();
            writer.write_all(bytes).unwrap();
        }
        writer.finish().unwrap().into_inner()
    }

    #[test]
    fn what_is_written_is_read() {
        let entries = [("G/a", "x=1"), ("G/b:c.yaml", "中"), (".metadata.yml", "metadata: []\n")];
        let read = read(&write(entries).unwrap()).unwrap();
        let want = entries.map(|(name, text)| Entry { name: name.into(), text: Some(text.into()) });
        assert_eq!(read, want);
    }

    #[test]
    fn what_can_be_no_item_is_named_and_not_read() {
        let binary: &[u8] = &[0, 0, 0, 1, 0xff, 0xfe];
        let apple = [APPLE_DOUBLE, binary].concat();
        let entries = [
            ("G/a", &b"x"[..], true),
            ("G/.DS_Store", binary, false),
            ("G/Thumbs.db", binary, false),
            (".DS_Store", binary, false),
            ("__MACOSX/G/._a", &apple, false),
            ("__MACOSX/._G", &apple, false),
            ("G/._a", &apple, false),
            ("G/._text", b"y", true),
            ("G/deep/b.properties", b"z", false),
            ("picture.png", binary, false),
            (".metadata.yml", b"metadata: []", true),
        ];
        let archive = stored(entries.map(|(name, bytes, _)| (name, bytes)));
        let entry = |(name, bytes, kept): (&str, &[u8], bool)| Entry {
            name: name.into(),
            text: kept.then(|| String::from_utf8(bytes.to_vec()).unwrap()),
        };
        assert_eq!(read(&archive).unwrap(), entries.map(entry));
    }

    #[test]
    fn bombs_tricks_and_damage_are_refused_by_name() {
        let many: Vec<String> = (0..=ENTRIES_MAX).map(|n| format!("G/{n}")).collect();
        let zeros = "\0".repeat(ENTRY_BYTES_MAX + 1);
        let large = "\0".repeat(ENTRY_BYTES_MAX);
        let names: Vec<String> = (0..=TOTAL_BYTES_MAX / ENTRY_BYTES_MAX).map(|n| format!("G/{n}")).collect();
        let mut damaged =
            write([("G/a", "some text that is long enough to be deflated, deflated, deflated")]).unwrap();
        damaged[40] ^= 0x55;
        let bomb = write(names[..2].iter().map(|name| (&**name, &*large))).unwrap();
        let allowed = FREE_BYTES + RATIO_MAX * bomb.len();
        for (bytes, want) in [
            (b"not a zip".to_vec(), "the file is no zip archive"),
            (Vec::new(), "the file is no zip archive"),
            (write([("../etc", "x")]).unwrap(), "entry \"../etc\": its name leads out of the archive"),
            (write([("/etc/x", "x")]).unwrap(), "entry \"/etc/x\": its name leads out of the archive"),
            (write([("G\\x", "x")]).unwrap(), "entry \"G\\\\x\": its name leads out of the archive"),
            (write([("G/a", &*zeros)]).unwrap(), "entry \"G/a\": inflates to more than 12582912 bytes"),
            (
                stored(names.iter().map(|name| (&**name, large.as_bytes()))),
                "the archive inflates to more than 67108864 bytes",
            ),
            (
                bomb,
                &format!(
                    "the archive inflates to more than {allowed} bytes, 16777216 and 200 times its own size"
                ),
            ),
            (
                write(many.iter().map(|name| (&**name, "x"))).unwrap(),
                "the archive has 10001 entries; 10000 may be",
            ),
        ] {
            assert_eq!(refusal(bytes), want);
        }
        assert!(refusal(damaged).starts_with("entry \"G/a\": "), "damage");
    }

    #[test]
    fn an_entry_that_is_there_twice_is_refused() {
        // The writer refuses a second entry of a name too: it is made of another of the same length.
        let twice = write([("G/a", "one"), ("G/b", "two"), ("G/c", "three")]).unwrap();
        let at = |n: usize| twice.windows(3).enumerate().filter(|(_, name)| name == b"G/b").nth(n).unwrap().0;
        let (local, listed) = (at(0), at(1));
        let mut twice = twice.clone();
        for at in [local, listed] {
            twice[at + 2] = b'a';
        }
        assert_eq!(refusal(twice.clone()), "entry \"G/a\": is there twice");
        let behind = [b"something before", &*twice].concat();
        assert_eq!(refusal(behind), "entry \"G/a\": is there twice");
    }

    #[test]
    fn text_must_be_utf_8() {
        let bytes = stored([("G/gbk", &[b'a', 0xd6, 0xd0][..])]);
        assert_eq!(refusal(bytes), "entry \"G/gbk\": is not UTF-8 at byte 1");
    }
}
