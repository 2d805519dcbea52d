//! Large values in sled. They are cut into parts, and each part has a key of its own.
//!
//! sled writes a leaf of its tree as one message. It writes a message of more than 128 KiB into a file of its own under
//! `blobs/` and never syncs this file: a power failure would lose the page that points to it, and everything on that
//! page. A leaf has up to 16 values before it is split, and a few more while leaves merge. With values of up to 6 KiB it
//! stays below 128 KiB.
//!
//! The parts are smaller than that, and each is inserted on its own, because of sled's page cache. It forgets pages only
//! after it has queued 64 accesses to the pages of one of its 256 shards, so that pages which are written once and left stay
//! in memory whatever its capacity is. Twenty contents of 10 MB left 200 MB in memory as batches of parts of 6 KiB, and
//! leave 36 MB as inserted parts of 1,000 bytes.

use std::io;
use std::iter::Peekable;

use bytes::Bytes;

use super::disk::io_error;

/// Bytes of a value that is not cut: 20 of them, with their keys, are below sled's limit of 131,020 bytes. Builds before 0.6
/// cut larger values into parts of this size.
const WHOLE_MAX: usize = 6 * 1024;
/// Bytes of one part.
const PART: usize = 1_000;
/// Bytes of a part's number, which follows the value's key. The first part has no number.
const NUMBER_LEN: usize = 2;

/// Writes the value, its first part last. sled recovers a prefix of its writes, so that after a crash a value whose first part
/// is there is whole, and the parts of one that was not written to its end have no first part; see [`drop_unbegun`]. What was
/// there before must have had as many parts, or have been removed.
///
/// A batch would keep the parts together just so, but it is dear: sled ends its buffer for it and wakes all its threads twice.
pub(super) fn put(tree: &sled::Tree, key: &[u8], value: &[u8]) -> io::Result<()> {
    let first_len = if value.len() <= WHOLE_MAX { value.len() } else { PART };
    let (first, rest) = value.split_at(first_len);
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

/// Puts the values together again, whose keys have `key_len` bytes. A missing part shows in the value's own checksum or, as
/// a part too many, here.
pub(super) struct Values {
    items: Peekable<sled::Iter>,
    key_len: usize,
}

impl Values {
    pub(super) fn new(items: sled::Iter, key_len: usize) -> Values {
        Values { items: items.peekable(), key_len }
    }

    fn take(&mut self) -> Option<io::Result<(sled::IVec, Bytes)>> {
        let (key, value) = match self.items.next()? {
            Ok(item) => item,
            Err(e) => return Some(Err(io_error(e))),
        };
        if key.len() != self.key_len {
            let what = format!("a part of a value that does not begin: {:02x?}", key.as_ref());
            return Some(Err(io::Error::new(io::ErrorKind::InvalidData, what)));
        }
        if ![PART, WHOLE_MAX].contains(&value.len()) {
            return Some(Ok((key, Bytes::copy_from_slice(&value))));
        }
        let mut whole = value.to_vec();
        let mut number = 0_u16;
        loop {
            let follows = |item: &sled::Result<(sled::IVec, sled::IVec)>| match item {
                Ok((next, _)) => {
                    next.len() == key.len() + NUMBER_LEN
                        && next.starts_with(&key)
                        && next[key.len()..] == number.to_be_bytes()
                }
                Err(_) => true,
            };
            match self.items.next_if(follows) {
                Some(Ok((_, part))) => whole.extend_from_slice(&part),
                Some(Err(e)) => return Some(Err(io_error(e))),
                None => return Some(Ok((key, whole.into()))),
            }
            number = number.wrapping_add(1);
        }
    }
}

impl Iterator for Values {
    type Item = io::Result<(sled::IVec, Bytes)>;

    fn next(&mut self) -> Option<Self::Item> {
        self.take()
    }
}
