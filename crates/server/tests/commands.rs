//! The binary from outside: exit codes, and what goes to which stream.

use std::path::Path;
use std::process::{Command, Output};

use dyad_server::datadir::DataDir;

/// Runs `dyad` in `dir` with an empty environment.
fn dyad(dir: &Path, line: &str, env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_dyad"));
    command.current_dir(dir).env_clear().envs(env.iter().copied()).args(line.split(' '));
    command.output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn exit_codes_and_messages() {
    let root = tempfile::tempdir().unwrap();
    let dir = root.path();
    std::fs::create_dir(dir.join("torn")).unwrap();
    std::fs::write(dir.join("torn/identity"), "dyad identity 1\n").unwrap();
    std::fs::write(dir.join("file"), "").unwrap();
    std::fs::write(dir.join("bad.toml"), "prot = 1\n").unwrap();
    let _held = DataDir::open(&dir.join("held")).unwrap();
    let cases = [
        ("settings", 0, ""),
        ("--version", 0, ""),
        ("token new", 0, ""),
        ("health --url http://127.0.0.1:1/", 1, "dyad: http://127.0.0.1:1/: Connection refused"),
        ("cluster status --data-dir torn", 1, "dyad: torn/admin.sock: no server runs there"),
        ("recover --data-dir torn", 1, "dyad: this gives up the member's log and identity"),
        ("serve", 2, "error: unrecognized subcommand 'serve'"),
        ("server --port x", 2, "dyad: setting port (--port): \"x\" is not valid"),
        (
            "server --config bad.toml",
            2,
            "dyad: setting prot (bad.toml): unknown key; the nearest key is \"port\"",
        ),
        (
            "server --data-dir file --port 0",
            2,
            "dyad: setting data_dir (--data-dir): \"file\" is no directory",
        ),
        ("settings --data-dir file", 2, "dyad: setting data_dir (--data-dir): \"file\" is no directory"),
        (
            "cluster status --data-dir file",
            2,
            "dyad: setting data_dir (--data-dir): \"file\" is no directory",
        ),
        ("recover --discard --data-dir file", 2, "dyad: setting data_dir (--data-dir): \"file\" is no"),
        ("cluster status --port 1", 2, "error: unexpected argument '--port' found"),
        ("server --data-dir file/x --port 0", 2, "dyad: cannot create the data directory file/x"),
        ("server --data-dir held --port 0", 3, "dyad: the data directory held is in use by process"),
        (
            "server --data-dir torn --port 0",
            4,
            "dyad: torn/identity is corrupt: its line \"member \" is missing",
        ),
    ];
    for (line, code, message) in cases {
        let output = dyad(dir, line, &[]);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{line}: {stderr}");
        assert!(message.is_empty() || stderr.contains(message), "{line}: {stderr}");
        assert_eq!(output.stdout.is_empty(), code != 0, "{line}: results go to standard output");
    }
}

#[test]
fn a_port_that_is_another_members_is_named() {
    let root = tempfile::tempdir().unwrap();
    let held = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let taken = held.local_addr().unwrap().port();
    let other = format!("127.0.0.1:{}", taken - 1_000);
    let line = format!(
        "server --data-dir data --port 0 --grpc-port 0 --cluster-port {taken} --members 127.0.0.1:1,{other} \
         --advertise 127.0.0.1:1"
    );
    let output = dyad(root.path(), &line, &[("DYAD_CLUSTER_TOKEN", "0123456789abcdef0123456789abcdef")]);
    let stderr = text(&output.stderr);
    assert_eq!(output.status.code(), Some(3), "{stderr}");
    let want = format!("{taken} is the SDK port (port + 1000) of {other} too: give the members of one host");
    assert!(stderr.contains(&want), "{stderr}");
    drop(held);
}

#[test]
fn settings_read_the_environment_and_the_file_of_this_directory() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("dyad.toml"), "log_format = \"json\"\n").unwrap();
    let output = dyad(root.path(), "settings --port 1", &[("DYAD_BIND", "::1"), ("DYAD_PROT", "1")]);
    let stdout = text(&output.stdout);
    for line in [
        "bind ::1 DYAD_BIND",
        "port 1 --port",
        "config dyad.toml default",
        "log_format json dyad.toml: log_format",
    ] {
        let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(stdout.lines().any(|shown| words(shown) == line), "{line}: {stdout}");
    }
    let want = "note: DYAD_PROT is no setting and has no effect; the nearest one is DYAD_PORT\n";
    assert_eq!(text(&output.stderr), want);
}
