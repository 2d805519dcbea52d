//! Accepting connections. A client cannot stop this: a connection that broke before it was accepted costs nothing, and want of
//! descriptors or memory is waited out.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

/// Wait after the system had no descriptor or memory for another connection: to ask again at once would only take its time.
const PAUSE: Duration = Duration::from_millis(100);

/// A listening socket.
#[derive(Debug)]
pub struct Acceptor {
    listener: TcpListener,
    /// What the port is for, in messages.
    port: &'static str,
    /// The last call failed for want of something.
    wants: bool,
}

impl Acceptor {
    /// `port` says in messages what the port is for.
    pub fn new(listener: TcpListener, port: &'static str) -> Acceptor {
        Acceptor { listener, port, wants: false }
    }

    /// The next connection, and the address of its client. It may be given up at any time; no connection is lost.
    pub async fn next(&mut self) -> (TcpStream, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, peer)) => {
                    self.wants = false;
                    if let Err(error) = stream.set_nodelay(true) {
                        tracing::debug!(%error, %peer, "TCP_NODELAY was refused");
                    }
                    return (stream, peer);
                }
                Err(error) if is_of_connection(&error) => {
                    tracing::debug!(%error, port = self.port, "a connection broke off before it was accepted");
                }
                Err(error) => {
                    if !std::mem::replace(&mut self.wants, true) {
                        let port = self.port;
                        tracing::warn!(%error, "the {port} port accepts no connection; is the limit of open files reached?");
                    }
                    sleep(PAUSE).await;
                }
            }
        }
    }
}

/// The connection itself was at fault, and the next one may be there already.
fn is_of_connection(error: &io::Error) -> bool {
    use Errno as E;
    matches!(
        Errno::from_io_error(error),
        Some(E::CONNABORTED | E::CONNRESET | E::INTR | E::PROTO | E::PERM | E::HOSTUNREACH | E::NETUNREACH)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_concerns_one_connection_is_passed_over() {
        let passed = |errno: Errno| is_of_connection(&io::Error::from(errno));
        for errno in [Errno::CONNABORTED, Errno::INTR, Errno::PROTO, Errno::PERM] {
            assert!(passed(errno), "{errno}");
        }
        for errno in [Errno::MFILE, Errno::NFILE, Errno::NOBUFS, Errno::NOMEM, Errno::BADF] {
            assert!(!passed(errno), "{errno}");
        }
    }
}
