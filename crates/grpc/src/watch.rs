//! Fuzzy watches of Nacos 3, for services and for configurations: the request, and what follows it on the stream.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::connection::Connection;
use crate::dispatch::{Answer, Call, DONE};
use crate::dto::WatchRequest;
use crate::error::{FUZZY_MATCHES, GrpcError};
use crate::frame::{self, quoted};
use dyad_app::App;
use dyad_push::fuzzy::{Fuzzy, MATCHES_MAX, Named, Step, Watch};

/// Keys that a client may say it knows; it was told of no more.
const RECEIVED_MAX: usize = 4 * MATCHES_MAX;

/// A connection's watches of one kind, by pattern.
pub(crate) type Watches<K> = Mutex<HashMap<Arc<str>, Arc<Watch<K>>>>;

/// A kind of key that clients watch.
pub(crate) trait Watched: Named {
    /// What the keys name, for errors.
    const WHAT: &'static str;
    fn fuzzy(app: &App) -> &Fuzzy<Self>;
    /// What is there, as [`Fuzzy::watch`] asks for it.
    fn present(app: &App, takes: &dyn Fn(&Self) -> bool) -> (BTreeSet<Self>, bool);
    fn held(connection: &Connection) -> &Watches<Self>;
    /// Type and JSON of a step's message, which begins with `head`; `pattern` is quoted.
    fn encode(head: &str, pattern: &str, step: &Step<Self>) -> (&'static str, String);
}

/// A watch of any kind, as the stream sees it.
pub(crate) trait Watching: Send + Sync + fmt::Debug {
    /// It is on the outbox's list.
    fn queued(&self) -> &AtomicBool;
    /// What to send next, under this number, or nothing for now.
    fn message(&self, id: u64, own_ip: &str) -> Option<Bytes>;
}

impl<K: Watched> Watching for Watch<K> {
    fn queued(&self) -> &AtomicBool {
        &self.queued
    }

    fn message(&self, id: u64, own_ip: &str) -> Option<Bytes> {
        let step = self.step()?;
        let head = format!("{{\"headers\":{{}},\"requestId\":\"{id}\",");
        let (kind, json) = K::encode(&head, &quoted(self.pattern()), &step);
        Some(frame::payload(kind, own_ip, &[json.as_bytes()]))
    }
}

/// `NamingFuzzyWatchRequest`, `ConfigFuzzyWatchRequest`. A repeated watch of the same pattern begins anew with what the
/// client says it has.
pub(crate) fn watch<K: Watched>(call: &Call) -> Result<Answer, GrpcError> {
    let request: WatchRequest<'_> = crate::dto::read(&call.body)?;
    let (app, pattern) = (&*call.front.app, &*request.group_key_pattern.0);
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
            let received = request.received_group_keys.unwrap_or_default();
            let received =
                received.iter().take(RECEIVED_MAX).filter_map(|key| K::from_text(&key.0)).collect();
            let initial = request.initializing.unwrap_or(false);
            let present = |takes: &dyn Fn(&K) -> bool| K::present(app, takes);
            let (watch, over) = fuzzy.watch(present, pattern, received, initial, call.connection.clone())?;
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
