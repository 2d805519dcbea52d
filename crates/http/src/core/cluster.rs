//! The members, in the form in which Nacos's clients and tools ask for them.

use std::sync::Arc;

use dyad_naming::ports::MemberView;
use dyad_state::ports::Leader;
use serde_json::{Value, json};

use crate::params::{Key, Params};
use crate::reply::Reply;
use crate::step::Step;
use dyad_app::App;
use dyad_app::Fault;
use dyad_app::cluster::{self, Cluster};

/// Nacos's raft groups. Here one group holds all of them.
const GROUPS: [&str; 4] = [
    "naming_instance_metadata",
    "naming_persistent_service",
    "naming_persistent_service_v2",
    "naming_service_metadata",
];
/// Heartbeat and election times of Nacos 1.x, which its answer carried.
const HEARTBEAT_DUE_MS: u64 = 5_000;
const LEADER_DUE_MS: u64 = 15_000;

/// `GET /v1/ns/raft/leader`, in the form of Nacos 1.4: JSON inside a JSON string.
pub(crate) fn leader(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Reply, Fault> {
        let leader = cluster::cluster(app, &params.caller())?.leader.ok_or(Fault::NoLeader)?;
        let peer = json!({
            "heartbeatDueMs": HEARTBEAT_DUE_MS,
            "ip": leader.address,
            "leaderDueMs": LEADER_DUE_MS,
            "state": "LEADER",
            "term": leader.term,
            "voteFor": leader.address,
        });
        Ok(Reply::json(json!({ "leader": peer.to_string() }).to_string()))
    };
    Step::Done(read())
}

/// `GET /v1/core/cluster/nodes`; `keyword` is a prefix of the address.
pub(crate) fn nodes(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Reply, Fault> {
        let Cluster { members, leader } = cluster::cluster(app, &params.caller())?;
        let raft = raft_group(leader.as_ref(), &members);
        let keyword = params.get(Key::Keyword).unwrap_or_default();
        let asked = members.iter().filter(|member| member.address.starts_with(keyword));
        let data: Vec<Value> = asked.map(|member| node(member, &raft, app.clock.wall_ms())).collect();
        Ok(Reply::json(json!({ "code": 200, "message": null, "data": data }).to_string()))
    };
    Step::Done(read())
}

fn node(member: &MemberView, raft: &Value, wall_ms: u64) -> Value {
    let (ip, port) = split_address(&member.address);
    let groups: serde_json::Map<String, Value> =
        GROUPS.map(|group| (group.to_owned(), raft.clone())).into_iter().collect();
    json!({
        "ip": ip,
        "port": port,
        "state": member.state,
        "extendInfo": {
            "lastRefreshTime": wall_ms,
            "raftMetaData": { "metaDataMap": groups },
            "raftPort": member.raft_port.to_string(),
            "readyToUpgrade": true,
            "supportGrayModel": false,
            "version": env!("CARGO_PKG_VERSION"),
        },
        "address": member.address,
        "failAccessCnt": 0,
        "abilities": {
            "remoteAbility": { "supportRemoteConnection": false, "grpcReportEnabled": false },
            "configAbility": { "supportRemoteMetrics": false },
            "namingAbility": { "supportJraft": false },
        },
        "grpcReportEnabled": false,
    })
}

fn raft_group(leader: Option<&Leader>, members: &[MemberView]) -> Value {
    let addresses: Vec<&str> = members.iter().map(|member| &*member.address).collect();
    match leader {
        Some(leader) => {
            json!({ "leader": leader.address, "raftGroupMember": addresses, "term": leader.term })
        }
        None => json!({ "leader": null, "raftGroupMember": addresses, "term": null }),
    }
}

/// `host:port`; a host in brackets is an IPv6 address.
fn split_address(address: &str) -> (&str, u16) {
    let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
    (host.trim_start_matches('[').trim_end_matches(']'), port.parse().unwrap_or(0))
}
