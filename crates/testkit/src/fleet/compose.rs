//! Members as the containers of deploy/compose, driven by `docker` and `docker-compose` (1.29).

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use super::MEMBERS;

/// The project's name: that of the directory of the compose file.
const PROJECT: &str = "compose";
/// Host ports of the members.
const PORTS: [u16; MEMBERS] = [8848, 8858, 8868];
/// Seconds of a day.
const DAY: f64 = 86_400.0;
/// Seconds that `docker stop` waits before it kills.
const STOP_SECONDS: &str = "30";

/// The containers.
#[derive(Debug)]
pub struct Compose {
    file: PathBuf,
    created: bool,
}

impl Compose {
    pub(super) async fn new(file: PathBuf) -> Result<Compose> {
        let compose = Compose { file, created: false };
        compose.compose(&["down", "--volumes", "--remove-orphans"]).await?;
        Ok(compose)
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        PORTS.iter().map(|&port| (Ipv4Addr::LOCALHOST, port).into()).collect()
    }

    /// The host as containers see it.
    pub(super) async fn gateway(&self) -> Result<IpAddr> {
        let network = format!("{PROJECT}_default");
        let format = "{{range .IPAM.Config}}{{.Gateway}}{{end}}";
        let output = docker(&["network", "inspect", "--format", format, &network]).await?;
        let text = String::from_utf8_lossy(&output);
        text.trim().parse().with_context(|| format!("{network} has the gateway {:?}", text.trim()))
    }

    pub(super) async fn start(&mut self, which: &[usize]) -> Result<()> {
        if !self.created {
            self.created = true;
            return self.compose(&["up", "--detach", "--no-build"]).await;
        }
        let names = names(which);
        let mut arguments = vec!["start"];
        arguments.extend(names.iter().map(String::as_str));
        docker(&arguments).await.map(drop)
    }

    /// Time since the container's process was started.
    pub(super) async fn running_for(&self, at: usize) -> Result<Duration> {
        let output = docker(&["inspect", "--format", "{{.State.StartedAt}}", &name(at)]).await?;
        let text = String::from_utf8_lossy(&output);
        let started = since_midnight(text.trim()).with_context(|| format!("started at {text:?}"))?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64() % DAY;
        Ok(Duration::from_secs_f64((now - started).rem_euclid(DAY)))
    }

    pub(super) async fn kill(&self, which: &[usize]) -> Result<()> {
        let names = names(which);
        let mut arguments = vec!["kill", "--signal", "KILL"];
        arguments.extend(names.iter().map(String::as_str));
        docker(&arguments).await.map(drop)
    }

    pub(super) async fn terminate(&self, at: usize) -> Result<Option<i32>> {
        let name = name(at);
        docker(&["stop", "--time", STOP_SECONDS, &name]).await?;
        let output = docker(&["inspect", "--format", "{{.State.ExitCode}}", &name]).await?;
        let code: i32 = String::from_utf8_lossy(&output).trim().parse().context("no exit code")?;
        const KILLED: i32 = 137;
        Ok((code != KILLED).then_some(code))
    }

    /// A new container with a new volume: the name is kept, identity and address are not.
    pub(super) async fn wipe(&self, at: usize) -> Result<()> {
        docker(&["rm", "--force", &name(at)]).await?;
        docker(&["volume", "rm", &format!("{PROJECT}_{}", service(at))]).await?;
        self.compose(&["up", "--no-start", "--no-deps", "--no-build", &service(at)]).await
    }

    pub(super) async fn status(&self, at: usize) -> Result<Vec<u8>> {
        docker(&["exec", &name(at), "/dyad", "cluster", "status", "--output", "json"]).await
    }

    pub(super) async fn log(&self, at: usize) -> String {
        let output = Command::new("docker").args(["logs", &name(at)]).output().await;
        output.map_or_else(
            |error| error.to_string(),
            |output| String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned(),
        )
    }

    pub(super) async fn close(&self, keep: bool) {
        let command: &[&str] = if keep { &["stop"] } else { &["down", "--volumes"] };
        if let Err(error) = self.compose(command).await {
            eprintln!("cannot end the containers: {error:#}");
        }
    }

    async fn compose(&self, arguments: &[&str]) -> Result<()> {
        let mut command = Command::new("docker-compose");
        // The .env file is looked for in the project directory by 1.29, which is the current one.
        if let Some(directory) = self.file.parent() {
            command.current_dir(directory);
        }
        command.arg("--project-name").arg(PROJECT).args(arguments);
        run(command).await.map(drop)
    }
}

/// Seconds of the day in `2026-01-02T03:04:05.678901234Z`.
fn since_midnight(text: &str) -> Option<f64> {
    let (_, time) = text.split_once('T')?;
    let mut parts = time.strip_suffix('Z')?.split(':').map(|part| part.parse::<f64>().ok());
    Some(parts.next()?? * 3600.0 + parts.next()?? * 60.0 + parts.next()??)
}

fn service(at: usize) -> String {
    format!("dyad-{}", at + 1)
}

fn name(at: usize) -> String {
    format!("{PROJECT}_{}_1", service(at))
}

fn names(which: &[usize]) -> Vec<String> {
    which.iter().map(|&at| name(at)).collect()
}

async fn docker(arguments: &[&str]) -> Result<Vec<u8>> {
    let mut command = Command::new("docker");
    command.args(arguments);
    run(command).await
}

async fn run(mut command: Command) -> Result<Vec<u8>> {
    let output = command.stdin(Stdio::null()).output().await;
    let output = output.with_context(|| format!("cannot run {:?}", command.as_std().get_program()))?;
    if !output.status.success() {
        bail!("{:?}: {}", command.as_std(), String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(output.stdout)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_of_day() {
        assert_eq!(since_midnight("2026-01-02T01:02:03.5Z"), Some(3723.5));
        assert_eq!([since_midnight(""), since_midnight("2026-01-02T01:02Z")], [None, None]);
    }
}
