//! What is the same for every registration, whichever front end it comes from: the rules of an instance, and its id.

use dyad_types::instance::KEY_ID_GENERATOR;
use dyad_types::{Instance, InstanceIdKind, ServiceKey, check};

use crate::fault::Fault;
use crate::state::App;

/// The id of a new registration, which `preserved.instance.id.generator` decides. An instance that exists keeps its
/// snowflake id, because a repeated registration changes nothing.
///
/// # Errors
/// The generator does not exist. The answer is 400, where Nacos answers 500.
pub fn instance_id(
    app: &App,
    service: &ServiceKey,
    instance: &Instance,
    simple: InstanceIdKind,
) -> Result<InstanceIdKind, Fault> {
    match instance.metadata.get(KEY_ID_GENERATOR) {
        None | Some("" | "simple") => Ok(simple),
        Some("snowflake") => {
            let view = app.registry.view(service);
            let present = view.as_ref().and_then(|v| v.find(&instance.ip, instance.port, &instance.cluster));
            if let Some(id @ InstanceIdKind::Custom(_)) = present.map(|present| &present.instance.id) {
                return Ok(id.clone());
            }
            let number = app.ids.next(app.clock.wall_ms());
            let id = format!("{number}#{}#{}", instance.cluster, service.grouped_name());
            Ok(InstanceIdKind::Custom(id.into()))
        }
        Some(other) => Err(Fault::Invalid(format!("no instance id generator has the name {other}"))),
    }
}

/// Checks an instance (`NamingUtils.checkInstanceIsLegal`).
///
/// # Errors
/// A time-out is shorter than the interval of heartbeats, or the cluster has other characters than `0-9a-zA-Z-`.
pub fn check_instance(instance: &Instance) -> Result<(), Fault> {
    let interval = instance.beat_interval_ms();
    if instance.beat_timeout_ms() < interval || instance.delete_timeout_ms() < interval {
        return Err(Fault::BeatIntervals);
    }
    if !check::is_instance_cluster(&instance.cluster) {
        return Err(Fault::ClusterName(instance.cluster.to_string()));
    }
    Ok(())
}
