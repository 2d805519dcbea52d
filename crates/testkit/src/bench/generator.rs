//! The load generator: one thread, 64 keep-alive connections, a closed loop on each. It must cost less than the server
//! it measures, so it neither allocates nor parses more than the end of an answer.

use std::io::{self, ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};

use crate::proc::cpu_of;

/// Connections at a time.
const CONNECTIONS: usize = 64;
/// Bytes of an answer that are read at once; more than an answer of 1,000 instances.
const BUFFER: usize = 512 * 1024;
/// Nothing happens for so long: the server hangs.
const SILENCE: Duration = Duration::from_secs(10);

/// How long to go on.
#[derive(Clone, Copy, Debug)]
pub(super) enum Until {
    After(Duration),
    Requests(usize),
}

/// What a run of the generator measured.
#[derive(Clone, Copy, Debug)]
pub(super) struct Load {
    pub(super) requests: usize,
    pub(super) wall: Duration,
    /// CPU time of this process.
    pub(super) own_cpu: Duration,
}

struct Connection {
    stream: TcpStream,
    /// Bytes of the answer that are still to come; None until its head was read.
    left: Option<usize>,
}

/// Sends `requests`, each complete, one after another and from the first again, over all connections.
pub(super) fn run(address: SocketAddr, requests: &[Vec<u8>], until: Until) -> Result<Load> {
    let mut poll = Poll::new()?;
    let mut connections = connect(&poll, address)?;
    let mut events = Events::with_capacity(CONNECTIONS);
    let mut buffer = vec![0; BUFFER];
    let (mut sent, mut answered) = (0, 0);
    let began = Instant::now();
    let cpu = cpu_of(std::process::id())?;
    let wanted = match until {
        Until::After(_) => usize::MAX,
        Until::Requests(count) => count,
    };
    for connection in &mut connections {
        send(connection, &requests[sent % requests.len()])?;
        sent += 1;
    }
    while answered < wanted {
        poll.poll(&mut events, Some(SILENCE))?;
        if events.is_empty() {
            bail!("no answer for {SILENCE:?}");
        }
        for event in &events {
            let connection = &mut connections[event.token().0];
            // One answer is on its way at most: when it is complete nothing more is there, and the next one, which
            // is not even asked for, tells its readiness anew. So no read is spent on finding out.
            if receive(connection, &mut buffer)? {
                answered += 1;
                if sent < wanted {
                    send(connection, &requests[sent % requests.len()])?;
                    sent += 1;
                }
            }
        }
        if let Until::After(time) = until
            && began.elapsed() >= time
        {
            break;
        }
    }
    let own_cpu = cpu_of(std::process::id())?.saturating_sub(cpu);
    Ok(Load { requests: answered, wall: began.elapsed(), own_cpu })
}

fn connect(poll: &Poll, address: SocketAddr) -> Result<Vec<Connection>> {
    let mut connections = Vec::with_capacity(CONNECTIONS);
    for n in 0..CONNECTIONS {
        let stream = std::net::TcpStream::connect(address).context("cannot connect")?;
        stream.set_nodelay(true)?;
        stream.set_nonblocking(true)?;
        let mut stream = TcpStream::from_std(stream);
        poll.registry().register(&mut stream, Token(n), Interest::READABLE)?;
        connections.push(Connection { stream, left: None });
    }
    Ok(connections)
}

fn send(connection: &mut Connection, request: &[u8]) -> Result<()> {
    // A request is smaller than any socket buffer, and none is on its way.
    let written = connection.stream.write(request)?;
    if written < request.len() {
        bail!("the request does not fit into the socket");
    }
    Ok(())
}

/// Reads what is there: true if the answer is complete, false if more must come first.
fn receive(connection: &mut Connection, buffer: &mut [u8]) -> Result<bool> {
    loop {
        let count = match connection.stream.read(buffer) {
            Ok(0) => bail!("the server closed a connection"),
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        let left = match connection.left {
            Some(left) => left,
            None => whole(&buffer[..count])?,
        };
        match left.checked_sub(count) {
            Some(0) => {
                connection.left = None;
                return Ok(true);
            }
            Some(left) => connection.left = Some(left),
            None => bail!("more was answered than asked for"),
        }
        // A short read emptied the socket; what comes later tells its readiness anew.
        if count < buffer.len() {
            return Ok(false);
        }
    }
}

/// Bytes of the whole answer, from its beginning. Servers on loopback write a head at once.
fn whole(start: &[u8]) -> Result<usize> {
    let end = start.windows(4).position(|part| part == b"\r\n\r\n").context("the head came in pieces")?;
    let head = std::str::from_utf8(&start[..end])?;
    if !head.starts_with("HTTP/1.1 200") {
        bail!(
            "answered {}: {}",
            head.lines().next().unwrap_or(""),
            String::from_utf8_lossy(&start[end + 4..])
        );
    }
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    Ok(end + 4 + length.context("no content-length")?)
}
