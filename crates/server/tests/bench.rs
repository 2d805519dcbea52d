//! `dyad bench` against a server of its own: each mode once, shortly, and what it says when there is nothing to measure.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

/// A standalone server on free ports; it ends when it is dropped.
struct Server {
    child: Child,
    http: String,
    grpc: SocketAddr,
    directory: tempfile::TempDir,
}

impl Server {
    fn start() -> Server {
        let directory = tempfile::tempdir().unwrap();
        let mut child = dyad(directory.path())
            .args([
                "server",
                "--port",
                "0",
                "--bind",
                "127.0.0.1",
                "--log-level",
                "warn",
                "--data-dir",
                "data",
            ])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        let (http, grpc) = (ready["http"].as_str().unwrap(), ready["grpc"].as_str().unwrap());
        Server { child, http: format!("http://{http}"), grpc: grpc.parse().unwrap(), directory }
    }

    fn grpc(&self) -> String {
        format!("grpc://{}", self.grpc)
    }

    fn json(&self) -> PathBuf {
        self.directory.path().join("figures.json")
    }

    /// Runs a mode for a second; the one server's figures.
    fn bench(&self, line: &str) -> Value {
        let json = self.json();
        let mut command = dyad(self.directory.path());
        command.arg("bench").args(line.split(' ')).args(["--warmup", "0", "--json"]).arg(&json);
        if !line.contains("--seconds") {
            command.args(["--seconds", "1"]);
        }
        let output = command.args(["--pid", &self.child.id().to_string()]).output().unwrap();
        assert!(output.status.success(), "{line}: {}{}", text(&output.stdout), text(&output.stderr));
        let report: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
        assert_eq!(report["mode"].as_str(), line.split(" --").next(), "{line}");
        assert!(text(&output.stdout).contains("ms: mean"), "{line}");
        report
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.kill().and_then(|()| self.child.wait().map(drop)).unwrap();
    }
}

fn dyad(directory: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyad"));
    command.current_dir(directory).env_clear();
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The figures of the first server, which has no errors.
fn clean<'a>(line: &str, report: &'a Value) -> &'a Value {
    let server = &report["servers"][0];
    assert_eq!(server["errors"], serde_json::json!({}), "{line}");
    assert!(server["count"].as_u64().unwrap() > 0, "{line}: {server}");
    assert!(server["latency"]["p99"].as_f64().unwrap() > 0.0, "{line}: {server}");
    assert!(server["server_rss_mb"].as_f64().unwrap() > 1.0, "{line}: {server}");
    server
}

fn figure(server: &Value, name: &str) -> f64 {
    let figures = server["figures"].as_array().unwrap();
    let found = figures.iter().find(|figure| figure[0] == name);
    found.unwrap_or_else(|| panic!("{name}: {server}"))[1].as_f64().unwrap()
}

#[test]
fn closed_loops() {
    let server = Server::start();
    let (http, grpc) = (&server.http, server.grpc());
    for line in [
        format!("http register --url {http} --connections 4 --services 5 --instances 200"),
        format!("http beat --url {http} --connections 4 --services 5 --instances 50"),
        format!("http list --url {http} --connections 4 --services 5 --instances 50"),
        format!("http mixed --url {http} --connections 4 --services 5 --instances 50"),
        format!("grpc register --url {grpc} --connections 4 --services 30 --instances 30 --in-flight 2"),
        format!("grpc query --url {grpc} --connections 4 --services 5 --instances 5"),
        format!("grpc subscribe --url {grpc} --connections 4 --services 5"),
    ] {
        let report = server.bench(&line);
        let figures = clean(&line, &report);
        // What registers does so once for each instance, however much time is left.
        let exact = match line.split(" --").next() {
            Some("http register") => Some(200),
            Some("grpc register") => Some(120),
            _ => None,
        };
        if let Some(count) = exact {
            assert_eq!(figures["count"], count, "{line}");
        }
    }
}

