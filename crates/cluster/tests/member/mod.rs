//! A cluster port without services: who is admitted learns that there is none.
#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test binary uses its part")]

use std::net::SocketAddr;
use std::time::Duration;

use dyad_cluster::{ClusterTls, Dialer, PortError, PortLimits, port};
use dyad_proto::cluster::HelloRequest;
use dyad_proto::cluster::cluster_client::ClusterClient;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tonic::Code;
use tonic::service::Routes;
use tonic::transport::Channel;

pub fn tls() -> ClusterTls {
    ClusterTls::from_token(b"0123456789abcdef0123456789abcdef").unwrap()
}

/// Serves until the handle is aborted.
pub fn serve(listener: TcpListener, limits: PortLimits) -> (SocketAddr, JoinHandle<Result<(), PortError>>) {
    let address = listener.local_addr().unwrap();
    let serving =
        async move { port::serve(listener, &tls(), limits, Routes::default(), std::future::pending()).await };
    (address, tokio::spawn(serving))
}

/// A member's connection, which is kept until it is dropped.
pub fn connect(address: SocketAddr) -> ClusterClient<Channel> {
    ClusterClient::new(Dialer::new(tls()).channel(&address.to_string()).unwrap())
}

/// The port admits the member and answers it.
pub async fn is_admitted(client: &mut ClusterClient<Channel>) -> bool {
    let hello = client.hello(HelloRequest::default());
    let status = tokio::time::timeout(Duration::from_secs(3), hello).await.unwrap().unwrap_err();
    match status.code() {
        Code::Unimplemented => true,
        Code::Unavailable | Code::Unknown | Code::Cancelled => false,
        other => panic!("{other:?}: {status}"),
    }
}

/// Waits for it.
pub async fn until_admitted(address: SocketAddr) {
    let waiting = async {
        while !is_admitted(&mut connect(address)).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(5), waiting).await.unwrap();
}
