//! The ports for clients. They are taken at the start, so that a port in use is noticed before anything is written, and
//! opened when the member serves. Until then connects are refused, so that every client goes to the next member at
//! once.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use dyad_app::App;
use dyad_cli::{Exit, Failure};
use dyad_distro::MemberState;
use dyad_http::{Drained, HttpMetrics};
use tokio::net::{TcpListener, TcpSocket};
use tokio_util::sync::CancellationToken;

use super::parts::Parts;
use super::readiness;
use crate::settings::Settings;

/// A member whose CP half does not catch up (no quorum) serves what it has after this long: naming reads and ephemeral
/// writes never depend on a leader for good.
const RECOVERY_WAIT: Duration = Duration::from_secs(5);
/// A member that is not warm by then answers anyway: with 503 and the reason, for people who look for it.
const REFUSE_FOR: Duration = Duration::from_secs(3);
/// Connections that the system keeps for us until they are accepted.
const BACKLOG: u32 = 1_024;

/// A port that is ours, and on which nobody is answered yet.
pub(super) struct Door {
    socket: TcpSocket,
    pub(super) address: SocketAddr,
    /// What it is for, and its setting: for messages.
    names: (&'static str, &'static str),
}

impl Door {
    /// # Errors
    /// When the port is in use, or not ours to take.
    pub(super) fn take(
        address: SocketAddr,
        what: &'static str,
        setting: &'static str,
    ) -> Result<Door, Failure> {
        let failed = |e: std::io::Error| Failure::listen(what, &address.to_string(), setting, &e);
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.map_err(failed)?;
        // Connections of a former process that are still closing do not hold the port.
        socket.set_reuseaddr(true).map_err(failed)?;
        socket.bind(address).map_err(failed)?;
        let address = socket.local_addr().map_err(|e| Failure::new(Exit::InUse, e.to_string()))?;
        Ok(Door { socket, address, names: (what, setting) })
    }

    fn open(self) -> Result<TcpListener, Failure> {
        let (address, (what, setting)) = (self.address.to_string(), self.names);
        self.socket.listen(BACKLOG).map_err(|e| Failure::listen(what, &address, setting, &e))
    }
}

/// Serves both ports from when the member is warm until `quit`.
///
/// # Errors
/// When another process opened a port in the meantime.
pub(super) async fn serve(
    parts: Arc<Parts>,
    (app, metrics): (Arc<App>, Arc<HttpMetrics>),
    http: Door,
    grpc: Door,
    quit: CancellationToken,
) -> Result<Drained, Failure> {
    let mut warm = pin!(warm(&parts));
    let is_warm = tokio::select! {
        () = &mut warm => true,
        () = tokio::time::sleep(REFUSE_FOR) => false,
        () = quit.cancelled() => return Ok(Drained { cut: 0 }),
    };
    parts.tasks.spawn(readiness::run(parts.clone(), app.clone()));
    let (http, grpc) = (http.open()?, grpc.open()?);
    let clients = tokio::spawn(dyad_grpc::serve(
        grpc,
        app.clone(),
        parts.connections.clone(),
        quit.clone().cancelled_owned(),
    ));
    let mut serving =
        pin!(dyad_http::serve(http, app, metrics, limits(&parts.settings), quit.cancelled_owned(),));
    let drained = tokio::select! {
        drained = &mut serving => drained,
        () = &mut warm, if !is_warm => serving.await,
    };
    // Clients of the SDK port that had nowhere to go, or did not go, are cut: they are back with another member at once.
    let _cut = clients.await;
    Ok(drained)
}

fn limits(settings: &Settings) -> dyad_http::Limits {
    let from = &settings.limits;
    dyad_http::Limits {
        body: from.body,
        naming_body: from.form,
        head: from.headers,
        head_read: from.header_read,
        body_read: from.body_read,
        ..dyad_http::Limits::default()
    }
}

/// Opens the registry for requests when this member's copy of both halves is warm.
async fn warm(parts: &Parts) {
    if !parts.raft.wait_recovered(RECOVERY_WAIT).await {
        tracing::warn!("no raft leader yet: serving the last known persistent instances");
    }
    parts.ap.open();
    let mut state = parts.ap.subscribe();
    let warm = |state: &MemberState| matches!(state, MemberState::Ready | MemberState::Alone);
    if state.wait_for(warm).await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[tokio::test]
    async fn a_taken_port_refuses_until_it_is_opened_and_is_nobody_elses() {
        let door = Door::take(SocketAddr::from(([127, 0, 0, 1], 0)), "HTTP", "port").unwrap();
        let address = door.address;
        assert_eq!(TcpStream::connect(address).unwrap_err().kind(), std::io::ErrorKind::ConnectionRefused);
        let listener = door.open().unwrap();
        assert!(TcpStream::connect(address).is_ok());
        assert_eq!(Door::take(address, "HTTP", "port").err().unwrap().exit, Exit::InUse);
        drop(listener);
        assert!(Door::take(address, "HTTP", "port").is_ok());
    }
}
