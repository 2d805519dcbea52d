//! Asking the other members what only they know, and answering them: by the rows of the HTTP API, inside the members' TLS.

use std::sync::Arc;

use bytes::Bytes;
use dyad_app::App;
use http::{Method, Uri};
use serde::de::DeserializeOwned;

use crate::params::Params;
use crate::routes::{ROUTES, Step};
use crate::{fault, reply};

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

/// The status and the body of the answer to a GET of `target` by another member. Members ask GET routes only, and are
/// answered like everybody.
pub async fn answer(app: &Arc<App>, target: &str) -> (u16, Bytes) {
    let Ok(uri) = target.parse::<Uri>() else { return (400, Bytes::new()) };
    let row = ROUTES.iter().find(|row| row.method == Method::GET && row.path == uri.path());
    let Some(row) = row else { return (404, Bytes::new()) };
    let params = Params::parse(uri.query().unwrap_or_default(), b"");
    let result = match (row.handler)(app, &params) {
        Step::Done(result) => result,
        Step::Wait(work) => work.await,
    };
    let reply: reply::Reply =
        result.unwrap_or_else(|fault| fault::reply(&fault, row.generation, uri.path(), app.clock.wall_ms()));
    (reply.status.as_u16(), reply.body.into_bytes())
}
