//! The cluster, as this member sees it, for the front end and for `dyad cluster status`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dyad_app::App;
use dyad_cli::admin::AdminRequest;
use dyad_cli::status::{ClusterStatus, DistroStatus, MemberStatus, OriginStatus, PeerStatus};
use dyad_cluster::Condition;
use dyad_distro::MemberState;
use dyad_naming::ports::{BoxFuture, MemberView, Members};
use dyad_raft::{MemberChange, Node, Other, RaftStatus};
use dyad_state::ports::Propose;
use dyad_types::MemberId;
use serde_json::json;

use super::headline::{Facts, headline};
use super::parts::Parts;
use super::rebalance;
use super::watch::troubles;
use crate::settings::parse_member;

/// How long an operator's drain may take: thousands of clients a second at most reach the others.
const DRAIN: Duration = Duration::from_secs(60);

/// What other members ask this one, answered by the front end.
#[derive(Debug)]
pub(crate) struct Answers(pub(crate) Arc<App>);

impl dyad_cluster::Answer for Answers {
    fn answer(&self, target: String) -> BoxFuture<'_, (u16, Bytes)> {
        Box::pin(async move { dyad_http::answer(&self.0, &target).await })
    }
}

/// The member table as the front end shows it.
pub(crate) struct View(pub(crate) Arc<Parts>);

impl Members for View {
    fn ask(&self, target: &str) -> BoxFuture<'static, Vec<Bytes>> {
        match &self.0.directory {
            Some(directory) => dyad_cluster::ask_others(directory, target),
            None => Box::pin(std::future::ready(Vec::new())),
        }
    }

    fn members(&self) -> Vec<MemberView> {
        let parts = &self.0;
        let leader = parts.raft.leader().map(|leader| leader.member);
        let status = parts.ap.inspect(|core, _| core.status());
        let rows = rows(parts);
        let view = |row: Row| {
            let me = row.id == Some(parts.me);
            let state = match row.id {
                Some(_) if me => nacos_state(status.state, false, Some(0)),
                Some(id) => match status.peers.iter().find(|p| p.member == id) {
                    Some(peer) => nacos_state(peer.state, peer.down, peer.heard_ago),
                    None => "DOWN",
                },
                None => "DOWN",
            };
            MemberView {
                id: row.id,
                address: row.address,
                raft_port: row.cluster_port,
                state,
                me,
                leader: row.id.is_some() && row.id == leader,
            }
        };
        rows.into_iter().map(view).collect()
    }

    fn ready(&self) -> Result<(), String> {
        let ap = &self.0.ap;
        if ap.is_ready() {
            return Ok(());
        }
        let state = ap.state();
        let what = match state {
            MemberState::Joining => "it gathers what the other members know",
            MemberState::Alone => "it has heard no other member, so that it calls no service unknown",
            MemberState::Resuming => "its process was paused, and it gathers what it missed",
            MemberState::Leaving => "it is stopping",
            MemberState::Removed => "it was removed from its cluster",
            MemberState::Ready => "it waits for the persistent instances",
        };
        Err(format!("this member is {}: {what}", state.name()))
    }
}

/// Nacos's words (`NodeState`) for a member of which a sign of life is `heard_ago` milliseconds old.
fn nacos_state(state: MemberState, down: bool, heard_ago: Option<u64>) -> &'static str {
    /// Not heard for longer than this: the member is no longer responsible for anything.
    const SUSPICIOUS_MS: u64 = 3_000;
    match heard_ago {
        _ if down => "DOWN",
        None => "DOWN",
        Some(ms) if ms > SUSPICIOUS_MS => "SUSPICIOUS",
        Some(_) if state.serves() => "UP",
        Some(_) => "STARTING",
    }
}

/// One line of the member table: a configured address, and who answers there.
struct Row {
    id: Option<MemberId>,
    address: String,
    cluster_port: u16,
}

