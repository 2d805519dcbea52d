//! A backup is read as it was written, its bytes do not change by accident, and no damage goes unnoticed.
#![allow(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::io;

use bytes::Bytes;
use dyad_config::{Change, ConfigCommand, Draft, Prune, Publish, Source};
use dyad_naming::cp::NamingCommand;
use dyad_state::{CpCommand, CpState, Envelope, LEVEL, Stamp};
use dyad_types::{ConfigKey, Instance, MemberId, ServiceKey};

use crate::format::{BLOCK_FULL, BLOCK_HEAD, PREFIX, RAW_MAX};
use crate::{Digests, Header, HeldMember, ReadError, Reader, Rows, Summary, hex, verify, write};

/// A state that was made by commands, and the rows on which it relies.
#[derive(Default)]
struct Made {
    state: CpState,
    rows: BTreeMap<u64, Bytes>,
    index: u64,
}

impl Made {
    fn apply(&mut self, command: impl Into<CpCommand>) {
        self.index += 1;
        let stamp = Stamp { now_ms: 1_000 * self.index, index: self.index };
        let (_, changes) = self.state.apply(&Envelope::bare(command), stamp);
        for (revision, row) in changes.config.contents_put {
            self.rows.insert(revision.0, row.encode().into());
        }
        for revision in changes.config.contents_dropped {
            self.rows.remove(&revision.0);
        }
    }

    fn publish(&mut self, n: usize, content: &str) {
        let key = ConfigKey::new(if n.is_multiple_of(2) { "" } else { "dev" }, "G", &format!("c{n}"));
        let publish = Publish { key, draft: Draft::text(content), cas: None, enforce: false };
        self.apply(ConfigCommand { source: Source::default(), change: Change::Publish(publish) });
    }

    fn some() -> Made {
        let mut made = Made::default();
        for port in 1..40 {
            let service = ServiceKey::new("public", "G", &format!("s{}", port % 7));
            made.apply(NamingCommand::Register { service, instance: Instance::new("10.0.0.1", port) });
        }
        for n in 0..60 {
            made.publish(n % 20, &format!("{n} {}", "text ".repeat(n * 7)));
        }
        let prune = Change::Prune(Prune { until_ms: 0, keep: 2, from: None });
        made.apply(ConfigCommand { source: Source::default(), change: prune });
        made
    }

    fn header(&self) -> Header {
        let header = Header {
            cluster_id: Some(0x0123_4567_89ab_cdef_0011_2233_4455_6677),
            term: 3,
            leader: MemberId(0xaabb),
            index: self.index,
            taken_ms: 1_795_222_253_757,
            state_ms: self.state.now_ms(),
            member: MemberId(0xccdd),
            in_quorum: true,
            level: 2,
            version: "0.6.0".into(),
            members: vec![HeldMember {
                member: MemberId(0xccdd),
                address: "a:8848".into(),
                cluster_address: "a:9849".into(),
                voter: true,
            }],
            ..Header::default()
        };
        header.counting(&self.state)
    }

    fn backup(&self) -> (Vec<u8>, Summary) {
        let mut out = Vec::new();
        let summary = write(&mut out, &self.header(), &self.state, &mut FromMap(&self.rows)).unwrap();
        assert_eq!(summary.bytes, out.len() as u64);
        (out, summary)
    }
}

/// Gives three rows at a time.
struct FromMap<'a>(&'a BTreeMap<u64, Bytes>);

impl Rows for FromMap<'_> {
    fn take(&mut self, revisions: &[u64]) -> io::Result<Vec<Bytes>> {
        let row = |revision| self.0.get(revision).cloned().ok_or(io::ErrorKind::NotFound.into());
        revisions.iter().take(3).map(row).collect()
    }
}

fn bad(bytes: &[u8]) -> (u64, String) {
    match verify(bytes) {
        Err(ReadError::Bad { offset, cause }) => (offset, cause),
        other => panic!("{:?}", other.map(|(header, _, summary)| (header, summary))),
    }
}

