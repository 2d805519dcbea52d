//! Log lines about instances and about events of the AP protocol. The number of lines of each kind is limited.

use dyad_distro::Event;
use dyad_naming::registry::InstanceChange;

use super::clock::monotonic;
use crate::telemetry::Lines;

/// One line per change, at most a few a second of each kind.
pub(crate) fn changes(lines: &Lines, changes: &[InstanceChange]) {
    let now = monotonic();
    for change in changes {
        lines.line(kind(change), now, || tracing::info!("{change}"));
    }
}

fn kind(change: &InstanceChange) -> &'static str {
    match change {
        InstanceChange::ServiceCreated { .. } => "service created",
        InstanceChange::ServiceGone { .. } => "service gone",
        InstanceChange::New { .. } => "instance new",
        InstanceChange::Changed { .. } => "instance changed",
        InstanceChange::Gone { .. } => "instance gone",
    }
}

/// Says why an instance changed or went, and what the members do to each other's records.
pub(crate) fn event(lines: &Lines, event: &Event) {
    let now = monotonic();
    let line = |kind: &'static str, write: &dyn Fn()| lines.line(kind, now, write);
    match event {
        Event::Unhealthy(key) => line("unhealthy", &|| tracing::info!("no beat in time: {key} is unhealthy")),
        Event::Recovered(key) => line("recovered", &|| tracing::info!("beats again: {key} is healthy")),
        Event::Expired(key) => line("expired", &|| tracing::info!("no beat in time: {key} is removed")),
        Event::Adopted(key) => line("adopted", &|| tracing::debug!("this member times {key} from now on")),
        Event::HandedOver { key, to } => {
            line("handed over", &|| tracing::debug!("{to} times {key} from now on"))
        }
        Event::TookNewer(key) => line("newer", &|| tracing::debug!("took a newer registration of {key}")),
        Event::Claimed { from, records } => {
            line("claimed", &|| tracing::info!("{from} leaves: took over {records} of its records"));
        }
        Event::Retired { origin, records } => {
            line("retired", &|| {
                tracing::info!("origin {origin} is retired; {records} records of it were left")
            });
        }
        Event::Refuted { kept, stashed } => line("refuted", &|| {
            tracing::warn!(
                "the cluster had retired this member; it goes on as a new incarnation with {kept} records \
                 ({stashed} without a recent beat set aside)"
            );
        }),
        Event::Reset(origin) => line("reset", &|| tracing::info!("the copy of {origin} is fetched anew")),
        Event::HashMismatch(origin) => {
            line("hash", &|| {
                tracing::warn!("the copy of {origin} differs from its owner's log; fetching it anew")
            });
        }
        Event::Paused(ms) => line("paused", &|| tracing::warn!("this process was stopped for {ms} ms")),
        Event::RemovalsDelayed(waiting) => line("delayed", &|| {
            tracing::warn!("many instances missed their beats at once: {waiting} removals are delayed");
        }),
        Event::ForwardFailed(member) => {
            line("forward", &|| tracing::debug!("{member} did not take a write in time; accepted it here"));
        }
        Event::Reasserted(key) => {
            line("reasserted", &|| {
                tracing::info!("another live client publishes the instance of {key} differently")
            });
        }
        Event::RelayFailed(key) => {
            line("relay", &|| tracing::debug!("the beat of {key} was not taken; timing it here"))
        }
    }
}
