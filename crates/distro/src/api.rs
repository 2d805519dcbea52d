//! What goes into the core and what comes out of it.

use std::sync::Arc;

use dyad_types::{BeatSlot, ClientId, MemberId, Origin, Publication, PublicationKey};

use crate::message::Message;

/// Everything that happens to the core, except beats ([`crate::Distro::beat`]) and time
/// ([`crate::Distro::on_timeout`]).
#[derive(Clone, Debug)]
pub enum Input {
    /// A client registers. Answered by [`Action::Reply`] with the same `req`, now or later.
    Register { req: u64, key: PublicationKey, publication: Arc<Publication> },
    /// A client deregisters. Answered likewise; an unknown key is fine.
    Deregister { req: u64, key: PublicationKey },
    /// A frame of a peer. `stream` numbers the streams of that peer as this member accepted them; frames of an older
    /// stream than the newest seen are ignored (rule 23).
    Message { from: MemberId, stream: u64, message: Message },
    /// The configured members: how many, and the ids known so far (this one's included unless it was removed).
    Members { configured: usize, known: Vec<MemberId> },
    /// Retirements of the applied raft state: every incarnation of the member up to the given one.
    Retired(Vec<Origin>),
    /// The peer answered the shell's question who it is. A member that loads waits for such a peer's frames too: it may
    /// hold what the others, starting as well, have not.
    Answered(MemberId),
    /// The stream to a peer broke: what was in flight is sent again after the next ping.
    StreamDown(MemberId),
    /// SIGTERM: peers claim the records, then [`Action::Left`].
    Leave,
    /// A connection of this member is over: all that it published ends by rule 18. Later registrations of it are refused.
    Ended { client: ClientId, ending: Ending },
    /// The answer to [`Action::Probe`]: does the connection's client still answer? A dead one counts as ended.
    Probed { client: ClientId, alive: bool },
    /// Nacos's switches `healthCheckEnabled` and `expireInstance`.
    Switches { health_check: bool, expire_instance: bool },
}

/// How a connection came to its end (rule 18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client closed it, or said goodbye: what it published goes at once.
    Orderly,
    /// Reset, time-out, or closed by this member: what it published stays for [`crate::Timing::linger`], in which the
    /// client registers elsewhere.
    Abnormal,
}

/// What the shell does, in this order.
#[derive(Clone, Debug)]
pub enum Action {
    Send {
        to: MemberId,
        message: Message,
    },
    Reply {
        req: u64,
        outcome: Outcome,
    },
    /// What a query sees of this key changed; `None` = nothing any more.
    Changed {
        key: PublicationKey,
        visible: Option<Visible>,
    },
    /// Ask the client of this connection for a sign of life, and answer with [`Input::Probed`] (rule 17).
    Probe(ClientId),
    /// Propose to raft that this origin is retired. Repeated while the reason lasts.
    ProposeRetire(Origin),
    /// Write the incarnation to disk (fsync) before any later action of the list.
    PersistIncarnation(u64),
    State(MemberState),
    /// The member left or was removed and a peer has everything: it may stop.
    Left,
    /// Worth a log line or a counter.
    Event(Event),
}

/// Answer to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// 503: the member does not serve; the client takes the next one.
    Unavailable,
}

/// Answer to a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeatOutcome {
    Known,
    /// Code 20404: the client registers again.
    Unknown,
    /// 503.
    Unavailable,
}

/// A publication as a query sees it.
#[derive(Clone, Debug)]
pub struct Visible {
    pub publication: Arc<Publication>,
    pub healthy: bool,
    /// (lamport, origin): among publications of the same instance by several clients the highest gives the attributes.
    pub rank: (u64, Origin),
    /// The beat slot when this member holds the record.
    pub slot: Option<Arc<BeatSlot>>,
}

/// Member life (rule 20 on).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// Loading; answers 503.
    Joining,
    /// Serves what it knows: writes, and services known to it. 503 for an unknown service.
    Alone,
    Ready,
    /// After a pause; answers 503.
    Resuming,
    /// Still answers; peers are taking over.
    Leaving,
    /// No longer configured; answers 503 and gossips its log out.
    Removed,
}

impl MemberState {
    /// Answers requests.
    pub fn serves(self) -> bool {
        matches!(self, MemberState::Ready | MemberState::Alone | MemberState::Leaving)
    }

    /// May be responsible for a key (rule 7).
    pub fn times(self) -> bool {
        matches!(self, MemberState::Ready | MemberState::Alone)
    }

    pub fn name(self) -> &'static str {
        match self {
            MemberState::Joining => "JOINING",
            MemberState::Alone => "ALONE",
            MemberState::Ready => "READY",
            MemberState::Resuming => "RESUMING",
            MemberState::Leaving => "LEAVING",
            MemberState::Removed => "REMOVED",
        }
    }
}

/// Something worth a log line or a counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// No beat within the beat timeout.
    Unhealthy(PublicationKey),
    /// A beat again.
    Recovered(PublicationKey),
    /// No beat within the delete timeout: removed.
    Expired(PublicationKey),
    /// This member times the record from now on.
    Adopted(PublicationKey),
    /// The responsible member took the record over.
    HandedOver { key: PublicationKey, to: MemberId },
    /// Another holder's newer registration was taken.
    TookNewer(PublicationKey),
    /// Records of a leaving member taken over.
    Claimed { from: MemberId, records: usize },
    /// An origin was retired; so many records of it were dropped.
    Retired { origin: Origin, records: usize },
    /// This member was found retired or behind itself and began a new incarnation.
    Refuted { kept: usize, stashed: usize },
    /// The copy of an origin is replaced as a whole.
    Reset(Origin),
    /// The copy of an origin differs from the owner's at the same position.
    HashMismatch(Origin),
    /// This process was stopped for so many milliseconds.
    Paused(u64),
    /// The cap delays removals: so many wait.
    RemovalsDelayed(usize),
    /// A forwarded write was accepted here because the responsible member did not answer.
    ForwardFailed(MemberId),
    /// Another live connection publishes the same instance with other attributes: this member's was written again.
    Reasserted(PublicationKey),
    /// A relayed beat was not taken: this member adopted the record.
    RelayFailed(PublicationKey),
}
