//! The limits of the cluster port, and its end.
#![allow(clippy::unwrap_used)]

mod member;

use std::time::Duration;

use dyad_cluster::{PortError, PortLimits};
use member::{connect, is_admitted, serve, until_admitted};
use rustix::net::Shutdown;
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

async fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").await.unwrap()
}

#[tokio::test]
async fn strangers_do_not_keep_members_out() {
    let limits = PortLimits { handshakes: 4, handshake: Duration::from_secs(60), connections: 8 };
    let (address, _serving) = serve(listener().await, limits);
    let mut strangers = Vec::new();
    for _ in 0..20 {
        strangers.push(TcpStream::connect(address).await.unwrap());
    }
    assert!(is_admitted(&mut connect(address)).await);
    // The member's handshake was one of the four at most, so that of the strangers the first sixteen are gone.
    for (n, stranger) in strangers.iter_mut().enumerate() {
        let read =
            timeout(Duration::from_millis(if n < 16 { 3_000 } else { 50 }), stranger.read(&mut [0])).await;
        match read {
            Ok(end) => assert!(matches!(end, Ok(0) | Err(_)), "stranger {n} was told something"),
            Err(_) => assert!(n >= 16, "stranger {n} is still there"),
        }
    }
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_ended() {
    let limits = PortLimits { handshake: Duration::from_millis(100), ..PortLimits::default() };
    let (address, _serving) = serve(listener().await, limits);
    let mut stranger = TcpStream::connect(address).await.unwrap();
    let read = timeout(Duration::from_secs(3), stranger.read(&mut [0])).await.unwrap();
    assert!(matches!(read, Ok(0) | Err(_)));
}

#[tokio::test]
async fn members_have_so_many_connections_and_get_them_back() {
    let (address, _serving) = serve(listener().await, PortLimits { connections: 2, ..PortLimits::default() });
    let (mut one, mut two) = (connect(address), connect(address));
    assert!(is_admitted(&mut one).await && is_admitted(&mut two).await);
    assert!(!is_admitted(&mut connect(address)).await, "there are two already");
    assert!(is_admitted(&mut one).await, "who has a connection keeps it");
    drop(two);
    until_admitted(address).await;
}

/// Before, the member lived on and was deaf.
#[tokio::test]
async fn the_end_of_the_listener_is_an_error() {
    let listener = listener().await;
    let socket = listener.local_addr().map(|_| rustix::io::dup(&listener).unwrap()).unwrap();
    let (address, serving) = serve(listener, PortLimits::default());
    assert!(is_admitted(&mut connect(address)).await);
    rustix::net::shutdown(&socket, Shutdown::Both).unwrap();
    let end = timeout(Duration::from_secs(3), serving).await.unwrap().unwrap();
    assert!(matches!(end, Err(PortError::Accept(_))), "{end:?}");
}
