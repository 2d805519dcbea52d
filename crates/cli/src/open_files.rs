//! The limit of open files. Many systems start a process with 1,024, and each connection needs one.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft limit to the hard limit, which every process may do, and returns the limit that holds then. If the
/// system refuses, the limit stays as it was.
pub fn raise() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let reached = if setrlimit(Resource::Nofile, raised).is_ok() { limit.maximum } else { limit.current };
    reached.unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        let lowered = before.maximum.map_or(1_024, |maximum| maximum.min(1_024));
        setrlimit(Resource::Nofile, Rlimit { current: Some(lowered), ..before }).unwrap();
        assert_eq!(raise(), before.maximum.unwrap_or(u64::MAX));
        let after = getrlimit(Resource::Nofile);
        assert_eq!((after.current, after.maximum), (before.maximum, before.maximum));
    }
}
