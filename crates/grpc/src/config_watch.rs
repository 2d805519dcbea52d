//! Fuzzy watches of configurations: what can be watched, and the messages.

use std::collections::BTreeSet;

use dyad_types::ConfigKey;

use crate::connection::Connection;
use crate::frame::quoted;
use crate::watched::{Watched, Watches};
use dyad_app::{App, Fault};
use dyad_push::fuzzy::{Appearance, Fuzzy, Named, Step};

impl Watched for ConfigKey {
    const WHAT: &'static str = "configurations";

    fn fuzzy(app: &App) -> &Fuzzy<ConfigKey> {
        app.listeners.fuzzy()
    }

    fn known(app: &App) -> Result<(), Fault> {
        app.has_state()
    }

    fn present(app: &App, takes: &dyn Fn(&ConfigKey) -> bool) -> (BTreeSet<ConfigKey>, bool) {
        app.listeners.present(takes)
    }

    fn held(connection: &Connection) -> &Watches<ConfigKey> {
        &connection.config_watches
    }

    fn encode(head: &str, pattern: &str, step: &Step<ConfigKey>) -> (&'static str, String) {
        let named = |Appearance { key, listed }: &Appearance<ConfigKey>, field: &str, appeared: &str| {
            let change = if *listed { appeared } else { "DELETE_CONFIG" };
            format!("\"groupKey\":{},\"{field}\":\"{change}\"", quoted(&key.text()))
        };
        let (contexts, total, current) = match step {
            Step::Sync { contexts, total, current, .. } => {
                let context = |each| format!("{{{}}}", named(each, "changedType", "ADD_CONFIG"));
                let contexts: Vec<String> = contexts.iter().map(context).collect();
                (format!("\"contexts\":[{}],", contexts.join(",")), *total, *current)
            }
            Step::InitDone => (String::new(), 0, 0),
            Step::Change(change) => {
                let named = named(change, "changeType", "CONFIG_CHANGED");
                let json = format!("{head}{named},\"module\":\"config\"}}");
                return ("ConfigFuzzyWatchChangeNotifyRequest", json);
            }
        };
        let json = format!(
            "{head}\"groupKeyPattern\":{pattern},{contexts}\"syncType\":\"{}\",\"totalBatch\":{total},\
             \"currentBatch\":{current},\"module\":\"config\"}}",
            step.sync_type()
        );
        ("ConfigFuzzyWatchSyncRequest", json)
    }
}
