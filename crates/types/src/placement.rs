//! Rendezvous placement: which member watches the heartbeats of an HTTP client, or probes a persistent instance.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::ids::MemberId;

/// Seed of the placement hash. It is part of the protocol: another seed would move every key to another member.
const SEED: u64 = 0x4459_4144;

/// The score of a member for a key: `xxh3_64` of the key followed by the id of the member in little-endian order.
pub fn score(member: MemberId, key: &str) -> u64 {
    let mut buffer = [0u8; 160];
    let id = member.0.to_le_bytes();
    let len = key.len();
    if len + id.len() <= buffer.len() {
        buffer[..len].copy_from_slice(key.as_bytes());
        buffer[len..len + id.len()].copy_from_slice(&id);
        return xxh3_64_with_seed(&buffer[..len + id.len()], SEED);
    }
    xxh3_64_with_seed(&[key.as_bytes(), &id].concat(), SEED)
}

/// The member with the highest score for `key`; of equal scores, the member with the lower id. `None` without members.
pub fn responsible(key: &str, members: impl IntoIterator<Item = MemberId>) -> Option<MemberId> {
    members.into_iter().max_by_key(|&member| (score(member, key), std::cmp::Reverse(member)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Golden vectors: a change here moves instances between members of a running cluster.
    #[test]
    fn scores_are_those_of_the_golden_vectors() {
        let golden = include_str!("../tests/placement.txt");
        let lines: Vec<&str> = golden.lines().filter(|l| !l.starts_with('#')).collect();
        assert_eq!(lines.len(), 10);
        for line in lines {
            let mut parts = line.split_whitespace();
            let (key, member, want) = (parts.next().unwrap(), parts.next().unwrap(), parts.next().unwrap());
            let got = score(member.parse().unwrap(), key);
            assert_eq!(format!("{got:016x}"), want, "{key} {member}");
        }
    }

    #[test]
    fn losing_a_member_moves_only_its_own_keys() {
        let members = [MemberId(1), MemberId(2), MemberId(3)];
        for n in 0..1_000 {
            let key = format!("10.0.{}.{}:80#true", n / 256, n % 256);
            let owner = responsible(&key, members).unwrap();
            let after = responsible(&key, members.into_iter().filter(|&m| m != MemberId(3))).unwrap();
            assert!(owner == after || owner == MemberId(3));
        }
    }
}
