//! What is the same for every registration, whichever front end it comes from: the rules of an instance, and its id.

use std::sync::Arc;

use dyad_types::instance::KEY_ID_GENERATOR;
use dyad_types::{Instance, InstanceIdKind, ServiceKey, check};

use crate::fault::Fault;
use crate::state::App;

/// Characters of an instance id that a client brings; those that are made here have less than 900.
const INSTANCE_ID_MAX: usize = 1024;

/// Makes the id of a new registration as `preserved.instance.id.generator` says, unless the client brought one. An instance that
/// exists keeps its snowflake id, because a repeated registration changes nothing.
///
/// # Errors
/// The generator does not exist. The answer is 400, where Nacos answers 500.
pub(super) fn generate_id(app: &App, service: &ServiceKey, instance: &mut Instance) -> Result<(), Fault> {
    if matches!(instance.id, InstanceIdKind::Custom(_)) {
        return Ok(());
    }
    match instance.metadata.get(KEY_ID_GENERATOR) {
        None | Some("" | "simple") => Ok(()),
        Some("snowflake") => {
            let view = app.registry.view(service);
            let present = view.as_ref().and_then(|v| v.find(&instance.ip, instance.port, &instance.cluster));
            if let Some(id @ InstanceIdKind::Custom(_)) = present.map(|present| &present.instance.id) {
                instance.id = id.clone();
                return Ok(());
            }
            let number = app.ids.next(app.clock.wall_ms());
            let id = format!("{number}#{}#{}", instance.cluster, service.grouped_name());
            instance.id = InstanceIdKind::Custom(id.into());
            Ok(())
        }
        Some(other) => Err(Fault::Invalid(format!("no instance id generator has the name {other}"))),
    }
}

/// The id that a client brought. The usual one is not stored.
///
/// # Errors
/// It is too long.
pub fn given_id(service: &ServiceKey, instance: &Instance, given: &str) -> Result<InstanceIdKind, Fault> {
    let usual =
        [&*instance.ip, &instance.port.to_string(), &*instance.cluster, service.grouped_name()].join("#");
    if given == usual {
        return Ok(InstanceIdKind::Simple);
    }
    if given.chars().count() > INSTANCE_ID_MAX {
        return Err(Fault::Invalid(format!("an instanceId has at most {INSTANCE_ID_MAX} characters")));
    }
    Ok(InstanceIdKind::Custom(Arc::new(given.to_owned())))
}

/// Checks an instance (`NamingUtils.checkInstanceIsLegal`).
///
/// # Errors
/// A time-out is shorter than the interval of heartbeats, or the cluster has other characters than `0-9a-zA-Z-`.
pub(super) fn check_instance(instance: &Instance) -> Result<(), Fault> {
    let interval = instance.beat_interval_ms();
    if instance.beat_timeout_ms() < interval || instance.delete_timeout_ms() < interval {
        return Err(Fault::BeatIntervals);
    }
    if !check::is_instance_cluster(&instance.cluster) {
        return Err(Fault::ClusterName(instance.cluster.to_string()));
    }
    Ok(())
}
