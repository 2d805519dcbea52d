//! Hashing without randomness, because the keys have a good hash of their own.

use std::hash::{BuildHasher, Hasher};

use xxhash_rust::xxh3::xxh3_64_with_seed;

/// A hasher that gives the last 64-bit value that was written to it. Texts are hashed by xxh3.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ByKey;

#[derive(Debug, Default)]
pub(super) struct KeyHasher(u64);

impl BuildHasher for ByKey {
    type Hasher = KeyHasher;

    fn build_hasher(&self) -> KeyHasher {
        KeyHasher::default()
    }
}

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = xxh3_64_with_seed(bytes, self.0);
    }

    fn write_u8(&mut self, _: u8) {
        // The end mark of a text; texts are always the whole key.
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = value;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
