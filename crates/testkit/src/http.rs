//! A small keep-alive HTTP/1.1 client. The harness needs to know exactly how a request failed (refused, broken,
//! timed out) and on which connection, which general clients hide behind retries.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Largest header section that is read.
const HEAD_MAX: usize = 64 * 1024;
/// Largest body that is read: a list of 10,000 instances fits.
const BODY_MAX: usize = 64 * 1024 * 1024;
/// Connections kept for reuse, each member; more are closed after their answer.
const IDLE_MAX: usize = 256;
/// A connection that ends within this time after a request was sent ended because nobody was there to read it; later
/// than that, the request may have been at work.
const UNREAD: Duration = Duration::from_millis(10);
/// The same behind a proxy that first accepts and then looks for somebody to take the connection. Of a container that is
/// gone it learns after a second, when nobody answers for its address.
const UNREAD_PROXIED: Duration = Duration::from_millis(1_500);

/// A request, ready to be sent to any member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    pub method: &'static str,
    /// Path and query, already percent-encoded.
    pub target: String,
    /// An `application/x-www-form-urlencoded` body.
    pub form: Option<String>,
    /// One more header: name and value.
    pub header: Option<(&'static str, String)>,
}

impl Request {
    /// A request without a body.
    pub fn new(method: &'static str, target: impl Into<String>) -> Request {
        Request { method, target: target.into(), form: None, header: None }
    }

    /// The bytes on the wire.
    pub fn to_bytes(&self, host: &str) -> Vec<u8> {
        let Request { method, target, form, header } = self;
        let mut text = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n");
        if let Some((name, value)) = header {
            text += &format!("{name}: {value}\r\n");
        }
        match form {
            Some(form) => {
                text += "Content-Type: application/x-www-form-urlencoded\r\n";
                text += &format!("Content-Length: {}\r\n\r\n{form}", form.len());
            }
            None if *method == "GET" => text += "\r\n",
            None => text += "Content-Length: 0\r\n\r\n",
        }
        text.into_bytes()
    }
}

/// A complete answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text, for messages.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().take(200).collect()
    }
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failed {
    /// Nobody listens there, or no route. Nothing was sent.
    Refused,
    /// The connection ended before the answer was complete: the outcome is unknown.
    Broken,
    /// A new connection was closed at once, without a byte: it waited in the queue of a listener that ended, or a
    /// proxy found nobody behind it.
    Unheard,
    /// No complete answer in time: the outcome is unknown.
    Timeout,
    /// What was answered is not HTTP.
    Protocol(String),
}

/// Connections to one server.
#[derive(Debug)]
pub struct Pool {
    address: Mutex<SocketAddr>,
    unread: Duration,
    idle: Mutex<Vec<Conn>>,
}

impl Pool {
    pub fn new(address: SocketAddr) -> Pool {
        Pool { address: Mutex::new(address), unread: UNREAD, idle: Mutex::new(Vec::new()) }
    }

    /// A server whose port is a proxy's.
    pub fn proxied(address: SocketAddr) -> Pool {
        Pool { unread: UNREAD_PROXIED, ..Pool::new(address) }
    }

    pub fn address(&self) -> SocketAddr {
        *self.address.lock().expect("no holder panics")
    }

    /// The server is at another address from now on.
    pub fn move_to(&self, address: SocketAddr) {
        *self.address.lock().expect("no holder panics") = address;
        self.idle.lock().expect("no holder panics").clear();
    }

    /// Sends `request` and waits for its whole answer, `timeout` in all. A kept connection that was closed meanwhile, or
    /// is at the moment of sending, is replaced by a new one: HTTP clients do so for idempotent requests, and all that
    /// are sent here are.
    ///
    /// # Errors
    /// See [`Failed`].
    pub async fn call(&self, request: &Request, timeout: Duration) -> Result<Answer, Failed> {
        match tokio::time::timeout(timeout, self.exchange(request)).await {
            Ok(result) => result,
            Err(_) => Err(Failed::Timeout),
        }
    }

