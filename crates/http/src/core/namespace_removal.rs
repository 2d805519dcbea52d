//! `DELETE` of a namespace.
//!
//! v1 and v2 forget the namespace and leave everything in it where it is, as Nacos does. v3 refuses while the namespace
//! has configurations or services. With force, its configurations are removed first, each with a version in its
//! history; services stay, because their clients would register them again.

use std::sync::Arc;

use dyad_config::limits::BATCH_MAX;
use dyad_config::{Change, ConfigReply, RemoveItem};
use dyad_types::ConfigKey;

use super::namespace::{needed, written};
use crate::config::request::{filter, source};
use crate::fault::Generation;
use crate::params::{Key, Params};
use crate::step::Step;
use dyad_app::App;
use dyad_app::Fault;
use dyad_app::config::write::{Author, propose, remove};

/// `DELETE /v1/console/namespaces`.
pub(crate) fn v1(app: &Arc<App>, params: &Params) -> Step {
    delete(app, params, Generation::V1, Contents::Stay)
}

/// `DELETE /v2/console/namespace`.
pub(crate) fn v2(app: &Arc<App>, params: &Params) -> Step {
    delete(app, params, Generation::V2, Contents::Stay)
}

/// `DELETE /v3/…/core/namespace`, with `force=true` also while it is not empty.
pub(crate) fn v3(app: &Arc<App>, params: &Params) -> Step {
    let force = params.get(Key::Force) == Some("true");
    delete(app, params, Generation::V3, if force { Contents::Go } else { Contents::Refuse })
}

/// What configurations and services in the namespace mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Contents {
    Stay,
    Refuse,
    /// The configurations; the services stay.
    Go,
}

/// True also for a namespace that nobody created, as in Nacos. By force it is emptied all the same: everything can be
/// published to one.
fn delete(app: &Arc<App>, params: &Params, generation: Generation, contents: Contents) -> Step {
    let prepare = || -> Result<Step, Fault> {
        filter(params)?;
        let id: Box<str> = needed(params, Key::NamespaceId)?.into();
        let (app, source) = (Arc::clone(app), source(params));
        Ok(Step::wait(async move {
            let services = app.registry.services_in(&id);
            let state = app.configs.state();
            match (contents, state.namespace(&id)) {
                (Contents::Go, Some(view)) if view.is_default => {
                    let what = "the default namespace cannot be deleted, and nothing in it was removed";
                    return Err(Fault::IllegalNamespace(what.into()));
                }
                (Contents::Go, _) => empty(&app, &id, &source).await?,
                (Contents::Refuse, Some(view)) if services > 0 && !view.is_default => {
                    return Err(Fault::NamespaceNotEmpty { configs: view.configs, services });
                }
                _ => {}
            }
            let change = Change::DeleteNamespace { id, force: contents != Contents::Refuse };
            match propose(&app, change, source).await? {
                ConfigReply::Done { .. } | ConfigReply::NotFound => Ok(written(generation)),
                ConfigReply::NotEmpty(configs) => Err(Fault::NamespaceNotEmpty { configs, services }),
                _ => Err(Fault::UnknownReply),
            }
        }))
    };
    Step::of(prepare())
}

/// Removes the configurations that are there now, gray releases first. What is published meanwhile stays. Ends at the first
/// command that is not acknowledged; repeating the request goes on.
async fn empty(app: &Arc<App>, namespace: &str, source: &Author) -> Result<(), Fault> {
    let turn = app.turns.next().await?;
    let (state, of) = (app.configs.state(), namespace.to_owned());
    let (formal, grays) = turn
        .run(move |_| {
            let present = state.items().filter(|(key, _)| key.namespace() == of);
            let (mut formal, mut grays) = (Vec::new(), Vec::<(ConfigKey, Box<str>)>::new());
            for (key, item) in present {
                grays.extend(item.grays().iter().map(|gray| (key.clone(), gray.name.clone())));
                let id = item.formal().map(|release| release.id);
                formal.extend(id.map(|id| RemoveItem { key: key.clone(), id: Some(id) }));
            }
            Ok((formal, grays))
        })
        .await?;
    for (key, name) in grays {
        remove(app, key, Some(name), source.clone()).await?;
    }
    for batch in formal.chunks(BATCH_MAX) {
        let change = Change::RemoveBatch { items: batch.to_vec() };
        let ConfigReply::Report(_) = propose(app, change, source.clone()).await? else {
            return Err(Fault::UnknownReply);
        };
    }
    Ok(())
}
