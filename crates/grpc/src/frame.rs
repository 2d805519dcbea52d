//! The bytes of gRPC messages: a prefix of five bytes, and then a `Payload`. They are written by hand, in one pass and
//! without a copy of the JSON. A push is made once, and all its subscribers share its bytes.

use std::net::IpAddr;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use dyad_proto::sdk::Payload;
use dyad_types::budget::{Full, Lease, Room, SMALL};
use prost::Message;
use prost::encoding::{DecodeContext, decode_key, encode_varint, encoded_len_varint, skip_field};

/// Compressed flag and length.
const PREFIX: usize = 5;
/// Keys of the fields of `Payload`, `Metadata` and `Body`: number and wire type 2.
const PAYLOAD_METADATA: u8 = 2 << 3 | 2;
const PAYLOAD_BODY: u8 = 3 << 3 | 2;
const METADATA_TYPE: u8 = 3 << 3 | 2;
const METADATA_IP: u8 = 8 << 3 | 2;
const BODY_VALUE: u8 = 2 << 3 | 2;

/// A whole message: `kind` is the type of the JSON that the pieces of `json` make.
pub(crate) fn payload(kind: &str, client_ip: &str, json: &[&[u8]]) -> Bytes {
    let json_len: usize = json.iter().map(|part| part.len()).sum();
    let ip_len = if client_ip.is_empty() { 0 } else { field_len(client_ip.len()) };
    let metadata_len = field_len(kind.len()) + ip_len;
    let body_len = field_len(json_len);
    let total = field_len(metadata_len) + field_len(body_len);
    let mut out = BytesMut::with_capacity(PREFIX + total);
    out.put_u8(0);
    out.put_u32(u32::try_from(total).expect("answers are far below 4 GiB"));
    open(&mut out, PAYLOAD_METADATA, metadata_len);
    open(&mut out, METADATA_TYPE, kind.len());
    out.put_slice(kind.as_bytes());
    if ip_len > 0 {
        open(&mut out, METADATA_IP, client_ip.len());
        out.put_slice(client_ip.as_bytes());
    }
    open(&mut out, PAYLOAD_BODY, body_len);
    open(&mut out, BODY_VALUE, json_len);
    for part in json {
        out.put_slice(part);
    }
    out.freeze()
}

/// A text as a string of JSON.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string always serializes")
}

fn field_len(len: usize) -> usize {
    1 + encoded_len_varint(len as u64) + len
}

fn open(out: &mut BytesMut, key: u8, len: usize) {
    out.put_u8(key);
    encode_varint(len as u64, out);
}

/// Most bytes of what a message has beside its JSON, in all: type, address and headers of a request.
const METADATA_MAX: usize = 64 * 1024;
/// Most headers of a request. SDKs send five; what they are read into is many times what they take in the message, and a request
/// that waits keeps it.
const HEADERS_MAX: usize = 128;

/// Reads a message.
///
/// # Errors
/// It is no `Payload`, or has headers that are too large; these are not read, since each takes far more memory than bytes.
pub(crate) fn decode(message: Bytes) -> Result<Payload, Status> {
    let broken = || Status { code: Code::Internal, message: "no payload" };
    if metadata_len(message.clone()).ok_or_else(broken)? > METADATA_MAX {
        let message = "the headers of the request are over 64 KiB";
        return Err(Status { code: Code::ResourceExhausted, message });
    }
    let payload = Payload::decode(message).map_err(|_| broken())?;
    if payload.metadata.as_ref().is_some_and(|metadata| metadata.headers.len() > HEADERS_MAX) {
        let message = "the request has more than 128 headers";
        return Err(Status { code: Code::ResourceExhausted, message });
    }
    Ok(payload)
}

/// The bytes of all metadata in a `Payload`, without reading them.
fn metadata_len(mut message: Bytes) -> Option<usize> {
    let mut len = 0;
    while message.has_remaining() {
        let (tag, wire_type) = decode_key(&mut message).ok()?;
        let before = message.remaining();
        skip_field(wire_type, tag, &mut message, DecodeContext::default()).ok()?;
        if tag == u32::from(PAYLOAD_METADATA >> 3) {
            len += before - message.remaining();
        }
    }
    Some(len)
}

/// gRPC's status codes, as far as they are used here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    DeadlineExceeded = 4,
    ResourceExhausted = 8,
    Unimplemented = 12,
    Internal = 13,
}

/// Why a call ends without an answer of Nacos's: the transport's part is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Status {
    pub(crate) code: Code,
    pub(crate) message: &'static str,
}

impl Status {
    /// There is no room.
    pub(crate) fn full(full: Full) -> Status {
        let message = match full {
            Full::All => {
                "the server has no room for more at the moment; try again, here or at another member"
            }
            Full::Share => "this address has its share of what the server has room for; try again later",
        };
        Status { code: Code::ResourceExhausted, message }
    }
}

/// Cuts the messages out of what arrives of a call. A message that is not small holds its room from its first bytes on, until
/// the last of its bytes is dropped.
#[derive(Debug)]
pub(crate) struct Messages {
    held: Bytes,
    max: usize,
    room: Arc<Room>,
    address: IpAddr,
    /// Of the message that is arriving.
    lease: Option<Lease>,
}

impl Messages {
    /// Messages of at most `max` bytes from `address`, which take this room.
    pub(crate) fn new(max: usize, room: Arc<Room>, address: IpAddr) -> Messages {
        Messages { held: Bytes::new(), max, room, address, lease: None }
    }

    /// Bytes that were not taken yet.
    pub(crate) fn len(&self) -> usize {
        self.held.len()
    }

