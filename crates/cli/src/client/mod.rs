//! What the commands that talk to a server over HTTP have in common: the servers, one request at a time, and what an answer
//! means for the exit code.
//!
//! A read goes on to the next server if one does not answer. A write goes on only while nothing of it was sent: a write
//! that was sent may have been done, and to do it again elsewhere could undo what somebody else wrote in between.

mod address;
mod exchange;
mod request;

use serde_json::Value;

use crate::exit::{Exit, Failure};

use address::Address;
use exchange::{Broken, Kept};

pub(super) use request::{Answer, Request};

/// The default of `--server`.
pub(super) const SERVER: &str = "http://127.0.0.1:8848";
/// Answers by which Nacos says that something is not there: a resource, a namespace.
const MISSING_CODES: [u64; 2] = [20_004, 22_001];
/// Nacos's code of a conflict, CAS among them.
const CONFLICT_CODE: u64 = 20_005;
/// Characters of an answer that a message repeats.
const SHOWN_MAX: usize = 300;

/// Servers that know the same: members of one cluster.
#[derive(Debug)]
pub(super) struct Client {
    servers: Vec<Address>,
    /// The one that answered last.
    at: usize,
    kept: Option<Kept>,
}

impl Client {
    /// Reads a list of URLs, separated by commas. As a variable that is set but empty counts as not given, an empty list is the
    /// default.
    ///
    /// # Errors
    /// `Exit::Settings` for what is no URL of a server.
    pub(super) fn new(list: &str) -> Result<Client, Failure> {
        let list = if list.trim().is_empty() { SERVER } else { list };
        let urls = list.split(',').map(str::trim).filter(|url| !url.is_empty());
        let servers = urls.map(Address::parse).collect::<Result<Vec<_>, _>>()?;
        if servers.is_empty() {
            return Err(Failure::new(Exit::Settings, "--server (DYAD_SERVER): a URL is needed"));
        }
        Ok(Client { servers, at: 0, kept: None })
    }

    /// Asks until a server answers other than 503.
    ///
    /// # Errors
    /// `Exit::Refused` when none does.
    pub(super) async fn read(&mut self, request: &Request) -> Result<Answer, Failure> {
        let mut reasons = Vec::new();
        for _ in 0..self.servers.len() {
            match self.ask(request).await {
                Ok(answer) if answer.status != 503 => return Ok(answer),
                Ok(answer) => reasons.push(answer.complaint()),
                Err(broken) => reasons.push(format!("{}: {broken}", self.server())),
            }
            self.next();
        }
        Err(Failure::new(Exit::Refused, reasons.join("; ")))
    }

    /// Sends it to the first server that can be reached.
    ///
    /// # Errors
    /// `Exit::Refused` when none can, or the one that was reached did not answer: the outcome is unknown then.
    pub(super) async fn write(&mut self, request: &Request) -> Result<Answer, Failure> {
        // A kept connection may have ended unseen: whether something was sent by it cannot be told.
        self.kept = None;
        let mut reasons = Vec::new();
        for _ in 0..self.servers.len() {
            match self.ask(request).await {
                Ok(answer) => return Ok(answer),
                Err(Broken::Unsent(why)) => reasons.push(format!("{}: {why}", self.server())),
                Err(Broken::Unknown(why)) => {
                    let server = self.server();
                    let message =
                        format!("{server}: {why}; it may have been done: look before you repeat it");
                    return Err(Failure::new(Exit::Refused, message));
                }
            }
            self.next();
        }
        Err(Failure::new(Exit::Refused, reasons.join("; ")))
    }

    /// Asks the present server only.
    pub(super) async fn ask(&mut self, request: &Request) -> Result<Answer, Broken> {
        let kept = self.kept.take();
        let (answer, kept) = exchange::exchange(&self.servers[self.at], kept, request).await?;
        self.kept = kept;
        Ok(answer)
    }

    /// The URL of the server that is asked next.
    pub(super) fn server(&self) -> &str {
        self.servers[self.at].url()
    }

    /// Leaves the present server for the next one.
    pub(super) fn next(&mut self) {
        self.kept = None;
        self.at = (self.at + 1) % self.servers.len();
    }

    /// How many there are.
    pub(super) fn servers(&self) -> usize {
        self.servers.len()
    }
}

impl Answer {
    /// The data of a `Result` of v2 and v3.
    ///
    /// # Errors
    /// The exit code that the answer calls for, with what the server says.
    pub(super) fn data(&self) -> Result<Value, Failure> {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        match (self.status, body["code"].as_u64()) {
            (200, Some(0)) => Ok(body["data"].clone()),
            _ => Err(self.failure()),
        }
    }

