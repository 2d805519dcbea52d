//! Fuzzy watches of services: what can be watched, and the messages.

use std::collections::BTreeSet;

use dyad_types::ServiceKey;

use crate::connection::Connection;
use crate::frame::quoted;
use crate::watched::{Watched, Watches};
use dyad_app::{App, Fault};
use dyad_push::fuzzy::{Appearance, Fuzzy, MATCHES_MAX, Named, Step};

impl Watched for ServiceKey {
    const WHAT: &'static str = "services";

    fn fuzzy(app: &App) -> &Fuzzy<ServiceKey> {
        app.push.fuzzy()
    }

    fn known(app: &App) -> Result<(), Fault> {
        dyad_app::naming::read::admit_all(app)
    }

    fn present(app: &App, takes: &dyn Fn(&ServiceKey) -> bool) -> (BTreeSet<ServiceKey>, bool) {
        app.push.registry().listed(takes, MATCHES_MAX)
    }

    fn held(connection: &Connection) -> &Watches<ServiceKey> {
        &connection.watches
    }

    fn encode(head: &str, pattern: &str, step: &Step<ServiceKey>) -> (&'static str, String) {
        let named = |Appearance { key, listed }: &Appearance<ServiceKey>| {
            let change = if *listed { "ADD_SERVICE" } else { "DELETE_SERVICE" };
            format!("\"serviceKey\":{},\"changedType\":\"{change}\"", quoted(&key.text()))
        };
        let sync_type = step.sync_type();
        let (contexts, total, current) = match step {
            Step::Sync { contexts, total, current, .. } => {
                let contexts: Vec<String> =
                    contexts.iter().map(|each| format!("{{{}}}", named(each))).collect();
                (format!("\"contexts\":[{}],", contexts.join(",")), *total, *current)
            }
            Step::InitDone => (String::new(), 0, 0),
            Step::Change(change) => {
                let named = named(change);
                let json = format!("{head}\"syncType\":\"{sync_type}\",{named},\"module\":\"naming\"}}");
                return ("NamingFuzzyWatchChangeNotifyRequest", json);
            }
        };
        let json = format!(
            "{head}\"syncType\":\"{sync_type}\",\"groupKeyPattern\":{pattern},{contexts}\"totalBatch\":{total},\
             \"currentBatch\":{current},\"module\":\"naming\"}}"
        );
        ("NamingFuzzyWatchSyncRequest", json)
    }
}
