//! Bytes of messages: one byte with the format number, then protobuf. Input from the network never panics.

mod convert;
pub(crate) mod size;
mod wire;

use bytes::{Bytes, BytesMut};
use prost::Message as _;

use crate::message::Message;

/// The first byte of every message.
pub const FORMAT: u8 = 1;

/// A frame above this is refused before it is decoded. The core makes no longer one (`size.rs`), and members of 0.5 read none.
pub const FRAME_MAX: usize = 1 << 20;

/// A frame could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    #[error("a Distro frame of {0} bytes is over the limit of {FRAME_MAX}")]
    TooLong(usize),
    #[error("Distro format {0} is unknown; this member reads format {FORMAT}. Upgrade it, or the sender")]
    Format(u8),
    #[error("a Distro frame is empty")]
    Empty,
    #[error("a Distro frame does not decode: {0}")]
    Wire(#[from] prost::DecodeError),
    #[error("a Distro frame lacks {0}")]
    Missing(&'static str),
    #[error("{0} is not a member state")]
    State(u32),
    #[error(transparent)]
    Publication(#[from] dyad_types::publication::BadPublication),
}

/// Encodes a message.
///
/// # Errors
/// [`CodecError::TooLong`] when they exceed [`FRAME_MAX`]. A core with default limits makes no such message.
pub fn encode(message: &Message) -> Result<Bytes, CodecError> {
    let wire = wire::Frame { body: Some(convert::to_wire(message)) };
    let len = wire.encoded_len() + 1;
    if len > FRAME_MAX {
        return Err(CodecError::TooLong(len));
    }
    let mut bytes = BytesMut::with_capacity(len);
    bytes.extend_from_slice(&[FORMAT]);
    wire.encode_raw(&mut bytes);
    Ok(bytes.freeze())
}

/// Decodes a message. The bytes of each publication are copied once, so that one record does not keep a whole message
/// in memory.
///
/// # Errors
/// The bytes are too long, have another format, or are not a message.
pub fn decode(bytes: &Bytes) -> Result<Message, CodecError> {
    if bytes.len() > FRAME_MAX {
        return Err(CodecError::TooLong(bytes.len()));
    }
    match bytes.first() {
        None => return Err(CodecError::Empty),
        Some(&FORMAT) => {}
        Some(&other) => return Err(CodecError::Format(other)),
    }
    let frame = wire::Frame::decode(bytes.slice(1..))?;
    convert::from_wire(frame.body.ok_or(CodecError::Missing("a body"))?)
}
