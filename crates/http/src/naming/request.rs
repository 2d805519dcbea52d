//! Reads requests of naming: Nacos's filters (service name, parameter check) and typed values, in the order and with
//! the words of Nacos.

use std::borrow::Cow;

use dyad_naming::java::{parse_boolean, parse_int};
use dyad_types::check::{self, Input};
use dyad_types::instance::{WEIGHT_MAX, clamp_weight};
use dyad_types::key::{DEFAULT_CLUSTER, DEFAULT_GROUP, cluster_name, grouped, split_grouped};
use dyad_types::{Instance, InstanceIdKind, Lifetime, Metadata, ServiceKey};

use crate::params::{Key, Params};
use dyad_app::naming::metadata::parse_metadata;
use dyad_app::{App, Fault};

/// A request after the filters: every name in it is legal.
#[derive(Debug)]
pub(crate) struct Checked {
    service: Option<ServiceKey>,
    /// Empty when the request has none.
    pub(crate) metadata: Metadata,
}

impl Checked {
    /// The service of a route that reads it with `WebUtils.required`.
    pub(crate) fn service(&self) -> Result<ServiceKey, Fault> {
        self.service.clone().ok_or(Fault::Required("serviceName"))
    }

    /// The service of a route that declares it as `@RequestParam`.
    pub(crate) fn service_param(&self) -> Result<ServiceKey, Fault> {
        self.service.clone().ok_or(Fault::Missing("serviceName"))
    }
}

/// The service that a request names, unchecked: enough to look for one that is known, since illegal names never are.
pub(crate) fn lookup_key(params: &Params) -> Option<ServiceKey> {
    let name = params.get(Key::ServiceName)?;
    Some(ServiceKey::parse(namespace(params), params.get(Key::GroupName).unwrap_or(DEFAULT_GROUP), name))
}

pub(crate) fn namespace(params: &Params) -> &str {
    params.get(Key::NamespaceId).unwrap_or_default()
}

/// `ServiceNameFilter`, then `ParamCheckerFilter`.
///
/// # Errors
/// The first rule that the request breaks.
pub(crate) fn check_request(app: &App, params: &Params) -> Result<Checked, Fault> {
    let name = params.get(Key::ServiceName).map(|name| group_and_name(params, name)).transpose()?;
    let metadata = params.get(Key::Metadata).map_or(Ok(Metadata::default()), parse_metadata)?;
    check::check(&Input {
        namespace_name: None,
        namespace_id: params.get(Key::NamespaceId),
        data_id: None,
        service: name.as_ref().map(|(_, name)| &**name).or_else(|| params.get(Key::ServiceNameParam)),
        group: name
            .as_ref()
            .map(|(group, _)| &**group)
            .or_else(|| params.either(Key::GroupName, Key::GroupNameParam)),
        clusters: params.get(Key::Clusters),
        cluster: params.either(Key::ClusterName, Key::Cluster),
        ip: params.get(Key::Ip),
        port: params.either(Key::Port, Key::CheckPort),
        metadata: Some(&metadata),
        metadata_max: Some(app.bounds.metadata),
    })?;
    let service = name.map(|(group, name)| ServiceKey::new(namespace(params), &group, &name));
    Ok(Checked { service, metadata })
}

/// Group and name as `ServiceNameFilter` makes them of the two parameters: a group in the name wins.
fn group_and_name<'a>(params: &'a Params, name: &'a str) -> Result<(Cow<'a, str>, Cow<'a, str>), Fault> {
    if let Some((group, name)) = split_grouped(name) {
        return match (group.trim(), name.trim()) {
            (_, "") => Err(Fault::ServiceName("it should be format as 'groupName@@serviceName'")),
            ("", _) => Err(Fault::ServiceName("groupName can't be empty")),
            _ => Ok((group.into(), name.into())),
        };
    }
    let group = params.get(Key::GroupName).unwrap_or(DEFAULT_GROUP);
    if !group.contains('@') {
        return Ok((group.into(), name.into()));
    }
    // A group that carries the separator moves the border: the check sees what Nacos would split.
    let whole = grouped(group, name);
    let (group, name) = split_grouped(&whole).unwrap_or((group, name));
    Ok((group.to_owned().into(), name.to_owned().into()))
}

/// What `POST`, `PUT` and `DELETE /instance` share: the instance, whose id kind is `Simple`.
///
/// # Errors
/// A missing address, or a weight, port or cluster that Nacos refuses.
pub(crate) fn read_instance(params: &Params, metadata: Metadata) -> Result<Instance, Fault> {
    let (ip, port) = read_address(params)?;
    let mut instance = Instance::new(ip, port);
    instance.healthy = params.get(Key::Healthy).is_none_or(parse_boolean);
    if let Some(weight) = params.get(Key::Weight) {
        instance.weight = parse_weight(weight)?;
    }
    instance.enabled = params.either(Key::Enabled, Key::Enable).is_none_or(parse_boolean);
    instance.cluster = cluster_name(params.either(Key::ClusterName, Key::Cluster).unwrap_or(DEFAULT_CLUSTER));
    instance.metadata = metadata;
    instance.id = InstanceIdKind::Simple;
    Ok(instance)
}

/// The lifetime that a request says, or that the switch says for it.
pub(crate) fn lifetime(app: &App, params: &Params) -> Lifetime {
    let by_default = || app.switches.load().default_instance_ephemeral;
    Lifetime::from_ephemeral(params.get(Key::Ephemeral).map_or_else(by_default, parse_boolean))
}

/// The required address of an instance.
pub(crate) fn read_address(params: &Params) -> Result<(&str, u16), Fault> {
    let ip = params.get(Key::Ip).ok_or(Fault::Required("ip"))?;
    let port = params.get(Key::Port).ok_or(Fault::Required("port"))?;
    Ok((ip, check::parse_port(port)?))
}

/// A weight as Java's `Double.parseDouble` reads it, from 0 to 10,000. `NaN` is accepted, as there, and stored as 1.
pub(crate) fn parse_weight(text: &str) -> Result<f64, Fault> {
    let bare = text.strip_suffix(['d', 'D', 'f', 'F']).unwrap_or(text);
    let weight = match bare {
        "NaN" => f64::NAN,
        _ if bare.bytes().any(|b| b.is_ascii_digit()) => {
            bare.parse().map_err(|_| Fault::Invalid(dyad_naming::java::bad_number(text)))?
        }
        _ => return Err(Fault::Invalid(dyad_naming::java::bad_number(text))),
    };
    if !(0.0..=WEIGHT_MAX).contains(&weight) && !weight.is_nan() {
        return Err(Fault::Weight);
    }
    Ok(clamp_weight(weight))
}

/// A number that has a default.
pub(crate) fn int_or(params: &Params, key: Key, default: i32) -> Result<i32, Fault> {
    params.get(key).map_or(Ok(default), |text| parse_int(text).map_err(Fault::Invalid))
}

/// A number read with `WebUtils.required`.
pub(crate) fn required_int(params: &Params, key: Key) -> Result<i32, Fault> {
    let text = params.get(key).ok_or(Fault::Required(key.name()))?;
    parse_int(text).map_err(Fault::Invalid)
}
