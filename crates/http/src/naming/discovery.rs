//! `GET /nacos/prometheus`: the instances as targets for Prometheus's HTTP service discovery.

use std::sync::Arc;

use dyad_naming::view::ViewInstance;
use dyad_types::ServiceKey;
use serde_json::{Map, Value, json};

use crate::params::{Key, Params};
use crate::reply::{Kind, Reply};
use crate::step::Step;
use dyad_app::config::Stop;
use dyad_app::naming::read;
use dyad_app::{App, Caller, Fault};
use dyad_types::NamespaceId;

/// Targets of one answer: about 30 MB.
const TARGETS_MAX: usize = 100_000;

/// All healthy, enabled instances of all groups and namespaces, or of the namespace that the request names.
pub(crate) fn targets(app: &Arc<App>, params: &Params) -> Step {
    let namespace = params.get(Key::NamespaceId).map(|id| NamespaceId::new(id).to_string());
    let (app, caller) = (app.clone(), params.caller());
    Step::wait(async move {
        let turn = app.turns.next().await?;
        let targets = turn.run(move |stop| all(&app, &caller, namespace.as_deref(), stop)).await?;
        Ok(Reply::new(Kind::JsonUtf8, Value::Array(targets).to_string()))
    })
}

fn all(app: &App, caller: &Caller, namespace: Option<&str>, stop: &Stop) -> Result<Vec<Value>, Fault> {
    let mut targets = Vec::new();
    read::admit_all(app)?;
    let views = read::views(app, caller, usize::MAX);
    for view in views.iter().filter(|view| namespace.is_none_or(|id| view.key().namespace() == id)) {
        stop.check()?;
        let shown = view.instances().iter().filter(|i| i.instance.enabled && i.instance.healthy);
        targets.extend(shown.map(|instance| target(view.key(), instance)));
        if targets.len() > TARGETS_MAX {
            return Err(Fault::Invalid(format!(
                "there are more than {TARGETS_MAX} targets: ask for one namespace with namespaceId"
            )));
        }
    }
    Ok(targets)
}

/// Nacos's form: the cluster and the metadata as labels. Where the instance belongs is told too.
fn target(service: &ServiceKey, shown: &ViewInstance) -> Value {
    let instance = &shown.instance;
    let mut labels = Map::new();
    for (key, value) in instance.metadata.iter() {
        labels.insert(key.replace(['.', '-'], "_"), value.unwrap_or_default().into());
    }
    labels.insert("__meta_clusterName".into(), (&*instance.cluster).into());
    labels.insert("__meta_namespaceId".into(), service.namespace().into());
    labels.insert("__meta_groupName".into(), service.group().into());
    labels.insert("__meta_serviceName".into(), service.name().into());
    json!({ "targets": [format!("{}:{}", instance.ip, instance.port)], "labels": labels })
}
