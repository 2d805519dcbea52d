//! What the harness reads of `dyad cluster status --output json`. Its own declaration on purpose: a field that changes
//! its name must break the tests, not follow the server.

use serde::Deserialize;

/// The cluster as one member sees it.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Status {
    /// Id of the member that answers.
    pub member_id: String,
    pub members: Vec<MemberRow>,
    pub distro: Distro,
    #[serde(default)]
    pub raft: Raft,
}

/// The CP side.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Raft {
    /// The level of the state; 0 from versions that do not tell.
    #[serde(default)]
    pub level: u64,
}

/// One member.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct MemberRow {
    pub member_id: String,
    pub address: String,
    pub state: String,
    #[serde(default)]
    pub role: String,
    #[serde(default)]
    pub voter: bool,
    #[serde(default)]
    pub applied: Option<u64>,
    /// Registered gRPC clients.
    #[serde(default)]
    pub clients: Option<u64>,
    #[serde(default)]
    pub draining: bool,
}

/// The AP side.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Distro {
    pub digest_equal: bool,
    pub peers: Vec<Peer>,
    pub origins: Vec<Origin>,
}

/// A peer of the AP side.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Peer {
    pub member_id: String,
    pub digest_equal: bool,
}

/// A log of the AP side.
#[derive(Clone, Debug, Default, Deserialize)]
pub struct Origin {
    pub member_id: String,
    #[serde(default)]
    pub records: u64,
    pub retired: bool,
}

impl Status {
    /// The answering member's own row.
    pub fn own(&self) -> Option<&MemberRow> {
        self.members.iter().find(|row| row.member_id == self.member_id)
    }

    /// True if the answering member leads.
    pub fn leads(&self) -> bool {
        self.own().is_some_and(|row| row.role.eq_ignore_ascii_case("leader"))
    }

    /// Ids of the voters.
    pub fn voters(&self) -> Vec<&str> {
        self.members.iter().filter(|row| row.voter).map(|row| row.member_id.as_str()).collect()
    }

    /// True if `member` still has a log that is not retired.
    pub fn has_live_origin(&self, member: &str) -> bool {
        self.distro.origins.iter().any(|origin| origin.member_id == member && !origin.retired)
    }

    /// True if the digests of `peers` peers at least were compared and all are equal.
    pub fn digests_equal(&self, peers: usize) -> bool {
        self.distro.digest_equal && self.distro.peers.iter().filter(|peer| peer.digest_equal).count() >= peers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_the_server_writes() {
        let text = r#"{"member_id":"0a","members":[
            {"member_id":"0a","address":"127.0.0.1:1","state":"READY","incarnation":1,"role":"leader","term":1,"last":9,
             "committed":9,"applied":9,"voter":true},
            {"member_id":"","address":"127.0.0.1:2","state":"","incarnation":null,"role":"","term":null,"last":null,
             "committed":null,"applied":null,"voter":false}],
          "distro":{"own":1,"digest_equal":true,
            "peers":[{"member_id":"0b","behind":0,"digest_equal":true,"answer_age_ms":null}],
            "origins":[{"member_id":"0b","incarnation":1,"seq":4,"records":2,"retired":false},
                       {"member_id":"0c","incarnation":1,"seq":4,"records":0,"retired":true}]},"raft":{}}"#;
        let status: Status = serde_json::from_str(text).unwrap();
        assert!(status.leads());
        assert_eq!(status.voters(), ["0a"]);
        assert_eq!([status.has_live_origin("0b"), status.has_live_origin("0c")], [true, false]);
        assert_eq!([status.digests_equal(1), status.digests_equal(2)], [true, false]);
    }
}
