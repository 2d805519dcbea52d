//! Fuzzy watches of Nacos 3: the request, and the messages that follow it on the stream.

use std::collections::BTreeSet;
use std::fmt::Write;

use bytes::Bytes;
use dyad_types::ServiceKey;

use super::dispatch::{Answer, Call, DONE};
use super::dto::WatchRequest;
use super::error::{FUZZY_MATCHES, GrpcError};
use super::frame;
use crate::push::fuzzy::{Appearance, MATCHES_MAX, Step, parse_service, service_text};

/// Services that a client may say it knows; it was told of no more.
pub(super) const RECEIVED_MAX: usize = 4 * MATCHES_MAX;

/// `NamingFuzzyWatchRequest`. A repeated watch of the same pattern begins anew with what the client says it has.
pub(super) fn watch(call: &Call) -> Result<Answer, GrpcError> {
    let request: WatchRequest<'_> = serde_json::from_slice(&call.body).map_err(|_| GrpcError::Malformed)?;
    let (push, pattern) = (&call.front.app.push, &*request.group_key_pattern.0);
    let mut held = call.connection.watches.lock();
    if !call.connection.is_registered() {
        return Err(GrpcError::Unregistered);
    }
    match &*request.watch_type.0 {
        "CANCEL_WATCH" => {
            if let Some(ended) = held.remove(pattern) {
                push.fuzzy().unwatch(&ended);
            }
            Ok(Answer::Fixed(DONE))
        }
        "WATCH" => {
            let received = request.received_group_keys.unwrap_or_default();
            let received: BTreeSet<ServiceKey> =
                received.iter().take(RECEIVED_MAX).filter_map(|key| parse_service(&key.0)).collect();
            let initial = request.initializing.unwrap_or(false);
            let connection = call.connection.clone();
            let listed = |takes: &dyn Fn(&ServiceKey) -> bool| push.registry().listed(takes, MATCHES_MAX);
            let (watch, over) = push.fuzzy().watch(listed, pattern, received, initial, connection)?;
            if let Some(former) = held.insert(pattern.into(), watch.clone()) {
                push.fuzzy().unwatch(&former);
            }
            drop(held);
            watch.notify();
            if over {
                // It is watched all the same, up to the limit.
                return Ok(Answer::Json(format!(
                    "{{\"resultCode\":500,\"errorCode\":{FUZZY_MATCHES},\"message\":\"the pattern matches more than \
                     {MATCHES_MAX} services; the others are not told of\",\"success\":false}}"
                )));
            }
            Ok(Answer::Fixed(DONE))
        }
        other => Err(GrpcError::Unsupported(other.to_owned())),
    }
}

/// The message of a step.
pub(super) fn encode(pattern: &str, step: &Step<ServiceKey>, id: u64, own_ip: &str) -> Bytes {
    let head = format!("{{\"headers\":{{}},\"requestId\":\"{id}\",");
    let quoted = |text: &str| serde_json::to_string(text).expect("a string always serializes");
    let pattern = quoted(pattern);
    let (kind, json) = match step {
        Step::Sync { initial, contexts, total, current } => {
            let kind = if *initial { "FUZZY_WATCH_INIT_NOTIFY" } else { "FUZZY_WATCH_DIFF_SYNC_NOTIFY" };
            let mut json =
                format!("{head}\"syncType\":\"{kind}\",\"groupKeyPattern\":{pattern},\"contexts\":[");
            for (n, context) in contexts.iter().enumerate() {
                let comma = if n > 0 { "," } else { "" };
                let (key, change) = named(context);
                // Writing to a string cannot fail.
                let _ =
                    write!(json, "{comma}{{\"serviceKey\":{},\"changedType\":\"{change}\"}}", quoted(&key));
            }
            let _ =
                write!(json, "],\"totalBatch\":{total},\"currentBatch\":{current},\"module\":\"naming\"}}");
            ("NamingFuzzyWatchSyncRequest", json)
        }
        Step::InitDone => (
            "NamingFuzzyWatchSyncRequest",
            format!(
                "{head}\"syncType\":\"FINISH_FUZZY_WATCH_INIT_NOTIFY\",\"groupKeyPattern\":{pattern},\
                 \"totalBatch\":0,\"currentBatch\":0,\"module\":\"naming\"}}"
            ),
        ),
        Step::Change(appearance) => {
            let (key, change) = named(appearance);
            let json = format!(
                "{head}\"syncType\":\"FUZZY_WATCH_RESOURCE_CHANGED\",\"serviceKey\":{},\
                 \"changedType\":\"{change}\",\"module\":\"naming\"}}",
                quoted(&key)
            );
            ("NamingFuzzyWatchChangeNotifyRequest", json)
        }
    };
    frame::payload(kind, own_ip, &[json.as_bytes()])
}

fn named(appearance: &Appearance<ServiceKey>) -> (String, &'static str) {
    let change = if appearance.listed { "ADD_SERVICE" } else { "DELETE_SERVICE" };
    (service_text(&appearance.key), change)
}
