//! The switches of Nacos (`SwitchDomain`, `SwitchManager`): replicated settings that an operator can change at run time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::java::{parse_boolean, parse_float, parse_int, parse_long};

/// Smallest push cache time in milliseconds (`SwitchEntry.MIN_PUSH_CACHE_TIME_MIILIS`).
const PUSH_CACHE_MS_MIN: i64 = 10_000;
/// Smallest cache time in milliseconds of clients without push.
const CACHE_MS_MIN: i64 = 1_000;
/// Smallest period of the service status exchange in milliseconds.
const SERVICE_SYNC_MS_MIN: i64 = 5_000;
/// Smallest period of the server status exchange in milliseconds.
const SERVER_SYNC_MS_MIN: i64 = 1_000;
/// Most bytes of the value of a switch, because every GET shows it and every snapshot has it.
pub const SWITCH_VALUE_MAX: usize = 16 * 1024;

/// The names that [`Switches::set`] acts on, except `enableStandalone`.
const ENTRIES: [&str; 25] = [
    "distroThreshold",
    "clientBeatInterval",
    "pushVersion",
    "pushCacheMillis",
    "defaultPushCacheMillis",
    "defaultCacheMillis",
    "masters",
    "distro",
    "check",
    "healthCheckEnabled",
    "pushEnabled",
    "serviceStatusSynchronizationPeriodMillis",
    "serverStatusSynchronizationPeriodMillis",
    "healthCheckTimes",
    "disableAddIP",
    "sendBeatOnly",
    "limitedUrlMap",
    "overriddenServerStatus",
    "defaultInstanceEphemeral",
    "distroServerExpiredMillis",
    "lightBeatEnabled",
    "autoChangeHealthCheckEnabled",
    "httpHealthParams",
    "tcpHealthParams",
    "mysqlHealthParams",
];
/// Shown, and set by nobody, in Nacos as here.
const READ_ONLY: [&str; 6] =
    ["adWeightMap", "incrementalList", "enableAuthentication", "healthCheckWhiteList", "name", "checksum"];

/// The largest and the smallest interval of health checks, in milliseconds, and the factor by which it grows
/// (`SwitchDomain.HealthParams`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct HealthParams {
    pub max: i32,
    pub min: i32,
    pub factor: f32,
}

/// All switches, in the order in which Nacos 2.5 shows them. The serialized form is the body of `GET
/// /operator/switches` and also the form in snapshots. A field that a snapshot does not have gets its default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Switches {
    pub masters: Option<Vec<String>>,
    pub ad_weight_map: BTreeMap<String, i32>,
    pub default_push_cache_millis: i64,
    pub client_beat_interval: i64,
    pub default_cache_millis: i64,
    pub distro_threshold: f32,
    pub health_check_enabled: bool,
    pub auto_change_health_check_enabled: bool,
    pub distro_enabled: bool,
    pub enable_standalone: bool,
    pub push_enabled: bool,
    pub check_times: i32,
    pub http_health_params: HealthParams,
    pub tcp_health_params: HealthParams,
    pub mysql_health_params: HealthParams,
    pub incremental_list: Vec<String>,
    pub server_status_synchronization_period_millis: i64,
    pub service_status_synchronization_period_millis: i64,
    #[serde(rename = "disableAddIP")]
    pub disable_add_ip: bool,
    pub send_beat_only: bool,
    pub light_beat_enabled: bool,
    pub limited_url_map: BTreeMap<String, i32>,
    pub distro_server_expired_millis: i64,
    pub push_go_version: String,
    pub push_java_version: String,
    pub push_python_version: String,
    #[serde(rename = "pushCVersion")]
    pub push_c_version: String,
    #[serde(rename = "pushCSharpVersion")]
    pub push_csharp_version: String,
    pub enable_authentication: bool,
    pub overridden_server_status: Option<String>,
    pub default_instance_ephemeral: bool,
    pub health_check_white_list: Vec<String>,
    pub name: String,
    pub checksum: Option<String>,
}

