//! A client's socket for the crates that speak HTTP on it. They own it, so a [`Watch`] tells the front end what happens there,
//! and a [`Line`] whether the client is still at the other end.

use std::fmt;
use std::future::pending;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use rustix::io::Errno;
use rustix::net::{Shutdown, shutdown};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

/// Hears of everything that happens on a socket.
pub trait Watch: Send + Sync + fmt::Debug + 'static {
    /// Something was read (so many bytes, 0 at the end), or not yet, or reading failed.
    fn read(&self, read: &Poll<io::Result<usize>>);
    /// The same for what was written.
    fn wrote(&self, wrote: &Poll<io::Result<usize>>);
}

/// A socket that tells its watch.
#[derive(Debug)]
pub struct Wire<W> {
    read: OwnedReadHalf,
    line: Line,
    watch: Arc<W>,
}

/// Another handle of a socket.
#[derive(Clone, Debug)]
pub struct Line(Arc<OwnedWriteHalf>);

impl Line {
    /// Waits until the client has closed its half or the connection is lost, whether or not all of what it sent was read.
    pub async fn hung_up(&self) {
        // On Linux a socket whose other end is closed is ready for urgent data as well. It is ready for nothing else of that
        // kind, since nobody asks the system for it; waiting to read instead would end with every byte that comes.
        match self.0.ready(Interest::PRIORITY).await {
            Ok(ready) if !ready.is_read_closed() => pending().await,
            Ok(_) | Err(_) => {}
        }
    }

    /// Writes what the socket takes at once, and closes it. For a client that is told why its connection ends.
    pub fn farewell(&self, words: &[u8]) {
        // Best effort: the client may be gone, and nothing waits for it.
        let _ = self.0.try_write(words);
        let _ = shutdown(AsRef::<TcpStream>::as_ref(&*self.0), Shutdown::Write);
    }
}

impl<W: Watch> Wire<W> {
    pub fn new(stream: TcpStream, watch: Arc<W>) -> Wire<W> {
        let (read, write) = stream.into_split();
        Wire { read, line: Line(Arc::new(write)), watch }
    }

    pub fn line(&self) -> Line {
        self.line.clone()
    }

    /// Writes once the socket has room.
    fn write(
        &self,
        cx: &mut Context<'_>,
        write: impl Fn(&OwnedWriteHalf) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        let half = &*self.line.0;
        let socket: &TcpStream = half.as_ref();
        let mut once_more = || loop {
            ready!(socket.poll_write_ready(cx))?;
            match write(half) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                wrote => return Poll::Ready(wrote),
            }
        };
        let polled = once_more();
        self.watch.wrote(&polled);
        polled
    }
}

impl<W: Watch> AsyncRead for Wire<W> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (before, room) = (buf.filled().len(), buf.remaining() > 0);
        let polled = Pin::new(&mut self.read).poll_read(cx, buf);
        // Nothing was read into nothing: that is no end.
        if room {
            let read = match &polled {
                Poll::Ready(Ok(())) => Poll::Ready(Ok(buf.filled().len() - before)),
                Poll::Ready(Err(error)) => Poll::Ready(Err(error.kind().into())),
                Poll::Pending => Poll::Pending,
            };
            self.watch.read(&read);
        }
        polled
    }
}

impl<W: Watch> AsyncWrite for Wire<W> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.write(cx, |half| half.try_write(buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(cx, |half| half.try_write_vectored(bufs))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// A socket has no buffer of its own.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(match shutdown(AsRef::<TcpStream>::as_ref(&*self.line.0), Shutdown::Write) {
            // The client has closed it meanwhile. What it said before that, such as a farewell, was read.
            Ok(()) | Err(Errno::NOTCONN) => Ok(()),
            Err(error) => Err(error.into()),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio::time::timeout;

    use super::*;

    #[derive(Debug)]
    struct Deaf;

    impl Watch for Deaf {
        fn read(&self, _: &Poll<io::Result<usize>>) {}
        fn wrote(&self, _: &Poll<io::Result<usize>>) {}
    }

    async fn pair() -> (TcpStream, Wire<Deaf>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, _) = listener.accept().await.unwrap();
        (client, Wire::new(server, Arc::new(Deaf)))
    }

    #[tokio::test]
    async fn a_client_that_hangs_up_is_noticed_behind_what_it_sent_and_bytes_are_no_end() {
        let (mut client, mut wire) = pair().await;
        let line = wire.line();
        client.write_all(b"one").await.unwrap();
        let mut three = [0; 3];
        wire.read_exact(&mut three).await.unwrap();
        client.write_all(b"two").await.unwrap();
        // What was written to the client is there after what it sent.
        wire.write_all(b"x").await.unwrap();
        client.read_u8().await.unwrap();
        tokio::select! {
            biased;
            () = line.hung_up() => panic!("unread bytes are no end"),
            () = std::future::ready(()) => {}
        }
        drop(client);
        timeout(Duration::from_secs(10), line.hung_up()).await.unwrap();
        wire.read_exact(&mut three).await.unwrap();
        assert_eq!(&three, b"two");
    }

    #[tokio::test]
    async fn a_client_that_is_gone_already_is_no_failure_of_the_end() {
        let (client, mut wire) = pair().await;
        let line = wire.line();
        client.set_zero_linger().unwrap();
        drop(client);
        timeout(Duration::from_secs(10), line.hung_up()).await.unwrap();
        wire.shutdown().await.unwrap();
    }

    #[tokio::test]
    async fn large_writes_wait_for_the_reader_and_come_whole() {
        let (mut client, mut wire) = pair().await;
        let sent: Vec<u8> = (0..8_000_000u32).map(|n| n as u8).collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            wire.write_all(&sent).await.unwrap();
            wire.shutdown().await.unwrap();
            // Held until the client has seen the end.
            wire.read_u8().await.unwrap_err();
        });
        let mut all = Vec::new();
        client.read_to_end(&mut all).await.unwrap();
        assert!(all == expected);
        drop(client);
        writing.await.unwrap();
    }
}
