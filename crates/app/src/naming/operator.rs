//! Switches, and the figures of `/operator/metrics`.

use std::sync::Arc;

use dyad_naming::Switches;
use dyad_naming::cp::NamingCommand;
use dyad_types::{MemberId, responsible};
use parking_lot::Mutex;

use super::delegate::propose;
use crate::caller::{Action, Caller, Resource};
use crate::fault::Fault;
use crate::state::App;

/// The present switches.
///
/// # Errors
/// A caller that may not know them.
pub fn switches(app: &App, caller: &Caller) -> Result<Arc<Switches>, Fault> {
    caller.may(Action::Read, &Resource::Switches)?;
    Ok(app.switches.load_full())
}

/// Sets a switch on all members, named as Nacos's `SwitchManager` knows it or as the list of switches shows it.
///
/// # Errors
/// There is no such switch, it cannot have the value, or the CP core does not acknowledge it.
pub async fn set_switch(app: &App, caller: &Caller, entry: &str, value: &str) -> Result<(), Fault> {
    caller.may(Action::Admin, &Resource::Switches)?;
    let (entry, value) = Switches::settable(entry, value).map_err(Fault::Invalid)?;
    propose(app, NamingCommand::SetSwitch { entry, value }).await?;
    Ok(())
}

/// The figures of `/operator/metrics`, of the whole registry unless their name says otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Metrics {
    pub services: usize,
    pub instances: usize,
    /// Subscriptions of this member.
    pub subscriptions: usize,
    pub connections: usize,
    /// Clients that send heartbeats over HTTP.
    pub beats: usize,
    /// Publishers of persistent instances.
    pub persistent: usize,
    /// The clients that this member answers for: its connections, and the addresses that it times or probes.
    pub responsible_clients: usize,
    /// What they publish.
    pub responsible_instances: usize,
    /// The share of the processors' time that was used since the figures were asked for last, from 0 to 1.
    pub cpu: f64,
    /// The load average of the last minute.
    pub load: f64,
    /// The share of the memory that is used, from 0 to 1.
    pub mem: f64,
}

/// Whether the member is ready, as `status` of the figures.
pub fn status(app: &App) -> &'static str {
    if app.members.ready().is_ok() { "UP" } else { "STARTING" }
}

/// Walks through the whole registry: this is for operators.
///
/// # Errors
/// The caller may not know.
pub fn metrics(app: &App, caller: &Caller) -> Result<Metrics, Fault> {
    caller.may(Action::Read, &Resource::Members)?;
    let members = app.members.members();
    let me = members.iter().find(|member| member.me).and_then(|member| member.id);
    let live: Vec<MemberId> =
        members.iter().filter(|member| member.state == "UP").filter_map(|member| member.id).collect();
    let places = |client: &str| me.is_none() || responsible(client, live.iter().copied()) == me;
    let clients = app.registry.client_counts(|member| me.is_none_or(|me| me == member), places);
    let counts = app.registry.counts();
    let connections = app.clients.count();
    Ok(Metrics {
        services: counts.services,
        instances: counts.ephemeral_instances + counts.persistent_instances,
        subscriptions: app.push.count(),
        connections,
        beats: clients.beats,
        persistent: clients.persistent,
        responsible_clients: connections + clients.responsible,
        responsible_instances: clients.responsible_instances,
        cpu: cpu(),
        load: load_average(),
        mem: memory(),
    })
}

/// −1 where the system does not tell, as Java has it.
const UNKNOWN: f64 = -1.0;

fn load_average() -> f64 {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split(' ').next().and_then(|first| first.parse().ok()).unwrap_or(UNKNOWN)
}

fn memory() -> f64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kib = |name: &str| -> Option<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().split(' ').next()?.parse().ok()
    };
    match (kib("MemTotal:"), kib("MemAvailable:")) {
        (Some(total), Some(available)) if total > 0.0 => 1.0 - available / total,
        _ => UNKNOWN,
    }
}

fn cpu() -> f64 {
    /// The busy and all ticks of the last look.
    static LAST: Mutex<(f64, f64)> = Mutex::new((0.0, 0.0));
    let text = std::fs::read_to_string("/proc/stat").unwrap_or_default();
    let Some(line) = text.lines().next().and_then(|line| line.strip_prefix("cpu ")) else { return UNKNOWN };
    let ticks: Vec<f64> = line.split_whitespace().take(8).filter_map(|n| n.parse().ok()).collect();
    let all: f64 = ticks.iter().sum();
    // The fourth and the fifth are those in which nothing was done.
    let busy = all - ticks.iter().skip(3).take(2).sum::<f64>();
    let (busy_before, all_before) = std::mem::replace(&mut *LAST.lock(), (busy, all));
    let passed = all - all_before;
    if passed > 0.0 { ((busy - busy_before) / passed).clamp(0.0, 1.0) } else { 0.0 }
}
