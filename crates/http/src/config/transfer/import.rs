//! Import of an archive. Everything in it is checked before anything is written.

use std::sync::Arc;

use dyad_config::archive::{self, Archive, Unreadable};

use super::report::{self, Job, Refusal};
use crate::config::request::{filter, namespace_param, source};
use crate::fault::Generation;
use crate::params::{Key, Params};
use crate::reply::Reply;
use crate::step::Step;
use dyad_app::App;
use dyad_app::Fault;
use dyad_app::config::View;

/// True for an import by v1: the selector is in the query or in the body.
pub(crate) fn is_import(params: &Params) -> bool {
    params.get(Key::Import) == Some("true") || params.rest.file.is_some()
}

/// `POST /v3/admin/cs/config/import` and its console twin.
pub(crate) fn v3(app: &Arc<App>, params: &Params) -> Step {
    import(app, params, Generation::V3)
}

/// `POST /v1/cs/configs?import=true`.
pub(crate) fn import(app: &Arc<App>, params: &Params, generation: Generation) -> Step {
    let prepare = || -> Result<Step, Fault> {
        filter(params)?;
        let policy = report::policy(params)?;
        let source = source(params);
        let namespace = namespace_param(params).unwrap_or_default();
        let Some(file) = params.rest.file.clone() else {
            return Ok(Step::Done(Ok(Refusal::NoData.reply(generation, "there is no part \"file\""))));
        };
        if View::of(app, params.caller())?.namespace(namespace)?.is_none() {
            let reason = format!("namespace {namespace} does not exist");
            return Ok(Step::Done(Ok(Refusal::NoNamespace.reply(generation, &reason))));
        }
        let (app, namespace) = (Arc::clone(app), namespace.to_owned());
        Ok(Step::wait(async move {
            let turn = app.turns.next().await?;
            let Archive { items, unrecognized } =
                match turn.run(move |_| Ok(archive::read(&file, &namespace))).await? {
                    Ok(archive) => archive,
                    Err(unreadable) => return refused(unreadable, generation),
                };
            report::run(&app, Job { items, policy, clone: false, source, unrecognized }, generation).await
        }))
    };
    Step::of(prepare())
}

/// Nacos has codes for what is no archive of configurations; all else is a mistake like any other.
fn refused(unreadable: Unreadable, generation: Generation) -> Result<Reply, Fault> {
    let reason = unreadable.to_string();
    match unreadable {
        Unreadable::NoArchive | Unreadable::NoItems(_) => Ok(Refusal::NoData.reply(generation, &reason)),
        Unreadable::Metadata { .. } => Ok(Refusal::BadMetadata.reply(generation, &reason)),
        Unreadable::Refused(what) => Err(Fault::Invalid(what)),
    }
}
