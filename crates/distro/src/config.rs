//! The settings of the core: who this member is, and every time and limit that the rules name.

use dyad_types::MemberId;

/// If the time between two calls of the core is longer than this, the process counts as paused (rule 23). In milliseconds.
pub const PAUSE_MS: u64 = 2_000;

/// The time at which the clock of the caller should start, so that ages of up to an hour are exact right after the
/// start. A heartbeat or registration from before the zero of the clock counts as younger than it is.
pub const CLOCK_START: dyad_types::Millis = dyad_types::Millis(3_600_000);

/// What is needed to make a core.
#[derive(Clone, Debug)]
pub struct Config {
    pub me: MemberId,
    /// The incarnation. The caller has already raised it for this start and written it to the disk.
    pub incarnation: u64,
    /// The number of configured members, this one included. Not all of their ids need to be known.
    pub configured: usize,
    /// The ids that are known so far, including the id of this member.
    pub known: Vec<MemberId>,
    pub timing: Timing,
    pub limits: Limits,
}

impl Config {
    /// The configuration of a member that is the only one.
    pub fn standalone(me: MemberId, incarnation: u64) -> Config {
        Config::cluster(me, incarnation, 1, vec![me])
    }

    /// The configuration of one of several members, with the default times and limits.
    pub fn cluster(me: MemberId, incarnation: u64, configured: usize, known: Vec<MemberId>) -> Config {
        Config { me, incarnation, configured, known, timing: Timing::default(), limits: Limits::default() }
    }
}

/// All times, in milliseconds. The defaults are the times in the rules; the simulator shortens some of them.
#[derive(Clone, Debug)]
pub struct Timing {
    /// The time between two pings to every peer (rule 7). Default 500.
    pub ping: u64,
    /// A member that was not heard for longer than this is silent: it is no longer responsible (rule 7). Default 3,000.
    pub heard: u64,
    /// A member that was not heard for longer than this is shown as DOWN. Default 10,000.
    pub down: u64,
    /// The records of an incarnation that was not heard for longer than this count as unhealthy here (rule 24). Default 15,000.
    pub soft_unhealthy: u64,
    /// An origin that was silent for this long is proposed for retirement (rule 25). Default 30,000.
    pub retire_silent: u64,
    /// An origin that was superseded, or not configured, for this long is proposed for retirement (rule 25). Default 15,000.
    pub retire_grace: u64,
    /// The time between two proposals to retire the same origin. Default 5,000.
    pub propose_again: u64,
    /// A forward fails if it has no answer after this (rule 8). Default 500.
    pub forward: u64,
    /// After an accepted forward, the member waits at most this long for its own copy before it answers its client
    /// (rule 8). Default 300.
    pub forward_copy: u64,
    /// A write that is accepted here waits at most this long for the acknowledgement of one peer (rule 8). Default 200.
    pub write_ack: u64,
    /// Heartbeats are collected for this long before they are relayed (rule 11). Default 100.
    pub relay_batch: u64,
    /// A relay without an acknowledgement is sent once more after this, and is given up after twice this (rule 11).
    /// Default 500.
    pub relay: u64,
    /// The record must be here within this time after the acknowledgement of a relay (rule 11). Default 1,000.
    pub relay_copy: u64,
    /// The time between two attempts to hand over a record (rule 13). Default 2,000.
    pub hand_over: u64,
    /// The time after which a record may be written again (rule 15), or a stashed one given again (rule 16). For the
    /// record of a connection it is the first such time (rule 17). Default 5,000.
    pub reassert: u64,
    /// What a connection published stays for this long after an abnormal end (rule 18). Default 10,000.
    pub linger: u64,
    /// A registration that was given up is kept aside for this long (rule 16). Default 600,000.
    pub stash: u64,
    /// A member that refutes its retirement keeps the records whose last real heartbeat is not older than this (rule
    /// 22). Default 15,000.
    pub refute_beat: u64,
    /// Time-outs stay longer for this long after the last silent member was heard or retired (rule 14). Default 5,000.
    pub stretch_after: u64,
    /// The log of a retired origin that was heard not long ago is kept for this long, so that its member can refute
    /// (rule 22). Default 5,000.
    pub refute_wait: u64,
    /// For this long after a pause, everything that was buffered is dropped (rule 23). Default 1,000.
    pub drain: u64,
    /// RESUMING ends after this at the latest (rule 23). Default 5,000.
    pub resume: u64,
    /// JOINING lasts at least this long (rule 20). Default 1,500.
    pub join_least: u64,
    /// JOINING becomes ALONE after this (rule 20). Default 10,000.
    pub alone: u64,
    /// A leaving member waits at most this long for its peers (rule 19). Default 2,000.
    pub leave: u64,
    /// The first change after a quiet time is sent after this. Default 5.
    pub flush_idle: u64,
    /// Further changes are sent this often while they keep coming. Default 50.
    pub flush: u64,
    /// The time until a delta is sent again for the first time to a member that is heard. It doubles up to
    /// `retry_most`. Default 100.
    pub retry: u64,
    /// The longest time until a delta is sent again. It is short, because this is how far behind the others can fall
    /// where messages are lost and not only late. Default 500.
    pub retry_most: u64,
    /// Tombstones are dropped without waiting for a member that was silent for longer than this. It gets a reset later. Default
    /// 3,600,000.
    pub gc_silent: u64,
    /// Covers are kept at least this long, which is longer than a stash lives. Default 900,000.
    pub cover_keep: u64,
    /// The window of the cap on removals (rule 26). Default 60,000.
    pub cap_window: u64,
}

