//! Asks the other members whether their cluster has a leader.

use dyad_cli::{Exit, Failure, health};
use serde_json::Value;

/// Path that answers 200 with the leader, or 503 without one.
const LEADER: &str = "/nacos/v1/ns/raft/leader";

/// The leader that another member reports. This member cannot answer: its lock is held here.
pub(super) fn elsewhere(members: &[String]) -> Result<String, Failure> {
    if members.is_empty() {
        let message = "no members are given, so no other disk holds this data: \
                       add --i-have-a-backup to give it up all the same, or --members to ask the cluster";
        return Err(Failure::new(Exit::Refused, message));
    }
    let mut answers = Vec::new();
    for member in members {
        match health::get(member, LEADER, health::TIMEOUT) {
            Ok((200, body)) => match leader_of(&body) {
                Some(leader) => return Ok(leader),
                None => answers.push(format!("{member}: knows no leader")),
            },
            Ok((status, _)) => answers.push(format!("{member}: {status}")),
            Err(error) => answers.push(format!("{member}: {error}")),
        }
    }
    let message = format!(
        "no member reports a leader ({}): start a majority of the others first, \
         or add --i-have-a-backup to give this disk up all the same",
        answers.join("; ")
    );
    Err(Failure::new(Exit::Refused, message))
}

/// Reads `{"leader":"{\"ip\":…,\"state\":\"LEADER\",…}"}`.
fn leader_of(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let leader: Value = serde_json::from_str(body.get("leader")?.as_str()?).ok()?;
    let leads = leader.get("state").and_then(Value::as_str) == Some("LEADER");
    let ip = leader.get("ip").and_then(Value::as_str).filter(|ip| !ip.is_empty())?;
    leads.then(|| ip.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_that_are_no_leader() {
        let bodies = ["", "null", "{}", r#"{"leader":null}"#, r#"{"leader":""}"#, r#"{"leader":"{}"}"#];
        for body in bodies {
            assert_eq!(leader_of(body), None, "{body:?}");
        }
        let empty_ip = r#"{"leader":"{\"ip\":\"\",\"state\":\"LEADER\"}"}"#;
        assert_eq!(leader_of(empty_ip), None);
    }
}