    /// More has arrived.
    pub(crate) fn hold(&mut self, data: Bytes) {
        if self.held.is_empty() {
            self.held = data;
            return;
        }
        // Appending in place: `try_into_mut` succeeds but for the first piece, which is shared with the connection's buffer.
        let mut whole = match std::mem::take(&mut self.held).try_into_mut() {
            Ok(whole) => whole,
            Err(shared) => BytesMut::from(&shared[..]),
        };
        if let Some(lease) = &self.lease {
            whole.reserve((PREFIX + lease.amount()).saturating_sub(whole.len()).max(data.len()));
        }
        whole.extend_from_slice(&data);
        self.held = whole.freeze();
    }

    /// The next message, if all of it is there.
    ///
    /// # Errors
    /// The message is too large or compressed, or there is no room for it.
    pub(crate) fn take(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(&[flag, a, b, c, d]) = self.held.first_chunk::<PREFIX>() else { return Ok(None) };
        if flag != 0 {
            return Err(Status { code: Code::Unimplemented, message: "compressed messages are not read" });
        }
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        if len > self.max {
            return Err(Status { code: Code::ResourceExhausted, message: "the message is too large" });
        }
        if len > SMALL && self.lease.is_none() {
            self.lease = Some(self.room.take(self.address, len).map_err(Status::full)?);
        }
        if self.held.len() < PREFIX + len {
            return Ok(None);
        }
        let message = self.held.split_to(PREFIX + len).slice(PREFIX..);
        Ok(Some(match self.lease.take() {
            Some(lease) => lease.bind(message),
            None => message,
        }))
    }

    /// Nothing more arrives.
    ///
    /// # Errors
    /// There is a part of a message.
    pub(crate) fn end(&self) -> Result<(), Status> {
        if self.held.is_empty() {
            return Ok(());
        }
        Err(Status { code: Code::Internal, message: "the message broke off" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_payload_reads_back_as_prost_reads_it() {
        for (ip, json) in [("", "{}".to_owned()), ("10.0.0.1", "x".repeat(70_000))] {
            let bytes = payload("AType", ip, &[json.as_bytes(), b"!"]);
            assert_eq!(bytes[0], 0);
            assert_eq!(
                u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize,
                bytes.len() - 5
            );
            let read = Payload::decode(&bytes[5..]).unwrap();
            let metadata = read.metadata.unwrap();
            assert_eq!((&*metadata.r#type, &*metadata.client_ip), ("AType", ip));
            assert_eq!(read.body.unwrap().value, json + "!");
        }
    }

    #[test]
    fn headers_are_measured_before_they_are_read() {
        let with = |headers: usize| {
            let headers = (0..headers).map(|n| (n.to_string(), String::new())).collect();
            let metadata = dyad_proto::sdk::Metadata { headers, ..dyad_proto::sdk::Metadata::default() };
            let payload = Payload { metadata: Some(metadata), ..Payload::default() };
            decode(payload.encode_to_vec().into()).map(|payload| payload.metadata.unwrap().headers.len())
        };
        assert_eq!(with(128), Ok(128));
        assert_eq!(with(129).unwrap_err().message, "the request has more than 128 headers");
        assert_eq!(with(20_000).unwrap_err().code, Code::ResourceExhausted);
        assert_eq!(decode(Bytes::from_static(b"\x12\xff")).unwrap_err().code, Code::Internal);
    }

    fn messages(max: usize, room: usize) -> Messages {
        Messages::new(max, Room::new(room, 1), [127, 0, 0, 1].into())
    }

    #[test]
    fn a_large_message_holds_its_room_from_its_first_bytes_until_it_is_dropped() {
        let mut messages = messages(100_000, 30_000);
        let room = messages.room.clone();
        let part = |len: u32| [&[0][..], &len.to_be_bytes(), b"begun"].concat();
        messages.hold(part(20_000).into());
        assert_eq!((messages.take(), room.used()), (Ok(None), 20_000));
        messages.hold(vec![1; 20_000 - 5].into());
        let message = messages.take().unwrap().unwrap();
        assert_eq!((message.len(), room.used()), (20_000, 20_000));
        messages.hold(part(20_000).into());
        assert_eq!(messages.take().unwrap_err().code, Code::ResourceExhausted);
        drop(message);
        assert_eq!(room.used(), 0);
        assert_eq!(messages.take(), Ok(None));
        drop(messages);
        assert_eq!(room.used(), 0);
    }

    #[test]
    fn messages_are_cut_out_of_any_pieces() {
        let mut wire = BytesMut::new();
        let texts: Vec<String> = (0..5).map(|n| "m".repeat(n * 7)).collect();
        for text in &texts {
            wire.put_u8(0);
            wire.put_u32(text.len() as u32);
            wire.put_slice(text.as_bytes());
        }
        let wire = wire.freeze();
        for size in [1, 3, 5, 64, 1000] {
            let (mut messages, mut found) = (messages(100, 100), Vec::new());
            for piece in wire.chunks(size) {
                messages.hold(Bytes::copy_from_slice(piece));
                while let Some(message) = messages.take().unwrap() {
                    found.push(message);
                }
            }
            assert_eq!(found, texts, "pieces of {size}");
            assert_eq!(messages.end(), Ok(()));
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for (wire, code) in [
            (&b"\x00\x00\x00\x00\x65"[..], Code::ResourceExhausted),
            (b"\x01\x00\x00\x00\x01x", Code::Unimplemented),
            (b"\x00\x00\x00\x00\x02x", Code::Internal),
            (b"\x00\x00", Code::Internal),
        ] {
            let mut messages = messages(100, 100);
            messages.hold(Bytes::from_static(wire));
            let refused = messages.take().and_then(|_| messages.end()).unwrap_err();
            assert_eq!(refused.code, code, "{wire:?}");
        }
    }
}
