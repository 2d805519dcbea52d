//! What a handler is given and gives back.

use std::sync::Arc;

use dyad_app::{App, Fault};
use dyad_types::Lease;
use futures::future::BoxFuture;

use crate::params::Params;
use crate::reply::Reply;

type Work = BoxFuture<'static, Result<Reply, Fault>>;

/// The result of a handler: the answer, or the rest of the work if it has to wait for a core.
#[expect(
    clippy::large_enum_variant,
    reason = "most answers are done at once, and a box for each would cost more than the moves"
)]
pub(crate) enum Step {
    Done(Result<Reply, Fault>),
    Wait(Work),
    /// The rest of the work of a request that waits for long: it gives back the room that the request's body takes when it has
    /// read it.
    Hold(Box<dyn FnOnce(Option<Lease>) -> Work + Send>),
}

impl Step {
    /// The rest of the work; a handler ends with it when it has to wait.
    pub(crate) fn wait(work: impl Future<Output = Result<Reply, Fault>> + Send + 'static) -> Step {
        Step::Wait(Box::pin(work))
    }

    /// The same for one that waits for long; see [`Step::Hold`].
    pub(crate) fn hold<W>(work: impl FnOnce(Option<Lease>) -> W + Send + 'static) -> Step
    where
        W: Future<Output = Result<Reply, Fault>> + Send + 'static,
    {
        Step::Hold(Box::new(|lease| Box::pin(work(lease))))
    }

    pub(crate) fn of(prepared: Result<Step, Fault>) -> Step {
        prepared.unwrap_or_else(|error| Step::Done(Err(error)))
    }
}

/// A handler. It reads the parameters before it returns; only the rest of the work goes on after the call.
pub(crate) type Handler = fn(&Arc<App>, &Params) -> Step;