impl Default for Switches {
    fn default() -> Switches {
        Switches {
            masters: None,
            ad_weight_map: BTreeMap::new(),
            default_push_cache_millis: 10_000,
            client_beat_interval: 5_000,
            default_cache_millis: 3_000,
            distro_threshold: 0.7,
            health_check_enabled: true,
            auto_change_health_check_enabled: true,
            distro_enabled: true,
            enable_standalone: true,
            push_enabled: true,
            check_times: 3,
            http_health_params: HealthParams { max: 5_000, min: 500, factor: 0.85 },
            tcp_health_params: HealthParams { max: 5_000, min: 1_000, factor: 0.75 },
            mysql_health_params: HealthParams { max: 3_000, min: 2_000, factor: 0.65 },
            incremental_list: Vec::new(),
            server_status_synchronization_period_millis: 2_000,
            service_status_synchronization_period_millis: 5_000,
            disable_add_ip: false,
            send_beat_only: false,
            light_beat_enabled: true,
            limited_url_map: BTreeMap::new(),
            distro_server_expired_millis: 10_000,
            push_go_version: "0.1.0".into(),
            push_java_version: "0.1.0".into(),
            push_python_version: "0.4.3".into(),
            push_c_version: "1.0.12".into(),
            push_csharp_version: "0.9.0".into(),
            enable_authentication: false,
            overridden_server_status: None,
            default_instance_ephemeral: true,
            health_check_white_list: Vec::new(),
            name: "00-00---000-NACOS_SWITCH_DOMAIN-000---00-00".into(),
            checksum: None,
        }
    }
}

impl Switches {
    /// The body of `GET /operator/switches`.
    pub fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a struct of strings and finite numbers always serializes")
    }

    /// The entry and the value that [`Switches::set`] knows for a switch that may be named as [`Switches::to_json`] shows it.
    ///
    /// # Errors
    /// There is no such switch, or it cannot be set. The error is the message of the answer 400.
    pub fn settable(entry: &str, value: &str) -> Result<(String, String), String> {
        let known = |entry: &str| Ok((entry.to_owned(), value.to_owned()));
        let push_version = |client: &str| Ok(("pushVersion".to_owned(), format!("{client}:{value}")));
        match entry {
            "checkTimes" => known("healthCheckTimes"),
            "distroEnabled" => known("distro"),
            "pushGoVersion" => push_version("go"),
            "pushJavaVersion" => push_version("java"),
            "pushPythonVersion" => push_version("python"),
            "pushCVersion" => push_version("c"),
            "pushCSharpVersion" => push_version("csharp"),
            "enableStandalone" if value.is_empty() || !parse_boolean(value) => {
                Ok((entry.to_owned(), String::new()))
            }
            "enableStandalone" => Err("the switch enableStandalone can only be set to false".into()),
            _ if ENTRIES.contains(&entry) => known(entry),
            _ if READ_ONLY.contains(&entry) => {
                Err(format!("the switch {entry} cannot be set: nothing acts on it"))
            }
            _ => Err(format!("there is no switch with the name {entry}; GET of this path shows all")),
        }
    }

    /// Sets one switch (`SwitchManager.update`). An unknown switch changes nothing and is not an error here: a log may have it.
    ///
    /// # Errors
    /// The value does not fit the switch. Nothing is changed then, and the error is the message of the answer 400.
    pub fn set(&mut self, entry: &str, value: &str) -> Result<(), String> {
        if value.len() > SWITCH_VALUE_MAX {
            return Err(format!(
                "the value of {} bytes is over the limit of {SWITCH_VALUE_MAX}",
                value.len()
            ));
        }
        match entry {
            "distroThreshold" => self.distro_threshold = positive(value)?,
            "clientBeatInterval" => self.client_beat_interval = parse_long(value)?,
            "pushVersion" => self.set_push_version(value)?,
            "pushCacheMillis" | "defaultPushCacheMillis" => {
                self.default_push_cache_millis = at_least(entry, value, PUSH_CACHE_MS_MIN)?;
            }
            "defaultCacheMillis" => self.default_cache_millis = at_least(entry, value, CACHE_MS_MIN)?,
            "masters" => self.masters = Some(value.split(',').map(Into::into).collect()),
            "distro" => self.distro_enabled = parse_boolean(value),
            "check" | "healthCheckEnabled" => self.health_check_enabled = parse_boolean(value),
            "pushEnabled" => self.push_enabled = parse_boolean(value),
            "serviceStatusSynchronizationPeriodMillis" => {
                self.service_status_synchronization_period_millis =
                    at_least(entry, value, SERVICE_SYNC_MS_MIN)?;
            }
            "serverStatusSynchronizationPeriodMillis" => {
                self.server_status_synchronization_period_millis =
                    at_least(entry, value, SERVER_SYNC_MS_MIN)?;
            }
            "healthCheckTimes" => self.check_times = parse_int(value)?,
            "disableAddIP" => self.disable_add_ip = parse_boolean(value),
            "sendBeatOnly" => self.send_beat_only = parse_boolean(value),
            "limitedUrlMap" => self.set_limited_urls(value)?,
            // Nacos acts on an empty value only.
            "enableStandalone" if value.is_empty() => self.enable_standalone = false,
            "overriddenServerStatus" => {
                self.overridden_server_status =
                    Some(if value == "null" { String::new() } else { value.into() });
            }
            "defaultInstanceEphemeral" => self.default_instance_ephemeral = parse_boolean(value),
            "distroServerExpiredMillis" => self.distro_server_expired_millis = parse_long(value)?,
            "lightBeatEnabled" => self.light_beat_enabled = parse_boolean(value),
            "autoChangeHealthCheckEnabled" => self.auto_change_health_check_enabled = parse_boolean(value),
            "httpHealthParams" => self.http_health_params = health_params(value, true)?,
            "tcpHealthParams" => self.tcp_health_params = health_params(value, true)?,
            "mysqlHealthParams" => self.mysql_health_params = health_params(value, false)?,
            _ => {}
        }
        Ok(())
    }

    fn set_push_version(&mut self, value: &str) -> Result<(), String> {
        let (client, version) = value.split_once(':').ok_or("pushVersion must be <client>:<version>")?;
        let parts: Vec<&str> = version.split('.').collect();
        if parts.len() != 3 || parts.iter().any(|p| p.is_empty() || !p.bytes().all(|b| b.is_ascii_digit())) {
            return Err("illegal version, must match: [0-9]+\\.[0-9]+\\.[0-9]+".into());
        }
        let field = match client {
            "java" => &mut self.push_java_version,
            "python" => &mut self.push_python_version,
            "c" => &mut self.push_c_version,
            "go" => &mut self.push_go_version,
            "csharp" => &mut self.push_csharp_version,
            other => return Err(format!("unsupported client type: {other}")),
        };
        *field = version.into();
        Ok(())
    }

    fn set_limited_urls(&mut self, value: &str) -> Result<(), String> {
        if value.is_empty() {
            return Ok(());
        }
        let mut urls = BTreeMap::new();
        for item in value.split(',') {
            let mut parts = item.split(':');
            let (Some(url), Some(code)) = (parts.next(), parts.next()) else {
                return Err("invalid input for limited urls".into());
            };
            if url.is_empty() {
                return Err("url can not be empty, url: ".into());
            }
            let code = parse_int(code)?;
            if code <= 0 {
                return Err(format!("illegal normal status code: {code}"));
            }
            urls.insert(url.into(), code);
        }
        self.limited_url_map = urls;
        Ok(())
    }
}

