//! Answering another member that asks what only this one knows: by the rows of the HTTP API, inside the members' TLS.

use std::sync::Arc;

use bytes::Bytes;
use dyad_app::App;
use http::{Method, Uri};

use crate::fault;
use crate::params::Params;
use crate::reply::Reply;
use crate::routes::ROUTES;
use crate::step::Step;

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
        Step::Hold(work) => work(None).await,
    };
    let reply: Reply =
        result.unwrap_or_else(|fault| fault::reply(&fault, row.generation, uri.path(), app.clock.wall_ms()));
    (reply.status.as_u16(), reply.body.into_bytes())
}