    /// The same, where nothing that was asked for is an answer too.
    ///
    /// # Errors
    /// Any other answer than the data or "not there".
    pub(super) fn data_if_any(&self) -> Result<Option<Value>, Failure> {
        match self.data() {
            Ok(Value::Null) => Ok(None),
            Ok(data) => Ok(Some(data)),
            Err(failure) if failure.exit == Exit::Missing => Ok(None),
            Err(failure) => Err(failure),
        }
    }

    /// The failure that this answer is.
    pub(super) fn failure(&self) -> Failure {
        let code = serde_json::from_slice::<Value>(&self.body).ok().and_then(|body| body["code"].as_u64());
        let exit = match code {
            Some(code) if MISSING_CODES.contains(&code) => Exit::Missing,
            Some(CONFLICT_CODE) => Exit::Conflict,
            _ if self.status == 409 => Exit::Conflict,
            _ => Exit::Refused,
        };
        Failure::new(exit, self.complaint())
    }

    /// What the server says, in one line.
    fn complaint(&self) -> String {
        let body: Value = serde_json::from_slice(&self.body).unwrap_or_default();
        let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        let words =
            text(&body["data"]).or_else(|| text(&body["data"]["reason"])).or_else(|| text(&body["message"]));
        let words = words.unwrap_or_else(|| String::from_utf8_lossy(&self.body).into_owned());
        let line: String = words.trim().lines().next().unwrap_or_default().chars().take(SHOWN_MAX).collect();
        let code = if self.status == 200 { String::new() } else { format!(" ({})", self.status) };
        format!("{}: {line}{code}", self.server)
    }
}

/// A server that answers every request whose target begins with one of these paths with status 200 and that body, and every
/// other one with 404.
#[cfg(test)]
pub(crate) async fn scripted(answers: &'static [(&'static str, &'static str)]) -> String {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let reply = |target: &str| match answers.iter().find(|(path, _)| target.starts_with(path)) {
        Some((_, body)) => format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()),
        None => {
            let body = r#"{"code":20004,"message":"resource not found","data":"no"}"#;
            format!("HTTP/1.1 404 Not Found\r\ncontent-length: {}\r\n\r\n{body}", body.len())
        }
    };
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let mut stream = BufReader::new(stream);
            let mut head = String::new();
            while stream.read_line(&mut head).await.is_ok_and(|n| n > 0) {
                if head.ends_with("\r\n\r\n") {
                    let target = head.split(' ').nth(1).unwrap();
                    stream.get_mut().write_all(reply(target).as_bytes()).await.unwrap();
                    head.clear();
                }
            }
        }
    });
    url
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, body: body.to_owned().into(), server: "http://a:1".into(), ..Answer::default() }
    }

    #[test]
    fn answers_call_for_exit_codes() {
        for (status, body, exit, message) in [
            (400, "invalid dataId : a/b\r\n", Exit::Refused, "http://a:1: invalid dataId : a/b (400)"),
            (
                404,
                r#"{"code":20004,"message":"resource not found","data":"no"}"#,
                Exit::Missing,
                "http://a:1: no (404)",
            ),
            (
                200,
                r#"{"code":22001,"message":"namespace not exist","data":{"reason":"x"}}"#,
                Exit::Missing,
                "http://a:1: x",
            ),
            (
                409,
                r#"{"code":20005,"message":"resource conflict","data":null}"#,
                Exit::Conflict,
                "http://a:1: resource conflict (409)",
            ),
            (200, r#"{"code":20005,"message":"","data":"c"}"#, Exit::Conflict, "http://a:1: c"),
            (
                404,
                r#"{"status":404,"message":"No message available"}"#,
                Exit::Refused,
                "http://a:1: No message available (404)",
            ),
            (503, "no raft leader is known", Exit::Refused, "http://a:1: no raft leader is known (503)"),
            (200, "<html>", Exit::Refused, "http://a:1: <html>"),
        ] {
            assert_eq!(answer(status, body).data(), Err(Failure::new(exit, message)), "{body}");
        }
        assert_eq!(answer(200, r#"{"code":0,"data":[1]}"#).data(), Ok(serde_json::json!([1])));
        assert_eq!(answer(200, r#"{"code":0,"data":null}"#).data_if_any(), Ok(None));
        assert_eq!(answer(404, r#"{"code":20004,"data":"no"}"#).data_if_any(), Ok(None));
    }

    #[test]
    fn lists_of_servers() {
        let urls = |list: &str| Client::new(list).map(|client| client.servers());
        assert_eq!(urls("http://a:1, http://b"), Ok(2));
        assert_eq!(urls(""), Ok(1), "a variable that is set but empty");
        for bad in [" , ", "http://a,ftp://b"] {
            assert_eq!(urls(bad).map_err(|failure| failure.exit), Err(Exit::Settings), "{bad:?}");
        }
    }
}