    async fn exchange(&self, request: &Request) -> Result<Answer, Failed> {
        let address = self.address();
        let bytes = request.to_bytes(&address.to_string());
        if let Some(mut conn) = self.kept() {
            match conn.exchange(&bytes, self.unread).await {
                Err(Failed::Unheard) => {}
                result => return self.keep(conn, result),
            }
        }
        let stream = TcpStream::connect(address).await.map_err(|_| Failed::Refused)?;
        stream.set_nodelay(true).map_err(|_| Failed::Broken)?;
        let mut conn = Conn { stream, buffer: Vec::with_capacity(16 * 1024) };
        let result = conn.exchange(&bytes, self.unread).await;
        self.keep(conn, result)
    }

    /// A kept connection that is still open.
    fn kept(&self) -> Option<Conn> {
        let mut idle = self.idle.lock().expect("no holder panics");
        while let Some(conn) = idle.pop() {
            if matches!(conn.stream.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock) {
                return Some(conn);
            }
        }
        None
    }

    fn keep(&self, conn: Conn, result: Result<(Answer, bool), Failed>) -> Result<Answer, Failed> {
        let (answer, reusable) = result?;
        let mut idle = self.idle.lock().expect("no holder panics");
        if reusable && idle.len() < IDLE_MAX {
            idle.push(conn);
        }
        Ok(answer)
    }
}

#[derive(Debug)]
struct Conn {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Conn {
    /// One request and its answer; true if the connection can be used again.
    async fn exchange(&mut self, request: &[u8], unread: Duration) -> Result<(Answer, bool), Failed> {
        self.buffer.clear();
        let began = Instant::now();
        let result = self.exchange_once(request).await;
        match result {
            Err(Failed::Broken) if self.buffer.is_empty() && began.elapsed() < unread => Err(Failed::Unheard),
            result => result,
        }
    }

    async fn exchange_once(&mut self, request: &[u8]) -> Result<(Answer, bool), Failed> {
        self.stream.write_all(request).await.map_err(|_| Failed::Broken)?;
        let head = self.read_head().await?;
        let body = match head.length {
            Length::Fixed(length) => self.read_fixed(head.size, length).await?,
            Length::Chunked => self.read_chunked(head.size).await?,
        };
        Ok((Answer { status: head.status, body }, !head.close))
    }

    async fn fill(&mut self) -> Result<(), Failed> {
        match self.stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => Err(Failed::Broken),
            Ok(_) => Ok(()),
        }
    }

    async fn read_head(&mut self) -> Result<Head, Failed> {
        loop {
            if let Some(end) = find(&self.buffer, b"\r\n\r\n") {
                let text = std::str::from_utf8(&self.buffer[..end])
                    .map_err(|_| Failed::Protocol("a header is not UTF-8".into()))?;
                return Head::parse(text, end + 4);
            }
            if self.buffer.len() > HEAD_MAX {
                return Err(Failed::Protocol("headers are too long".into()));
            }
            self.fill().await?;
        }
    }

    async fn read_fixed(&mut self, start: usize, length: usize) -> Result<Vec<u8>, Failed> {
        if length > BODY_MAX {
            return Err(Failed::Protocol("the body is too long".into()));
        }
        while self.buffer.len() < start + length {
            self.fill().await?;
        }
        Ok(self.buffer[start..start + length].to_vec())
    }

