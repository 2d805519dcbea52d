//! What goes into the core and what comes out of it.

use std::sync::Arc;

use dyad_types::{BeatSlot, ClientId, MemberId, Origin, Publication, PublicationKey};

use crate::message::Message;

/// Everything that happens to the core, except heartbeats ([`crate::Distro::beat`]) and time ([`crate::Distro::on_timeout`]).
#[derive(Clone, Debug)]
pub enum Input {
    /// A client registers. [`Action::Reply`] with the same `req` answers it, now or later.
    Register { req: u64, key: PublicationKey, publication: Arc<Publication> },
    /// A client deregisters. It is answered in the same way. An unknown key is not an error.
    Deregister { req: u64, key: PublicationKey },
    /// A message of a peer. `stream` is the number of the stream, in the order in which this member accepted the
    /// streams of that peer. Messages of an older stream than the newest one are ignored (rule 23).
    Message { from: MemberId, stream: u64, message: Message },
    /// The configured members: how many there are, and the ids that are known so far. The id of this member is among
    /// them unless the member was removed.
    Members { configured: usize, known: Vec<MemberId> },
    /// The retired origins of the applied raft state. Every incarnation of the member up to the given one is retired.
    Retired(Vec<Origin>),
    /// The peer told the shell who it is. A member that is loading waits for the messages of such a peer too: the peer may have
    /// something that the others, which are also starting, do not have.
    Answered(MemberId),
    /// The stream to a peer broke. What was on its way is sent again after the peer's next ping.
    StreamDown(MemberId),
    /// The process is to stop (SIGTERM). Peers claim the records of this member; then comes [`Action::Left`].
    Leave,
    /// A connection of this member has ended. All that it published ends by rule 18, and later registrations of it are refused.
    Ended { client: ClientId, ending: Ending },
    /// The answer to [`Action::Probe`]: whether the client of the connection still answers. If it does not, the
    /// connection counts as ended.
    Probed { client: ClientId, alive: bool },
    /// The values of Nacos's switches `healthCheckEnabled` and `expireInstance`.
    Switches { health_check: bool, expire_instance: bool },
}

/// How a connection came to its end (rule 18).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The client closed it in order. What it published goes at once.
    Orderly,
    /// The connection was reset, timed out, or was closed by this member. What it published stays for
    /// [`crate::Timing::linger`], in which the client registers elsewhere.
    Abnormal,
}

/// What the shell has to do. It carries out the actions of a list in their order.
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
    /// What a query sees of this key has changed. `None` means that it sees nothing any more.
    Changed {
        key: PublicationKey,
        visible: Option<Visible>,
    },
    /// Ask the client of this connection whether it is alive, and answer with [`Input::Probed`] (rule 17).
    Probe(ClientId),
    /// Propose to raft that this origin is retired. The action is repeated while its reason lasts.
    ProposeRetire(Origin),
    /// Write the incarnation to the disk and wait for fsync, before any later action of the list.
    PersistIncarnation(u64),
    State(MemberState),
    /// The member has left or was removed, and a peer has everything. It may stop.
    Left,
    /// Something that is worth a line in the log, or is counted.
    Event(Event),
}

/// The answer to a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    Done,
    /// The member does not serve. The answer is 503, after which the client asks the next member.
    Unavailable,
    /// 400: the registration does not fit into one message between members. The front ends check the names and the
    /// content before, with narrower limits.
    TooLong,
}

/// The answer to a heartbeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeatOutcome {
    Known,
    /// The key is unknown. The answer is code 20404, after which the client registers again.
    Unknown,
    /// The member does not serve. The answer is 503.
    Unavailable,
}

/// A publication, as a query sees it.
#[derive(Clone, Debug)]
pub struct Visible {
    pub publication: Arc<Publication>,
    pub healthy: bool,
    /// The lamport number and the origin. If several clients publish the same instance, the highest rank gives the attributes.
    pub rank: (u64, Origin),
    /// The beat slot, if this member holds the record.
    pub slot: Option<Arc<BeatSlot>>,
}

/// The states in the life of a member (rules 20 to 25).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemberState {
    /// It is loading and answers 503.
    Joining,
    /// It waited in vain for others. It takes writes and answers for services that it knows, and answers 503 for
    /// unknown services.
    Alone,
    Ready,
    /// It is loading again after a pause of the process, and answers 503.
    Resuming,
    /// It is stopping. It still answers while its peers take over.
    Leaving,
    /// It is no longer configured. It answers 503 and still gossips its log to the others.
    Removed,
}

impl MemberState {
    /// Whether the member answers requests.
    pub fn serves(self) -> bool {
        matches!(self, MemberState::Ready | MemberState::Alone | MemberState::Leaving)
    }

    /// Whether the member may be responsible for a key (rule 7).
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

/// Something that is worth a line in the log, or is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// An instance became unhealthy, because no heartbeat came within the heartbeat time-out.
    Unhealthy(PublicationKey),
    /// An instance became healthy, because a heartbeat came again.
    Recovered(PublicationKey),
    /// An instance was removed, because no heartbeat came within the time-out for removal.
    Expired(PublicationKey),
    /// From now on this member times the record.
    Adopted(PublicationKey),
    /// The responsible member took the record over.
    HandedOver { key: PublicationKey, to: MemberId },
    /// This member took the newer registration of another holder.
    TookNewer(PublicationKey),
    /// This member took over records of a leaving member.
    Claimed { from: MemberId, records: usize },
    /// An origin was retired, and this many records of it were dropped.
    Retired { origin: Origin, records: usize },
    /// This member was retired, or others had more of its log than itself. It began a new incarnation.
    Refuted { kept: usize, stashed: usize },
    /// The copy of an origin's log is fetched again as a whole.
    Reset(Origin),
    /// The copy of an origin's log differs from the owner's log at the same position.
    HashMismatch(Origin),
    /// This process was stopped for this many milliseconds.
    Paused(u64),
    /// The cap delays removals, of which this many wait.
    RemovalsDelayed(usize),
    /// A forwarded write was accepted here, because the responsible member did not answer.
    ForwardFailed(MemberId),
    /// Another live connection publishes the same instance with other attributes, so this member wrote its own record again.
    Reasserted(PublicationKey),
    /// The receiver did not take a relayed heartbeat, so this member adopted the record.
    RelayFailed(PublicationKey),
}
