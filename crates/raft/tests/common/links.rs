//! The network between the members of a test: the way from one to another can be cut, so that nothing passes and nobody
//! is told.

use std::collections::HashSet;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dyad_raft::Dial;
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

/// What is cut, by cluster addresses, and who waits for a heal.
#[derive(Default)]
pub struct Links(Mutex<State>);

#[derive(Default)]
struct State {
    cut: HashSet<(String, String)>,
    waiting: Vec<Waker>,
}

impl Links {
    /// Connections between the two, whoever made them, stand still from now on.
    pub fn cut(&self, a: &str, b: &str) {
        self.cut_way(a, b);
        self.cut_way(b, a);
    }

    /// Connections that `from` made to `to` stand still from now on; those that `to` made to `from` do not.
    pub fn cut_way(&self, from: &str, to: &str) {
        self.0.lock().cut.insert((from.to_owned(), to.to_owned()));
    }

    /// What stood still goes on.
    pub fn heal(&self) {
        let mut state = self.0.lock();
        state.cut.clear();
        state.waiting.drain(..).for_each(Waker::wake);
    }

    fn open(&self, way: &(String, String), cx: &Context<'_>) -> bool {
        let mut state = self.0.lock();
        let open = !state.cut.contains(way);
        if !open {
            state.waiting.push(cx.waker().clone());
        }
        open
    }
}

/// Dials as the member with the address `from`.
pub struct Linked {
    pub from: String,
    pub links: Arc<Links>,
}

impl Dial for Linked {
    fn channel(&self, address: &str) -> Channel {
        let way = (self.from.clone(), address.to_owned());
        let links = Arc::clone(&self.links);
        let connect = tower::service_fn(move |_| {
            let (way, links) = (way.clone(), Arc::clone(&links));
            async move {
                std::future::poll_fn(|cx| if links.open(&way, cx) { Poll::Ready(()) } else { Poll::Pending })
                    .await;
                let stream = TcpStream::connect(&way.1).await?;
                stream.set_nodelay(true)?;
                Ok::<_, io::Error>(hyper_util::rt::TokioIo::new(Stream { stream, way, links }))
            }
        });
        Endpoint::from_shared(format!("http://{address}"))
            .unwrap()
            .connect_timeout(Duration::from_millis(300))
            .connect_with_connector_lazy(connect)
    }
}

struct Stream {
    stream: TcpStream,
    way: (String, String),
    links: Arc<Links>,
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.links.open(&self.way, cx) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if !self.links.open(&self.way, cx) {
            return Poll::Pending;
        }
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
