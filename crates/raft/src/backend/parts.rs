//! Large values in sled. They are cut into parts, and each part has a key of its own.
//!
//! sled writes a leaf of its tree as one message. It writes a message of more than 128 KiB into a file of its own under
//! `blobs/` and never syncs this file: a power failure would lose the page that points to it, and everything on that
//! page. A leaf has up to 16 values before it is split, and a few more while leaves merge. With parts of 6 KiB it stays
//! below 128 KiB.

use std::io;
use std::iter::Peekable;

use bytes::Bytes;

use super::disk::io_error;

/// Bytes of one part: 20 of them, with their keys, are below sled's limit of 131,020 bytes.
pub(super) const PART_MAX: usize = 6 * 1024;
/// Bytes of a part's number, which follows the value's key. The first part has no number.
const NUMBER_LEN: usize = 2;

/// Writes the value whole. What was there must have had as many parts, or have been removed.
///
/// sled recovers a prefix of its writes, so writes one after another need no batch to keep their order. A batch is dear:
/// sled ends its buffer for it and wakes all its threads twice.
pub(super) fn put(tree: &sled::Tree, key: &[u8], value: &[u8]) -> io::Result<()> {
    if value.len() <= PART_MAX {
        return tree.insert(key, value).map(drop).map_err(io_error);
    }
    let mut batch = sled::Batch::default();
    let (first, rest) = value.split_at(PART_MAX);
    batch.insert(key, first);
    for (n, part) in rest.chunks(PART_MAX).enumerate() {
        let number = u16::try_from(n).map_err(|_| io::Error::other("a value of over 400 MiB"))?;
        batch.insert([key, &number.to_be_bytes()].concat(), part);
    }
    tree.apply_batch(batch).map_err(io_error)
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
        if value.len() < PART_MAX {
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
