//! The limit of open files: each client holds one, and many systems start a process with 1,024.

/// Below this the log says how many there may be: the clients that the default settings take, with room for the stores.
const FILES_WANTED: u64 = 65_536;

/// Raises the soft limit to the hard one, which every process may. It stays as it was if the system refuses.
pub(super) fn raise() {
    let files = dyad_bench::raise_open_files();
    if files < FILES_WANTED {
        tracing::info!(
            "{files} files may be open, which bounds the clients of this member: raise the hard limit (LimitNOFILE, ulimit -Hn) \
             to {FILES_WANTED} for more"
        );
    }
}

#[cfg(test)]
mod tests {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    use super::*;

    #[test]
    fn the_soft_limit_becomes_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        let lowered = before.maximum.map_or(1_024, |maximum| maximum.min(1_024));
        setrlimit(Resource::Nofile, Rlimit { current: Some(lowered), ..before }).unwrap();
        raise();
        let after = getrlimit(Resource::Nofile);
        assert_eq!((after.current, after.maximum), (before.maximum, before.maximum));
    }
}
