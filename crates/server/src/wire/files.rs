//! The limit of open files. Each client needs one, and many systems start a process with 1,024.

use dyad_cli::open_files;

/// Below this the log says how many there may be: the clients that the default settings take, with room for the stores.
const FILES_WANTED: u64 = 65_536;

/// Raises the soft limit to the hard one, which every process may. It stays as it was if the system refuses.
pub(super) fn raise() {
    let files = open_files::raise();
    if files < FILES_WANTED {
        tracing::info!(
            "{files} files may be open, which bounds the clients of this member: raise the hard limit (LimitNOFILE, ulimit -Hn) \
             to {FILES_WANTED} for more"
        );
    }
}