#[test]
fn what_is_read_is_what_was_written() {
    let made = Made::some();
    let (bytes, written) = made.backup();
    let mut reader = Reader::open(&bytes[..]).unwrap();
    assert_eq!(reader.header(), &made.header());
    assert_eq!((made.header().contents, made.header().configs), (made.rows.len() as u64, 20));
    assert_eq!((made.header().services, made.header().instances), (7, 39));
    let state = reader.state().unwrap();
    assert_eq!(state, made.state);
    assert_eq!(Digests::of(&state), Digests::of(&made.state));
    let mut rows = BTreeMap::new();
    while let Some(some) = reader.rows().unwrap() {
        rows.extend(some.into_iter().map(|row| (row.revision.0, Bytes::from(row.bytes))));
    }
    assert_eq!(rows, made.rows);
    assert_eq!(reader.summary(), Some(written));
    assert_eq!(reader.offset(), bytes.len() as u64);
    assert!(reader.rows().unwrap().is_none(), "the end stays the end");
}

#[test]
fn digests_tell_states_apart_and_not_clusters() {
    let (one, mut other) = (Made::some(), Made::some());
    let anew = one.state.founded_anew(7);
    assert_ne!(anew, one.state);
    assert_eq!(Digests::of(&anew), Digests::of(&one.state));
    other.publish(3, "x");
    let (left, right) = (Digests::of(&one.state), Digests::of(&other.state));
    assert!(left.naming == right.naming && left.config != right.config);
}

/// The header and the empty state: the rest is zstd's, whose bytes may change with its version, and the records', which have
/// golden files of their own.
#[test]
fn golden_header() {
    let made = Made { index: 42, ..Made::default() };
    let (bytes, _) = made.backup();
    let len = u32::from_be_bytes(bytes[12..16].try_into().unwrap()) as usize;
    assert_eq!(hex(&bytes[..PREFIX + len]), GOLDEN_HEADER);
    assert_eq!(bytes[PREFIX + len], 1, "a block of the state");
    let counted =
        Header { state_ms: 42_000, contents: 5, configs: 4, services: 3, instances: 2, ..made.header() };
    assert_eq!(hex(&counted.encode()), GOLDEN_COUNTS);
    assert_eq!(Header::decode(&counted.encode()), Ok(counted));
}

const GOLDEN_HEADER: &str = "44594144424b5550000100000000005741d053af0a100123456789abcdef0011223344556677100319bbaa000000000000202a28bde1d6dc9f3439ddcc000000000000400148025a05302e362e30621b09ddcc0000000000001206613a383834381a06613a393834392001";
/// The same with everything that follows from a state.
const GOLDEN_COUNTS: &str = "0a100123456789abcdef0011223344556677100319bbaa000000000000202a28bde1d6dc9f343090c80239ddcc0000000000004001480250055a05302e362e30621b09ddcc0000000000001206613a383834381a06613a393834392001680470037802";

#[test]
fn flipped_bits_are_found_wherever_they_are() {
    let (good, _) = Made::some().backup();
    let mut step = 0x9e37_79b9_u64;
    for n in 0..200 {
        // All of the small parts, and places all over the rest.
        step = step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = if n < 60 { n } else { (step >> 16) as usize % good.len() };
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            let (offset, cause) = bad(&bytes);
            assert!(offset <= good.len() as u64 && !cause.is_empty());
        }
    }
    for at in good.len() - 64..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        bad(&bytes);
    }
    assert!(verify(&good[..]).is_ok());
}

#[test]
fn cuts_and_additions_are_found() {
    let (good, _) = Made::some().backup();
    for n in 0..200 {
        let cut = n * good.len() / 200;
        let (offset, _) = bad(&good[..cut]);
        assert!(offset <= cut as u64);
    }
    bad(&good[..good.len() - 1]);
    let longer = [&good[..], b"x"].concat();
    assert_eq!(bad(&longer), (good.len() as u64, "bytes follow the end".into()));
}