#[test]
fn two_servers_in_turn() {
    let (server, other) = (Server::start(), Server::start());
    let line = format!("http list --url {} --vs {} --rounds 2 --connections 2", server.http, other.http);
    let report = server.bench(&line);
    clean(&line, &report);
    assert_eq!((&report["servers"][1]["rounds"], &report["servers"][0]["rounds"]), (&2.into(), &2.into()));
    let (rate, of) = (&report["ratio"]["rate"], |n: usize| report["servers"][n]["rate"].as_f64().unwrap());
    assert!((rate.as_f64().unwrap() - of(0) / of(1)).abs() < 1e-9, "{report}");
}

#[test]
fn pushes_and_idle_connections() {
    let server = Server::start();
    let grpc = server.grpc();
    let line = format!("grpc push --url {grpc} --subscribers 20 --rate 20 --seconds 2");
    let report = server.bench(&line);
    let figures = clean(&line, &report);
    // Several changes in a push are a callback for each.
    let changes = figure(figures, "changes");
    assert!(changes > 20.0 && figures["count"].as_f64() == Some(changes * 20.0), "{figures}");
    assert_eq!(figure(figures, "subscribers without the final state"), 0.0);

    let line = format!("grpc idle --url {grpc} --connections 50 --seconds 2");
    let report = server.bench(&line);
    assert_eq!(figure(clean(&line, &report), "connections that ended"), 0.0);
}

/// Passes bytes on until `cut`, which resets all its connections to the server.
async fn proxy(listener: TcpListener, to: SocketAddr, cut: CancellationToken) {
    while let Some(Ok((mut client, _))) = cut.run_until_cancelled(listener.accept()).await {
        let cut = cut.clone();
        tokio::spawn(async move {
            let mut server = TcpStream::connect(to).await.unwrap();
            let copied = tokio::io::copy_bidirectional(&mut client, &mut server);
            if cut.run_until_cancelled(copied).await.is_none() {
                server.set_zero_linger().unwrap();
            }
        });
    }
}

#[test]
fn a_storm() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let server = Server::start();
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let front = listener.local_addr().unwrap();
    let cut = CancellationToken::new();
    runtime.spawn(proxy(listener, server.grpc, cut.clone()));

    let mut bench = dyad(server.directory.path())
        .args(["bench", "grpc", "storm", "--connections", "40", "--services", "4", "--seconds", "5"])
        .args(["--url", &format!("grpc://{front},{}", server.grpc()), "--json"])
        .arg(server.json())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    BufReader::new(bench.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("40 clients are connected") && line.contains("kill it now"), "{line}");
    cut.cancel();
    let output = bench.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stdout));
    let report: Value = serde_json::from_slice(&std::fs::read(server.json()).unwrap()).unwrap();
    let figures = &report["servers"][0];
    assert_eq!(figure(figures, "reconnects"), 40.0, "{figures}");
    assert!(
        figure(figures, "lists looked at") > 10.0 && figure(figures, "callbacks of changes") > 0.0,
        "{figures}"
    );
}

#[test]
fn nothing_to_measure() {
    let root = tempfile::tempdir().unwrap();
    let run = |line: &str| -> Output { dyad(root.path()).args(line.split(' ')).output().unwrap() };
    for (line, code, message) in [
        ("bench http list", 2, "--url <URL>"),
        ("bench http list --url https://a", 2, "dyad: \"https://a\" is not a server: TLS is not spoken here"),
        ("bench http list --url http://a/nacos", 2, "it has a path"),
        (
            "bench http list --url http://127.0.0.1:1",
            1,
            "dyad: http://127.0.0.1:1: no server answers on 127.0.0.1:1",
        ),
        ("bench grpc query --url grpc://127.0.0.1:1", 1, "no server answers on 127.0.0.1:1"),
        (
            "bench http list --url http://no.such.host.invalid",
            1,
            "the name no.such.host.invalid is not known",
        ),
        (
            "bench grpc register --url http://127.0.0.1:1 --services 1 --instances 2",
            2,
            "one instance of a service",
        ),
        ("bench grpc push --url http://127.0.0.1:1 --rate 0", 2, "--rate 0 for"),
        ("bench http list --url http://127.0.0.1:1 --connections 0", 2, "0 is not in 1.."),
        ("bench http list --url http://127.0.0.1:1 --pid 4294967295", 2, "process 4294967295 cannot be read"),
    ] {
        let output = run(line);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {stderr}");
        assert!(stderr.contains(message) && output.stdout.is_empty(), "{line}: {stderr}");
    }
}
