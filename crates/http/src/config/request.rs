//! Reads requests to the configuration center: the parameter filter of Nacos, the names of a configuration in each
//! generation, and who reads or writes.

use std::net::IpAddr;

use dyad_config::{PageRequest, ReaderLabels, Source};
use dyad_naming::java::parse_int;
use dyad_types::ConfigKey;
use dyad_types::check::{self, Input};
use dyad_types::config_check::{ConfigInput, check_config};

use crate::fault::Generation;
use crate::params::{Key, Params};
use dyad_app::Fault;
use dyad_app::config::cut;
use dyad_app::config::write::Author;

/// `ParamCheckerFilter` with the configuration extractor.
///
/// # Errors
/// The first rule that the request breaks.
pub(crate) fn filter(params: &Params) -> Result<(), Fault> {
    check::check(&Input {
        namespace_name: params.get(Key::NamespaceName),
        namespace_id: namespace_param(params),
        data_id: params.get(Key::DataId),
        group: params.get(Key::Group),
        ip: params.get(Key::Ip),
        ..Input::default()
    })?;
    // The other spellings: each handler reads its own, so that none may hide behind another.
    Ok(check::check(&Input {
        namespace_name: params.get(Key::NamespaceShowName),
        namespace_id: params.get(Key::CustomNamespaceId),
        group: params.get(Key::GroupName),
        ..Input::default()
    })?)
}

/// The namespace that a request names, in the order of Nacos's aliases; `None` is the default one.
pub(crate) fn namespace_param(params: &Params) -> Option<&str> {
    params.either(Key::NamespaceId, Key::Tenant).or_else(|| params.get(Key::Namespace))
}

/// The group's parameter: v3 has another name for it.
pub(crate) fn group_key(generation: Generation) -> Key {
    if generation == Generation::V3 { Key::GroupName } else { Key::Group }
}

/// The configuration that a request names: filter, then presence, then `ParamUtils`.
///
/// # Errors
/// The first rule that the request breaks.
pub(crate) fn config_key(params: &Params, generation: Generation) -> Result<ConfigKey, Fault> {
    filter(params)?;
    let group = group_key(generation);
    let (data_id, group) = (required(params, Key::DataId, generation)?, required(params, group, generation)?);
    let input = ConfigInput {
        data_id: Some(data_id),
        group: Some(group),
        tag: params.get(Key::Tag),
        tenant: namespace_param(params),
        ..ConfigInput::default()
    };
    check_config(&input, generation.tenant_name())?;
    Ok(ConfigKey::new(namespace_param(params).unwrap_or_default(), group, data_id))
}

/// A text that the request must carry, as it was sent.
///
/// # Errors
/// Each generation's own words for its absence; v3 also takes a blank one for absent.
pub(crate) fn required(params: &Params, key: Key, generation: Generation) -> Result<&str, Fault> {
    let name = key.name();
    match generation {
        Generation::V3 => params.get(key).ok_or(Fault::MissingField(name)),
        _ => params.raw(key).ok_or(Fault::MissingParam { name, kind: "String" }),
    }
}

/// A number that the request must carry.
///
/// # Errors
/// Absent, or no number of Java's type `kind`.
pub(crate) fn required_number(params: &Params, key: Key, kind: &'static str) -> Result<u64, Fault> {
    let text = params.get(key).ok_or(Fault::MissingParam { name: key.name(), kind })?;
    number(key, text)
}

/// A number that is not negative.
///
/// # Errors
/// Anything else.
pub(crate) fn number(key: Key, text: &str) -> Result<u64, Fault> {
    text.trim().parse().map_err(|_| Fault::Invalid(format!("{}: {text:?} is no number", key.name())))
}

/// The page that a listing asks for.
///
/// # Errors
/// A number that does not parse, or is not above zero; absent without a `default`.
pub(crate) fn page(
    params: &Params,
    default: Option<(usize, usize)>,
    size_max: usize,
) -> Result<PageRequest, Fault> {
    let read = |key: Key, default: Option<usize>| -> Result<usize, Fault> {
        let Some(text) = params.get(key) else {
            return default.ok_or(Fault::MissingParam { name: key.name(), kind: "int" });
        };
        let wrong = |_| Fault::Invalid(format!("{}: {text:?} is no number", key.name()));
        let number = parse_int(text).map_err(wrong)?;
        let positive = usize::try_from(number).ok().filter(|number| *number > 0);
        positive.ok_or_else(|| Fault::Invalid("pageNo and pageSize must be greater than zero".into()))
    };
    let number = read(Key::PageNo, default.map(|(number, _)| number))?;
    let size = read(Key::PageSize, default.map(|(_, size)| size))?;
    Ok(PageRequest { number, size: size.min(size_max) })
}

/// Who reads, for gray rules: `tag` by parameter and header, and the address that the client or a proxy tells. That chooses
/// between releases that this client may read anyway, and grants nothing.
pub(crate) fn reader<'a>(params: &'a Params, ip: &'a str) -> ReaderLabels<'a> {
    ReaderLabels {
        client_ip: ip,
        tag: params.get(Key::Tag),
        header_tag: params.rest.header("vipserver-tag"),
        labels: None,
    }
}

/// `RequestUtil.getRemoteIp`: the first forwarded address, else the real one, else the connection's.
pub(crate) fn client_ip(params: &Params) -> String {
    let forwarded =
        params.rest.header("x-forwarded-for").and_then(|list| list.split(',').next()).map(str::trim);
    match forwarded.filter(|ip| !ip.is_empty()).or_else(|| params.rest.header("x-real-ip")) {
        Some(ip) => ip.to_owned(),
        None => peer_ip(params.rest.peer),
    }
}

/// Who writes, for the history: the address is always that of the connection, which nobody can make up.
pub(crate) fn source(params: &Params) -> Author {
    let source = Source {
        user: cut(params.either(Key::SrcUser, Key::SrcUserV1).unwrap_or_default()),
        ip: peer_ip(params.rest.peer).into(),
        reason: cut(params.get(Key::Reason).unwrap_or_default()),
    };
    Author { caller: params.caller(), source }
}

/// The text of a connection's address; an IPv4 address in its IPv6 form is shown as IPv4.
fn peer_ip(peer: Option<IpAddr>) -> String {
    peer.map(|ip| ip.to_canonical().to_string()).unwrap_or_default()
}
