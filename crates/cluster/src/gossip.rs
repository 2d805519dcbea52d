//! Outgoing gossip. For each configured address one task finds out which member answers there, and keeps one stream to it.

use std::sync::Arc;
use std::time::Duration;

use dyad_distro::{Input, Message, codec};
use dyad_proto::cluster::Frame;
use dyad_proto::cluster::cluster_client::ClusterClient;
use dyad_types::MemberId;
use futures::StreamExt;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::Request;

use crate::ap::Ap;
use crate::directory::Directory;
use crate::service::{FROM, TO};

/// Messages waiting for one peer. A full queue drops: the protocol repeats what matters, so a slow peer costs no more
/// than this many messages of memory.
const OUTBOUND_MAX: usize = 256;
/// Pause after a failed Hello or a broken stream.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// How often a stream's peer is asked again who it is, to notice a changed cluster id.
const HELLO_INTERVAL: Duration = Duration::from_secs(2);

/// Keeps a stream to the member at entry `at` of the directory until `stop`.
pub async fn run_peer(directory: Arc<Directory>, ap: Arc<Ap>, at: usize, stop: CancellationToken) {
    let mut retry = RETRY_MIN;
    let mut refusal = None;
    while !stop.is_cancelled() {
        match directory.hello(at).await {
            Ok(found) if found.me => {
                // The entry is this member itself: nothing to stream, but the name may move to another host.
                pause(&stop, HELLO_INTERVAL).await;
            }
            Ok(found) => {
                retry = RETRY_MIN;
                refusal = None;
                ap.input(Input::Answered(found.member));
                stream(&directory, &ap, at, found.member, &stop).await;
                ap.peer_down(found.member);
                pause(&stop, RETRY_MIN).await;
            }
            Err(status) => {
                note_refusal(&directory.entries()[at].address, &status, &mut refusal);
                tokio::select! {
                    () = pause(&stop, retry) => {}
                    () = directory.greeting(at) => {}
                }
                retry = (retry * 2).min(RETRY_MAX);
            }
        }
    }
}

/// Says once, not at each retry, why a member cannot be reached.
fn note_refusal(address: &str, status: &tonic::Status, last: &mut Option<tonic::Code>) {
    if last.replace(status.code()) == Some(status.code()) {
        return;
    }
    tracing::warn!(
        member = address,
        error = %describe(status),
        "a member does not answer on its cluster port; is it running, reachable and started with the same token?"
    );
}

/// The status with its causes: a TLS alert hides three levels down.
fn describe(status: &tonic::Status) -> String {
    let mut text = status.message().to_owned();
    let mut source = std::error::Error::source(status);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// One stream to `member`, until it breaks, somebody else answers at the address, or `stop`.
async fn stream(directory: &Directory, ap: &Ap, at: usize, member: MemberId, stop: &CancellationToken) {
    let (sender, receiver) = mpsc::channel(OUTBOUND_MAX);
    let frames = ReceiverStream::new(receiver).filter_map(frame);
    let mut request = Request::new(frames);
    let headers = request.metadata_mut();
    for (name, id) in [(FROM, directory.me()), (TO, member)] {
        headers.insert(name, id.to_string().parse().expect("hex digits are a header value"));
    }
    ap.peer_up(member, sender);
    let mut client = ClusterClient::new(directory.channel(at));
    let call = client.gossip(request);
    tokio::pin!(call);
    let mut ask = tokio::time::interval(HELLO_INTERVAL);
    loop {
        tokio::select! {
            end = &mut call => {
                if let Err(status) = end {
                    tracing::debug!(%member, error = %status.message(), "a gossip stream ended");
                }
                return;
            }
            _ = ask.tick() => {
                // An address can change hands (an emptied disk, a re-used container address).
                match directory.hello(at).await {
                    Ok(found) if found.member != member => return,
                    Ok(_) => ap.input(Input::Answered(member)),
                    // The stream itself shows whether the peer is there.
                    Err(_) => {}
                }
            }
            () = stop.cancelled() => return,
        }
    }
}

/// The bytes of a message, made outside the core's lock. One that is too large cannot be made by the core's limits; it
/// would be dropped and said.
async fn frame(message: Message) -> Option<Frame> {
    match codec::encode(&message) {
        Ok(message) => Some(Frame { message }),
        Err(error) => {
            tracing::error!(%error, "a gossip message cannot be encoded and was dropped");
            None
        }
    }
}

async fn pause(stop: &CancellationToken, for_: Duration) {
    tokio::select! {
        () = tokio::time::sleep(for_) => {}
        () = stop.cancelled() => {}
    }
}
