//! Asking the other members what only they know. `asked` is the other end.

use std::sync::Arc;

use dyad_app::App;
use serde::de::DeserializeOwned;

/// Entries that one member tells another: a table that people read.
pub(crate) const ASKED_MAX: usize = 10_000;

/// The other members, or none of them.
pub(crate) struct Others(Option<Arc<App>>);

impl Others {
    pub(crate) fn all(app: &Arc<App>) -> Others {
        Others(Some(app.clone()))
    }

    pub(crate) fn none() -> Others {
        Others(None)
    }
}

/// Asks all of them at once; those that do not answer, or not with a `T`, are left out.
pub(crate) async fn ask_all<T: DeserializeOwned>(others: &Others, target: &str) -> Vec<T> {
    let Some(app) = &others.0 else { return Vec::new() };
    let answers = app.members.ask(target).await;
    answers.iter().filter_map(|body| serde_json::from_slice(body).ok()).collect()
}
