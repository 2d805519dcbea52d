//! What `dyad cluster status` shows: the answer of the admin socket, and its text form. Programs read the JSON
//! (docs/cli.md), so a field never changes its meaning. Servers up to 0.5.0 call a member's id `me`, `id` and `member`.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

const GIB: f64 = 1_073_741_824.0;

/// The cluster as one member sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterStatus {
    /// Id of the member that answers, 16 hex digits.
    #[serde(alias = "me")]
    pub member_id: String,
    /// Whether nothing is wrong. True from servers before 0.7, which do not say.
    #[serde(default = "yes")]
    pub healthy: bool,
    /// The state of the cluster in one sentence; what is wrong, and the next step. Empty from servers before 0.7.
    #[serde(default)]
    pub headline: String,
    /// This member and every other one that is configured or known.
    pub members: Vec<MemberStatus>,
    pub distro: DistroStatus,
    /// Free form: what the raft crate reports about itself.
    #[serde(default)]
    pub raft: serde_json::Value,
}

/// One member. What the answering member cannot know is null.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberStatus {
    /// 16 hex digits; empty for a configured address that nobody has been heard from.
    #[serde(alias = "id")]
    pub member_id: String,
    /// `host:port` of its HTTP port.
    pub address: String,
    /// Its state in the member table of the AP side: JOINING, ALONE, READY, RESUMING, LEAVING or REMOVED, as it says itself; DOWN if
    /// it is not heard, and UNKNOWN if nobody was heard at its address.
    pub state: String,
    pub incarnation: Option<u64>,
    /// Its raft role: leader, follower, learner, candidate; empty if unknown.
    pub role: String,
    pub term: Option<u64>,
    /// Index of its last log entry.
    pub last: Option<u64>,
    pub committed: Option<u64>,
    pub applied: Option<u64>,
    /// A voter of the last applied membership.
    pub voter: bool,
    /// Registered clients of its SDK port.
    #[serde(default)]
    pub clients: Option<u64>,
    /// It sends its clients to other members and takes in no new ones.
    #[serde(default)]
    pub draining: bool,
    /// The version of its build; empty if unknown.
    #[serde(default)]
    pub build: String,
    /// The highest level of the state that its build knows.
    #[serde(default)]
    pub level: Option<u32>,
    /// Bytes.
    #[serde(default)]
    pub free_disk: Option<u64>,
    /// Why it is not ready; empty if it is, or if that is not known.
    #[serde(default)]
    pub not_ready: String,
}

/// The AP side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DistroStatus {
    /// Live records of the own log.
    pub own: u64,
    /// The digests of all peers equal the own one.
    pub digest_equal: bool,
    pub peers: Vec<PeerStatus>,
    pub origins: Vec<OriginStatus>,
}

/// One peer of the AP side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerStatus {
    /// 16 hex digits.
    #[serde(alias = "id")]
    pub member_id: String,
    /// Sequence numbers of the own log that it has not acknowledged.
    pub behind: u64,
    pub digest_equal: bool,
    /// Milliseconds since its last answer; null if there was none.
    pub answer_age_ms: Option<u64>,
}

/// One log of the AP side, as this member holds it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginStatus {
    /// 16 hex digits.
    #[serde(alias = "member")]
    pub member_id: String,
    pub incarnation: u64,
    /// The highest sequence number held.
    pub seq: u64,
    /// Live records.
    pub records: u64,
    pub retired: bool,
}

impl ClusterStatus {
    /// The tables of `dyad cluster status`.
    pub fn to_text(&self) -> String {
        let mut text = String::new();
        if !self.headline.is_empty() {
            text = format!("{}\n\n", self.headline);
        }
        text += &table(
            &[
                "ID",
                "ADDRESS",
                "STATE",
                "INC",
                "ROLE",
                "TERM",
                "LAST",
                "COMMITTED",
                "APPLIED",
                "VOTER",
                "CLIENTS",
                "VERSION",
                "FREE DISK",
            ],
            self.members.iter().map(|member| member.cells(&self.member_id)).collect(),
        );
        let equal = word(self.distro.digest_equal);
        writeln!(text, "\ndistro: {} own records, digests equal: {equal}", self.distro.own)
            .expect("writing to a String does not fail");
        if !self.distro.peers.is_empty() {
            text += &table(
                &["PEER", "BEHIND", "DIGEST EQUAL", "LAST ANSWER"],
                self.distro.peers.iter().map(PeerStatus::cells).collect(),
            );
        }
        if !self.distro.origins.is_empty() {
            text.push('\n');
            text += &table(
                &["ORIGIN", "INC", "SEQ", "RECORDS", "RETIRED"],
                self.distro.origins.iter().map(OriginStatus::cells).collect(),
            );
        }
        text
    }
}

