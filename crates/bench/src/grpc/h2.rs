//! A client's half of HTTP/2, as far as gRPC calls need it: no task and no channel for a call, one write for a request,
//! headers encoded once. A generator must be cheaper than the server that it loads from the next core.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::AbortHandle;

use crate::error::Failed;

/// Largest frame that the peer may send: the protocol's default.
const FRAME_MAX: usize = 16 * 1024;
/// Bytes that the peer may send ahead, per stream and in all: the protocol's 64 KiB would make a long list wait for us.
const WINDOW: u32 = 1024 * 1024;
/// Bytes that may be sent ahead until the peer says otherwise (RFC 9113, 6.9.2).
const INITIAL_WINDOW: i64 = 65_535;
/// Bytes of a message: above what 100,000 instances need.
const MESSAGE_MAX: usize = 64 * 1024 * 1024;
/// Messages of the server's stream that wait for their reader; a server has about one push a service on its way.
const PUSHES_MAX: usize = 4_096;
/// Bytes that wait for the peer to read: some hundred requests.
const OUT_MAX: usize = 4 * 1024 * 1024;
/// gRPC's prefix: a flag and the length.
const PREFIX: usize = 5;
/// Room for one read.
const READ: usize = 64 * 1024;

const HEAD: usize = 9;
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const END_STREAM: u8 = 1;
const ACK: u8 = 1;
const END_HEADERS: u8 = 4;

const SETTINGS_HEADER_TABLE_SIZE: u16 = 1;
const SETTINGS_ENABLE_PUSH: u16 = 2;
const SETTINGS_INITIAL_WINDOW_SIZE: u16 = 4;

/// A connection. It ends when the last handle is dropped.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    reader: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

#[derive(Debug)]
struct Shared {
    stream: TcpStream,
    state: Mutex<State>,
    /// There are bytes that the socket did not take.
    full: Notify,
}

#[derive(Debug)]
struct State {
    closed: bool,
    next_stream: u32,
    /// The header fields that all calls have are in the peer's table.
    indexed: bool,
    authority: String,
    out: BytesMut,
    window: i64,
    peer_initial: i64,
    /// Bytes read since the peer was last given more.
    unread: u32,
    calls: HashMap<u32, Call>,
    /// Frames that wait for a window, in order.
    blocked: Vec<(u32, Bytes)>,
}

#[derive(Debug)]
struct Call {
    message: BytesMut,
    window: i64,
    unread: u32,
    to: To,
}

#[derive(Debug)]
enum To {
    Answer(oneshot::Sender<Result<Bytes, Failed>>),
    Stream(mpsc::Sender<Bytes>),
}

/// The client's half of a stream.
#[derive(Debug)]
pub(super) struct Sender {
    connection: Arc<Connection>,
    id: u32,
}

impl Connection {
    pub(super) async fn open(address: SocketAddr) -> io::Result<Arc<Connection>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let mut out = BytesMut::with_capacity(1024);
        out.put_slice(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
        head(&mut out, 18, SETTINGS, 0, 0);
        for (setting, value) in [
            (SETTINGS_HEADER_TABLE_SIZE, 0),
            (SETTINGS_ENABLE_PUSH, 0),
            (SETTINGS_INITIAL_WINDOW_SIZE, WINDOW),
        ] {
            out.put_u16(setting);
            out.put_u32(value);
        }
        window_update(&mut out, 0, WINDOW - 65_535);
        let state = State {
            closed: false,
            next_stream: 1,
            indexed: false,
            authority: address.to_string(),
            out,
            window: INITIAL_WINDOW,
            peer_initial: INITIAL_WINDOW,
            unread: 0,
            calls: HashMap::new(),
            blocked: Vec::new(),
        };
        let shared = Arc::new(Shared { stream, state: Mutex::new(state), full: Notify::new() });
        let reader = tokio::spawn(read(shared.clone())).abort_handle();
        Ok(Arc::new(Connection { shared, reader }))
    }

    /// One message there, one back.
    pub(super) async fn call(&self, path: &str, message: &[u8]) -> Result<Bytes, Failed> {
        let (to, answer) = oneshot::channel();
        self.shared.open(path, Some(message), To::Answer(to))?;
        answer.await.unwrap_or(Err(Failed::Broken))
    }

    /// A stream in both directions. The receiver ends with it.
    pub(super) fn stream(self: &Arc<Self>, path: &str) -> Result<(Sender, mpsc::Receiver<Bytes>), Failed> {
        let (to, messages) = mpsc::channel(PUSHES_MAX);
        let id = self.shared.open(path, None, To::Stream(to))?;
        Ok((Sender { connection: self.clone(), id }, messages))
    }
}

impl Sender {
    pub(super) fn send(&self, message: &[u8]) -> Result<(), Failed> {
        let mut state = self.connection.shared.state.lock();
        state.data(self.id, message, 0)?;
        self.connection.shared.flush(&mut state);
        Ok(())
    }
}