/// The checksum of the header, as a version that wrote such a header would have it.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let len = u32::from_be_bytes(bytes[12..16].try_into().unwrap()) as usize;
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..16]), &bytes[PREFIX..PREFIX + len]);
    bytes[16..PREFIX].copy_from_slice(&crc.to_be_bytes());
    bytes
}

#[test]
fn what_a_newer_version_wrote_is_not_damaged() {
    let made = Made::some();
    let (mut bytes, _) = made.backup();
    bytes[9] = 2;
    assert_eq!(bad(&bytes).1, "the checksum of the header does not fit", "one byte is damage");
    let error = verify(&resealed(bytes)[..]).unwrap_err();
    assert!(matches!(error, ReadError::Newer { format: 2, .. }), "{error}");
    assert_eq!(error.to_string(), "it has format 2, and this build reads format 1");

    let header = Header { level: LEVEL + 1, version: "9.9.9".into(), ..made.header() };
    let mut out = Vec::new();
    write(&mut out, &header, &made.state, &mut FromMap(&made.rows)).unwrap();
    let error = verify(&out[..]).unwrap_err();
    assert!(matches!(&error, ReadError::Newer { level, .. } if *level == LEVEL + 1), "{error}");
    assert!(error.to_string().starts_with("dyad 9.9.9 wrote it, of a state of level 4"), "{error}");
}

#[test]
fn other_files_are_named() {
    assert_eq!(bad(b"PK\x03\x04 and more than a header").1, "this is not a backup");
    assert!(bad(b"DYAD").1.contains("ends"));
}

/// Each with the header that a whole backup of this state would have.
#[test]
fn missing_rows_and_rows_that_nobody_needs_are_found() {
    let made = Made::some();
    let mut fewer = made.rows.clone();
    fewer.pop_first().unwrap();
    let refused = write(io::sink(), &made.header(), &made.state, &mut FromMap(&fewer));
    assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::NotFound, "a backup of it is not even written");

    // The rows of a state that has one more, or one less.
    let mut more = Made::some();
    more.publish(50, "more");
    for (state, rows, want) in [(&more, &made, "is missing"), (&made, &more, "does not rely")] {
        let (head, tail) = (state.backup().0, rows.backup().0);
        let mixed = [&head[..state_end(&head)], &tail[state_end(&tail)..]].concat();
        let cause = bad(&mixed).1;
        assert!(cause.contains(want), "{cause}");
    }
}

/// Behind the blocks of the state and their summary.
fn state_end(bytes: &[u8]) -> usize {
    let number = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    let mut at = PREFIX + number(12);
    while bytes[at] == 1 {
        at += BLOCK_HEAD + number(at + 5);
    }
    at + BLOCK_HEAD + number(at + 5)
}

/// What a reader holds does not grow with what a file claims.
#[test]
fn claims_of_large_pieces_are_refused_before_they_are_believed() {
    let (good, _) = Made::some().backup();
    let mut header = good.clone();
    header[12..16].copy_from_slice(&u32::MAX.to_be_bytes());
    assert!(bad(&header).1.contains("a header of 4294967295 bytes"));
    let at = PREFIX + u32::from_be_bytes(good[12..16].try_into().unwrap()) as usize;
    for field in [1, 5] {
        let mut block = good.clone();
        block[at + field..at + field + 4].copy_from_slice(&u32::MAX.to_be_bytes());
        let (offset, cause) = bad(&block);
        assert!(offset == at as u64 && cause.contains("no block has kind 1"), "{offset} {cause}");
    }
}

#[test]
fn the_largest_content_has_a_block_of_its_own() {
    let mut made = Made::default();
    made.publish(0, "small");
    // Not compressible.
    let mut seed = 1_u64;
    let large: String = (0..10 * 1024 * 1024)
        .map(|_| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            char::from(32 + (seed >> 33) as u8 % 95)
        })
        .collect();
    made.publish(2, &large);
    made.publish(4, "small");
    assert!(large.len() > BLOCK_FULL && large.len() < RAW_MAX);
    let (bytes, written) = made.backup();
    let (_, state, read) = verify(&bytes[..]).unwrap();
    assert!(state == made.state && read == written && read.contents == 3);
}
