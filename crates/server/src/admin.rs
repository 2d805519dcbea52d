//! The admin socket. The commands of operators go through `DATA/admin.sock` and never over HTTP, so that file
//! permissions decide who may give them. The commands, and the side of the operator, are in `cli::admin`.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dyad_cli::admin::{AdminRequest, FILE, LINE_TIMEOUT, check_length};
use dyad_cli::{Exit, Failure};
use dyad_naming::ports::BoxFuture;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::backup::Streams;
use crate::datadir::DataDir;

/// Longest request line; the longest command names two members, each by an address of at most 265 bytes.
const REQUEST_MAX: u64 = 4 * 1024;
/// Connections at a time; more wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 8;
/// After a failed accept (out of file descriptors), before the next one.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// What answers the commands.
pub type Handler = Arc<dyn Fn(AdminRequest) -> BoxFuture<'static, Value> + Send + Sync>;

/// The open socket, not yet served.
#[derive(Debug)]
pub struct AdminSocket {
    listener: UnixListener,
    path: PathBuf,
    backups: Option<Streams>,
}

impl AdminSocket {
    /// Opens `DATA/admin.sock` with mode 0600, inside a tokio runtime. It removes a socket that a former process left:
    /// `data` proves that no other process can be serving it.
    ///
    /// # Errors
    /// The path is too long for a socket, something else is at the path, or the file system refuses.
    pub fn open(data: &DataDir) -> Result<AdminSocket, Failure> {
        let path = data.path().join(FILE);
        check_length(&path)?;
        match fs::symlink_metadata(&path) {
            Ok(found) if found.file_type().is_socket() => {
                fs::remove_file(&path).map_err(|error| Failure::file("remove the old", &path, &error))?;
            }
            Ok(_) => {
                let message = format!("{} is not a socket: move it away", path.display());
                return Err(Failure::new(Exit::Settings, message));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(Failure::file("look at", &path, &error)),
        }
        let listener =
            UnixListener::bind(&path).map_err(|error| Failure::file("listen on", &path, &error))?;
        // Whoever connects before this line is stopped by the check of the peer's user id.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))
            .map_err(|error| Failure::file("protect", &path, &error))?;
        Ok(AdminSocket { listener, path, backups: None })
    }

    /// Gives backups too.
    pub(crate) fn giving(mut self, backups: Streams) -> AdminSocket {
        self.backups = Some(backups);
        self
    }

    /// Serves until `stop`, then removes the socket.
    pub async fn serve(self, handler: Handler, stop: CancellationToken) {
        let slots = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let accept = async {
                let slot = Arc::clone(&slots).acquire_owned().await.expect("the semaphore is never closed");
                (self.listener.accept().await, slot)
            };
            let (accepted, slot) = tokio::select! {
                () = stop.cancelled() => break,
                accepted = accept => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let (handler, backups) = (Arc::clone(&handler), self.backups.clone());
                    tokio::spawn(async move {
                        if let Err(error) = answer(stream, &handler, backups).await {
                            tracing::debug!(%error, "an admin connection failed");
                        }
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept on the admin socket");
                    tokio::time::sleep(ACCEPT_RETRY).await;
                }
            }
        }
        if let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, "the admin socket was already gone");
        }
    }
}

async fn answer(mut stream: UnixStream, handler: &Handler, backups: Option<Streams>) -> io::Result<()> {
    let own = rustix::process::geteuid().as_raw();
    let peer = stream.peer_cred()?.uid();
    if peer != own && peer != 0 {
        return Err(io::Error::new(
            io::ErrorKind::PermissionDenied,
            format!("user {peer} may not give commands"),
        ));
    }
    let (read, mut write) = stream.split();
    let mut line = String::new();
    let mut read = tokio::io::BufReader::new(read.take(REQUEST_MAX));
    timed(read.read_line(&mut line)).await?;
    let reply = match serde_json::from_str::<AdminRequest>(&line) {
        Ok(AdminRequest::Backup) if let Some(backups) = backups => return backups.send(&mut write).await,
        Ok(request) => handler(request).await,
        Err(error) => serde_json::json!({ "error": format!("no command of this version: {error}") }),
    };
    let mut bytes = serde_json::to_vec(&reply)?;
    bytes.push(b'\n');
    timed(write.write_all(&bytes)).await
}

async fn timed<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    tokio::time::timeout(LINE_TIMEOUT, work).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream as BlockingStream;
    use std::path::Path;

    use dyad_cli::admin::call;

    use super::*;

    /// A server on a fresh directory that answers `{"me":"x"}`.
    fn start(data: &DataDir) -> (tokio::task::JoinHandle<()>, CancellationToken) {
        let stop = CancellationToken::new();
        let handler: Handler =
            Arc::new(|_: AdminRequest| Box::pin(async { serde_json::json!({ "me": "x" }) }));
        let socket = AdminSocket::open(data).unwrap();
        (tokio::spawn(socket.serve(handler, stop.clone())), stop)
    }

    async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        tokio::task::spawn_blocking(work).await.unwrap()
    }

    fn raw(path: &Path, bytes: &[u8]) -> String {
        let mut stream = BlockingStream::connect(path).unwrap();
        stream.write_all(bytes).unwrap();
        let mut text = String::new();
        // A server that stops reading early may reset the connection; what it said is what counts.
        let _reset = stream.read_to_string(&mut text);
        text
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn answers_commands_and_refuses_others() {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::open(root.path()).unwrap();
        let (served, stop) = start(&data);
        let path = root.path().join(FILE);
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        let dir = root.path().to_path_buf();
        let value = blocking(move || call(&dir, AdminRequest::Status)).await.unwrap();
        assert_eq!(value, serde_json::json!({ "me": "x" }));
        let bad: [&[u8]; 4] = [b"{}\n", b"\n", b"{\"command\":\"drop\"}\n", &[b'x'; 8192]];
        for bytes in bad {
            let (path, bytes) = (path.clone(), bytes.to_vec());
            let text = blocking(move || raw(&path, &bytes)).await;
            assert!(text.starts_with("{\"error\":\"no command of this version"), "{text}");
        }
        stop.cancel();
        served.await.unwrap();
        assert!(!path.exists(), "removed at the end");
        let dir = root.path().to_path_buf();
        let failure = blocking(move || call(&dir, AdminRequest::Status)).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Refused);
        assert!(failure.message.contains("no server runs there"), "{failure}");
    }

    #[tokio::test]
    async fn a_stale_socket_is_replaced_and_a_file_is_not() {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::open(root.path()).unwrap();
        let path = root.path().join(FILE);
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert_eq!(call(root.path(), AdminRequest::Status).unwrap_err().exit, Exit::Refused);
        drop(AdminSocket::open(&data).unwrap());
        fs::remove_file(&path).unwrap();
        fs::write(&path, "keep").unwrap();
        let failure = AdminSocket::open(&data).unwrap_err();
        assert_eq!(failure.message, format!("{} is not a socket: move it away", path.display()));
        assert_eq!(fs::read(&path).unwrap(), b"keep");
    }

    #[tokio::test]
    async fn a_long_path_is_a_clear_error() {
        let root = tempfile::tempdir().unwrap();
        let data = DataDir::open(&root.path().join("d".repeat(100))).unwrap();
        let failure = AdminSocket::open(&data).unwrap_err();
        assert_eq!(failure.exit, Exit::Settings);
        assert!(failure.message.contains("choose a shorter data_dir"), "{failure}");
    }
}
