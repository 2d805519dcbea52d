//! Background work: the timers of the core, the probes, the sweep of what is empty, and the membership.

use std::hint::black_box;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use dyad_push::naming::AHEAD_MAX;
use dyad_state::ports::Propose;
use dyad_types::MemberId;

use super::clock::monotonic;
use super::parts::Parts;
use super::{membership, rebalance, retention, watch};

/// How often empty services and overrides are looked for (`ExpiredMetadataCleaner`).
const SWEEP: Duration = Duration::from_secs(5);
/// How often the clocks of the other members, which raft asks for, are looked at.
const CLOCKS: Duration = Duration::from_secs(1);
/// How often freed memory is returned to the system.
const GIVE_BACK: Duration = Duration::from_secs(5);
/// Bytes of a block that mimalloc does not keep for the thread that frees it.
const LARGE_BLOCK: usize = 8 * 1024 * 1024;
const SECOND: Duration = Duration::from_secs(1);
/// How often the members' names are looked up for the probes, in ms.
const RESOLVE_MS: u64 = 10_000;

/// Starts all of it; each task ends with `parts.stop`.
pub(crate) fn spawn(parts: &Arc<Parts>) {
    let stop = || parts.stop.clone();
    parts.tasks.spawn(parts.ap.clone().run_timers(stop()));
    parts.tasks.spawn(parts.probes.clone().run(parts.raft.clone(), stop()));
    parts.tasks.spawn(every(SWEEP, parts.clone(), sweep));
    parts.tasks.spawn(every(SECOND, parts.clone(), |parts| parts.lines.tick(monotonic())));
    parts.tasks.spawn(every(GIVE_BACK, parts.clone(), |parts| {
        parts.raft.rest();
        give_back();
    }));
    parts.tasks.spawn(retention::run(parts.clone()));
    // A client that comes from a member whose clock is ahead finds no older time here.
    parts.tasks.spawn(every(CLOCKS, parts.clone(), |parts| parts.push.ahead(parts.raft.ahead_ms(AHEAD_MAX))));
    parts.tasks.spawn(watch::run(parts.clone()));
    parts.tasks.spawn(probers(parts.clone()));
    parts.tasks.spawn(parts.push.clone().run(stop()));
    parts.tasks.spawn(parts.listeners.clone().run(stop()));
    parts.tasks.spawn(parts.connections.clone().run(stop()));
    if let Some(directory) = &parts.directory {
        parts.tasks.spawn(membership::run(parts.clone(), directory.clone()));
        parts.tasks.spawn(rebalance::run(parts.clone(), directory.clone()));
    }
}

/// mimalloc returns what was freed to the system after a second, but it looks for it only when a large block is freed. On a
/// server that has gone quiet nobody frees one. The block is never touched, so it costs no memory.
fn give_back() {
    drop(black_box(Vec::<u8>::with_capacity(LARGE_BLOCK)));
}

async fn every(period: Duration, parts: Arc<Parts>, work: impl Fn(&Arc<Parts>)) {
    let mut tick = tokio::time::interval(period);
    loop {
        tokio::select! {
            _ = tick.tick() => work(&parts),
            () = parts.stop.cancelled() => return,
        }
    }
}

/// Drops what is empty here, and has removed what the CP state holds in vain.
fn sweep(parts: &Arc<Parts>) {
    let sweep = parts.registry.sweep(monotonic());
    for service in &sweep.gone {
        parts
            .lines
            .line("service gone", monotonic(), || tracing::info!("service {service} gone: empty for 60 s"));
    }
    let leads = parts.raft.leader().is_some_and(|leader| leader.member == parts.me);
    if let Some(command) = sweep.command(leads) {
        let raft = parts.raft.clone();
        parts.tasks.spawn(async move {
            if let Err(error) = raft.propose(command.into()).await {
                tracing::debug!(%error, "expired records were not removed; the next sweep tries again");
            }
        });
    }
}

/// Tells the probe schedule, once a second, who else probes and which addresses are never dialed: the members' cluster
/// ports, by the addresses that their names have now.
async fn probers(parts: Arc<Parts>) {
    let mut tick = tokio::time::interval(SECOND);
    let mut cluster: Vec<SocketAddr> = Vec::new();
    let mut resolved = None;
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = parts.stop.cancelled() => return,
        }
        let now = monotonic();
        if resolved.is_none_or(|at| now.since(at) >= RESOLVE_MS) {
            cluster = cluster_sockets(&parts).await;
            resolved = Some(now);
        }
        let live: Vec<MemberId> = parts.ap.inspect(|core, _| {
            let peers = core.status().peers;
            peers.iter().filter(|p| p.configured && p.state.times() && !p.down).map(|p| p.member).collect()
        });
        parts.probes.set_members(&live, &cluster, now);
    }
}

async fn cluster_sockets(parts: &Parts) -> Vec<SocketAddr> {
    let mut sockets: Vec<SocketAddr> = parts.cluster.into_iter().collect();
    for contact in parts.directory.iter().flat_map(|directory| directory.contacts()) {
        // A name that does not resolve now cannot be dialed by it either.
        if let Ok(found) = tokio::net::lookup_host(&contact.entry.cluster_address).await {
            sockets.extend(found);
        }
    }
    sockets
}