impl Shared {
    fn open(&self, path: &str, message: Option<&[u8]>, to: To) -> Result<u32, Failed> {
        let mut state = self.state.lock();
        if state.closed {
            return Err(Failed::Broken);
        }
        let id = state.next_stream;
        state.next_stream += 2;
        state.headers(id, path);
        let window = state.peer_initial;
        state.calls.insert(id, Call { message: BytesMut::new(), window, unread: 0, to });
        if let Some(message) = message {
            state.data(id, message, END_STREAM)?;
        }
        self.flush(&mut state);
        Ok(id)
    }

    /// Writes what the socket takes at once; the reader does the rest.
    fn flush(&self, state: &mut State) {
        while !state.out.is_empty() {
            match self.stream.try_write(&state.out) {
                Ok(n) => state.out.advance(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.full.notify_one();
                    return;
                }
                // The reader finds out.
                Err(_) => return,
            }
        }
    }
}

impl State {
    /// The fields of a call, those that all have by their place in the peer's table once they are there (RFC 7541).
    fn headers(&mut self, id: u32, path: &str) {
        const COMMON: [(&str, u8, &str); 4] = [
            // name, its number in the static table or 0, value
            ("", 31, "application/grpc"),
            ("te", 0, "trailers"),
            ("", 58, "dyad-bench"),
            ("grpc-accept-encoding", 0, "gzip"),
        ];
        let mut block = BytesMut::with_capacity(160);
        // `:method: POST`, `:scheme: http`, and the path as it is.
        block.put_slice(&[0x83, 0x86, 0x04]);
        text(&mut block, path);
        if self.indexed {
            // 62 is the newest entry.
            block.put_slice(&[0x80 | 66, 0x80 | 65, 0x80 | 64, 0x80 | 63, 0x80 | 62]);
        } else {
            block.put_u8(0x40 | 1);
            text(&mut block, &self.authority);
            for (name, number, value) in COMMON {
                block.put_u8(0x40 | number);
                if number == 0 {
                    text(&mut block, name);
                }
                text(&mut block, value);
            }
            self.indexed = true;
        }
        head(&mut self.out, block.len(), HEADERS, END_HEADERS, id);
        self.out.put_slice(&block);
    }

    fn data(&mut self, id: u32, message: &[u8], flags: u8) -> Result<(), Failed> {
        let len = PREFIX + message.len();
        if len > FRAME_MAX {
            return Err(Failed::Answer("a request of more than 16 KiB is not sent"));
        }
        if self.out.len() > OUT_MAX {
            return Err(Failed::Answer("the server does not read"));
        }
        let mut frame = BytesMut::with_capacity(HEAD + len);
        head(&mut frame, len, DATA, flags, id);
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.len()).expect("checked above"));
        frame.put_slice(message);
        if !self.blocked.is_empty() || !self.take_window(id, len) {
            if self.blocked.len() >= PUSHES_MAX {
                return Err(Failed::Answer("the server gives no window"));
            }
            self.blocked.push((id, frame.freeze()));
        } else {
            self.out.put_slice(&frame);
        }
        Ok(())
    }

    /// Bytes may be sent, and are now counted as such. A call that is over takes nothing.
    fn take_window(&mut self, id: u32, len: usize) -> bool {
        let len = i64::try_from(len).expect("a frame is small");
        let Some(call) = self.calls.get_mut(&id) else { return true };
        if self.window < len || call.window < len {
            return false;
        }
        self.window -= len;
        call.window -= len;
        true
    }

    fn unblock(&mut self) {
        while let Some((id, frame)) = self.blocked.first().cloned() {
            if !self.take_window(id, frame.len() - HEAD) {
                return;
            }
            self.blocked.remove(0);
            self.out.put_slice(&frame);
        }
    }

    /// One frame of the peer. An error ends the connection.
    fn frame(&mut self, kind: u8, flags: u8, id: u32, payload: &[u8]) -> Result<(), Failed> {
        match kind {
            DATA => self.received(id, payload, flags & END_STREAM != 0),
            HEADERS if flags & END_STREAM != 0 => {
                self.ended(id);
                Ok(())
            }
            RST_STREAM => {
                if let Some(Call { to: To::Answer(to), .. }) = self.calls.remove(&id) {
                    let _gone = to.send(Err(Failed::Broken));
                }
                Ok(())
            }
            SETTINGS if flags & ACK == 0 => self.settings(payload),
            PING if flags & ACK == 0 => {
                head(&mut self.out, payload.len(), PING, ACK, 0);
                self.out.put_slice(payload);
                Ok(())
            }
            WINDOW_UPDATE if payload.len() == 4 => {
                let more = i64::from((&payload[..]).get_u32() & 0x7fff_ffff);
                match id {
                    0 => self.window += more,
                    id => self.calls.get_mut(&id).into_iter().for_each(|call| call.window += more),
                }
                self.unblock();
                Ok(())
            }
            GOAWAY => Err(Failed::Broken),
            _ => Ok(()),
        }
    }

    fn settings(&mut self, mut payload: &[u8]) -> Result<(), Failed> {
        while payload.len() >= 6 {
            let (setting, value) = (payload.get_u16(), i64::from(payload.get_u32()));
            if setting == SETTINGS_INITIAL_WINDOW_SIZE {
                let more = value - self.peer_initial;
                self.peer_initial = value;
                self.calls.values_mut().for_each(|call| call.window += more);
            }
        }
        head(&mut self.out, 0, SETTINGS, ACK, 0);
        self.unblock();
        Ok(())
    }

    fn received(&mut self, id: u32, payload: &[u8], end: bool) -> Result<(), Failed> {
        let len = u32::try_from(payload.len()).map_err(|_| Failed::Broken)?;
        give(&mut self.out, 0, &mut self.unread, len);
        let Some(call) = self.calls.get_mut(&id) else { return Ok(()) };
        if !end {
            give(&mut self.out, id, &mut call.unread, len);
        }
        call.message.put_slice(payload);
        if call.message.len() > MESSAGE_MAX {
            return Err(Failed::Answer("a message of more than 64 MiB"));
        }
        if let To::Stream(to) = &call.to {
            while let Some(message) = take(&mut call.message) {
                // One who does not read loses the connection.
                to.try_send(message).map_err(|_| Failed::Broken)?;
            }
        }
        if end {
            self.ended(id);
        }
        Ok(())
    }

    fn ended(&mut self, id: u32) {
        let Some(mut call) = self.calls.remove(&id) else { return };
        if let To::Answer(to) = call.to {
            let _gone = to.send(take(&mut call.message).ok_or(Failed::Grpc));
        }
    }
}