    async fn read_chunked(&mut self, mut at: usize) -> Result<Vec<u8>, Failed> {
        let mut body = Vec::new();
        loop {
            let Some(line) = find(&self.buffer[at..], b"\r\n") else {
                self.fill().await?;
                continue;
            };
            let size = std::str::from_utf8(&self.buffer[at..at + line])
                .ok()
                .and_then(|text| usize::from_str_radix(text.trim(), 16).ok())
                .filter(|size| body.len() + size <= BODY_MAX)
                .ok_or_else(|| Failed::Protocol("bad chunk".into()))?;
            let data = at + line + 2;
            while self.buffer.len() < data + size + 2 {
                self.fill().await?;
            }
            body.extend_from_slice(&self.buffer[data..data + size]);
            at = data + size + 2;
            if size == 0 {
                return Ok(body);
            }
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum Length {
    Fixed(usize),
    Chunked,
}

#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Length,
    close: bool,
    /// Bytes of the head, the empty line included.
    size: usize,
}

impl Head {
    fn parse(text: &str, size: usize) -> Result<Head, Failed> {
        let mut lines = text.split("\r\n");
        let status = lines
            .next()
            .and_then(|line| line.strip_prefix("HTTP/1."))
            .and_then(|rest| rest.get(2..5))
            .and_then(|code| code.parse().ok())
            .ok_or_else(|| Failed::Protocol("no status line".into()))?;
        let mut head = Head { status, length: Length::Fixed(0), close: false, size };
        for line in lines {
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            if name.eq_ignore_ascii_case("content-length") {
                let length = value.parse().map_err(|_| Failed::Protocol("bad content-length".into()))?;
                head.length = Length::Fixed(length);
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                head.length = Length::Chunked;
            } else if name.eq_ignore_ascii_case("connection") {
                head.close = value.eq_ignore_ascii_case("close");
            }
        }
        Ok(head)
    }
}

fn find(text: &[u8], what: &[u8]) -> Option<usize> {
    text.windows(what.len()).position(|window| window == what)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn heads() {
        let head =
            Head::parse("HTTP/1.1 404 Not Found\r\ncontent-length: 12\r\nConnection: Close", 70).unwrap();
        assert_eq!(head, Head { status: 404, length: Length::Fixed(12), close: true, size: 70 });
        let head = Head::parse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked", 50).unwrap();
        assert_eq!(head, Head { status: 200, length: Length::Chunked, close: false, size: 50 });
        assert!(Head::parse("SSH-2.0-x", 9).is_err());
        assert!(Head::parse("HTTP/1.1 200 OK\r\ncontent-length: x", 9).is_err());
    }

    /// Answers each connection with the next of `scripts`: its bytes, then the end.
    async fn server(scripts: Vec<&'static [u8]>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            for script in scripts {
                let (mut stream, _) = listener.accept().await.unwrap();
                if script.is_empty() {
                    continue;
                }
                let mut request = [0; 1024];
                assert!(stream.read(&mut request).await.unwrap() > 0);
                stream.write_all(script).await.unwrap();
            }
        });
        address
    }

    #[tokio::test]
    async fn outcomes() {
        let chunked = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n";
        let cut = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab";
        let pool = Pool::new(server(vec![chunked, cut, b""]).await);
        let request = Request::new("GET", "/x");
        let wait = Duration::from_secs(5);
        assert_eq!(pool.call(&request, wait).await, Ok(Answer { status: 200, body: b"ok".to_vec() }));
        // The kept connection has ended by now or ends unread: a new one is made, which is cut in the answer.
        assert_eq!(pool.call(&request, wait).await, Err(Failed::Broken));
        assert_eq!(pool.call(&request, wait).await, Err(Failed::Unheard));
        let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        assert_eq!(Pool::new(free).call(&request, wait).await, Err(Failed::Refused));
    }

    #[test]
    fn bytes_on_the_wire() {
        let request = Request {
            form: Some("d=e".into()),
            header: Some(("f", "g".into())),
            ..Request::new("POST", "/a?b=c")
        };
        let text = String::from_utf8(request.to_bytes("h:1")).unwrap();
        assert_eq!(
            text,
            "POST /a?b=c HTTP/1.1\r\nHost: h:1\r\nf: g\r\nContent-Type: application/x-www-form-urlencoded\r\n\
             Content-Length: 3\r\n\r\nd=e"
        );
        assert_eq!(Request::new("GET", "/").to_bytes("h"), b"GET / HTTP/1.1\r\nHost: h\r\n\r\n");
    }
}
