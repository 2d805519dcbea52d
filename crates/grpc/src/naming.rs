//! The requests of naming: registrations of a connection, persistent instances, queries and subscriptions.

use std::sync::Arc;

use dyad_naming::ListQuery;
use dyad_types::check::{self, Input};
use dyad_types::instance::clamp_weight;
use dyad_types::key::{DEFAULT_CLUSTER, DEFAULT_GROUP, cluster_name};
use dyad_types::{Instance, InstanceIdKind, Lifetime, Metadata, ServiceKey};

use crate::connection::Connection;
use crate::dispatch::{Answer, Call};
use crate::dto::{InstanceDto, NamingRequest};
use crate::error::GrpcError;
use crate::table::Connections;
use dyad_app::Fault;
use dyad_app::naming::check_instance;
use dyad_app::naming::delegate::{Publisher, Write, delegate};
use dyad_app::naming::instance_id;
use dyad_app::naming::page;
use dyad_push::naming::Subscription;

const REGISTER: &str = "registerInstance";
const DEREGISTER: &str = "deregisterInstance";
const BATCH_REGISTER: &str = "batchRegisterInstance";

const REGISTERED: &str =
    "{\"resultCode\":200,\"errorCode\":0,\"type\":\"registerInstance\",\"success\":true}";
const DEREGISTERED: &str =
    "{\"resultCode\":200,\"errorCode\":0,\"type\":\"deregisterInstance\",\"success\":true}";
const BATCH_REGISTERED: &str =
    "{\"resultCode\":200,\"errorCode\":0,\"type\":\"batchRegisterInstance\",\"success\":true}";
const QUERIED: &str = "{\"resultCode\":200,\"errorCode\":0,\"serviceInfo\":";
const SUBSCRIBED: &str = "{\"resultCode\":200,\"errorCode\":0,\"message\":\"success\",\"serviceInfo\":";

/// Characters of an instance id that a client brings; ours have less than 900.
const INSTANCE_ID_MAX: usize = 1024;

/// `InstanceRequest`: what a connection publishes for a service is one slot, which a registration replaces and a
/// deregistration empties, whatever address it names. Always ephemeral.
pub(crate) async fn instance(call: Call) -> Result<Answer, GrpcError> {
    let (service, write, answer) = {
        let request = NamingRequest::read(&call.body)?;
        let service = checked(&request, request.instance.as_slice())?;
        let instance = request.instance.as_ref().ok_or(GrpcError::NoInstance)?;
        match &*request.r#type.0 {
            REGISTER => {
                (service.clone(), Write::Register(registered(&call, &service, instance)?), REGISTERED)
            }
            DEREGISTER => (service, Write::Deregister(address(instance)?), DEREGISTERED),
            other => return Err(GrpcError::Unsupported(other.to_owned())),
        }
    };
    publish(&call, service, write).await?;
    Ok(Answer::Fixed(answer))
}

/// `BatchInstanceRequest`: the slot holds this list from now on.
pub(crate) async fn batch(call: Call) -> Result<Answer, GrpcError> {
    let (service, instances) = {
        let request = NamingRequest::read(&call.body)?;
        let list = request.instances.as_deref().unwrap_or_default();
        let max = call.front.connections.limits().batch;
        if list.len() > max {
            return Err(GrpcError::TooMany { what: "instances of a batch", max });
        }
        let service = checked(&request, list)?;
        if request.instances.is_none() {
            return Err(GrpcError::NoInstance);
        }
        if request.r#type.0 != BATCH_REGISTER {
            return Err(GrpcError::Unsupported(request.r#type.0.into_owned()));
        }
        let instances = list.iter().map(|instance| registered(&call, &service, instance));
        let instances: Vec<Instance> = instances.collect::<Result<_, _>>()?;
        (service, instances)
    };
    publish(&call, service, Write::Batch(instances)).await?;
    Ok(Answer::Fixed(BATCH_REGISTERED))
}

/// `PersistentInstanceRequest`: owned by its address, not by the connection.
pub(crate) async fn persistent(call: Call) -> Result<Answer, GrpcError> {
    let (service, write, answer) = {
        let request = NamingRequest::read(&call.body)?;
        let service = checked(&request, request.instance.as_slice())?;
        let instance = request.instance.as_ref().ok_or(GrpcError::NoInstance)?;
        match &*request.r#type.0 {
            REGISTER => {
                (service.clone(), Write::Register(registered(&call, &service, instance)?), REGISTERED)
            }
            DEREGISTER => (service, Write::Deregister(address(instance)?), DEREGISTERED),
            other => return Err(GrpcError::Unsupported(other.to_owned())),
        }
    };
    delegate(&call.front.app, service, Lifetime::Persistent, &Publisher::Address, write).await?;
    Ok(Answer::Fixed(answer))
}

