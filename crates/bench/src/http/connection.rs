//! A keep-alive HTTP/1.1 connection that reads no more of an answer than its end: the generator must cost less than the
//! server it measures.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::error::Failed;

/// Longest wait for an answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// Bytes of an answer; a list of 100,000 instances has 25 MB.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Room for an answer at first; ten thousand connections may wait at once.
const BUFFER: usize = 4 * 1024;

/// Dials when it is first used, and again after a failure.
#[derive(Debug)]
pub(crate) struct Connection {
    address: SocketAddr,
    stream: Option<TcpStream>,
    buffer: Vec<u8>,
    wait: Duration,
}

impl Connection {
    pub(crate) fn new(address: SocketAddr) -> Connection {
        Connection { address, stream: None, buffer: Vec::with_capacity(BUFFER), wait: ANSWER_MAX }
    }

    /// Waits so long for an answer.
    pub(crate) fn waiting(self, wait: Duration) -> Connection {
        Connection { wait, ..self }
    }

    /// Sends `request`; the body of the answer, with the marks of its chunks if it has any.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> Result<&[u8], Failed> {
        let answer = timeout(self.wait, self.try_exchange(request)).await;
        match answer.unwrap_or(Err(Failed::Timeout)) {
            Ok(start) => Ok(&self.buffer[start..]),
            Err(failed) => {
                // A refusal that was read to its end leaves the connection as it was.
                if !matches!(failed, Failed::Status(_)) {
                    self.stream = None;
                }
                Err(failed)
            }
        }
    }

    async fn try_exchange(&mut self, request: &[u8]) -> Result<usize, Failed> {
        if self.stream.is_none() {
            let failed = |error: std::io::Error| Failed::Connect(error.kind());
            let stream = TcpStream::connect(self.address).await.map_err(failed)?;
            stream.set_nodelay(true).map_err(failed)?;
            self.stream = Some(stream);
        }
        let stream = self.stream.as_mut().ok_or(Failed::Broken)?;
        stream.write_all(request).await.map_err(|_| Failed::Broken)?;
        self.buffer.clear();
        let head = loop {
            fill(stream, &mut self.buffer).await?;
            if let Some(head) = Head::parse(&self.buffer)? {
                break head;
            }
        };
        match head.length {
            Some(length) => {
                let end = head.size.saturating_add(length);
                while self.buffer.len() < end {
                    fill(stream, &mut self.buffer).await?;
                }
            }
            None => {
                let mut at = head.size;
                while !skip_chunks(&self.buffer, &mut at)? {
                    fill(stream, &mut self.buffer).await?;
                }
            }
        }
        if head.close {
            self.stream = None;
        }
        if head.status == 200 { Ok(head.size) } else { Err(Failed::Status(head.status)) }
    }
}

async fn fill(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Result<(), Failed> {
    if buffer.len() > BYTES_MAX {
        return Err(Failed::Answer("it has no end"));
    }
    match stream.read_buf(buffer).await {
        Ok(0) | Err(_) => Err(Failed::Broken),
        Ok(_) => Ok(()),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    /// None: it comes in chunks.
    length: Option<usize>,
    close: bool,
    /// Bytes of the head, the empty line included.
    size: usize,
}

impl Head {
    /// None while it is incomplete.
    fn parse(bytes: &[u8]) -> Result<Option<Head>, Failed> {
        let Some(end) = bytes.windows(4).position(|part| part == b"\r\n\r\n") else { return Ok(None) };
        let text = std::str::from_utf8(&bytes[..end]).map_err(|_| Failed::Answer("a header is not UTF-8"))?;
        let mut lines = text.split("\r\n");
        let code = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")).and_then(|rest| rest.get(2..5));
        let status = code.and_then(|code| code.parse().ok()).ok_or(Failed::Answer("not HTTP"))?;
        let mut head = Head { status, length: Some(0), close: false, size: end + 4 };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                head.length = Some(value.parse().map_err(|_| Failed::Answer("bad content-length"))?);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                head.length = None;
            } else if name.eq_ignore_ascii_case("connection") {
                head.close = value.eq_ignore_ascii_case("close");
            }
        }
        Ok(Some(head))
    }
}

/// Moves `at` over complete chunks; true behind the last one.
fn skip_chunks(bytes: &[u8], at: &mut usize) -> Result<bool, Failed> {
    loop {
        let rest = bytes.get(*at..).unwrap_or_default();
        let Some(line) = rest.windows(2).position(|part| part == b"\r\n") else { return Ok(false) };
        let size = std::str::from_utf8(&rest[..line]).ok();
        let size = size.and_then(|text| usize::from_str_radix(text.trim(), 16).ok());
        let size = size.filter(|size| *size <= BYTES_MAX).ok_or(Failed::Answer("bad chunk"))?;
        let end = line + 2 + size + 2;
        if rest.len() < end {
            return Ok(false);
        }
        *at += end;
        if size == 0 {
            return Ok(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn heads() {
        let head =
            Head::parse(b"HTTP/1.1 404 Not Found\r\ncontent-length: 12\r\nConnection: Close\r\n\r\nabc");
        assert_eq!(head, Ok(Some(Head { status: 404, length: Some(12), close: true, size: 65 })));
        let head = Head::parse(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
        assert_eq!(head, Ok(Some(Head { status: 200, length: None, close: false, size: 47 })));
        assert_eq!(Head::parse(b"HTTP/1.1 200 OK\r\n"), Ok(None));
        for bad in
            [&b"SSH-2.0-x\r\n\r\n"[..], b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", b"\xff\r\n\r\n"]
        {
            assert!(Head::parse(bad).is_err());
        }
    }

    #[test]
    fn chunks() {
        let whole = b"2\r\nok\r\n0\r\n\r\n";
        for cut in 0..whole.len() {
            assert_eq!(skip_chunks(&whole[..cut], &mut 0), Ok(false), "{cut}");
        }
        let mut at = 0;
        assert_eq!((skip_chunks(whole, &mut at), at), (Ok(true), whole.len()));
        assert!(skip_chunks(b"x\r\n", &mut 0).is_err());
        assert!(skip_chunks(b"fffffffffffffff\r\n", &mut 0).is_err());
    }

    /// Answers each connection with the next of `scripts`, then ends it.
    async fn server(scripts: Vec<&'static [u8]>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for script in scripts {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(script).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn outcomes() {
        let good = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok";
        let refused = b"HTTP/1.1 500 x\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx";
        let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab";
        let mut connection = Connection::new(server(vec![good, refused, cut]).await);
        assert_eq!(connection.exchange(b"x").await, Ok(&b"ok"[..]));
        assert_eq!(connection.exchange(b"x").await, Err(Failed::Status(500)));
        assert_eq!(connection.exchange(b"x").await, Err(Failed::Broken));
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let none = Connection::new(free).exchange(b"x").await.map(<[u8]>::to_vec);
        assert_eq!(none, Err(Failed::Connect(std::io::ErrorKind::ConnectionRefused)));
    }
}