impl MemberStatus {
    fn cells(&self, me: &str) -> Vec<String> {
        let mark = if self.member_id == me && !me.is_empty() { "*" } else { "" };
        vec![
            format!("{}{mark}", dash(&self.member_id)),
            self.address.clone(),
            dash(&self.state),
            number(self.incarnation),
            dash(&self.role),
            number(self.term),
            number(self.last),
            number(self.committed),
            number(self.applied),
            word(self.voter).to_owned(),
            format!("{}{}", number(self.clients), if self.draining { ", draining" } else { "" }),
            dash(&self.build),
            self.free_disk.map_or_else(|| "-".to_owned(), |bytes| format!("{:.1} GiB", bytes as f64 / GIB)),
        ]
    }
}

impl PeerStatus {
    fn cells(&self) -> Vec<String> {
        let age = self.answer_age_ms.map_or_else(|| "never".to_owned(), |ms| format!("{ms} ms ago"));
        vec![self.member_id.clone(), self.behind.to_string(), word(self.digest_equal).to_owned(), age]
    }
}

impl OriginStatus {
    fn cells(&self) -> Vec<String> {
        vec![
            self.member_id.clone(),
            self.incarnation.to_string(),
            self.seq.to_string(),
            self.records.to_string(),
            word(self.retired).to_owned(),
        ]
    }
}

fn yes() -> bool {
    true
}

fn dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

fn number(value: Option<u64>) -> String {
    value.map_or_else(|| "-".to_owned(), |number| number.to_string())
}

fn word(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// Columns as wide as their widest cell, two spaces between them.
fn table(head: &[&str], rows: Vec<Vec<String>>) -> String {
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    let width = |at: usize| rows.iter().chain([&head]).map(|row| row[at].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in std::iter::once(&head).chain(&rows) {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text += cells.join("  ").trim_end();
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_json() {
        let status = ClusterStatus {
            member_id: "00000000000000aa".into(),
            healthy: false,
            headline: "1 of 2 members".into(),
            members: vec![
                MemberStatus {
                    member_id: "00000000000000aa".into(),
                    address: "dyad-1:8848".into(),
                    state: "READY".into(),
                    incarnation: Some(3),
                    role: "leader".into(),
                    term: Some(2),
                    last: Some(1041),
                    committed: Some(1041),
                    applied: Some(1040),
                    voter: true,
                    clients: Some(7),
                    draining: true,
                    build: "0.7.0".into(),
                    level: Some(3),
                    free_disk: Some(3 << 29),
                    not_ready: String::new(),
                },
                MemberStatus { address: "dyad-2:8848".into(), ..MemberStatus::default() },
            ],
            distro: DistroStatus {
                own: 12,
                digest_equal: false,
                peers: vec![PeerStatus {
                    member_id: "00000000000000bb".into(),
                    behind: 4,
                    ..PeerStatus::default()
                }],
                origins: vec![OriginStatus {
                    member_id: "00000000000000aa".into(),
                    incarnation: 3,
                    seq: 40,
                    records: 12,
                    retired: false,
                }],
            },
            raft: serde_json::Value::Null,
        };
        let want = "\
1 of 2 members

ID                 ADDRESS      STATE  INC  ROLE    TERM  LAST  COMMITTED  APPLIED  VOTER  CLIENTS      VERSION  FREE DISK
00000000000000aa*  dyad-1:8848  READY  3    leader  2     1041  1041       1040     yes    7, draining  0.7.0    1.5 GiB
-                  dyad-2:8848  -      -    -       -     -     -          -        no     -            -        -

distro: 12 own records, digests equal: no
PEER              BEHIND  DIGEST EQUAL  LAST ANSWER
00000000000000bb  4       no            never

ORIGIN            INC  SEQ  RECORDS  RETIRED
00000000000000aa  3    40   12       no
";
        assert_eq!(status.to_text(), want);
        let json = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<ClusterStatus>(&json).unwrap(), status);
        let old = json.replacen("member_id", "me", 1).replacen("member_id", "id", 3);
        let old = old.replacen("member_id", "member", 1);
        assert_eq!(serde_json::from_str::<ClusterStatus>(&old).unwrap(), status, "of 0.5.0: {old}");
        assert!(json.contains(
            r#""peers":[{"member_id":"00000000000000bb","behind":4,"digest_equal":false,"answer_age_ms":null}]"#
        ));
    }
}
