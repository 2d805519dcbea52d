//! One client of the configuration center, over HTTP or gRPC: publish, get, and waiting for a change.

use std::time::Duration;

use md5::{Digest, Md5};

use crate::args::Over;
use crate::error::Failed;
use crate::grpc::client::{Client, Pushes};
use crate::grpc::wire;
use crate::http::connection::Connection;
use crate::target::Target;

/// The group of everything here.
pub(super) const GROUP: &str = "DYAD_BENCH";
/// What a long poll asks for, and how much longer its answer may take.
const POLL_MS: u64 = 30_000;
const POLL_MAX: Duration = Duration::from_secs(40);
/// Before the number in a content.
const MARK: &[u8] = b"v=";
const DIGITS: usize = 20;

/// A content of this many bytes, at least as many as its number has.
pub(super) fn content(version: u64, size: usize) -> String {
    let mut text = format!("v={version:0DIGITS$}\n");
    let missing = size.saturating_sub(text.len());
    text.extend(std::iter::repeat_n('x', missing));
    text
}

/// The number of the content in an answer.
pub(super) fn version(answer: &[u8]) -> Option<u64> {
    let at = answer.windows(MARK.len()).position(|part| part == MARK)? + MARK.len();
    std::str::from_utf8(answer.get(at..at + DIGITS)?).ok()?.parse().ok()
}

/// A client with a connection of its own.
pub(super) enum Speaker {
    Http { connection: Connection, host: String },
    Grpc { client: Client, pushes: Pushes },
}

impl Speaker {
    pub(super) async fn connect(over: Over, target: &Target) -> Result<Speaker, Failed> {
        Ok(match over {
            Over::Http => {
                let address = target.http.ok_or(Failed::Answer("no HTTP port was given"))?;
                let connection = Connection::new(address).waiting(POLL_MAX);
                Speaker::Http { connection, host: target.host.clone() }
            }
            Over::Grpc => {
                let (client, pushes) = Client::connect(target.grpc).await?;
                Speaker::Grpc { client, pushes }
            }
        })
    }

    pub(super) async fn publish(&mut self, data_id: &str, content: &str) -> Result<(), Failed> {
        match self {
            Speaker::Http { connection, host } => {
                // Neither names nor contents have a character that a form encodes, but for the line's end.
                let content = content.replace('\n', "%0A").replace('=', "%3D");
                let form = format!("dataId={data_id}&group={GROUP}&content={content}");
                let request = post(host, "/nacos/v1/cs/configs", "", &form);
                let body = connection.exchange(&request).await?;
                if body == b"true" {
                    Ok(())
                } else {
                    Err(Failed::Answer("a publish is not answered with true"))
                }
            }
            Speaker::Grpc { client, .. } => client
                .call("ConfigPublishRequest", wire::config_publish(data_id, GROUP, content))
                .await
                .map(drop),
        }
    }

    /// The number of the present content.
    pub(super) async fn get(&mut self, data_id: &str) -> Result<Option<u64>, Failed> {
        match self {
            Speaker::Http { connection, host } => {
                let request = format!(
                    "GET /nacos/v1/cs/configs?dataId={data_id}&group={GROUP} HTTP/1.1\r\nHost: {host}\r\n\r\n"
                );
                Ok(version(connection.exchange(request.as_bytes()).await?))
            }
            Speaker::Grpc { client, .. } => {
                let answer = client.call("ConfigQueryRequest", wire::config_query(data_id, GROUP)).await?;
                Ok(version(wire::body(&answer)))
            }
        }
    }

    /// Waits until there is another content than that of number `has`, 0 for none; false when that is not known.
    pub(super) async fn changed(&mut self, data_id: &str, has: u64, size: usize) -> Result<bool, Failed> {
        let md5 = if has == 0 { String::new() } else { md5_of(&content(has, size)) };
        match self {
            Speaker::Http { connection, host } => {
                let form = format!("Listening-Configs={data_id}%2502{GROUP}%2502{md5}%2501");
                let timeout = format!("Long-Pulling-Timeout: {POLL_MS}\r\n");
                let request = post(host, "/nacos/v1/cs/configs/listener", &timeout, &form);
                Ok(!connection.exchange(&request).await?.is_empty())
            }
            Speaker::Grpc { client, pushes } => {
                let listen = wire::config_listen(data_id, GROUP, &md5);
                let answer = client.call("ConfigBatchListenRequest", listen).await?;
                let differs = wire::body(&answer).windows(8).any(|part| part == b"\"dataId\"");
                if differs { Ok(true) } else { pushes.changed().await.ok_or(Failed::Broken).map(|()| true) }
            }
        }
    }
}

fn post(host: &str, path: &str, headers: &str, form: &str) -> Vec<u8> {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/x-www-form-urlencoded\r\n{headers}\
         Content-Length: {}\r\n\r\n{form}",
        form.len()
    )
    .into_bytes()
}

fn md5_of(text: &str) -> String {
    Md5::digest(text.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_have_their_size_and_number() {
        let text = content(42, 100);
        assert_eq!((text.len(), version(text.as_bytes())), (100, Some(42)));
        assert_eq!(version(format!("{{\"content\":{:?}}}", content(7, 0)).as_bytes()), Some(7));
        assert_eq!((version(b"config data not exist"), version(b"v=1")), (None, None));
        assert_eq!(md5_of("k=v"), "5a8a83c40ada249c61f6b20210c9448c");
    }
}
