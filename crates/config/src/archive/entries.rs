//! Reads and writes the entries of an archive. An archive comes from outside, so its entries and bytes are counted
//! before they are used.

use std::collections::BTreeSet;
use std::io::{Cursor, Read, Write};

use dyad_types::limits::COMMAND_MAX;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::Unreadable;

/// Most entries of an archive, which is as many as ten commands hold.
pub const ENTRIES_MAX: usize = 10_000;
/// Most bytes of one entry after it was uncompressed. A larger content could not be published.
const ENTRY_BYTES_MAX: usize = COMMAND_MAX;
/// Most bytes of all entries together after they were uncompressed, because all of them are in memory at once.
const TOTAL_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Starts each entry of the directory at the archive's end.
const DIRECTORY_SIGNATURE: &[u8] = b"PK\x01\x02";

/// The bytes of such an entry before its name. The lengths of name, extra field and comment are at the offsets 28, 30 and 32.
const DIRECTORY_FIXED: usize = 46;

/// Name and text of one entry.
pub(super) type Entry = (String, String);

/// Uncompresses all entries that are files.
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
    let mut left = TOTAL_BYTES_MAX;
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
        let max = ENTRY_BYTES_MAX.min(left);
        let mut text = Vec::new();
        // One more than may be, to see that there is more. The size that the archive announces is not believed.
        file.by_ref()
            .take(max as u64 + 1)
            .read_to_end(&mut text)
            .map_err(|error| refused(&error.to_string()))?;
        if text.len() > ENTRY_BYTES_MAX {
            return Err(refused(&format!("inflates to more than {ENTRY_BYTES_MAX} bytes")));
        }
        if text.len() > left {
            return Err(Unreadable::Refused(format!(
                "the archive inflates to more than {TOTAL_BYTES_MAX} bytes"
            )));
        }
        left -= text.len();
        let text = String::from_utf8(text).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            refused(&format!("is not UTF-8 at byte {at}"))
        })?;
        entries.push((name, text));
    }
    Ok(entries)
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

/// Writes an archive of these entries.
///
/// # Errors
/// The format of archives cannot hold the entries.
pub fn write<'a>(entries: impl IntoIterator<Item = (&'a str, &'a str)>) -> Result<Vec<u8>, String> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
    for (name, text) in entries {
        writer.start_file(name, options).map_err(|error| format!("{name}: {error}"))?;
        writer.write_all(text.as_bytes()).map_err(|error| format!("{name}: {error}"))?;
    }
    writer.finish().map(Cursor::into_inner).map_err(|error| error.to_string())
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

    #[test]
    fn what_is_written_is_read() {
        let entries = [("G/a", "x=1"), ("G/b:c.yaml", "中"), (".metadata.yml", "metadata: []\n")];
        let read = read(&write(entries).unwrap()).unwrap();
        let want: Vec<Entry> =
            entries.iter().map(|(name, text)| (name.to_string(), text.to_string())).collect();
        assert_eq!(read, want);
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
        for (bytes, want) in [
            (b"not a zip".to_vec(), "the file is no zip archive"),
            (Vec::new(), "the file is no zip archive"),
            (write([("../etc", "x")]).unwrap(), "entry \"../etc\": its name leads out of the archive"),
            (write([("/etc/x", "x")]).unwrap(), "entry \"/etc/x\": its name leads out of the archive"),
            (write([("G\\x", "x")]).unwrap(), "entry \"G\\\\x\": its name leads out of the archive"),
            (write([("G/a", &*zeros)]).unwrap(), "entry \"G/a\": inflates to more than 12582912 bytes"),
            (
                write(names.iter().map(|name| (&**name, &*large))).unwrap(),
                "the archive inflates to more than 67108864 bytes",
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
        let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
        writer.start_file("G/gbk", SimpleFileOptions::default()).unwrap();
        writer.write_all(&[b'a', 0xd6, 0xd0]).unwrap();
        let bytes = writer.finish().unwrap().into_inner();
        assert_eq!(refusal(bytes), "entry \"G/gbk\": is not UTF-8 at byte 1");
    }
}
