//! What a write changed, as data for log lines.

use std::cmp::Ordering;
use std::fmt;

use dyad_types::{Instance, Lifetime, ServiceKey};

use crate::view::place;

/// One change of a service, as this member shows it. The `healthy` of an instance is its present health. The caller
/// knows why an instance is gone, because it knows which input led to the write.
#[derive(Clone, Debug, PartialEq)]
pub enum InstanceChange {
    ServiceCreated { service: ServiceKey },
    ServiceGone { service: ServiceKey },
    New { service: ServiceKey, lifetime: Lifetime, instance: Instance },
    Changed { service: ServiceKey, lifetime: Lifetime, old: Instance, new: Instance },
    Gone { service: ServiceKey, lifetime: Lifetime, instance: Instance },
}

impl InstanceChange {
    pub fn service(&self) -> &ServiceKey {
        match self {
            InstanceChange::ServiceCreated { service }
            | InstanceChange::ServiceGone { service }
            | InstanceChange::New { service, .. }
            | InstanceChange::Changed { service, .. }
            | InstanceChange::Gone { service, .. } => service,
        }
    }
}

impl fmt::Display for InstanceChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            InstanceChange::ServiceCreated { service } => write!(f, "service {service} created"),
            InstanceChange::ServiceGone { service } => write!(f, "service {service} gone"),
            InstanceChange::New { service, lifetime, instance } => {
                write!(f, "{} instance {} of {service} new: ", lifetime.word(), instance.address())?;
                write_state(f, instance)
            }
            InstanceChange::Changed { service, lifetime, old, new } => {
                write!(f, "{} instance {} of {service} changed: ", lifetime.word(), new.address())?;
                write_state(f, old)?;
                f.write_str(" -> ")?;
                write_state(f, new)
            }
            InstanceChange::Gone { service, lifetime, instance } => {
                write!(f, "{} instance {} of {service} gone", lifetime.word(), instance.address())
            }
        }
    }
}

fn write_state(f: &mut fmt::Formatter<'_>, instance: &Instance) -> fmt::Result {
    let health = if instance.healthy { "healthy" } else { "unhealthy" };
    let enabled = if instance.enabled { "" } else { " disabled" };
    write!(f, "{health}{enabled} weight={:?} cluster={}", instance.weight, instance.cluster)?;
    match instance.metadata.iter().count() {
        0 => Ok(()),
        n => write!(f, " metadata={n}"),
    }
}

/// The changes from the old instances of a client to its new ones, in the order of the view.
pub(super) fn between(
    service: &ServiceKey,
    lifetime: Lifetime,
    mut old: Vec<Instance>,
    mut new: Vec<Instance>,
) -> Vec<InstanceChange> {
    let by_place = |a: &Instance, b: &Instance| place(a).cmp(&place(b));
    old.sort_by(by_place);
    new.sort_by(by_place);
    let (mut old, mut new) = (old.into_iter().peekable(), new.into_iter().peekable());
    let mut out = Vec::new();
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return out,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(a), Some(b)) => by_place(a, b),
        };
        let before = old.next_if(|_| order.is_le());
        let after = new.next_if(|_| order.is_ge());
        let service = service.clone();
        match (before, after) {
            (Some(instance), None) => out.push(InstanceChange::Gone { service, lifetime, instance }),
            (None, Some(instance)) => out.push(InstanceChange::New { service, lifetime, instance }),
            (Some(old), Some(new)) if old != new => {
                out.push(InstanceChange::Changed { service, lifetime, old, new });
            }
            _ => {}
        }
    }
}
