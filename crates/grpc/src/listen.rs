//! Accepts transports, serves HTTP/2 on each in a task of its own, and says how each ended.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::Poll;
use std::time::Duration;

use dyad_naming::ports::Ending;
use dyad_net::{Acceptor, Watch, Wire};
use dyad_types::{Lease, Place};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use crate::connection::Connection;
use crate::cut::Why;
use crate::front::Front;
use crate::table::Connections;
use crate::transport::Transport;
use dyad_app::App;

/// A client whose connection is closed by this server may read what was sent for this long.
const FAREWELL: Duration = Duration::from_secs(1);
/// When the server stops, transports get this long to end.
const STOP: Duration = Duration::from_secs(2);

/// Serves the gRPC port until `shutdown` completes, and then closes every transport. Returns how many of them had to be cut.
pub async fn serve(
    listener: TcpListener,
    app: Arc<App>,
    connections: Arc<Connections>,
    shutdown: impl Future<Output = ()>,
) -> usize {
    let front = Arc::new(Front { app, connections: connections.clone() });
    let transports = TaskTracker::new();
    let mut shutdown = pin!(shutdown);
    let mut acceptor = Acceptor::new(listener, "gRPC");
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = acceptor.next() => accepted,
        };
        match front.app.places.take(Place::Grpc, peer.ip()) {
            Ok(place) => {
                let connection = connections.open(peer);
                transports.spawn(transport(stream, connection, front.clone(), place));
            }
            // The connection is closed at once.
            Err(refused) => connections.refused(&refused),
        }
    }
    drop(acceptor);
    connections.stop();
    transports.close();
    let ended = timeout(STOP, transports.wait()).await;
    if ended.is_ok() { 0 } else { transports.len() }
}

async fn transport(stream: TcpStream, connection: Arc<Connection>, front: Arc<Front>, place: Lease) {
    let peer = connection.peer();
    let end = Arc::new(ReadEnd::default());
    let wire = Wire::new(stream, end.clone());
    match serve_until_cut(wire, &connection, &front).await {
        Served::Ended(Ok(())) => front.connections.end(&connection, Ending::Orderly),
        Served::Ended(Err(error)) => {
            tracing::debug!(%error, %peer, "a transport broke off");
            let ending = if end.is_fin() { Ending::Orderly } else { Ending::Abnormal };
            front.connections.end(&connection, ending);
        }
        Served::Cut(why, transport) => {
            match why {
                // The process ends and the clients go elsewhere: what they published is for rule 25 of docs/distro.md.
                Why::Stopped => connection.outbox.lock().close(),
                Why::Ended => front.connections.end(&connection, Ending::Abnormal),
            }
            if let Some(mut transport) = transport {
                transport.graceful_shutdown();
                let _late = timeout(FAREWELL, transport.serve()).await;
            }
        }
    }
    drop(place);
}

/// How the serving of a transport came to its end.
enum Served {
    Ended(Result<(), h2::Error>),
    /// By this server; there is no transport if the client had not begun.
    Cut(Why, Option<Box<Transport<Wire<ReadEnd>>>>),
}

async fn serve_until_cut(wire: Wire<ReadEnd>, connection: &Arc<Connection>, front: &Arc<Front>) -> Served {
    let mut accept = Box::pin(Transport::accept(wire, front.clone(), connection.clone()));
    let accepted = poll_fn(|cx| match accept.as_mut().poll(cx) {
        Poll::Ready(accepted) => Poll::Ready(Ok(accepted)),
        Poll::Pending => connection.cut.poll(cx).map(Err),
    });
    let mut transport = match accepted.await {
        Ok(Ok(transport)) => Box::new(transport),
        Ok(Err(error)) => return Served::Ended(Err(error)),
        Err(why) => return Served::Cut(why, None),
    };
    drop(accept);
    let mut serve = Box::pin(transport.serve());
    let ended = poll_fn(|cx| match serve.as_mut().poll(cx) {
        Poll::Ready(ended) => Poll::Ready(Ok(ended)),
        Poll::Pending => connection.cut.poll(cx).map(Err),
    })
    .await;
    drop(serve);
    match ended {
        Ok(ended) => Served::Ended(ended),
        Err(why) => Served::Cut(why, Some(transport)),
    }
}

/// How a socket ended: a client that closed it or whose process died has said goodbye, one whose connection was reset may live.
#[derive(Debug, Default)]
struct ReadEnd(AtomicU8);

const FIN: u8 = 1;
const BROKEN: u8 = 2;

impl ReadEnd {
    fn is_fin(&self) -> bool {
        self.0.load(Ordering::Relaxed) == FIN
    }

    /// The first end counts.
    fn set(&self, end: u8) {
        let _ended = self.0.compare_exchange(0, end, Ordering::Relaxed, Ordering::Relaxed);
    }
}

impl Watch for ReadEnd {
    fn read(&self, read: &Poll<io::Result<usize>>) {
        match read {
            Poll::Ready(Ok(0)) => self.set(FIN),
            Poll::Ready(Err(_)) => self.set(BROKEN),
            _ => {}
        }
    }

    fn wrote(&self, wrote: &Poll<io::Result<usize>>) {
        if let Poll::Ready(Err(_)) = wrote {
            self.set(BROKEN);
        }
    }
}