async fn publish(call: &Call, service: ServiceKey, write: Write) -> Result<(), GrpcError> {
    let _late = Publishing { connections: &call.front.connections, connection: &call.connection };
    let publisher = Publisher::Connection(call.connection.id().clone());
    Ok(delegate(&call.front.app, service, Lifetime::Ephemeral, &publisher, write).await?)
}

/// While this lives a publication may reach the core. If the connection ends meanwhile, the core may have heard of the end
/// first: it is told again. Also when the call is given up half way.
struct Publishing<'a> {
    connections: &'a Connections,
    connection: &'a Connection,
}

impl Drop for Publishing<'_> {
    fn drop(&mut self) {
        self.connections.publications_end(self.connection);
    }
}

/// `ServiceQueryRequest`.
pub(crate) fn query(call: &Call) -> Result<Answer, GrpcError> {
    let request = NamingRequest::read(&call.body)?;
    let service = checked(&request, &[])?;
    let stamp = call.front.app.push.stamp(&service);
    let query =
        ListQuery { clusters: &request.cluster.0, healthy_only: request.healthy_only.unwrap_or(false) };
    info(call, &service, &query, stamp, QUERIED)
}

/// `SubscribeServiceRequest`: one subscription for a connection and service; other clusters replace it. The answer has the
/// present list, and a push with the same or a newer one follows.
pub(crate) fn subscribe(call: &Call) -> Result<Answer, GrpcError> {
    let request = NamingRequest::read(&call.body)?;
    let service = checked(&request, &[])?;
    let query = ListQuery { clusters: &request.clusters.0, healthy_only: false };
    let app = &call.front.app;
    app.ephemeral.admit(app.registry.knows(&service)).map_err(Fault::from)?;
    if !request.subscribe.unwrap_or(false) {
        let ended = call.connection.subscriptions.lock().remove(&service);
        if let Some(ended) = ended {
            app.push.unsubscribe(&ended);
        }
        return info(call, &service, &query, app.push.stamp(&service), SUBSCRIBED);
    }
    let subscription = subscribed(call, &service, query.clusters)?;
    let stamp = subscription.stamp_answer(app.clock.wall_ms());
    let answer = info(call, &service, &query, stamp, SUBSCRIBED)?;
    app.push.first_push(&subscription);
    Ok(answer)
}

fn subscribed(call: &Call, service: &ServiceKey, clusters: &str) -> Result<Arc<Subscription>, GrpcError> {
    let (push, max) = (&call.front.app.push, call.front.connections.limits().subscriptions);
    let mut held = call.connection.subscriptions.lock();
    // The end of a connection takes what is held here; nothing may come after it.
    if !call.connection.is_registered() {
        return Err(GrpcError::Unregistered);
    }
    if let Some(present) = held.get(service) {
        if present.clusters() == clusters {
            return Ok(present.clone());
        }
    } else if held.len() >= max {
        return Err(GrpcError::TooMany { what: "subscriptions of a connection", max });
    }
    let subscription = push.subscribe(service, clusters, call.connection.clone());
    if let Some(replaced) = held.insert(service.clone(), subscription.clone()) {
        push.unsubscribe(&replaced);
    }
    Ok(subscription)
}

