//! `PUT /instance/beat`: the request that a registry gets most often.
//!
//! The heartbeat of a known and healthy instance leaves its time in a slot that the Distro core reads. This takes no
//! lock and no await, and the answer is ready-made unless a switch or the instance asks for another interval. If
//! another member times the client, the core takes the heartbeat and relays it.

use std::num::NonZeroU64;
use std::sync::Arc;

use bytes::Bytes;
use dyad_naming::Switches;
use dyad_types::check::{self, Input};
use dyad_types::instance::{BEAT_INTERVAL_MS, KEY_BEAT_INTERVAL, WEIGHT_MAX, clamp_weight, duration_key};
use dyad_types::key::{DEFAULT_CLUSTER, cluster_name};
use dyad_types::{Instance, InstanceIdKind, Lifetime};

use crate::naming::request::{check_request, lookup_key};
use crate::params::{Key, Params};
use crate::reply::Reply;
use crate::step::Step;
use dyad_app::naming::Publisher;
use dyad_app::naming::beat::{self as beats, Taken};
use dyad_app::naming::metadata::{BeatAddress, FullBeat, parse_beat};
use dyad_app::naming::register::register;
use dyad_app::{App, Fault};

/// `NamingResponseCode.OK` and `RESOURCE_NOT_FOUND`.
const KNOWN: u32 = 10_200;
const UNKNOWN: u32 = 20_404;

pub(crate) fn beat(app: &Arc<App>, params: &Params) -> Step {
    match known(app, params) {
        Ok(Some(taken)) => Step::Done(Ok(answer(KNOWN, taken.interval_ms, &app.switches.load()))),
        Ok(None) => Step::of(unknown(app, params)),
        Err(error) => Step::Done(Err(error)),
    }
}

/// Takes the beat of an instance that is known.
fn known(app: &App, params: &Params) -> Result<Option<Taken>, Fault> {
    let Some(service) = lookup_key(params) else { return Ok(None) };
    let full: Option<BeatAddress<'_>> = params.get(Key::Beat).map(parse_beat).transpose()?;
    let (ip, port) = match &full {
        Some(beat) => (&*beat.ip, whole_port(beat.port)),
        None => (params.get(Key::Ip).unwrap_or_default(), params.get(Key::Port).and_then(|p| p.parse().ok())),
    };
    let Some(port) = port else { return Ok(None) };
    beats::beat(app, &params.caller(), service, ip, port)
}

/// A light beat of an unknown instance is answered with 20404; a full one registers it.
fn unknown(app: &Arc<App>, params: &Params) -> Result<Step, Fault> {
    let service = check_request(app, params)?.service()?;
    let Some(text) = params.get(Key::Beat) else {
        beats::is_unknown(app, &service)?;
        return Ok(Step::Done(Ok(answer(UNKNOWN, None, &app.switches.load()))));
    };
    let mut instance = read_beat(text, params.get(Key::ClusterName), app.bounds.metadata)?;
    instance.id = InstanceIdKind::Beat;
    let interval = NonZeroU64::new(duration_key(&instance.metadata, KEY_BEAT_INTERVAL, 0));
    let (app, caller) = (app.clone(), params.caller());
    Ok(Step::wait(async move {
        let target = (service, Lifetime::Ephemeral);
        register(&app, &caller, &Publisher::Address, target, instance).await?;
        Ok(answer(KNOWN, interval, &app.switches.load()))
    }))
}

/// The instance that a full beat describes; its cluster wins over the parameter's.
fn read_beat(text: &str, cluster: Option<&str>, metadata_max: usize) -> Result<Instance, Fault> {
    let beat: FullBeat<'_> = parse_beat(text)?;
    let own = beat.cluster.as_deref().map(str::trim).filter(|own| !own.is_empty());
    let cluster = own.or(cluster).unwrap_or(DEFAULT_CLUSTER);
    let port = beat.port.to_string();
    check::check(&Input {
        cluster: Some(cluster),
        ip: Some(&beat.ip),
        port: Some(&port),
        metadata: Some(&beat.metadata),
        metadata_max: Some(metadata_max),
        ..Input::default()
    })?;
    if beat.ip.trim().is_empty() {
        return Err(Fault::Required("ip"));
    }
    if !(0.0..=WEIGHT_MAX).contains(&beat.weight) {
        return Err(Fault::Weight);
    }
    let mut instance = Instance::new(&beat.ip, check::parse_port(&port)?);
    instance.cluster = cluster_name(cluster);
    instance.weight = clamp_weight(beat.weight);
    instance.metadata = beat.metadata;
    Ok(instance)
}

fn whole_port(port: f64) -> Option<u16> {
    (port.fract() == 0.0 && (0.0..=65_535.0).contains(&port)).then_some(port as u16)
}

/// The body of an answer. `interval`: the instance's own, else the switch's.
fn answer(code: u32, interval: Option<NonZeroU64>, switches: &Switches) -> Reply {
    const READY: &[u8] = br#"{"clientBeatInterval":5000,"code":10200,"lightBeatEnabled":true}"#;
    let interval = interval.map_or(switches.client_beat_interval, |own| own.get() as i64);
    if code == KNOWN && interval == BEAT_INTERVAL_MS as i64 && switches.light_beat_enabled {
        return Reply::json(Bytes::from_static(READY));
    }
    let light = switches.light_beat_enabled;
    Reply::json(format!(r#"{{"clientBeatInterval":{interval},"code":{code},"lightBeatEnabled":{light}}}"#))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_answer_is_the_one_that_would_be_written() {
        let switches = Switches::default();
        let text = |reply: Reply| reply.body.first().to_vec();
        let off = Switches { light_beat_enabled: false, ..Switches::default() };
        let ready = text(answer(KNOWN, None, &switches));
        let written = String::from_utf8(text(answer(KNOWN, None, &off))).unwrap().replace("false", "true");
        assert_eq!(ready, written.as_bytes());
        let own = text(answer(KNOWN, NonZeroU64::new(1_000), &switches));
        assert_eq!(own, br#"{"clientBeatInterval":1000,"code":10200,"lightBeatEnabled":true}"#);
    }

    #[test]
    fn ports_of_beats_are_whole_and_small() {
        for (port, want) in
            [(0.0, Some(0)), (65_535.0, Some(65_535)), (80.5, None), (65_536.0, None), (-1.0, None)]
        {
            assert_eq!(whole_port(port), want);
        }
        assert!(read_beat(r#"{"ip":"a","port":80.5}"#, None, 1_024).is_err());
        assert!(read_beat(r#"{"ip":"","port":80}"#, None, 1_024).is_err());
        assert!(read_beat(r#"{"ip":"a","port":80,"weight":-1}"#, None, 1_024).is_err());
    }
}
