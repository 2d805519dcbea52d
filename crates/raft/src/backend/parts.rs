//! Large values in sled. They are cut into parts, and each part has a key of its own.
//!
//! sled writes a leaf of its tree as one message. It writes a message of more than 128 KiB into a file of its own under
//! `blobs/` and never syncs this file: a power failure would lose the page that points to it, and everything on that
//! page. A leaf has up to 16 values before it is split, and a few more while leaves merge. With values of up to 6 KiB it
//! stays below 128 KiB.
//!
//! The parts are smaller than that, and each is inserted and read on its own, because of sled's page cache. It forgets pages
//! only after it has queued 64 accesses to the pages of one of its 256 shards, so that pages which are written or read once
//! stay in memory whatever its capacity is. Twenty contents of 10 MB left 200 MB in memory as batches of parts of 6 KiB, and
//! leave 36 MB as inserted parts of 1,000 bytes.

use std::io;

use bytes::Bytes;

use super::disk::io_error;

/// Bytes of a value that is not cut, and of the first part of one that is: 20 of them, with their keys, are below sled's limit
/// of 131,020 bytes. Builds before 0.6 cut into parts of this size, and read others behind a first one of this size.
const WHOLE_MAX: usize = 6 * 1024;
/// Bytes of a further part. Its key is that of the value and the part's number, of two bytes.
const PART: usize = 1_000;

/// Writes the value, its first part last. sled recovers a prefix of its writes, so that after a crash a value whose first part
/// is there is whole, and the parts of one that was not written to its end have no first part; see [`drop_unbegun`]. What was
/// there before must have had as many parts, or have been removed.
///
/// A batch would keep the parts together just so, but it is dear: sled ends its buffer for it and wakes all its threads twice.
pub(super) fn put(tree: &sled::Tree, key: &[u8], value: &[u8]) -> io::Result<()> {
    let (first, rest) = value.split_at(value.len().min(WHOLE_MAX));
    for (n, part) in rest.chunks(PART).enumerate().rev() {
        let number = u16::try_from(n).map_err(|_| io::Error::other("a value of over 60 MiB"))?;
        tree.insert([key, &number.to_be_bytes()].concat(), part).map_err(io_error)?;
    }
    tree.insert(key, first).map(drop).map_err(io_error)
}

/// Removes the parts at the end of the tree that belong to a value whose first part is missing: the last one, if the process
/// ended while it was written. Keys of values have `key_len` bytes.
pub(super) fn drop_unbegun(tree: &sled::Tree, key_len: usize) -> io::Result<()> {
    while let Some((last, _)) = tree.last().map_err(io_error)? {
        let begun = match last.get(..key_len) {
            Some(first) if last.len() > key_len => tree.contains_key(first).map_err(io_error)?,
            _ => true,
        };
        if begun {
            break;
        }
        tree.remove(last).map_err(io_error)?;
    }
    Ok(())
}

/// The value of a key, whose first part is `first`. A missing part shows in the value's own checksum.
pub(super) fn read(tree: &sled::Tree, key: &[u8], first: &sled::IVec) -> io::Result<Bytes> {
    if first.len() != WHOLE_MAX {
        return Ok(Bytes::copy_from_slice(first));
    }
    let mut whole = first.to_vec();
    for number in 0..=u16::MAX {
        let Some(part) = tree.get([key, &number.to_be_bytes()].concat()).map_err(io_error)? else { break };
        whole.extend_from_slice(&part);
    }
    // What it has grown beyond its length would be kept as long as it is.
    Ok(whole.into_boxed_slice().into())
}

/// The bytes of a value; 0 if there is none.
pub(super) fn len(tree: &sled::Tree, key: &[u8]) -> io::Result<u64> {
    tree.scan_prefix(key).values().map(|part| Ok(part.map_err(io_error)?.len() as u64)).sum()
}

/// Removes the value, its first part first: a reader who finds a part missing finds the first one missing too. Each part is
/// removed on its own, since a batch holds up all reads and writes of the process.
pub(super) fn remove(tree: &sled::Tree, key: &[u8]) -> io::Result<()> {
    for part in tree.scan_prefix(key).keys() {
        tree.remove(part.map_err(io_error)?).map_err(io_error)?;
    }
    Ok(())
}