fn positive(value: &str) -> Result<f32, String> {
    let number = parse_float(value)?;
    if number > 0.0 && number.is_finite() {
        return Ok(number);
    }
    Err(format!("distroThreshold can not be zero or negative: {number:?}"))
}

fn at_least(entry: &str, value: &str, min: i64) -> Result<i64, String> {
    let number = parse_long(value)?;
    if number >= min { Ok(number) } else { Err(format!("{entry} is too small(<{min})")) }
}

fn health_params(value: &str, checked: bool) -> Result<HealthParams, String> {
    let params: HealthParams =
        serde_json::from_str(value).map_err(|_| format!("invalid health params: {value}"))?;
    if !params.factor.is_finite() {
        return Err("health params factor must be a number".into());
    }
    if checked && (params.min < 500 || params.max < 3_000 || !(0.0..=1.0).contains(&params.factor)) {
        return Err("health params need min >= 500, max >= 3000 and a factor from 0 to 1".into());
    }
    Ok(params)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_serialize_as_nacos_shows_them() {
        let want = concat!(
            r#"{"masters":null,"adWeightMap":{},"defaultPushCacheMillis":10000,"clientBeatInterval":5000,"#,
            r#""defaultCacheMillis":3000,"distroThreshold":0.7,"healthCheckEnabled":true,"#,
            r#""autoChangeHealthCheckEnabled":true,"distroEnabled":true,"enableStandalone":true,"#,
            r#""pushEnabled":true,"checkTimes":3,"#,
            r#""httpHealthParams":{"max":5000,"min":500,"factor":0.85},"#,
            r#""tcpHealthParams":{"max":5000,"min":1000,"factor":0.75},"#,
            r#""mysqlHealthParams":{"max":3000,"min":2000,"factor":0.65},"incrementalList":[],"#,
            r#""serverStatusSynchronizationPeriodMillis":2000,"#,
            r#""serviceStatusSynchronizationPeriodMillis":5000,"disableAddIP":false,"sendBeatOnly":false,"#,
            r#""lightBeatEnabled":true,"limitedUrlMap":{},"distroServerExpiredMillis":10000,"#,
            r#""pushGoVersion":"0.1.0","pushJavaVersion":"0.1.0","pushPythonVersion":"0.4.3","#,
            r#""pushCVersion":"1.0.12","pushCSharpVersion":"0.9.0","enableAuthentication":false,"#,
            r#""overriddenServerStatus":null,"defaultInstanceEphemeral":true,"healthCheckWhiteList":[],"#,
            r#""name":"00-00---000-NACOS_SWITCH_DOMAIN-000---00-00","checksum":null}"#,
        );
        let json = Switches::default().to_json();
        assert_eq!(String::from_utf8(json.clone()).unwrap(), want);
        assert_eq!(serde_json::from_slice::<Switches>(&json).unwrap(), Switches::default());
    }

    #[test]
    fn every_name_that_is_shown_can_be_set_or_says_that_it_cannot() {
        let shown: serde_json::Value = serde_json::from_slice(&Switches::default().to_json()).unwrap();
        for name in shown.as_object().unwrap().keys() {
            let set = Switches::settable(name, "true");
            assert_eq!(
                set.is_err(),
                READ_ONLY.contains(&&**name) || name == "enableStandalone",
                "{name}: {set:?}"
            );
        }
        for entry in ENTRIES {
            assert_eq!(Switches::settable(entry, "v"), Ok((entry.to_owned(), "v".to_owned())));
        }
        let mut switches = Switches::default();
        for (name, value) in [("checkTimes", "4"), ("pushGoVersion", "1.2.3"), ("distroEnabled", "false")] {
            let (entry, value) = Switches::settable(name, value).unwrap();
            switches.set(&entry, &value).unwrap();
        }
        let want = Switches {
            check_times: 4,
            push_go_version: "1.2.3".into(),
            distro_enabled: false,
            ..Switches::default()
        };
        assert_eq!(switches, want);
        assert!(Switches::settable("nonsense", "true").unwrap_err().contains("nonsense"));
    }

    #[test]
    fn entries_act_on_their_field() {
        let mut switches = Switches::default();
        for (entry, value) in [
            ("check", "false"),
            ("clientBeatInterval", "6000"),
            ("defaultInstanceEphemeral", "no"),
            ("pushVersion", "go:1.2.3"),
            ("limitedUrlMap", "/a:404,/b:500"),
            ("tcpHealthParams", r#"{"max":4000,"min":600,"factor":0.5}"#),
            ("overriddenServerStatus", "null"),
            ("nosuch", "x"),
            ("enableStandalone", "false"),
        ] {
            switches.set(entry, value).unwrap();
        }
        let want = Switches {
            health_check_enabled: false,
            client_beat_interval: 6_000,
            default_instance_ephemeral: false,
            push_go_version: "1.2.3".into(),
            limited_url_map: [("/a".into(), 404), ("/b".into(), 500)].into(),
            tcp_health_params: HealthParams { max: 4_000, min: 600, factor: 0.5 },
            overridden_server_status: Some(String::new()),
            ..Switches::default()
        };
        assert_eq!(switches, want);
        switches.set("healthCheckEnabled", "true").unwrap();
        assert!(switches.health_check_enabled);
    }

    #[test]
    fn a_value_that_does_not_fit_changes_nothing() {
        for (entry, value, message) in [
            ("clientBeatInterval", "abc", "For input string: \"abc\""),
            ("healthCheckTimes", "3.5", "For input string: \"3.5\""),
            ("pushCacheMillis", "9999", "pushCacheMillis is too small(<10000)"),
            ("defaultCacheMillis", "999", "defaultCacheMillis is too small(<1000)"),
            ("distroThreshold", "0", "distroThreshold can not be zero or negative: 0.0"),
            ("pushVersion", "java:1.2", "illegal version, must match: [0-9]+\\.[0-9]+\\.[0-9]+"),
            ("pushVersion", "cobol:1.2.3", "unsupported client type: cobol"),
            ("limitedUrlMap", "/a", "invalid input for limited urls"),
            ("limitedUrlMap", "/a:0", "illegal normal status code: 0"),
            ("httpHealthParams", "{}", "invalid health params: {}"),
        ] {
            let mut switches = Switches::default();
            assert_eq!(switches.set(entry, value), Err(message.into()), "{entry}={value}");
            assert_eq!(switches, Switches::default());
        }
    }
}
