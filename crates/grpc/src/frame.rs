//! The bytes of gRPC messages: a prefix of five bytes, and then a `Payload`. They are written by hand, in one pass and
//! without a copy of the JSON. A push is made once, and all its subscribers share its bytes.

use bytes::{BufMut, Bytes, BytesMut};
use prost::encoding::{encode_varint, encoded_len_varint};

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

/// Cuts the messages out of what arrives of a call.
#[derive(Debug)]
pub(crate) struct Messages {
    held: Bytes,
    max: usize,
}

impl Messages {
    /// Messages of at most `max` bytes.
    pub(crate) fn new(max: usize) -> Messages {
        Messages { held: Bytes::new(), max }
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
        whole.extend_from_slice(&data);
        self.held = whole.freeze();
    }

    /// The next message, if all of it is there.
    ///
    /// # Errors
    /// The message is too large or compressed.
    pub(crate) fn take(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(&[flag, a, b, c, d]) = self.held.first_chunk::<PREFIX>() else { return Ok(None) };
        if flag != 0 {
            return Err(Status { code: Code::Unimplemented, message: "compressed messages are not read" });
        }
        let len = u32::from_be_bytes([a, b, c, d]) as usize;
        if len > self.max {
            return Err(Status { code: Code::ResourceExhausted, message: "the message is too large" });
        }
        if self.held.len() < PREFIX + len {
            return Ok(None);
        }
        let message = self.held.split_to(PREFIX + len).slice(PREFIX..);
        Ok(Some(message))
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
    use dyad_proto::sdk::Payload;
    use prost::Message;

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
            let (mut messages, mut found) = (Messages::new(100), Vec::new());
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
            let mut messages = Messages::new(100);
            messages.hold(Bytes::from_static(wire));
            let refused = messages.take().and_then(|_| messages.end()).unwrap_err();
            assert_eq!(refused.code, code, "{wire:?}");
        }
    }
}