impl Default for Timing {
    fn default() -> Timing {
        Timing {
            ping: 500,
            heard: 3_000,
            down: 10_000,
            soft_unhealthy: 15_000,
            retire_silent: 30_000,
            retire_grace: 15_000,
            propose_again: 5_000,
            forward: 500,
            forward_copy: 300,
            write_ack: 200,
            relay_batch: 100,
            relay: 500,
            relay_copy: 1_000,
            hand_over: 2_000,
            reassert: 5_000,
            linger: 10_000,
            stash: 600_000,
            refute_beat: 15_000,
            stretch_after: 5_000,
            refute_wait: 5_000,
            drain: 1_000,
            resume: 5_000,
            join_least: 1_500,
            alone: 10_000,
            leave: 2_000,
            flush_idle: 5,
            flush: 50,
            retry: 100,
            retry_most: 500,
            gc_silent: 3_600_000,
            cover_keep: 900_000,
            cap_window: 60_000,
        }
    }
}

/// All limits. Each keeps one message, queue or table from growing without end.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Most records of one delta.
    pub delta_records: usize,
    /// Most heartbeats in one relay message, and most entries in the answer to one.
    pub relay_entries: usize,
    /// Most encoded bytes of the records in one message, unless one record alone is longer. This is below
    /// [`crate::codec::FRAME_MAX`], and short enough that pings behind such a message are not late.
    pub message_bytes: usize,
    /// Most heartbeats that wait to be relayed or acknowledged. Beyond this, the member adopts records at once.
    pub relays: usize,
    /// Most requests of clients that wait for a peer. Beyond this, a write is accepted here and answered at once.
    pub waiting: usize,
    /// Most stashed registrations (rule 16).
    pub stash: usize,
    /// Most logs of other origins. Further ones are ignored until some are retired.
    pub logs: usize,
    /// This many removals per window are always allowed (rule 26).
    pub cap_least: usize,
    /// This share of the records that this member times may be removed per window, in percent (rule 26).
    pub cap_percent: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            delta_records: 1_000,
            relay_entries: 1_000,
            message_bytes: 256 * 1024,
            relays: 100_000,
            waiting: 100_000,
            stash: 65_536,
            logs: 256,
            cap_least: 1_000,
            cap_percent: 20,
        }
    }
}
