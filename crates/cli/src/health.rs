//! A small HTTP client for operator commands: one GET, one answer of limited size, one deadline. Containers use `dyad
//! health` as their HEALTHCHECK, so it must not need a shell, curl or a runtime.

use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::exit::{Exit, Failure};

/// The path that answers 200 while this member is ready.
pub const READINESS: &str = "/nacos/v1/console/health/readiness";
/// The path that answers 200 while the process serves.
pub const LIVENESS: &str = "/nacos/v1/console/health/liveness";
/// The longest time for a whole request. It is shorter than the 5 s that the HEALTHCHECK of a container usually has.
pub const TIMEOUT: Duration = Duration::from_secs(3);
/// Largest answer that is read.
const ANSWER_MAX: u64 = 64 * 1024;
/// Longest piece of an answer that a message repeats.
const SHOWN_MAX: usize = 200;

/// Asks `url`. Only the answer 200 within the time is a success.
///
/// # Errors
/// `Exit::Refused` with what was answered; `Exit::Settings` if the URL does not have the form `http://host[:port]/path`.
pub fn check(url: &str) -> Result<(), Failure> {
    let (address, path) = split_url(url)
        .ok_or_else(|| Failure::new(Exit::Settings, format!("{url:?} is not http://host[:port][/path]")))?;
    match get(&address, path, TIMEOUT) {
        Ok((200, _)) => Ok(()),
        Ok((status, body)) => {
            let body: String = body.trim().chars().take(SHOWN_MAX).collect();
            Err(Failure::new(Exit::Refused, format!("{url}: {status} {body}")))
        }
        Err(error) => Err(Failure::new(Exit::Refused, format!("{url}: {error}"))),
    }
}

/// The URL of `path` at the server on this machine whose settings say this address.
///
/// # Errors
/// A port of 0: only the server knows which one it got.
pub fn own_url(address: SocketAddr, path: &str) -> Result<String, Failure> {
    if address.port() == 0 {
        return Err(Failure::new(
            Exit::Settings,
            "setting port is 0, any free one: give the address with --url",
        ));
    }
    let ip = match address.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Ok(format!("http://{}{path}", SocketAddr::new(ip, address.port())))
}

/// One GET by HTTP/1.0 (no chunks, the connection ends with the answer): status and body.
///
/// # Errors
/// The network fails, the time is over, or the answer is not HTTP.
pub fn get(address: &str, path: &str, timeout: Duration) -> io::Result<(u16, String)> {
    let deadline = Instant::now() + timeout;
    let mut stream = connect(address, deadline)?;
    stream.set_write_timeout(Some(left(deadline)?))?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nAccept: application/json\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut bytes = Vec::new();
    let mut chunk = [0; 4096];
    while (bytes.len() as u64) < ANSWER_MAX {
        // A server that sends a byte now and then must not hold us beyond the deadline.
        stream.set_read_timeout(Some(left(deadline)?))?;
        match stream.read(&mut chunk) {
            Ok(0) => break,
            Ok(n) => bytes.extend_from_slice(&chunk[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(too_late()),
            Err(error) => return Err(error),
        }
    }
    parse(&String::from_utf8_lossy(&bytes))
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "the answer is not HTTP"))
}

fn connect(address: &str, deadline: Instant) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, format!("{address} has no address"));
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, left(deadline)?) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn left(deadline: Instant) -> io::Result<Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(too_late()) } else { Ok(left) }
}

fn too_late() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let mut words = head.lines().next()?.split(' ');
    if !words.next()?.starts_with("HTTP/1.") {
        return None;
    }
    Some((words.next()?.parse().ok()?, body.to_owned()))
}

/// `http://host[:port][/path]` → (`host:port`, path).
fn split_url(url: &str) -> Option<(String, &str)> {
    let rest = url.strip_prefix("http://")?;
    let (host, path) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, "/"),
    };
    let printable = |text: &str| text.bytes().all(|b| b.is_ascii_graphic());
    if host.is_empty() || !printable(host) || !printable(path) {
        return None;
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
    Some((if has_port { host.to_owned() } else { format!("{host}:80") }, path))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// Answers one connection with `answer` and gives what was asked.
    fn serve(answer: &'static str) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let asked = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                stream.read_exact(&mut byte).unwrap();
                request.push(byte[0]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
            String::from_utf8(request).unwrap()
        });
        (address, asked)
    }

    #[test]
    fn answers_decide() {
        let cases = [
            ("HTTP/1.0 200 OK\r\n\r\nOK", Ok(())),
            (
                "HTTP/1.1 503 Service Unavailable\r\nX: y\r\n\r\nserver is STARTING\n",
                Err("503 server is STARTING"),
            ),
            ("SSH-2.0-x\r\n\r\n", Err("the answer is not HTTP")),
            ("", Err("the answer is not HTTP")),
        ];
        for (answer, want) in cases {
            let (address, asked) = serve(answer);
            let url = format!("http://{address}{READINESS}");
            let got = check(&url).map_err(|failure| (failure.exit, failure.message));
            assert_eq!(got, want.map_err(|why| (Exit::Refused, format!("{url}: {why}"))));
            let asked = asked.join().unwrap();
            assert!(
                asked.starts_with("GET /nacos/v1/console/health/readiness HTTP/1.0\r\nHost: 127"),
                "{asked}"
            );
        }
    }

    #[test]
    fn silence_ends_at_the_deadline() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let error = get(&address, "/", Duration::from_millis(50)).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        drop(listener);
        assert_eq!(get(&address, "/", TIMEOUT).unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn urls() {
        let own = |address: &str| own_url(address.parse().unwrap(), "/x");
        assert_eq!(own("0.0.0.0:8848").unwrap(), "http://127.0.0.1:8848/x");
        assert_eq!(own("[::]:1").unwrap(), "http://[::1]:1/x");
        assert_eq!(own("10.0.0.1:1").unwrap(), "http://10.0.0.1:1/x");
        assert_eq!(own("[::1]:0").unwrap_err().exit, Exit::Settings);
        let cases = [
            ("http://a", Some(("a:80", "/"))),
            ("http://a:1/b/c", Some(("a:1", "/b/c"))),
            ("http://[::1]:1/", Some(("[::1]:1", "/"))),
            ("https://a", None),
            ("http://", None),
            ("http://a/b c", None),
            ("http://a/b\r\nX: y", None),
        ];
        for (url, want) in cases {
            assert_eq!(split_url(url), want.map(|(host, path)| (host.to_owned(), path)), "{url:?}");
        }
    }
}
