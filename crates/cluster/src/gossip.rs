//! Outgoing gossip. For each address one task finds out which member answers there, and keeps one stream to it.

use std::collections::BTreeMap;
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
use crate::directory::{Contact, Directory};
use crate::membership::Entry;
use crate::service::{FROM, TO};

/// Messages waiting for one peer. A full queue drops: the protocol repeats what matters, so a slow peer costs no more
/// than this many messages of memory.
const OUTBOUND_MAX: usize = 256;
/// Pause after a failed Hello or a broken stream.
const RETRY_MIN: Duration = Duration::from_millis(100);
const RETRY_MAX: Duration = Duration::from_secs(1);
/// How often a stream's peer is asked again who it is, to notice a changed cluster id.
const HELLO_INTERVAL: Duration = Duration::from_secs(2);
/// How long the stream to a removed member stays: as long as its log does (rule 25 of docs/distro.md). It gossips that to its end, and
/// goes on with the next piece when this member says that it has the one before.
const LINGER: Duration = Duration::from_secs(15);

/// Keeps a stream to the member at each address of the directory, until `stop`. Addresses come and go.
pub async fn run(directory: Arc<Directory>, ap: Arc<Ap>, stop: CancellationToken) {
    let mut changed = directory.subscribe();
    let mut peers: BTreeMap<Entry, CancellationToken> = BTreeMap::new();
    let mut tasks = tokio::task::JoinSet::new();
    loop {
        peers.retain(|_, gone| !gone.is_cancelled());
        for contact in directory.contacts() {
            if !peers.contains_key(&contact.entry) {
                peers.insert(contact.entry.clone(), contact.gone.clone());
                tasks.spawn(run_peer(directory.clone(), ap.clone(), contact, stop.clone()));
            }
        }
        tokio::select! {
            change = changed.changed() => if change.is_err() { break },
            // Ended tasks are let go of.
            Some(_) = tasks.join_next() => {}
            () = stop.cancelled() => break,
        }
    }
    while tasks.join_next().await.is_some() {}
}

/// Keeps a stream to the member at one address until `stop`, or until the address is no member's any more.
async fn run_peer(directory: Arc<Directory>, ap: Arc<Ap>, contact: Arc<Contact>, stop: CancellationToken) {
    let gone = async {
        contact.gone.cancelled().await;
        // Who was removed hears of it by answers alone, and its clients wait meanwhile for what it does not hear any more.
        let _answer = directory.tell(&contact).await;
        tokio::time::sleep(LINGER).await;
    };
    tokio::select! {
        () = follow(&directory, &ap, &contact, &stop) => {}
        () = gone => {}
    }
}

async fn follow(directory: &Directory, ap: &Ap, contact: &Contact, stop: &CancellationToken) {
    let mut retry = RETRY_MIN;
    let mut refusal = None;
    // To an address that is no member's any more the last stream stays, and no other one comes.
    while !stop.is_cancelled() && !contact.gone.is_cancelled() {
        match directory.hello(contact).await {
            Ok(found) if found.me => {
                // The address is this member's own: nothing to stream, but the name may move to another host.
                pause(stop, HELLO_INTERVAL).await;
            }
            Ok(found) if directory.is_foreign(&found) => pause(stop, HELLO_INTERVAL).await,
            Ok(found) => {
                retry = RETRY_MIN;
                refusal = None;
                ap.input(Input::Answered(found.member));
                stream((directory, ap), contact, found.member, stop).await;
                pause(stop, RETRY_MIN).await;
            }
            Err(status) => {
                let address = &contact.entry.address;
                // Of one that was there before, the server tells itself that it is silent, and when it is back.
                if !directory.found().contains_key(address) {
                    note_refusal(address, &status, &mut refusal);
                }
                tokio::select! {
                    () = pause(stop, retry) => {}
                    () = contact.greeting() => {}
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

/// A peer to which there is a stream. When it is dropped, by whatever end, the core hears that the stream is down.
struct Up<'a> {
    ap: &'a Ap,
    member: MemberId,
    queue: mpsc::Sender<Message>,
}

impl Drop for Up<'_> {
    fn drop(&mut self) {
        self.ap.peer_down(self.member, &self.queue);
    }
}

/// One stream to `member`, until it breaks, somebody else answers at the address, or `stop`.
async fn stream(
    (directory, ap): (&Directory, &Ap),
    contact: &Contact,
    member: MemberId,
    stop: &CancellationToken,
) {
    let (sender, receiver) = mpsc::channel(OUTBOUND_MAX);
    let frames = ReceiverStream::new(receiver).filter_map(frame);
    let mut request = Request::new(frames);
    let headers = request.metadata_mut();
    for (name, id) in [(FROM, directory.me()), (TO, member)] {
        headers.insert(name, id.to_string().parse().expect("hex digits are a header value"));
    }
    ap.peer_up(member, sender.clone());
    let _up = Up { ap, member, queue: sender };
    let mut client = ClusterClient::new(contact.channel());
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
                match directory.hello(contact).await {
                    Ok(found) if found.member != member || directory.is_foreign(&found) => return,
                    Ok(_) => ap.input(Input::Answered(member)),
                    // The stream itself shows whether the peer is there.
                    Err(_) => {}
                }
            }
            () = contact.told() => ask.reset_immediately(),
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