/// Reads until the connection ends, and writes what did not go at once. Everybody who waits is told by their channel's end.
async fn read(shared: Arc<Shared>) {
    let mut input = BytesMut::with_capacity(READ);
    loop {
        tokio::select! {
            ready = shared.stream.readable() => {
                if ready.is_err() { break }
                input.reserve(READ);
                match shared.stream.try_read_buf(&mut input) {
                    Ok(0) => break,
                    Ok(_) => {
                        let mut state = shared.state.lock();
                        if frames(&mut state, &mut input).is_err() { break }
                        shared.flush(&mut state);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
            () = shared.full.notified() => {
                if shared.stream.writable().await.is_err() { break }
                shared.flush(&mut shared.state.lock());
            }
        }
    }
    let mut state = shared.state.lock();
    state.closed = true;
    state.calls.clear();
}

fn frames(state: &mut State, input: &mut BytesMut) -> Result<(), Failed> {
    while let Some(&[a, b, c, kind, flags, d, e, f, g]) = input.first_chunk::<HEAD>() {
        let len = u32::from_be_bytes([0, a, b, c]) as usize;
        if len > FRAME_MAX {
            return Err(Failed::Answer("a frame of more than 16 KiB"));
        }
        if input.len() < HEAD + len {
            break;
        }
        let id = u32::from_be_bytes([d, e, f, g]) & 0x7fff_ffff;
        state.frame(kind, flags, id, &input[HEAD..HEAD + len])?;
        input.advance(HEAD + len);
    }
    Ok(())
}

/// The next whole message.
fn take(held: &mut BytesMut) -> Option<Bytes> {
    let &[_, a, b, c, d] = held.first_chunk::<PREFIX>()?;
    let len = u32::from_be_bytes([a, b, c, d]) as usize;
    if held.len() < PREFIX + len {
        return None;
    }
    held.advance(PREFIX);
    Some(held.split_to(len).freeze())
}

/// Gives the peer its window back when half of it is used.
fn give(out: &mut BytesMut, id: u32, unread: &mut u32, len: u32) {
    *unread += len;
    if *unread >= WINDOW / 2 {
        window_update(out, id, *unread);
        *unread = 0;
    }
}

fn window_update(out: &mut BytesMut, id: u32, more: u32) {
    head(out, 4, WINDOW_UPDATE, 0, id);
    out.put_u32(more);
}

fn head(out: &mut BytesMut, len: usize, kind: u8, flags: u8, id: u32) {
    out.put_uint(len as u64, 3);
    out.put_u8(kind);
    out.put_u8(flags);
    out.put_u32(id);
}

/// A string that is not compressed; all that are sent here have less than 127 bytes.
fn text(out: &mut BytesMut, text: &str) {
    debug_assert!(text.len() < 127);
    out.put_u8(text.len() as u8);
    out.put_slice(text.as_bytes());
}