/// `ServiceListRequest`.
pub(crate) fn list(call: &Call) -> Result<Answer, GrpcError> {
    let request = NamingRequest::read(&call.body)?;
    let app = &call.front.app;
    check::check(&Input {
        namespace_id: Some(&request.namespace.0),
        group: Some(&request.group_name.0),
        ..Input::default()
    })?;
    app.ephemeral.admit(true).map_err(Fault::from)?;
    let group = request.group_name.some().unwrap_or(DEFAULT_GROUP);
    let (no, size) = (request.page_no.int().unwrap_or(0), request.page_size.int().unwrap_or(0));
    let page = page(app, &request.namespace.0, group, no, size)?;
    let names: Vec<&str> = page.services.iter().map(ServiceKey::name).collect();
    let names = serde_json::to_string(&names).expect("strings always serialize");
    Ok(Answer::Json(format!(
        "{{\"resultCode\":200,\"errorCode\":0,\"count\":{},\"serviceNames\":{names},\"success\":true}}",
        page.count
    )))
}

/// The list of a service, read after its stamp was taken.
fn info(
    call: &Call,
    service: &ServiceKey,
    query: &ListQuery<'_>,
    last_ref_ms: u64,
    before: &'static str,
) -> Result<Answer, GrpcError> {
    let app = &call.front.app;
    let view = app.registry.view(service);
    app.ephemeral.admit(view.is_some()).map_err(Fault::from)?;
    let view = view.unwrap_or_else(|| app.registry.view_or_unknown(service));
    Ok(Answer::Info { before, parts: view.service_info(query), last_ref_ms })
}

/// The parameter check of a request and of its instances; then the service that it names.
fn checked(request: &NamingRequest<'_>, instances: &[InstanceDto<'_>]) -> Result<ServiceKey, GrpcError> {
    check::check(&Input {
        namespace_id: Some(&request.namespace.0),
        service: Some(&request.service_name.0),
        group: Some(&request.group_name.0),
        clusters: request.clusters.some().or(request.cluster.some()),
        ..Input::default()
    })?;
    for instance in instances {
        let mut digits = itoa::Buffer::new();
        let metadata: Metadata = instance.metadata();
        check::check(&Input {
            cluster: instance.cluster_name.some(),
            ip: instance.ip.some(),
            port: instance.port.int().map(|port| digits.format(port) as &str),
            metadata: Some(&metadata),
            ..Input::default()
        })?;
    }
    let name = request.service_name.0.trim();
    if name.is_empty() {
        return Err(Fault::Required("serviceName").into());
    }
    Ok(ServiceKey::new(&request.namespace.0, &request.group_name.0, &request.service_name.0))
}

fn address(instance: &InstanceDto<'_>) -> Result<dyad_types::Address, GrpcError> {
    let port = u16::try_from(instance.port.int().unwrap_or(0)).unwrap_or(0);
    Ok(dyad_types::Address::new(&instance.ip.0, port))
}

/// The instance as it is stored.
fn registered(call: &Call, service: &ServiceKey, dto: &InstanceDto<'_>) -> Result<Instance, GrpcError> {
    if dto.ip.0.trim().is_empty() {
        return Err(Fault::Required("ip").into());
    }
    let address = address(dto)?;
    let mut instance = Instance::new(&address.ip, address.port);
    instance.weight = clamp_weight(dto.weight.0.unwrap_or(1.0));
    instance.healthy = dto.healthy.unwrap_or(true);
    instance.enabled = dto.enabled.unwrap_or(true);
    instance.cluster = cluster_name(dto.cluster_name.some().unwrap_or(DEFAULT_CLUSTER));
    instance.metadata = dto.metadata();
    instance.id = match dto.instance_id.some() {
        Some(given) => own_id(service, &instance, given)?,
        None => {
            let simple = match dto.cluster_name.some() {
                Some(_) => InstanceIdKind::Simple,
                None => InstanceIdKind::NoCluster,
            };
            instance_id(&call.front.app, service, &instance, simple)?
        }
    };
    check_instance(&instance)?;
    Ok(instance)
}

/// An id that the client brought. The usual one is not stored.
fn own_id(service: &ServiceKey, instance: &Instance, given: &str) -> Result<InstanceIdKind, GrpcError> {
    let usual =
        [&*instance.ip, &instance.port.to_string(), &*instance.cluster, service.grouped_name()].join("#");
    if given == usual {
        return Ok(InstanceIdKind::Simple);
    }
    if given.chars().count() > INSTANCE_ID_MAX {
        let message = format!("an instanceId has at most {INSTANCE_ID_MAX} characters");
        return Err(Fault::Invalid(message).into());
    }
    Ok(InstanceIdKind::Custom(Arc::new(given.to_owned())))
}
