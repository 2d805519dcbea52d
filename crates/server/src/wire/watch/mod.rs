//! Tells the operator, in lines of the log, what happens to the members: who stops answering and is back, who leads, whether there
//! is a majority, who joins and goes, whose clock is wrong, whose disk is nearly full. The libraries would say the same in
//! hundreds of lines, which the log leaves out (`telemetry.rs`). Here the state is sampled; `lines` decides what is said.

mod lines;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use dyad_raft::{Other, Standing};
use dyad_state::ports::Propose;
use dyad_types::MemberId;

use self::lines::{Line, Observed, Seat, Silent, Watch};
use super::clock::monotonic;
use super::parts::Parts;

/// From one look to the next.
const EVERY: Duration = Duration::from_secs(1);

/// Runs until `parts.stop`.
pub(super) async fn run(parts: Arc<Parts>) {
    let mut watch = Watch::new(parts.me);
    let mut tick = tokio::time::interval(EVERY);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            () = parts.stop.cancelled() => return,
        }
        for line in watch.look(&observe(&parts), monotonic()) {
            match line {
                Line::Warn(text) => tracing::warn!("{text}"),
                Line::Info(text) => tracing::info!("{text}"),
            }
        }
    }
}

/// Members that do not answer at this moment, and what is bad with the disks and clocks of all, in words.
pub(super) fn troubles(parts: &Parts) -> (Vec<MemberId>, Vec<String>) {
    let seen = observe(parts);
    let silent = seen.silent.iter().map(|silent| silent.member).collect();
    (silent, Watch::of_machines(parts.me, &seen))
}

fn observe(parts: &Parts) -> Observed {
    let raft = parts.raft.status();
    let seat = |voter: bool| {
        move |peer: &dyad_raft::Peer| Seat { member: peer.member, address: peer.node.address.clone(), voter }
    };
    let mut seats: Vec<Seat> = raft.voters.iter().map(seat(true)).collect();
    seats.extend(raft.learners.iter().map(seat(false)));
    seats.sort_unstable_by_key(|seat| seat.member);
    let others = parts.raft.others();
    let streams = parts.ap.inspect(|core, _| core.status().peers);
    let silent = |other: &Other| {
        let stream = streams.iter().find(|peer| peer.member == other.member && peer.down);
        match (&other.silence, stream.and_then(|peer| peer.heard_ago)) {
            (Some(silence), _) => Some(Silent {
                member: other.member,
                for_ms: u64::try_from(silence.lasts.as_millis()).unwrap_or(u64::MAX),
                answered_before: silence.answered_before,
                why: silence.why.clone(),
            }),
            (None, Some(for_ms)) => Some(Silent {
                member: other.member,
                for_ms,
                answered_before: true,
                why: "it answers, but its stream of ephemeral instances is not heard".to_owned(),
            }),
            (None, None) => None,
        }
    };
    Observed {
        removed: parts.raft.standing() == Standing::Removed,
        seats,
        silent: others.iter().filter_map(silent).collect(),
        rooms: others.iter().filter_map(|other| Some((other.member, other.room?))).collect(),
        leader: parts.raft.leader().map(|leader| (leader.member, leader.term)),
        clocks: parts.raft.clock_differences(),
        disk: raft.disk,
    }
}
