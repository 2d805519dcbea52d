//! Converts the messages of openraft to protobuf and back. Everything that arrives is checked here, so that no code
//! behind it can panic.

use bytes::Bytes;
use dyad_proto::raft as pb;
use openraft::raft::{
    AppendEntriesRequest, StreamAppendError, StreamAppendResult, VoteRequest, VoteResponse,
};
use tonic::Status;

use crate::record;
use crate::types::{LogId, TypeConfig, Vote, log_id};

/// Entries in one message; openraft sends at most 300.
const ENTRIES_MAX: usize = 4096;
/// Largest message on the wire: a megabyte of entries or rows and one more of them, with room.
pub(crate) const MESSAGE_MAX: usize = record::RECORD_MAX + 3 * 1024 * 1024;

pub(crate) type Append = AppendEntriesRequest<TypeConfig>;

pub(crate) fn put_log_id(id: &LogId) -> pb::LogId {
    pb::LogId { term: id.leader_id.term, leader: id.leader_id.node_id, index: id.index }
}

pub(crate) fn get_log_id(id: pb::LogId) -> LogId {
    log_id(id.term, id.leader, id.index)
}

pub(crate) fn put_vote(vote: &Vote) -> pb::Vote {
    pb::Vote { term: vote.leader_id.term, member: vote.leader_id.node_id, committed: vote.committed }
}

pub(crate) fn get_vote(vote: Option<pb::Vote>) -> Result<Vote, Status> {
    let vote = vote.ok_or_else(|| Status::invalid_argument("a message without a vote"))?;
    Ok(if vote.committed {
        Vote::new_committed(vote.term, vote.member)
    } else {
        Vote::new(vote.term, vote.member)
    })
}

pub(crate) fn put_append(head: pb::Head, request: &AppendEntriesRequest<TypeConfig>) -> pb::AppendRequest {
    pb::AppendRequest {
        head: Some(head),
        vote: Some(put_vote(&request.vote)),
        previous: request.prev_log_id.as_ref().map(put_log_id),
        entries: request.entries.iter().map(record::encode_entry).collect(),
        leader_commit: request.leader_commit.as_ref().map(put_log_id),
    }
}

pub(crate) fn get_append(request: pb::AppendRequest) -> Result<AppendEntriesRequest<TypeConfig>, Status> {
    let vote = get_vote(request.vote)?;
    let previous = request.previous.map(get_log_id);
    if request.entries.len() > ENTRIES_MAX {
        return Err(Status::invalid_argument(format!("{} entries in one message", request.entries.len())));
    }
    let mut entries = Vec::with_capacity(request.entries.len());
    let mut last = previous;
    for bytes in &request.entries {
        entries.push(get_entry(bytes, &mut last)?);
    }
    let leader_commit = request.leader_commit.map(get_log_id);
    Ok(AppendEntriesRequest { vote, prev_log_id: previous, entries, leader_commit })
}

/// Each entry must follow the one before, and fit the store.
fn get_entry(bytes: &Bytes, last: &mut Option<LogId>) -> Result<crate::types::Entry, Status> {
    if bytes.len() > record::RECORD_MAX {
        return Err(Status::invalid_argument(format!("an entry of {} bytes", bytes.len())));
    }
    let entry = record::decode_entry(bytes).map_err(|e| Status::invalid_argument(format!("entry: {e}")))?;
    let next = last.map_or(0, |id| id.index.saturating_add(1));
    if entry.log_id.index != next || *last > Some(entry.log_id) {
        return Err(Status::invalid_argument(format!("entry {} does not follow", entry.log_id)));
    }
    *last = Some(entry.log_id);
    Ok(entry)
}

pub(crate) fn put_append_reply(result: StreamAppendResult<TypeConfig>) -> pb::AppendReply {
    use pb::append_reply::Result as Reply;
    let result = match result {
        Ok(last) => Reply::Matched(pb::Matched { last: last.as_ref().map(put_log_id) }),
        Err(StreamAppendError::Conflict(id)) => Reply::Conflict(put_log_id(&id)),
        Err(StreamAppendError::HigherVote(vote)) => Reply::HigherVote(put_vote(&vote)),
    };
    pb::AppendReply { result: Some(result) }
}

pub(crate) fn get_append_reply(reply: pb::AppendReply) -> Result<StreamAppendResult<TypeConfig>, Status> {
    use pb::append_reply::Result as Reply;
    Ok(match reply.result {
        Some(Reply::Matched(matched)) => Ok(matched.last.map(get_log_id)),
        Some(Reply::Conflict(id)) => Err(StreamAppendError::Conflict(get_log_id(id))),
        Some(Reply::HigherVote(vote)) => Err(StreamAppendError::HigherVote(get_vote(Some(vote))?)),
        None => return Err(Status::internal("an empty reply to an append")),
    })
}

pub(crate) fn put_vote_request(
    head: pb::Head,
    request: &VoteRequest<TypeConfig>,
    pre_vote: bool,
) -> pb::VoteRequest {
    pb::VoteRequest {
        head: Some(head),
        vote: Some(put_vote(&request.vote)),
        last: request.last_log_id.as_ref().map(put_log_id),
        leadership_transfer: request.leadership_transfer,
        pre_vote,
    }
}

pub(crate) fn get_vote_request(request: pb::VoteRequest) -> Result<VoteRequest<TypeConfig>, Status> {
    let mut out = VoteRequest::new(get_vote(request.vote)?, request.last.map(get_log_id));
    out.leadership_transfer = request.leadership_transfer;
    Ok(out)
}

pub(crate) fn put_vote_reply(reply: &VoteResponse<TypeConfig>) -> pb::VoteReply {
    pb::VoteReply {
        vote: Some(put_vote(&reply.vote)),
        granted: reply.vote_granted,
        last: reply.last_log_id.as_ref().map(put_log_id),
    }
}

pub(crate) fn get_vote_reply(reply: pb::VoteReply) -> Result<VoteResponse<TypeConfig>, Status> {
    Ok(VoteResponse::new(get_vote(reply.vote)?, reply.last.map(get_log_id), reply.granted))
}