fn rows(parts: &Parts) -> Vec<Row> {
    let Some(directory) = &parts.directory else {
        return vec![Row {
            id: Some(parts.me),
            address: own_address(parts),
            cluster_port: parts.cluster.map_or(0, |address| address.port()),
        }];
    };
    let row = |row: dyad_cluster::Row| {
        let port = row.entry.cluster_address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
        // A server that was founded alone may have no address for others yet.
        let address = if port.is_some() { row.entry.address } else { own_address(parts) };
        Row { id: row.id, address, cluster_port: port.unwrap_or(0) }
    };
    directory.members().into_iter().map(row).collect()
}

/// The address that a standalone member shows: as advertised, else as opened.
pub(crate) fn own_address(parts: &Parts) -> String {
    match &parts.settings.advertise {
        Some(own) => own.http(),
        None => parts.http.to_string(),
    }
}

/// Answers a command of the admin socket.
pub(crate) async fn answer(parts: Arc<Parts>, request: AdminRequest) -> serde_json::Value {
    let change = match request {
        AdminRequest::Status => {
            return serde_json::to_value(cluster_status(&parts).0)
                .unwrap_or_else(|error| json!({ "error": error.to_string() }));
        }
        AdminRequest::Drain | AdminRequest::Undrain => return answer_drain(&parts, &request),
        // It is a stream, and the socket gives it by itself.
        AdminRequest::Backup => return json!({ "error": "this server gives no backups" }),
        AdminRequest::Add { address, learner } => {
            node(&parts, &address).map(|node| MemberChange::Add(Node { learner, ..node }))
        }
        AdminRequest::Remove { member } => Ok(MemberChange::Remove(member)),
        AdminRequest::Replace { old, address } => {
            node(&parts, &address).map(|node| MemberChange::Replace { old, node })
        }
        AdminRequest::Promote { member } => Ok(MemberChange::Promote(member)),
        AdminRequest::Demote { member } => Ok(MemberChange::Demote(member)),
        AdminRequest::TransferLeader { to } => Ok(MemberChange::Transfer(to)),
    };
    let done = match change {
        Ok(change) => parts.raft.change_members(change).await.map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    match done {
        Ok(done) => {
            tracing::info!("by an operator: {done}");
            json!({ "done": done })
        }
        Err(error) => json!({ "error": error }),
    }
}

/// The addresses of a server that an operator names.
fn node(parts: &Parts, address: &str) -> Result<Node, String> {
    let member = parse_member(address, parts.settings.port)?;
    Ok(Node::new(member.http(), member.cluster()))
}

fn answer_drain(parts: &Arc<Parts>, request: &AdminRequest) -> serde_json::Value {
    match request {
        AdminRequest::Undrain => {
            let drained = undrain(parts);
            json!({ "clients": parts.connections.len(), "drained": drained })
        }
        _ => match drain_clients(parts) {
            Some((clients, to)) => json!({ "clients": clients, "to": to }),
            None => {
                let why = "no other member serves and takes in clients: these would have nowhere to go";
                json!({ "error": why })
            }
        },
    }
}

/// Sends the gRPC clients to the other members that serve: how many, and to whom. `None` if nobody else serves.
pub(super) fn drain_clients(parts: &Arc<Parts>) -> Option<(usize, Vec<String>)> {
    let others = others(parts);
    if others.is_empty() {
        return None;
    }
    let to: Vec<String> = others.iter().map(|(host, port)| format!("{host}:{port}")).collect();
    let clients = parts.connections.len();
    let connections = parts.connections.clone();
    begin_drain(parts);
    tracing::info!(clients, "draining: clients are sent to other members");
    let stop = parts.stop.clone();
    parts.tasks.spawn(async move {
        tokio::select! {
            drain = connections.drain(&others, DRAIN) => {
                tracing::info!(asked = drain.asked, left = drain.left, "drained");
            }
            () = stop.cancelled() => {}
        }
    });
    Some((clients, to))
}

/// Takes in no client from now on, and says so to the members that ask.
pub(super) fn begin_drain(parts: &Parts) {
    parts.connections.begin_drain();
    tell_load(parts);
}

/// Takes in clients again. Whether the member was drained.
pub(super) fn undrain(parts: &Parts) -> bool {
    let drained = parts.connections.is_draining();
    parts.connections.undrain();
    tell_load(parts);
    tracing::info!("clients are taken in again");
    drained
}

/// At once, instead of with the next second: nobody should be sent to a member that drains.
fn tell_load(parts: &Parts) {
    if let Some(directory) = &parts.directory {
        directory.set_load(rebalance::load(parts));
    }
}

/// The other members that serve and do not send their own clients away, as host and HTTP port.
pub(crate) fn others(parts: &Arc<Parts>) -> Vec<(String, u16)> {
    let loads = parts.directory.as_ref().map(|directory| directory.loads()).unwrap_or_default();
    let takes = |id: &MemberId| !loads.get(id).is_some_and(|load| load.draining);
    let others = serving(parts).into_iter().filter(|(id, _)| takes(id));
    others.filter_map(|(_, address)| host_and_port(&address)).collect()
}

/// The other members that serve, by their HTTP address.
pub(super) fn serving(parts: &Arc<Parts>) -> Vec<(MemberId, String)> {
    let members = View(parts.clone()).members();
    let serving = members.into_iter().filter(|member| !member.me && member.state == "UP");
    serving.filter_map(|member| Some((member.id?, member.address))).collect()
}

/// Of `host:port`, as `ConnectResetRequest` has them.
pub(super) fn host_and_port(address: &str) -> Option<(String, u16)> {
    let (host, port) = address.rsplit_once(':')?;
    Some((host.trim_matches(['[', ']']).to_owned(), port.parse().ok()?))
}

/// The cluster as this member sees it, and the ids of the members that do not answer at this moment.
pub(super) fn cluster_status(parts: &Arc<Parts>) -> (ClusterStatus, Vec<String>) {
    let raft = parts.raft.status();
    let core = parts.ap.inspect(|core, _| core.status());
    let retired: BTreeMap<MemberId, u64> = core.retired.iter().map(|o| (o.member, o.incarnation)).collect();
    let loads = parts.directory.as_ref().map(|directory| directory.loads()).unwrap_or_default();
    let mut conditions = parts.directory.as_ref().map(|directory| directory.conditions()).unwrap_or_default();
    let not_ready = parts.not_ready.lock().clone();
    conditions.insert(parts.me, (env!("CARGO_PKG_VERSION").to_owned(), Some(condition(parts, not_ready))));
    let load =
        |id: MemberId| if id == parts.me { Some(rebalance::load(parts)) } else { loads.get(&id).copied() };
    let member = |row: Row| {
        let load = row.id.and_then(load);
        let said = row.id.and_then(|id| conditions.get(&id));
        let told = said.and_then(|(_, condition)| condition.clone());
        let status = member_status(parts, &core, &raft, row);
        MemberStatus {
            clients: load.map(|load| load.clients),
            draining: load.is_some_and(|load| load.draining),
            build: said.map(|(version, _)| version.clone()).unwrap_or_default(),
            ..with_condition(status, told)
        }
    };
    let members = rows(parts).into_iter().map(member).collect();
    let peers = core.peers.iter().filter(|p| p.configured).map(|p| PeerStatus {
        member_id: p.member.to_string(),
        behind: p.behind,
        digest_equal: p.digest_equal,
        answer_age_ms: p.answered_ago,
    });
    let peers: Vec<PeerStatus> = peers.collect();
    let origins = core.logs.iter().map(|log| OriginStatus {
        member_id: log.origin.member.to_string(),
        incarnation: log.origin.incarnation,
        seq: log.seq,
        records: log.live,
        retired: retired.get(&log.origin.member).is_some_and(|&upto| log.origin.incarnation <= upto),
    });
    let level = parts.raft.state().cluster().level();
    let mut status = ClusterStatus {
        member_id: parts.me.to_string(),
        healthy: true,
        headline: String::new(),
        members,
        distro: DistroStatus {
            own: core.logs.iter().filter(|log| log.own).map(|log| log.live).sum(),
            digest_equal: peers.iter().all(|peer| peer.digest_equal),
            peers,
            origins: origins.collect(),
        },
        raft: json!({
            "cluster_id": raft.cluster_id.map(|id| format!("{id:032x}")),
            "level": level,
            "snapshot": raft.snapshot,
            "purged": raft.purged,
            "voters": raft.voters.iter().map(|v| v.member.to_string()).collect::<Vec<_>>(),
            "lifetime_conflicts": parts.registry.counts().lifetime_conflicts,
            "disk": disk(parts, &raft),
            "clock_differences": clocks(parts),
        }),
    };
    let (standing, has_leader) = (parts.raft.standing(), parts.raft.leader().is_some());
    let (silent, machines) = troubles(parts);
    let silent: Vec<String> = silent.iter().map(ToString::to_string).collect();
    let facts = Facts { standing: &standing, has_leader, level, silent: &silent, machines: &machines };
    (status.headline, status.healthy) = headline(&status, &facts);
    (status, silent)
}

/// What this member says of itself, to its operators and to the other members.
pub(super) fn condition(parts: &Parts, not_ready: String) -> Condition {
    let raft = parts.raft.status();
    Condition {
        not_ready,
        role: raft.role.word().to_owned(),
        term: raft.term,
        last: raft.last_log,
        committed: raft.committed,
        applied: raft.applied,
        level: parts.raft.known_level(),
        free_disk: parts.raft.free_disk(),
    }
}

/// The row with what the member said of itself.
fn with_condition(row: MemberStatus, told: Option<Condition>) -> MemberStatus {
    let Some(told) = told else { return row };
    MemberStatus {
        term: Some(told.term),
        last: told.last,
        committed: told.committed,
        applied: told.applied,
        level: Some(told.level),
        free_disk: Some(told.free_disk),
        not_ready: told.not_ready,
        ..row
    }
}

/// This member's disk, and the other members that said that theirs take no entries.
fn disk(parts: &Parts, raft: &RaftStatus) -> serde_json::Value {
    let refuse = parts.raft.others().into_iter().filter(Other::refuses_entries);
    json!({
        "free_bytes": raft.disk.free_bytes,
        "reserve_bytes": raft.disk.reserve_bytes,
        "room": raft.disk.room.word(),
        "refusing_members": refuse.map(|other| other.member.to_string()).collect::<Vec<_>>(),
    })
}

/// By how many milliseconds the clock of each member is ahead of the others'.
fn clocks(parts: &Parts) -> Vec<serde_json::Value> {
    let differences = parts.raft.clock_differences().into_iter();
    differences.map(|(member, ms)| json!({ "member_id": member.to_string(), "ahead_ms": ms })).collect()
}

fn member_status(parts: &Parts, core: &dyad_distro::Status, raft: &RaftStatus, row: Row) -> MemberStatus {
    let Some(id) = row.id else {
        return MemberStatus { address: row.address, state: "UNKNOWN".into(), ..MemberStatus::default() };
    };
    let me = id == parts.me;
    let peer = core.peers.iter().find(|p| p.member == id);
    let state = match peer {
        _ if me => core.state.name(),
        Some(peer) if peer.down => "DOWN",
        Some(peer) => peer.state.name(),
        None => "UNKNOWN",
    };
    let voter = raft.voters.iter().any(|voter| voter.member == id);
    let role = match raft.leader {
        Some(leader) if leader == id => "leader",
        _ if me => raft.role.word(),
        _ if voter => "follower",
        _ if raft.learners.iter().any(|learner| learner.member == id) => "learner",
        _ => "",
    };
    MemberStatus {
        member_id: id.to_string(),
        address: row.address,
        state: state.to_owned(),
        incarnation: if me { Some(core.incarnation) } else { peer.map(|p| p.incarnation) },
        role: role.to_owned(),
        voter,
        ..MemberStatus::default()
    }
}
