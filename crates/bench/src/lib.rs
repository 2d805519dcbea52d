//! `dyad bench`: load for Dyad and for whatever else speaks Nacos, and what it measured.
//!
//! Two kinds of measurement: closed loops (`closed`) of requests over HTTP/1.1 (`http`) or gRPC (`grpc::load`), and things that
//! happen to clients (`grpc::push`, `grpc::storm`, `grpc::idle`, with `changes` at a pace); the configuration center has both, over
//! either (`config`). `record` takes samples, `report` shows them. With two servers the rounds alternate, so that both see the
//! same machine.

mod args;
mod changes;
mod closed;
mod config;
mod error;
mod grpc;
mod http;
mod proc;
mod record;
mod report;
mod run;
mod target;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

pub use args::{
    BenchArgs, CommonArgs, ConfigArgs, ConfigListenArgs, ConfigMode, GrpcMode, HttpMode, IdleArgs, LoadArgs,
    Over, Protocol, PushArgs, StormArgs,
};
pub use error::BenchError;
pub use record::{Latency, Usage};
pub use report::{Ratio, Report, Server};

use record::Round;
use run::Bench;
use target::Side;

/// Rounds of each server when two are compared: the median of three survives one disturbance.
const ROUNDS_VS: u64 = 3;
/// Before a round of a comparison both servers have done what the last one left them to do: they may share a core. In windows
/// of a second, at most a twentieth of a core each, or this many windows.
const SETTLE_MAX: u32 = 60;
const SETTLED: Duration = Duration::from_millis(50);
/// Files that a generator needs besides its connections.
const FILES_BESIDE: u64 = 100;

/// Measures. `files` is how many files this process may have open, and `note` hears what the person who waits should know.
///
/// # Errors
/// A bad URL or impossible numbers, a server that is not there or refuses what prepares the measurement.
pub async fn run(
    args: &BenchArgs,
    files: u64,
    note: &(dyn Fn(&str) + Send + Sync),
) -> Result<Report, BenchError> {
    let common = args.common();
    check(args, files)?;
    let over_http = args.over_http();
    let mut sides = vec![Side::resolve(&common.url, &common.pid, over_http).await?];
    if !common.vs.is_empty() {
        sides.push(Side::resolve(&common.vs, &common.vs_pid, over_http).await?);
    }
    let rounds = common.rounds.unwrap_or(if sides.len() > 1 { ROUNDS_VS } else { 1 });
    let began = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let mut measured: Vec<Vec<Round>> = sides.iter().map(|_| Vec::new()).collect();
    let pids = [common.pid.as_slice(), &common.vs_pid].concat();
    for round in 0..rounds {
        for (n, side) in sides.iter().enumerate() {
            if sides.len() > 1 {
                settle(&pids, note).await;
            }
            if rounds > 1 || sides.len() > 1 {
                note(&format!("round {} of {rounds}: {}", round + 1, side.name()));
            }
            let bench = Bench {
                side,
                warmup: Duration::from_secs(common.warmup),
                time: Duration::from_secs(common.seconds),
                tag: format!("bench-{began}-{round}"),
                note,
            };
            measured[n].push(measure(&args.protocol, &bench).await?);
        }
    }
    let sides = sides.iter().map(Side::name).zip(measured).collect();
    Ok(Report::new(args.name(), sides))
}

/// Waits until these processes rest.
async fn settle(pids: &[u32], note: &(dyn Fn(&str) + Send + Sync)) {
    let used = || pids.iter().map(|pid| proc::cpu_of(&[*pid]).unwrap_or_default()).collect::<Vec<_>>();
    for _ in 0..SETTLE_MAX {
        let before = used();
        tokio::time::sleep(Duration::from_secs(1)).await;
        if used().iter().zip(&before).all(|(now, before)| now.saturating_sub(*before) <= SETTLED) {
            return;
        }
    }
    note("the servers do not come to rest; the round begins nevertheless");
}

async fn measure(protocol: &Protocol, bench: &Bench<'_>) -> Result<Round, BenchError> {
    match protocol {
        Protocol::Http(mode) => http::measure(mode, bench).await,
        Protocol::Grpc(GrpcMode::Register(load)) => grpc::load::register(load, bench).await,
        Protocol::Grpc(GrpcMode::Query(load)) => grpc::load::query(load, bench).await,
        Protocol::Grpc(GrpcMode::Subscribe(load)) => grpc::load::subscribe(load, bench).await,
        Protocol::Grpc(GrpcMode::Push(push)) => grpc::push::measure(push, bench).await,
        Protocol::Grpc(GrpcMode::Storm(storm)) => grpc::storm::measure(storm, bench).await,
        Protocol::Grpc(GrpcMode::Idle(idle)) => grpc::idle::measure(idle, bench).await,
        Protocol::Config(mode) => config::measure(mode, bench).await,
    }
}

/// Numbers that contradict each other, and more connections than files may be open.
fn check(args: &BenchArgs, files: u64) -> Result<(), BenchError> {
    let connections = match &args.protocol {
        Protocol::Http(
            HttpMode::Register(load) | HttpMode::Beat(load) | HttpMode::List(load) | HttpMode::Mixed(load),
        ) => load.connections,
        Protocol::Grpc(mode) => grpc::check(mode)?,
        Protocol::Config(mode) => config::check(mode)?,
    };
    if connections + FILES_BESIDE > files {
        return Err(BenchError::Usage(format!(
            "{connections} connections need as many open files, {files} are allowed: raise `ulimit -Hn`"
        )));
    }
    for pid in args.common().pid.iter().chain(&args.common().vs_pid) {
        if proc::cpu_of(&[*pid]).is_none() {
            return Err(BenchError::Usage(format!("process {pid} cannot be read in /proc")));
        }
    }
    Ok(())
}
