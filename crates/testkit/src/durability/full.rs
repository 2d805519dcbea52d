//! A disk that fills up: the data of all members on one small file system. Writes are refused before its end is met, reads
//! and ephemeral writes go on, nobody dies, and with room again writes go on by themselves.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use super::Check;
use super::writers::{Acked, Load, WRITERS, Writers, missing};
use crate::fleet::{Fleet, MEMBERS, Options, POLL};
use crate::load::{EPHEMERAL_TIMEOUT, PERSISTENT_TIMEOUT};
use crate::nacos::{Config, Instance};

/// The file system, and what a member wants to be free on it.
const SIZE: &str = "size=512m";
const MIN_FREE: &str = "128MiB";
/// What is taken away: then less than that is free, but no write meets the end.
const LEFT: u64 = 96 * 1024 * 1024;
/// How long the full disk is watched.
const WATCHED: Duration = Duration::from_secs(3);
/// A member asks for the free space twice a second.
const NOTICED: Duration = Duration::from_secs(1);
/// Longest time for writes to go on with room again.
const GO_ON: Duration = Duration::from_secs(5);
/// Acknowledged writes before.
const BEFORE: usize = 500;
/// The status of a refusal.
const UNAVAILABLE: u16 = 503;

/// The check; it says so when this machine lets nobody mount a file system.
pub(super) async fn play(binary: &Path) -> Result<Check> {
    let mut check = Check::new("the disk of all members full");
    let directory = std::env::temp_dir().join(format!("dyad-full-{}", std::process::id()));
    std::fs::create_dir_all(&directory)?;
    if let Err(error) = mount(&directory).await {
        std::fs::remove_dir(&directory)?;
        check.figures.push(format!("LEFT OUT, no file system can be mounted here: {error:#}"));
        return Ok(check);
    }
    let played = on_mounted(binary, &directory, &mut check).await;
    let unmounted = run("umount", &[&directory.display().to_string()]).await;
    std::fs::remove_dir(&directory).ok();
    played?;
    unmounted?;
    Ok(check)
}

async fn on_mounted(binary: &Path, directory: &Path, check: &mut Check) -> Result<()> {
    let mut fleet = Fleet::loopback(Options {
        binary: binary.to_owned(),
        flags: vec!["--min-free-disk".into(), MIN_FREE.into()],
        directory: Some(directory.to_owned()),
        ..Options::default()
    })?;
    let result = fill(&mut fleet, directory, check).await;
    fleet.close(false).await;
    result
}

async fn fill(fleet: &mut Fleet, directory: &Path, check: &mut Check) -> Result<()> {
    let all: Vec<usize> = (0..MEMBERS).collect();
    fleet.start(&all).await?;
    for &at in &all {
        fleet.ready(at).await?;
    }
    let writers = Writers::start(&fleet.members, "fd-before", Load::Mixed, WRITERS);
    if !writers.until(BEFORE, GO_ON * 4).await {
        bail!("invalid: no {BEFORE} writes before the disk is full");
    }
    let (acknowledged, _) = writers.stop().await;
    let ballast = ballast(directory)?;
    tokio::time::sleep(NOTICED).await;
    while_full(fleet, check, &acknowledged).await?;
    std::fs::remove_file(ballast)?;
    let began = Instant::now();
    let writers = Writers::start(&fleet.members, "fd-after", Load::Mixed, WRITERS);
    check.promise(writers.until(WRITERS, GO_ON).await, || {
        format!("no writes within {GO_ON:?} with room again")
    });
    check.figures.push(format!("writes {:.2} s after there was room", began.elapsed().as_secs_f64()));
    let (later, _) = writers.stop().await;
    for member in &fleet.members {
        let lost = [&acknowledged, &later].map(|writes| writes.as_slice()).concat();
        let lost = until_there(member, &lost).await;
        check.promise(lost == Some(0), || format!("member {} lost {lost:?} in the end", member.index + 1));
    }
    Ok(())
}

/// A member that did not answer the client applies a little later.
async fn until_there(member: &crate::fleet::Member, writes: &[Acked]) -> Option<usize> {
    let began = Instant::now();
    loop {
        let lost = missing(member, writes).await.map(|lost| lost.len());
        if lost == Some(0) || began.elapsed() > EPHEMERAL_TIMEOUT {
            return lost;
        }
        tokio::time::sleep(POLL).await;
    }
}

async fn while_full(fleet: &mut Fleet, check: &mut Check, acknowledged: &[Acked]) -> Result<()> {
    let (mut refused, mut read, mut ephemeral) = (0, 0, 0);
    let began = Instant::now();
    while began.elapsed() < WATCHED {
        for member in &fleet.members {
            let config = Config::new(format!("fd-full-{refused}"), 0);
            let answer = member.http.call(&config.publish(), PERSISTENT_TIMEOUT).await;
            let clean = answer.as_ref().is_ok_and(|answer| {
                answer.status == UNAVAILABLE && answer.text().contains("are free on this disk")
            });
            check
                .promise(clean, || format!("member {} answered a publish with {answer:?}", member.index + 1));
            refused += 1;
            let lost = missing(member, acknowledged).await.map(|lost| lost.len());
            check.promise(lost == Some(0), || format!("member {} misses {lost:?}", member.index + 1));
            read += acknowledged.len();
            let port = 1000 + u16::try_from(ephemeral).unwrap_or(0);
            let instance =
                Instance { service: "fd-e".into(), ip: "10.4.0.1".into(), port, persistent: false };
            let answer = member.http.call(&instance.register(), EPHEMERAL_TIMEOUT).await;
            check.promise(answer.as_ref().is_ok_and(|answer| answer.status == 200), || {
                format!("member {} answered an ephemeral write with {answer:?}", member.index + 1)
            });
            ephemeral += 1;
        }
    }
    for at in 0..MEMBERS {
        let code = fleet.exited(at)?;
        check.promise(code.is_none(), || format!("member {} ended with {code:?}", at + 1));
    }
    check.figures.push(format!(
        "{refused} publishes refused, {read} reads and {ephemeral} ephemeral writes answered in {WATCHED:?}"
    ));
    Ok(())
}

/// Takes all space but [`LEFT`].
fn ballast(directory: &Path) -> Result<PathBuf> {
    let stat = rustix::fs::statvfs(directory)?;
    let free = stat.f_bavail * stat.f_frsize;
    let size = free.checked_sub(LEFT).context("invalid: the disk was full before")?;
    let path = directory.join("ballast");
    let file = std::fs::File::create(&path)?;
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size)?;
    Ok(path)
}

async fn mount(directory: &Path) -> Result<()> {
    run("mount", &["-t", "tmpfs", "-o", SIZE, "tmpfs", &directory.display().to_string()]).await
}

async fn run(program: &str, arguments: &[&str]) -> Result<()> {
    let output = Command::new(program).args(arguments).output().await.with_context(|| program.to_owned())?;
    if !output.status.success() {
        bail!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    Ok(())
}
