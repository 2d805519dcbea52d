//! The requests of naming: registrations of a connection, persistent instances, queries and subscriptions.

use std::sync::Arc;

use dyad_naming::ListQuery;
use dyad_types::check::{self, Input};
use dyad_types::instance::clamp_weight;
use dyad_types::key::{DEFAULT_CLUSTER, DEFAULT_GROUP, cluster_name};
use dyad_types::limits::LIST_BYTES_MAX;
use dyad_types::{Address, Instance, InstanceIdKind, Lifetime, Metadata, Place, ServiceKey};

use crate::connection::Connection;
use crate::dto::{InstanceDto, NamingRequest};
use crate::error::GrpcError;
use crate::row::{Answer, Call};
use crate::table::Connections;
use dyad_app::Fault;
use dyad_app::naming::read::{self, List};
use dyad_app::naming::services::services;
use dyad_app::naming::{Publisher, given_id, register as registrations};
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

/// `InstanceRequest`: a registration replaces what the connection publishes for the service; a deregistration takes one address
/// out of it, and leaves the others. Always ephemeral.
pub(crate) async fn instance(call: Call) -> Result<Answer, GrpcError> {
    let (service, write) = read_write(&call)?;
    let (app, caller) = (&call.front.app, call.caller());
    let _late = Publishing { connections: &call.front.connections, connection: &call.connection };
    let id = call.connection.id();
    let address = match write {
        Write::Register(instance) => {
            let _shared = call.connection.publishing.read().await;
            let publisher = Publisher::Connection(id.clone());
            let target = (service, Lifetime::Ephemeral);
            registrations::register(app, &caller, &publisher, target, *instance).await?;
            return Ok(Answer::Fixed(REGISTERED));
        }
        Write::Deregister(address) => address,
    };
    // What is left of several instances is written again: nothing that this client writes may come between.
    let shared = call.connection.publishing.read().await;
    if registrations::has_several(app, id, &service) {
        drop(shared);
        let _alone = call.connection.publishing.write().await;
        registrations::deregister_own(app, &caller, id.clone(), service, &address).await?;
    } else {
        registrations::deregister_own(app, &caller, id.clone(), service, &address).await?;
    }
    Ok(Answer::Fixed(DEREGISTERED))
}

/// `BatchInstanceRequest`: the connection publishes this list from now on.
pub(crate) async fn batch(call: Call) -> Result<Answer, GrpcError> {
    let (service, instances) = {
        let request = NamingRequest::read(&call.body)?;
        let list = request.instances.as_deref().unwrap_or_default();
        let service = checked(&call, &request, list)?;
        if request.instances.is_none() {
            return Err(GrpcError::NoInstance);
        }
        if request.r#type.0 != BATCH_REGISTER {
            return Err(GrpcError::Unsupported(request.r#type.0.into_owned()));
        }
        let instances = list.iter().map(|instance| read_instance(&service, instance));
        let instances: Vec<Instance> = instances.collect::<Result<_, _>>()?;
        (service, instances)
    };
    let _late = Publishing { connections: &call.front.connections, connection: &call.connection };
    let _shared = call.connection.publishing.read().await;
    let id = call.connection.id().clone();
    registrations::register_batch(&call.front.app, &call.caller(), id, service, instances).await?;
    Ok(Answer::Fixed(BATCH_REGISTERED))
}

/// `PersistentInstanceRequest`: owned by its address, not by the connection.
pub(crate) async fn persistent(call: Call) -> Result<Answer, GrpcError> {
    let (service, write) = read_write(&call)?;
    let (app, caller, lifetime) = (&call.front.app, call.caller(), Lifetime::Persistent);
    match write {
        Write::Register(instance) => {
            let target = (service, lifetime);
            registrations::register(app, &caller, &Publisher::Address, target, *instance).await?;
            Ok(Answer::Fixed(REGISTERED))
        }
        Write::Deregister(address) => {
            registrations::deregister(app, &caller, (service, Some(lifetime)), address).await?;
            Ok(Answer::Fixed(DEREGISTERED))
        }
    }
}

/// What a request with one instance wants.
enum Write {
    Register(Box<Instance>),
    Deregister(Address),
}

fn read_write(call: &Call) -> Result<(ServiceKey, Write), GrpcError> {
    let request = NamingRequest::read(&call.body)?;
    let service = checked(call, &request, request.instance.as_slice())?;
    let instance = request.instance.as_ref().ok_or(GrpcError::NoInstance)?;
    let write = match &*request.r#type.0 {
        REGISTER => Write::Register(Box::new(read_instance(&service, instance)?)),
        DEREGISTER => Write::Deregister(address(instance)),
        other => return Err(GrpcError::Unsupported(other.to_owned())),
    };
    Ok((service, write))
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
    let service = checked(call, &request, &[])?;
    let query =
        ListQuery { clusters: &request.cluster.0, healthy_only: request.healthy_only.unwrap_or(false) };
    let List { view, last_ref_ms } = read::list(&call.front.app, &call.caller(), &service)?;
    Ok(Answer::Info { before: QUERIED, parts: view.service_info(&query), last_ref_ms })
}

