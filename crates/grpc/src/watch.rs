//! The requests for fuzzy watches of Nacos 3, for services and for configurations.

use crate::dto::WatchRequest;
use crate::error::{FUZZY_MATCHES, GrpcError};
use crate::row::{Answer, Call, DONE};
use crate::watched::Watched;
use dyad_push::fuzzy::MATCHES_MAX;

/// Bytes of a pattern: those of the longest names, and some more.
const PATTERN_MAX: usize = 4 * 1024;

/// `NamingFuzzyWatchRequest`, `ConfigFuzzyWatchRequest`. A repeated watch of the same pattern begins anew with what the
/// client says it has.
pub(crate) fn watch<K: Watched>(call: &Call) -> Result<Answer, GrpcError> {
    let request: WatchRequest<'_> = crate::dto::read(&call.body)?;
    let (app, pattern) = (&*call.front.app, &*request.group_key_pattern.0);
    if pattern.len() > PATTERN_MAX {
        return Err(GrpcError::TooMany { what: "the number of bytes of groupKeyPattern", max: PATTERN_MAX });
    }
    let fuzzy = K::fuzzy(app);
    let mut held = K::held(&call.connection).lock();
    if !call.connection.is_registered() {
        return Err(GrpcError::Unregistered);
    }
    match &*request.watch_type.0 {
        "CANCEL_WATCH" => {
            if let Some(ended) = held.remove(pattern) {
                fuzzy.unwatch(&ended);
            }
            Ok(Answer::Fixed(DONE))
        }
        "WATCH" => {
            // It would tell the client that what it has is gone.
            K::known(app)?;
            let received = request.received_group_keys.unwrap_or_default();
            let received = received.iter().filter_map(|key| K::from_text(&key.0)).collect();
            let initial = request.initializing.unwrap_or(false);
            let present = |takes: &dyn Fn(&K) -> bool| K::present(app, takes);
            let holder = (&*app.places, call.connection.peer().ip());
            let (watch, over) =
                fuzzy.watch(present, pattern, received, initial, call.connection.clone(), holder)?;
            if let Some(former) = held.insert(pattern.into(), watch.clone()) {
                fuzzy.unwatch(&former);
            }
            drop(held);
            watch.notify();
            if over {
                // It is watched all the same, up to the limit.
                return Ok(Answer::Json(format!(
                    "{{\"resultCode\":500,\"errorCode\":{FUZZY_MATCHES},\"message\":\"the pattern matches more than \
                     {MATCHES_MAX} {}; the others are not told of\",\"success\":false}}",
                    K::WHAT
                )));
            }
            Ok(Answer::Fixed(DONE))
        }
        other => Err(GrpcError::Unsupported(other.to_owned())),
    }
}
