//! Fuzzy watches of configurations (Nacos 3): the request, and the messages that follow it on the stream.

use std::collections::BTreeSet;
use std::fmt::Write;

use bytes::Bytes;
use dyad_types::ConfigKey;

use super::dispatch::{Answer, Call, DONE};
use super::dto::WatchRequest;
use super::error::{FUZZY_MATCHES, GrpcError};
use super::frame;
use super::watch::RECEIVED_MAX;
use crate::push::fuzzy::{Appearance, MATCHES_MAX, Step, config_text};

/// `ConfigFuzzyWatchRequest`. A repeated watch of the same pattern begins anew with what the client says it has.
pub(super) fn watch(call: &Call) -> Result<Answer, GrpcError> {
    let request: WatchRequest<'_> = serde_json::from_slice(&call.body).map_err(|_| GrpcError::Malformed)?;
    let (listeners, pattern) = (&call.front.app.listeners, &*request.group_key_pattern.0);
    let mut held = call.connection.config_watches.lock();
    if !call.connection.is_registered() {
        return Err(GrpcError::Unregistered);
    }
    match &*request.watch_type.0 {
        "CANCEL_WATCH" => {
            if let Some(ended) = held.remove(pattern) {
                listeners.fuzzy().unwatch(&ended);
            }
            Ok(Answer::Fixed(DONE))
        }
        "WATCH" => {
            let received = request.received_group_keys.unwrap_or_default();
            let received: BTreeSet<ConfigKey> = received
                .iter()
                .take(RECEIVED_MAX)
                .filter_map(|key| ConfigKey::parse_group_key(&key.0))
                .collect();
            let initial = request.initializing.unwrap_or(false);
            let present = |takes: &dyn Fn(&ConfigKey) -> bool| listeners.present(takes);
            let connection = call.connection.clone();
            let (watch, over) = listeners.fuzzy().watch(present, pattern, received, initial, connection)?;
            if let Some(former) = held.insert(pattern.into(), watch.clone()) {
                listeners.fuzzy().unwatch(&former);
            }
            drop(held);
            watch.notify();
            if over {
                // It is watched all the same, up to the limit.
                return Ok(Answer::Json(format!(
                    "{{\"resultCode\":500,\"errorCode\":{FUZZY_MATCHES},\"message\":\"the pattern matches more than \
                     {MATCHES_MAX} configurations; the others are not told of\",\"success\":false}}"
                )));
            }
            Ok(Answer::Fixed(DONE))
        }
        other => Err(GrpcError::Unsupported(other.to_owned())),
    }
}

/// The message of a step.
pub(super) fn encode(pattern: &str, step: &Step<ConfigKey>, id: u64, own_ip: &str) -> Bytes {
    let head = format!("{{\"headers\":{{}},\"requestId\":\"{id}\",");
    let quoted = |text: &str| serde_json::to_string(text).expect("a string always serializes");
    let pattern = quoted(pattern);
    let (kind, json) = match step {
        Step::Sync { initial, contexts, total, current } => {
            let kind = if *initial { "FUZZY_WATCH_INIT_NOTIFY" } else { "FUZZY_WATCH_DIFF_SYNC_NOTIFY" };
            let mut json = format!("{head}\"groupKeyPattern\":{pattern},\"contexts\":[");
            for (n, Appearance { key, listed }) in contexts.iter().enumerate() {
                let comma = if n > 0 { "," } else { "" };
                let change = if *listed { "ADD_CONFIG" } else { "DELETE_CONFIG" };
                let key = quoted(&config_text(key));
                // Writing to a string cannot fail.
                let _ = write!(json, "{comma}{{\"groupKey\":{key},\"changedType\":\"{change}\"}}");
            }
            let _ = write!(
                json,
                "],\"syncType\":\"{kind}\",\"totalBatch\":{total},\"currentBatch\":{current},\"module\":\"config\"}}"
            );
            ("ConfigFuzzyWatchSyncRequest", json)
        }
        Step::InitDone => (
            "ConfigFuzzyWatchSyncRequest",
            format!(
                "{head}\"groupKeyPattern\":{pattern},\"syncType\":\"FINISH_FUZZY_WATCH_INIT_NOTIFY\",\
                 \"totalBatch\":0,\"currentBatch\":0,\"module\":\"config\"}}"
            ),
        ),
        Step::Change(Appearance { key, listed }) => {
            let change = if *listed { "CONFIG_CHANGED" } else { "DELETE_CONFIG" };
            let key = quoted(&config_text(key));
            let json =
                format!("{head}\"groupKey\":{key},\"changeType\":\"{change}\",\"module\":\"config\"}}");
            ("ConfigFuzzyWatchChangeNotifyRequest", json)
        }
    };
    frame::payload(kind, own_ip, &[json.as_bytes()])
}
