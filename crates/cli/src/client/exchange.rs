//! Sends one request and reads its answer.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http::header::HOST;
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::address::Address;
use super::request::{Answer, Request};

/// A server on any network accepts within this.
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// Bytes of an answer: an archive of 64 MiB of contents fits, and a page of a listing.
const ANSWER_MAX: usize = 128 * 1024 * 1024;

/// A connection that can be used again.
pub(super) type Kept = SendRequest<Full<Bytes>>;

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Nobody was reached: nothing was sent.
    Unsent(String),
    /// Something was sent, and what became of it is unknown.
    Unknown(String),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Broken::Unsent(why) | Broken::Unknown(why)) = self;
        f.write_str(why)
    }
}

/// Sends `request`, by the kept connection if it still lives, and waits for the whole answer.
///
/// # Errors
/// See [`Broken`].
pub(super) async fn exchange(
    address: &Address,
    kept: Option<Kept>,
    request: &Request,
) -> Result<(Answer, Option<Kept>), Broken> {
    let mut sender = match alive(kept).await {
        Some(sender) => sender,
        None => connect(address).await?,
    };
    let message = message(address, request).map_err(|error| Broken::Unsent(error.to_string()))?;
    let answered = async {
        let response = sender.send_request(message).await.map_err(|error| why(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, ANSWER_MAX).collect().await.map_err(|error| error.to_string())?;
        Ok::<_, String>((head, body.to_bytes()))
    };
    let (head, body) = match timeout(request.timeout, answered).await {
        Ok(answered) => answered.map_err(Broken::Unknown)?,
        Err(_) => return Err(Broken::Unknown(format!("no answer within {} s", request.timeout.as_secs()))),
    };
    let server = address.url().to_owned();
    let answer = Answer { status: head.status.as_u16(), headers: head.headers, body, server };
    Ok((answer, Some(sender)))
}

async fn alive(kept: Option<Kept>) -> Option<Kept> {
    let mut sender = kept?;
    sender.ready().await.ok().map(|()| sender)
}

async fn connect(address: &Address) -> Result<Kept, Broken> {
    let connected = timeout(CONNECT_MAX, TcpStream::connect((&*address.host, address.port))).await;
    let stream = match connected {
        Ok(stream) => stream.map_err(|error| Broken::Unsent(format!("no server answers: {error}")))?,
        Err(_) => return Err(Broken::Unsent(format!("no connection within {} s", CONNECT_MAX.as_secs()))),
    };
    let (sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| Broken::Unsent(why(&error)))?;
    // Ends with the sender; what went wrong, the sender tells too.
    tokio::spawn(async move { drop(connection.await) });
    Ok(sender)
}

fn message(address: &Address, request: &Request) -> Result<http::Request<Full<Bytes>>, http::Error> {
    let mut message = http::Request::builder()
        .method(&request.method)
        .uri(request.target(&address.context))
        .header(HOST, &address.authority)
        .body(Full::new(request.body.clone()))?;
    for (name, value) in &request.headers {
        message.headers_mut().insert(*name, HeaderValue::from_str(value)?);
    }
    Ok(message)
}

/// hyper's errors name their cause only when asked.
fn why(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::super::Client;
    use super::*;

    /// Answers each connection with the next of `scripts`, then ends it.
    async fn server(scripts: Vec<&'static str>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move {
            for script in scripts {
                let (mut stream, _) = listener.accept().await.unwrap();
                assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
                stream.write_all(script.as_bytes()).await.unwrap();
            }
        });
        url
    }

    const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
    const STARTING: &str = "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 8\r\n\r\nSTARTING";
    const CUT: &str = "HTTP/1.1 200 OK\r\ncontent-length: 20\r\n\r\nok";

    #[tokio::test]
    async fn reads_go_on_to_the_next_server_and_writes_only_while_nothing_was_sent() {
        let nobody = {
            let free = TcpListener::bind("127.0.0.1:0").await.unwrap();
            format!("http://{}", free.local_addr().unwrap())
        };
        let client = async |scripts: [Vec<&'static str>; 2]| {
            let [first, second] = scripts;
            let list = format!("{nobody},{},{}", server(first).await, server(second).await);
            Client::new(&list).unwrap()
        };
        let request = Request::get("/x");
        for first in [OK, STARTING, CUT] {
            let mut client = client([vec![first], vec![OK]]).await;
            let answer = client.read(&request).await.unwrap();
            assert_eq!((answer.status, &*answer.body), (200, &b"ok"[..]), "{first}");
        }
        let mut reader = client([vec![STARTING], vec![CUT]]).await;
        let failure = reader.read(&request).await.unwrap_err().to_string();
        assert!(failure.contains("no server answers") && failure.contains("STARTING (503); "), "{failure}");

        let write = Request::new(http::Method::POST, "/x");
        let mut writer = client([vec![CUT], vec![OK]]).await;
        let failure = writer.write(&write).await.unwrap_err().to_string();
        assert!(failure.contains("it may have been done"), "{failure}");
        let mut writer = client([vec![STARTING], vec![OK]]).await;
        assert_eq!(writer.write(&write).await.unwrap().status, 503);
        let mut writer = client([vec![OK], vec![]]).await;
        assert_eq!(writer.write(&write).await.unwrap().status, 200);
    }

    #[tokio::test]
    async fn silence_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut client = Client::new(&format!("http://{}", listener.local_addr().unwrap())).unwrap();
        let request = Request::get("/x").within(Duration::from_millis(50));
        let broken = client.ask(&request).await.unwrap_err();
        assert_eq!(broken, Broken::Unknown("no answer within 0 s".into()));
    }
}