/// `SubscribeServiceRequest`: a connection has one subscription for each service and set of clusters, in whatever order the
/// clusters are named. The answer has the present list, and a push with the same or a newer one follows.
pub(crate) fn subscribe(call: &Call) -> Result<Answer, GrpcError> {
    let request = NamingRequest::read(&call.body)?;
    let service = checked(call, &request, &[])?;
    let query = ListQuery { clusters: &request.clusters.0, healthy_only: false };
    let app = &call.front.app;
    if !request.subscribe.unwrap_or(false) {
        let ended = call.connection.subscriptions.lock().remove(&subscription_key(&service, query.clusters));
        if let Some(ended) = ended {
            app.push.unsubscribe(&ended);
        }
        let List { view, last_ref_ms } = read::list(app, &call.caller(), &service)?;
        return Ok(Answer::Info { before: SUBSCRIBED, parts: view.service_info(&query), last_ref_ms });
    }
    // Whether the caller may read it, and whether this member serves, is known before anything is held.
    read::list(app, &call.caller(), &service)?;
    let subscription = subscribed(call, &service, query.clusters)?;
    let last_ref_ms = subscription.stamp_answer(app.push.now_ms());
    let view = read::present(app, &service)?;
    let answer = Answer::Info { before: SUBSCRIBED, parts: view.service_info(&query), last_ref_ms };
    app.push.first_push(&subscription);
    Ok(answer)
}

/// The service, and the names of the clusters in their order.
fn subscription_key(service: &ServiceKey, clusters: &str) -> (ServiceKey, Box<str>) {
    let mut names: Vec<&str> = clusters.split(',').filter(|name| !name.trim().is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    (service.clone(), names.join(",").into())
}

fn subscribed(call: &Call, service: &ServiceKey, clusters: &str) -> Result<Arc<Subscription>, GrpcError> {
    let (push, max) = (&call.front.app.push, call.front.connections.limits().subscriptions);
    let key = subscription_key(service, clusters);
    let mut held = call.connection.subscriptions.lock();
    // The end of a connection takes what is held here; nothing may come after it.
    if !call.connection.is_registered() {
        return Err(GrpcError::Unregistered);
    }
    if let Some(present) = held.get(&key) {
        if present.clusters() == clusters {
            return Ok(present.clone());
        }
    } else if held.len() >= max {
        return Err(GrpcError::TooMany { what: "subscriptions of a connection", max });
    }
    let place = call.front.app.places.take(Place::Subscriptions, call.connection.peer().ip())?;
    let subscription = push.subscribe(service, clusters, call.connection.clone(), place);
    if let Some(replaced) = held.insert(key, subscription.clone()) {
        push.unsubscribe(&replaced);
    }
    Ok(subscription)
}

/// `ServiceListRequest`. The list ends where it would be larger than clients take; `count` has all.
pub(crate) fn list(call: &Call) -> Result<Answer, GrpcError> {
    let request = NamingRequest::read(&call.body)?;
    check::check(&Input {
        namespace_id: Some(&request.namespace.0),
        group: Some(&request.group_name.0),
        ..Input::default()
    })?;
    let group = request.group_name.some().unwrap_or(DEFAULT_GROUP);
    let page = (request.page_no.int().unwrap_or(0), request.page_size.int().unwrap_or(0));
    let found = services(&call.front.app, &call.caller(), (&request.namespace.0, group), page)?;
    let mut left = LIST_BYTES_MAX;
    let fits = |name: &&str| {
        // No character of a service's name needs more than six bytes in JSON, and hardly any more than one.
        let bytes = serde_json::to_string(name).map_or(6 * name.len(), |text| text.len()) + 1;
        let fits = bytes <= left;
        left = left.saturating_sub(bytes);
        fits
    };
    let names: Vec<&str> = found.services.iter().map(ServiceKey::name).take_while(fits).collect();
    let names = serde_json::to_string(&names).expect("strings always serialize");
    Ok(Answer::Json(format!(
        "{{\"resultCode\":200,\"errorCode\":0,\"count\":{},\"serviceNames\":{names},\"success\":true}}",
        found.count
    )))
}

/// The parameter check of a request and of its instances; then the service that it names.
fn checked(
    call: &Call,
    request: &NamingRequest<'_>,
    instances: &[InstanceDto<'_>],
) -> Result<ServiceKey, GrpcError> {
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
            metadata_max: Some(call.front.app.bounds.metadata),
            ..Input::default()
        })?;
    }
    let name = request.service_name.0.trim();
    if name.is_empty() {
        return Err(Fault::Required("serviceName").into());
    }
    Ok(ServiceKey::new(&request.namespace.0, &request.group_name.0, &request.service_name.0))
}

fn address(instance: &InstanceDto<'_>) -> Address {
    let port = u16::try_from(instance.port.int().unwrap_or(0)).unwrap_or(0);
    Address::new(&instance.ip.0, port)
}

/// The instance as it is to be stored.
fn read_instance(service: &ServiceKey, dto: &InstanceDto<'_>) -> Result<Instance, GrpcError> {
    if dto.ip.0.trim().is_empty() {
        return Err(Fault::Required("ip").into());
    }
    let address = address(dto);
    let mut instance = Instance::new(&address.ip, address.port);
    instance.weight = clamp_weight(dto.weight.0.unwrap_or(1.0));
    instance.healthy = dto.healthy.unwrap_or(true);
    instance.enabled = dto.enabled.unwrap_or(true);
    instance.cluster = cluster_name(dto.cluster_name.some().unwrap_or(DEFAULT_CLUSTER));
    instance.metadata = dto.metadata();
    instance.id = match (dto.instance_id.some(), dto.cluster_name.some()) {
        (Some(given), _) => given_id(service, &instance, given)?,
        (None, Some(_)) => InstanceIdKind::Simple,
        (None, None) => InstanceIdKind::NoCluster,
    };
    Ok(instance)
}
