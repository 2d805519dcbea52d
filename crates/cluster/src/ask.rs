//! What members ask each other for people: a member answers for itself, inside the TLS between members.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use dyad_naming::ports::BoxFuture;
use dyad_proto::cluster::cluster_client::ClusterClient;
use dyad_proto::cluster::{AskReply, AskRequest};
use futures::future::join_all;

use crate::directory::Directory;

/// The largest body of an answer: 10,000 rows with names as long as they may be.
pub(crate) const ANSWER_MAX: usize = 16 * 1024 * 1024;
/// The longest path and query of a question.
pub(crate) const TARGET_MAX: usize = 16 * 1024;
/// A member that does not answer within this time is left out, as in Nacos.
const ASK: Duration = Duration::from_secs(2);

/// Answers what other members ask. The HTTP front end implements it.
pub trait Answer: Send + Sync + std::fmt::Debug + 'static {
    /// The status and the body of the answer to a GET of `target`.
    fn answer(&self, target: String) -> BoxFuture<'_, (u16, Bytes)>;
}

/// Asks all other members at once. Members that do not answer, or answer another status than 200, are left out.
pub fn ask_others(directory: &Arc<Directory>, target: &str) -> BoxFuture<'static, Vec<Bytes>> {
    let request = AskRequest { from: directory.me().0, target: target.to_owned() };
    let others = directory.members().into_iter().filter(|row| row.id != Some(directory.me()));
    let contacts = others.filter_map(|row| directory.contact(&row.entry.address));
    let asked: Vec<_> = contacts.map(|contact| ask(contact.channel(), request.clone())).collect();
    Box::pin(async move { join_all(asked).await.into_iter().flatten().collect() })
}

async fn ask(channel: tonic::transport::Channel, request: AskRequest) -> Option<Bytes> {
    let mut client = ClusterClient::new(channel).max_decoding_message_size(ANSWER_MAX);
    let answer = tokio::time::timeout(ASK, client.ask(request)).await.ok()?.ok()?;
    let AskReply { status, body } = answer.into_inner();
    (status == 200).then_some(body)
}
