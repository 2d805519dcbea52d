//! Shares the gRPC clients evenly: once per second this member says how many it has, and sends some away if it has too many.

use std::sync::Arc;
use std::time::Duration;

use dyad_cluster::{Balance, Directory, Load};
use dyad_types::MemberId;

use super::clock::monotonic;
use super::members::{host_and_port, serving};
use super::parts::Parts;

const SECOND: Duration = Duration::from_secs(1);

/// Runs until `parts.stop`.
pub(super) async fn run(parts: Arc<Parts>, directory: Arc<Directory>) {
    let after = parts.settings.rebalance_after;
    let mut balance = after.map(Balance::new);
    let mut tick = tokio::time::interval(SECOND);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = parts.stop.cancelled() => return,
        }
        directory.set_load(load(&parts));
        if let (Some(balance), Some(settled)) = (&mut balance, after) {
            step(&parts, &directory, balance, settled);
        }
    }
}

/// What this member carries now.
pub(super) fn load(parts: &Parts) -> Load {
    Load { clients: parts.connections.len() as u64, draining: parts.connections.is_draining() }
}

fn step(parts: &Arc<Parts>, directory: &Directory, balance: &mut Balance, settled: Duration) {
    if parts.connections.is_draining() || !parts.ap.is_ready() {
        return balance.pause();
    }
    let loads = directory.loads();
    // The numbers of a member that is down, starting, leaving or draining do not count: no client can go there.
    let peers: Vec<(MemberId, u64, (String, u16))> = serving(parts)
        .into_iter()
        .filter_map(|(id, address)| {
            let load = loads.get(&id).filter(|load| !load.draining)?;
            Some((id, load.clients, host_and_port(&address)?))
        })
        .collect();
    let counts: Vec<(MemberId, u64)> = peers.iter().map(|&(id, clients, _)| (id, clients)).collect();
    let (own, was_moving) = (parts.connections.len() as u64, balance.is_moving());
    let to = balance.step(monotonic(), own, &counts);
    if balance.is_moving() != was_moving {
        let others = counts.iter().map(|(_, clients)| clients.to_string()).collect::<Vec<_>>().join(", ");
        let what = if was_moving { "rebalanced" } else { "rebalancing: clients are sent to other members" };
        tracing::info!(clients = own, others, "{what}");
    }
    let address = |id: &MemberId| {
        let peer = peers.iter().find(|(peer, ..)| peer == id);
        peer.map(|(_, _, address)| address.clone())
    };
    let to: Vec<(String, u16)> = to.iter().filter_map(address).collect();
    if !to.is_empty() {
        parts.connections.send_away(&to, settled);
    }
}
