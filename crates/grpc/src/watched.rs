//! The fuzzy watches that a connection holds, and what follows them on its stream, for services and for configurations.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::connection::Connection;
use crate::frame::{self, quoted};
use dyad_app::{App, Fault};
use dyad_push::fuzzy::{Fuzzy, Named, Step, Watch};

/// A connection's watches of one kind, by pattern.
pub(crate) type Watches<K> = Mutex<HashMap<Arc<str>, Arc<Watch<K>>>>;

/// A kind of key that clients watch.
pub(crate) trait Watched: Named {
    /// What the keys name, for errors.
    const WHAT: &'static str;
    fn fuzzy(app: &App) -> &Fuzzy<Self>;
    /// Can this member say which there are?
    fn known(app: &App) -> Result<(), Fault>;
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
