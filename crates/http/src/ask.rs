//! Asks another member over its HTTP port for something that only that member knows.

use std::time::Duration;

use bytes::Bytes;
use futures::future::join_all;
use http::header::HOST;
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use tokio::net::TcpStream;
use tokio::time::timeout;

use dyad_app::App;

/// Entries that one member tells another: a table that people read.
pub(crate) const ASKED_MAX: usize = 10_000;
/// What their answer has at most, with names as long as they may be.
const ANSWER_BYTES: usize = 16 << 20;
/// A member that does not answer within this time is left out, as in Nacos.
const ASK: Duration = Duration::from_secs(2);

/// The HTTP addresses of the other members.
pub(crate) fn others(app: &App) -> Vec<String> {
    app.members.members().into_iter().filter(|member| !member.me).map(|member| member.address).collect()
}

/// Sends `GET target` to all of `members` at once; those that do not answer are left out.
pub(crate) async fn ask_all<T: DeserializeOwned>(members: &[String], target: &str) -> Vec<T> {
    let asked = members.iter().map(|member| timeout(ASK, ask(member, target)));
    join_all(asked).await.into_iter().filter_map(|answer| answer.ok().flatten()).collect()
}

async fn ask<T: DeserializeOwned>(member: &str, target: &str) -> Option<T> {
    let stream = TcpStream::connect(member).await.ok()?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.ok()?;
    let request = http::Request::get(target).header(HOST, member).body(Empty::<Bytes>::new()).ok()?;
    let exchange = async {
        let response = sender.send_request(request).await.ok()?;
        let body = Limited::new(response.into_body(), ANSWER_BYTES).collect().await.ok()?;
        serde_json::from_slice::<T>(&body.to_bytes()).ok()
    };
    // The connection does its work while the exchange waits, and ends with it.
    tokio::select! {
        answer = exchange => answer,
        _ = connection => None,
    }
}
