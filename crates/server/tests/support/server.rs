//! A server of a test's own, and `dyad` as its operators call it.

#![allow(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
#![allow(dead_code, reason = "each test uses a part")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// A standalone server; it ends when it is dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    pub(crate) url: String,
    pub(crate) directory: tempfile::TempDir,
}

impl Server {
    pub(crate) fn start() -> Server {
        let directory = tempfile::tempdir().unwrap();
        let (child, url) = serve(directory.path(), "0");
        Server { child, url, directory }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn dyad(&self, line: &str) -> Command {
        let mut command = dyad(self.directory.path());
        command.args(line.split(' ')).env("DYAD_SERVER", &self.url).env("USER", "ops");
        command
    }

    /// Runs a line with `input`; its exit code, output and errors.
    pub(crate) fn run(&self, line: &str, input: &str) -> (i32, String, String) {
        let mut command = self.dyad(line);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A command that fails early does not read.
        let _unread = child.stdin.take().unwrap().write_all(input.as_bytes());
        outcome(child.wait_with_output().unwrap())
    }

    /// The output of a line that must succeed.
    pub(crate) fn ok(&self, line: &str, input: &str) -> String {
        let (code, out, errors) = self.run(line, input);
        assert_eq!(code, 0, "{line}: {errors}");
        out
    }

    pub(crate) fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.ok(&format!("{line} --output json"), "")).unwrap()
    }

    /// Sends a request as any client may.
    pub(crate) fn post(&self, target: &str) {
        let mut stream = TcpStream::connect(self.url.strip_prefix("http://").unwrap()).unwrap();
        write!(stream, "POST {target} HTTP/1.0\r\nContent-Length: 0\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(" 200 "), "{answer}");
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().and_then(|()| self.child.wait().map(drop)).unwrap();
    }

    /// The same server again, at its address.
    pub(crate) fn restart(&mut self) {
        let port = self.url.rsplit(':').next().unwrap().to_owned();
        (self.child, self.url) = serve(self.directory.path(), &port);
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _dead = self.child.kill();
        let _dead = self.child.wait();
    }
}

pub(crate) fn serve(directory: &Path, port: &str) -> (Child, String) {
    let line = "server --bind 127.0.0.1 --grpc-port 0 --log-level warn --data-dir data --port";
    let mut command = dyad(directory);
    let mut child = command.args(line.split(' ')).arg(port).stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let ready: Value = serde_json::from_str(&line).unwrap();
    let url = format!("http://{}", ready["http"].as_str().unwrap());
    (child, url)
}

pub(crate) fn dyad(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyad"));
    command.current_dir(directory).env_clear();
    command
}

pub(crate) fn outcome(output: Output) -> (i32, String, String) {
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}
