//! `DELETE` of a namespace.
//!
//! v1 and v2 forget the namespace and leave everything in it where it is, as Nacos does. v3 refuses while the namespace
//! has configurations or services. With force, its configurations are removed first.

use std::sync::Arc;

use super::namespace::{needed, written};
use crate::config::request::{filter, source};
use crate::fault::Generation;
use crate::params::{Key, Params};
use crate::step::Step;
use dyad_app::App;
use dyad_app::Fault;
use dyad_app::config::namespace::{self, Inside};

/// `DELETE /v1/console/namespaces`.
pub(crate) fn v1(app: &Arc<App>, params: &Params) -> Step {
    delete(app, params, Generation::V1, Inside::Stays)
}

/// `DELETE /v2/console/namespace`.
pub(crate) fn v2(app: &Arc<App>, params: &Params) -> Step {
    delete(app, params, Generation::V2, Inside::Stays)
}

/// `DELETE /v3/…/core/namespace`, with `force=true` also while it is not empty.
pub(crate) fn v3(app: &Arc<App>, params: &Params) -> Step {
    let force = params.get(Key::Force) == Some("true");
    delete(app, params, Generation::V3, if force { Inside::Goes } else { Inside::Refuses })
}

fn delete(app: &Arc<App>, params: &Params, generation: Generation, inside: Inside) -> Step {
    let prepare = || -> Result<Step, Fault> {
        filter(params)?;
        let id: Box<str> = needed(params, Key::NamespaceId)?.into();
        let (app, source) = (Arc::clone(app), source(params));
        Ok(Step::wait(async move {
            namespace::delete(&app, id, inside, source).await?;
            Ok(written(generation))
        }))
    };
    Step::of(prepare())
}
