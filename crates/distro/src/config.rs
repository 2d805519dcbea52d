//! Settings of the core: who this member is, and every time and bound that the rules name.

use dyad_types::MemberId;

/// Gap between two entries of the core above which the process counts as paused (rule 23), in ms.
pub const PAUSE_MS: u64 = 2_000;

/// Where a caller's clock should start, so that ages up to an hour are exact right after the start. Ages beyond zero
/// are cut off: such a beat or registration counts as younger than it is.
pub const CLOCK_START: dyad_types::Millis = dyad_types::Millis(3_600_000);

/// What a core is made from.
#[derive(Clone, Debug)]
pub struct Config {
    pub me: MemberId,
    /// Already incremented and persisted by the caller for this start.
    pub incarnation: u64,
    /// Configured members, this one included, whose ids may not all be known.
    pub configured: usize,
    /// The ids known so far, this member's included.
    pub known: Vec<MemberId>,
    pub timing: Timing,
    pub limits: Limits,
}

impl Config {
    /// The only member.
    pub fn standalone(me: MemberId, incarnation: u64) -> Config {
        Config::cluster(me, incarnation, 1, vec![me])
    }

    pub fn cluster(me: MemberId, incarnation: u64, configured: usize, known: Vec<MemberId>) -> Config {
        Config { me, incarnation, configured, known, timing: Timing::default(), limits: Limits::default() }
    }
}

/// Times in milliseconds. The defaults are those of the rules; the simulator shortens a few.
#[derive(Clone, Debug)]
pub struct Timing {
    /// Between two pings to every peer (rule 7).
    pub ping: u64,
    /// A member not heard for longer is silent: no longer responsible (rule 7).
    pub heard: u64,
    /// Not heard for longer: shown as DOWN.
    pub down: u64,
    /// An incarnation not heard for longer: its records count as unhealthy here (rule 24).
    pub soft_unhealthy: u64,
    /// An origin silent for that long is proposed for retirement (rule 25).
    pub retire_silent: u64,
    /// An origin superseded or unconfigured for that long is proposed for retirement (rule 25).
    pub retire_grace: u64,
    /// Between two proposals for the same origin.
    pub propose_again: u64,
    /// A forward without an answer (rule 8).
    pub forward: u64,
    /// A forwarding member waits that long for its own copy before it answers its client.
    pub forward_copy: u64,
    /// A local write waits that long for the first peer's ack (rule 8).
    pub write_ack: u64,
    /// Beats are collected for that long before they are relayed (rule 11).
    pub relay_batch: u64,
    /// A relay without an ack is sent once more after that, and given up after twice that (rule 11).
    pub relay: u64,
    /// After an ack the record must be here within that (rule 11).
    pub relay_copy: u64,
    /// Between two hand-over attempts of a record (rule 13).
    pub hand_over: u64,
    /// Between two re-assertions of a record (rule 15), and of a stashed one (rule 16); at first also of a connection's
    /// (rule 17).
    pub reassert: u64,
    /// What a connection published stays for that long after an abnormal end (rule 18).
    pub linger: u64,
    /// How long a given-up registration is kept (rule 16).
    pub stash: u64,
    /// A refuting member keeps timed records with a real beat this young (rule 22).
    pub refute_beat: u64,
    /// Timeouts stay stretched for that long after the last silent member was heard or retired (rule 14).
    pub stretch_after: u64,
    /// A retired origin that was heard recently is kept that long, for its member to refute (rule 22).
    pub refute_wait: u64,
    /// Everything buffered is dropped for that long after a pause (rule 23).
    pub drain: u64,
    /// RESUMING ends after that at the latest (rule 23).
    pub resume: u64,
    /// JOINING lasts at least that long (rule 20).
    pub join_least: u64,
    /// JOINING becomes ALONE after that (rule 20).
    pub alone: u64,
    /// A leaving member waits that long for its peers.
    pub leave: u64,
    /// First change after idle is sent after that.
    pub flush_idle: u64,
    /// Changes are sent that often while they keep coming.
    pub flush: u64,
    /// First retry of a delta to a member that is heard; doubles up to `retry_most`, which is short: where messages are
    /// lost, and not only late, this is how far behind the others may fall.
    pub retry: u64,
    pub retry_most: u64,
    /// A member silent for longer does not hold up the dropping of tombstones; it gets a reset.
    pub gc_silent: u64,
    /// Covers are kept at least that long (longer than a stash lives).
    pub cover_keep: u64,
    /// Window of the cap on removals (rule 26).
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

/// Bounds. Each keeps one message, queue or table from growing without end.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Records in one delta.
    pub delta_records: usize,
    /// Bytes of publications in one delta; a frame stays below 1 MiB.
    pub delta_bytes: usize,
    /// Entries in one relay message.
    pub relay_entries: usize,
    /// Beats waiting to be relayed or acknowledged; beyond it this member adopts at once.
    pub relays: usize,
    /// Client requests waiting for a peer; beyond it a write is accepted and answered at once.
    pub waiting: usize,
    /// Stashed registrations (rule 16).
    pub stash: usize,
    /// Logs of other origins; more are ignored until some are retired.
    pub logs: usize,
    /// Removals per window that are always allowed (rule 26).
    pub cap_least: usize,
    /// Removals per window as a share of the own timed records, in percent (rule 26).
    pub cap_percent: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            delta_records: 1_000,
            delta_bytes: 256 * 1024,
            relay_entries: 1_000,
            relays: 100_000,
            waiting: 100_000,
            stash: 65_536,
            logs: 256,
            cap_least: 1_000,
            cap_percent: 20,
        }
    }
}
