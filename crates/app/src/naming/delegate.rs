//! The delegate, which sends a write of an instance to a core. Only the lifetime decides (Nacos's
//! `DelegateConsistencyServiceImpl`).

use dyad_naming::cp::{Limit, NamingCommand, NamingReply};
use dyad_naming::view::ViewInstance;
use dyad_state::CpReply;
use dyad_types::limits::{INSTANCES_PER_SERVICE_MAX, PUBLICATION_MAX};
use dyad_types::{ClientId, Instance, Lifetime, Publication, PublicationKey, ServiceKey};

use super::register::room_in_list;
use crate::fault::Fault;
use crate::state::App;

/// A write of instances.
#[derive(Debug)]
pub(super) enum Write {
    Register(Instance),
    /// Replaces what the publisher published before. Without instances it is the same as a deregistration.
    Batch(Vec<Instance>),
}

/// The owner of an ephemeral instance. A persistent instance always belongs to its address.
#[derive(Debug)]
pub enum Publisher {
    /// The HTTP client with the address of the instance, which sends heartbeats.
    Address,
    /// A connection, which has one publication for each service.
    Connection(ClientId),
}

/// Sends a write to the core of its lifetime, and returns when that core has acknowledged it. The AP core never waits
/// for raft. The CP core acknowledges a command when it is durable on a majority and applied here.
///
/// # Errors
/// The service has the other lifetime (for a registration only), a limit would be exceeded, or the core does not serve.
pub(super) async fn delegate(
    app: &App,
    service: ServiceKey,
    lifetime: Lifetime,
    publisher: &Publisher,
    write: Write,
) -> Result<(), Fault> {
    app.ephemeral.admit(true)?;
    let new = write.instances();
    if !new.is_empty() {
        check_lifetime(app, &service, lifetime)?;
        check_room(app, &service, new).map_err(Fault::Full)?;
    }
    match lifetime {
        Lifetime::Ephemeral => ephemeral(app, service, publisher, write).await,
        Lifetime::Persistent => persistent(app, service, write).await,
    }
}

impl Write {
    fn instances(&self) -> &[Instance] {
        match self {
            Write::Register(instance) => std::slice::from_ref(instance),
            Write::Batch(instances) => instances,
        }
    }
}

/// The lifetime of a service as this member sees it: local on both paths, never waiting. A service that was only created
/// takes either.
fn check_lifetime(app: &App, service: &ServiceKey, wanted: Lifetime) -> Result<(), Fault> {
    match app.registry.lifetime(service, app.clock.now()) {
        Some(is) if is != wanted => Err(Fault::Lifetime { service: service.clone(), is, wanted }),
        _ => Ok(()),
    }
}

/// The bounds that are set for this member; the cores keep their own. What is there already always fits.
fn check_room(app: &App, service: &ServiceKey, new: &[Instance]) -> Result<(), Limit> {
    let (bounds, counts) = (&app.bounds, app.registry.counts());
    // Only a bound below the core's is worth a look at the view.
    let narrow = bounds.per_service < INSTANCES_PER_SERVICE_MAX;
    let here = |service| app.registry.view(service).map_or(0, |view| view.instances().len());
    let limit = if counts.ephemeral_instances + counts.persistent_instances + new.len() > bounds.instances {
        Limit::Instances(bounds.instances)
    } else if counts.services >= bounds.services && !app.registry.knows(service) {
        Limit::Services(bounds.services)
    } else if narrow && here(service) + new.len() > bounds.per_service {
        Limit::InstancesPerService(bounds.per_service)
    } else {
        return Ok(());
    };
    let view = app.registry.view(service);
    let shown = view.as_ref().map_or(&[][..], |view| view.instances());
    let present = |instance: &Instance| {
        let same = |s: &ViewInstance| s.instance.ip == instance.ip && s.instance.port == instance.port;
        shown.iter().any(same)
    };
    if new.iter().all(present) { Ok(()) } else { Err(limit) }
}

async fn ephemeral(app: &App, service: ServiceKey, publisher: &Publisher, write: Write) -> Result<(), Fault> {
    let client = |ip: &str, port: u16| match publisher {
        Publisher::Address => ClientId::beat(ip, port),
        Publisher::Connection(client) => client.clone(),
    };
    let (client, publication) = match write {
        Write::Register(instance) => (client(&instance.ip, instance.port), Some(Publication::one(instance))),
        Write::Batch(instances) => {
            let Some(first) = instances.first() else {
                return match publisher {
                    Publisher::Address => Ok(()),
                    Publisher::Connection(client) => {
                        let key = PublicationKey { service, client: client.clone() };
                        Ok(app.ephemeral.deregister(key).await?)
                    }
                };
            };
            (client(&first.ip, first.port), Some(Publication::batch(instances)))
        }
    };
    let key = PublicationKey { service, client };
    match publication {
        Some(publication) => {
            let bytes = publication.bytes().len();
            if bytes > PUBLICATION_MAX {
                let message = format!("a batch of {bytes} bytes is over the limit of {PUBLICATION_MAX}");
                return Err(Fault::Invalid(message));
            }
            app.registry.room(&key, publication.instances()).map_err(Fault::Full)?;
            app.ephemeral.register(key, publication).await?;
        }
        None => app.ephemeral.deregister(key).await?,
    }
    Ok(())
}

async fn persistent(app: &App, service: ServiceKey, write: Write) -> Result<(), Fault> {
    room_in_list(app, &service, write.instances()).map_err(Fault::Full)?;
    let register = |instance| NamingCommand::Register { service: service.clone(), instance };
    let commands = match write {
        Write::Register(instance) => vec![register(instance)],
        Write::Batch(instances) => instances.into_iter().map(register).collect(),
    };
    for command in commands {
        match propose(app, command).await? {
            NamingReply::Done => {}
            _ => return Err(Fault::UnknownReply),
        }
    }
    Ok(())
}

/// Proposes a naming command. A limit that would be exceeded and a bad switch are errors; the caller looks at all other
/// replies.
///
/// # Errors
/// The CP core does not acknowledge the command, or refuses it by a rule for which every route has the same answer.
pub(super) async fn propose(app: &App, command: NamingCommand) -> Result<NamingReply, Fault> {
    match app.propose.propose(command.into()).await? {
        CpReply::Naming(NamingReply::Limit(limit)) => Err(Fault::Full(limit)),
        CpReply::Naming(NamingReply::BadSwitch(message)) => Err(Fault::Invalid(message)),
        CpReply::Naming(reply) => Ok(reply),
        _ => Err(Fault::UnknownReply),
    }
}
