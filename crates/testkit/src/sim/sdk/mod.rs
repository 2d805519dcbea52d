//! Clients with a connection: what they are, and which side of a link an event is for. The client's side is in `client`,
//! the member's in `member`, what must hold in `checks`.
//!
//! A *link* is one transport, seen from both sides: the client may have left it long before the member notices.

mod checks;
mod client;
mod member;

use std::collections::{BTreeMap, HashMap};

use dyad_distro::Ending;
use dyad_types::{ClientId, PublicationKey};

use super::clients::Wish;
use super::rng::Rng;
use super::world::{Ev, World};

/// The member asks a client that was silent for that long, and closes when it does not answer within the other time.
const SILENT: u64 = 20_000;
const DETECT: u64 = 5_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Do {
    Register(u64),
    Deregister,
    Ping,
    Close,
    Reset,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum SdkEv {
    Turn {
        client: usize,
        turn: u64,
    },
    Connect {
        client: usize,
        turn: u64,
    },
    /// A frame reaches the member.
    Arrive {
        link: usize,
        req: u64,
        what: Do,
    },
    Answer {
        link: usize,
        req: u64,
        ok: bool,
    },
    Timeout {
        client: usize,
        req: u64,
    },
    /// The member waits for a sign of life until then.
    Probe {
        link: usize,
        until: u64,
    },
    /// The client sees that the link was closed.
    Closed {
        link: usize,
    },
    /// The member tells the client to go elsewhere.
    Move {
        link: usize,
    },
    /// The member closes all links.
    CloseAll {
        node: usize,
    },
    Thaw {
        client: usize,
    },
    /// The client's second connection, which publishes the same, ends.
    TwinEnds {
        link: usize,
    },
}

#[derive(Debug)]
pub(super) struct Link {
    pub client: usize,
    pub node: usize,
    pub key: PublicationKey,
    /// What either side believes.
    client_open: bool,
    pub server_open: bool,
    /// Frames pass.
    path: bool,
    told: bool,
    last_seen: u64,
    asked: Option<u64>,
    pub reasserted: Option<u64>,
    /// The process of the member.
    pub life: u64,
    /// Unfrozen time at which that process stopped.
    pub stopped: Option<u64>,
}

/// A registration that was answered over a link: the instance must be seen while it lasts and, if its end was not orderly,
/// for the linger. Times are unfrozen.
#[derive(Clone, Copy, Debug)]
pub(super) struct Voucher {
    pub link: usize,
    pub answered: u64,
    pub ended: Option<(u64, bool)>,
}

#[derive(Debug)]
pub(super) struct Sdk {
    pub wish: Wish,
    pub frozen: bool,
    thaws: u64,
    pub version: u64,
    pub answered_version: u64,
    pub link: Option<usize>,
    /// Left after the registration elsewhere was answered.
    old: Option<usize>,
    /// A second connection that publishes the same.
    twin: Option<usize>,
    /// Simulated time at which a second connection ended.
    twin_ended: u64,
    pub links: Vec<usize>,
    pub registered: bool,
    turn: u64,
    open: Option<(u64, Do)>,
    pub vouchers: Vec<Voucher>,
    /// Since when the own member shows other attributes.
    pub wrong_since: Option<u64>,
    pub ended: u64,
    batch: bool,
}

pub(super) struct Sdks {
    pub clients: Vec<Sdk>,
    pub links: Vec<Link>,
    pub by_conn: HashMap<ClientId, usize>,
    rng: Rng,
    /// At a member: request -> link.
    requests: BTreeMap<u64, usize>,
    next: u64,
}

impl Sdks {
    pub(super) fn new(count: usize, seed: u64) -> Sdks {
        let client = |index: usize| Sdk {
            wish: Wish::Up,
            frozen: false,
            thaws: 0,
            version: 1,
            answered_version: 0,
            link: None,
            old: None,
            twin: None,
            twin_ended: 0,
            links: Vec::new(),
            registered: false,
            turn: 0,
            open: None,
            vouchers: Vec::new(),
            wrong_since: None,
            ended: 0,
            batch: index.is_multiple_of(4),
        };
        Sdks {
            clients: (0..count).map(client).collect(),
            links: Vec::new(),
            by_conn: HashMap::new(),
            rng: Rng::new(seed ^ 0x5D4B),
            requests: BTreeMap::new(),
            next: 0,
        }
    }
}

impl World {
    pub(super) fn start_sdks(&mut self) {
        for client in 0..self.sdk.clients.len() {
            let at = self.sdk.rng.range(2_500, 8_000);
            self.at(at, Ev::Sdk(SdkEv::Connect { client, turn: 0 }));
        }
    }

    pub(super) fn sdk_event(&mut self, event: SdkEv) {
        match event {
            SdkEv::Turn { client, turn } => self.sdk_turn(client, turn),
            SdkEv::Connect { client, turn } => self.sdk_connect(client, turn),
            SdkEv::Arrive { link, .. } | SdkEv::Probe { link, .. } => {
                let node = self.sdk.links[link].node;
                self.deliver_to(node, Ev::Sdk(event));
            }
            SdkEv::CloseAll { node } => self.deliver_to(node, Ev::Sdk(event)),
            SdkEv::Answer { link, req, ok } => self.sdk_answer(link, req, ok),
            SdkEv::Timeout { client, req } => {
                let c = &self.sdk.clients[client];
                if !c.frozen && c.open.is_some_and(|(open, _)| open == req) {
                    self.log(|| format!("s{client} waits no longer"));
                    self.sdk_leave(client, Do::Close);
                }
            }
            SdkEv::Closed { link } => self.sdk_closed(link),
            SdkEv::Move { link } => self.sdk_move(link),
            SdkEv::Thaw { client } => self.sdk_thaw(client),
            SdkEv::TwinEnds { link } => self.sdk_twin_ends(link),
        }
    }

    /// At a member that runs.
    pub(super) fn sdk_arrives(&mut self, event: SdkEv) {
        match event {
            SdkEv::Arrive { link, req, what } => self.sdk_frame(link, req, what),
            SdkEv::Probe { link, until } => self.sdk_probe(link, until),
            SdkEv::CloseAll { node } => {
                for link in 0..self.sdk.links.len() {
                    if self.sdk.links[link].node == node {
                        self.sdk_close(link, Some(Ending::Abnormal));
                    }
                }
            }
            _ => {}
        }
    }
}
