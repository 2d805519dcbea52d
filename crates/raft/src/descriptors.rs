//! Having no file descriptor left is no error of the disk: clients that hold connections can bring it about, and it passes.

use std::io;
use std::time::Duration;

use rustix::io::Errno;

/// Pause before another try to open a file.
const PAUSE: Duration = Duration::from_secs(1);

/// Did a call fail because the process, or the whole system, has no descriptor left?
pub(crate) fn are_exhausted(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::MFILE | Errno::NFILE))
}

/// Tries until there is a descriptor.
///
/// # Errors
/// Every other error, at once.
pub(crate) async fn patient<T>(what: &str, mut attempt: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut told = false;
    loop {
        match attempt() {
            Err(error) if are_exhausted(&error) => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!("{what} has to wait for a file descriptor: {error}");
                }
                tokio::time::sleep(PAUSE).await;
            }
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_missing_descriptors_are_waited_for() {
        let failing = |errno: Errno, times: usize| {
            let mut tries = 0;
            patient("a test", move || {
                tries += 1;
                if tries > times { Ok(tries) } else { Err(io::Error::from(errno)) }
            })
        };
        assert_eq!(failing(Errno::MFILE, 3).await.unwrap(), 4);
        assert_eq!(failing(Errno::NFILE, 1).await.unwrap(), 2);
        let refused = failing(Errno::NOSPC, 1).await.unwrap_err();
        assert_eq!(Errno::from_io_error(&refused), Some(Errno::NOSPC));
    }
}
