//! Recorded exchanges of a real server: sending them again, and comparing the answers.

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Answer, Server};

/// Fields that differ from run to run: compared by type only.
const VOLATILE: &[&str] = &[
    "lastRefTime",
    "checksum",
    "createTime",
    "modifyTime",
    "createdTime",
    "lastModifiedTime",
    "lastModified",
    "id",
    "lastBeat",
    "lastHeartBeat",
    "revision",
    "timestamp",
    "address",
    "ip",
    "addrStr",
    "lastRefreshTime",
    "raftMetaData",
    "abilities",
    "version",
    "lastUpdatedTime",
    "clientIp",
    "clientId",
    "instanceId",
    "failAccessCnt",
    "path",
    "createIp",
    "srcIp",
    "gmtCreate",
    "gmtModified",
];

/// Headers that an answer must have when the recorded one has them.
const HEADERS: &[&str] = &["config-type", "content-md5", "content-disposition", "isbeta", "tag"];

/// Name and reason of each line that differs on purpose.
pub fn differs(list: &'static str) -> BTreeMap<&'static str, &'static str> {
    let line = |line: &'static str| {
        let (name, reason) = line.split_once(' ').unwrap_or_else(|| panic!("{line}: no reason"));
        assert!(["policy ", "later ", "mistake "].iter().any(|kind| reason.starts_with(kind)), "{line}");
        (name, reason)
    };
    list.lines().filter(|l| !l.starts_with('#')).map(line).collect()
}

pub fn replay(server: &Server, request: &Value) -> Answer {
    let query = request["query"].as_str().filter(|query| !query.is_empty());
    let path = request["path"].as_str().unwrap();
    let target = query.map_or(path.to_owned(), |query| format!("{path}?{query}"));
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in request["headers"].as_object().into_iter().flatten() {
        headers.push((name.clone(), value.as_str().unwrap().to_owned()));
    }
    let body = match &request["form"] {
        Value::Object(form) => {
            headers.push(("Content-Type".into(), "application/x-www-form-urlencoded".into()));
            let pair = |(key, value): (&String, &Value)| {
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                format!(
                    "{key}={}",
                    percent_encoding::utf8_percent_encode(&value, percent_encoding::NON_ALPHANUMERIC)
                )
            };
            form.iter().map(pair).collect::<Vec<_>>().join("&").into_bytes()
        }
        Value::Null => body(request["body"].as_str().unwrap_or_default()),
        Value::String(form) => form.clone().into_bytes(),
        other => panic!("form {other}"),
    };
    let headers: Vec<(&str, &str)> = headers.iter().map(|(name, value)| (&**name, &**value)).collect();
    server.send(request["method"].as_str().unwrap(), &target, &headers, &body)
}

fn body(text: &str) -> Vec<u8> {
    text.strip_prefix("base64:").map_or_else(|| text.as_bytes().to_vec(), base64)
}

fn base64(text: &str) -> Vec<u8> {
    let digit = |b: u8| match b {
        b'A'..=b'Z' => b - b'A',
        b'a'..=b'z' => b - b'a' + 26,
        b'0'..=b'9' => b - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        other => panic!("{other}"),
    };
    let digits: Vec<u8> = text.trim_end_matches('=').bytes().map(digit).collect();
    let group = |group: &[u8]| {
        let bits = group.iter().enumerate().fold(0_u32, |bits, (n, d)| bits | u32::from(*d) << (18 - 6 * n));
        bits.to_be_bytes()[1..group.len()].to_vec()
    };
    digits.chunks(4).flat_map(group).collect()
}

/// What differs in status, body and [`HEADERS`]; an error's text must be the same too.
pub fn compare(want: &Value, got: &Answer) -> Vec<String> {
    let mut found = compare_status(want, got);
    if found.is_empty() {
        differences(&want["body"], &json(got), "$", false, &mut found);
    }
    found
}

/// As [`compare`], but of an error only the status: its words are this server's own.
pub fn compare_answer(want: &Value, got: &Answer) -> Vec<String> {
    let found = compare_status(want, got);
    if found.is_empty() && want["status"].as_u64().unwrap() < 400 { compare(want, got) } else { found }
}

fn compare_status(want: &Value, got: &Answer) -> Vec<String> {
    let status = want["status"].as_u64().unwrap();
    if status != u64::from(got.status) {
        return vec![format!("status {status} != {} ({})", got.status, got.body)];
    }
    let missing = |name: &&&str| want["headers"].get(**name).is_some() && got.header(name).is_none();
    HEADERS.iter().filter(missing).map(|name| format!("header {name}: missing")).collect()
}

fn json(got: &Answer) -> Value {
    if got.body.starts_with(['{', '[']) {
        serde_json::from_str(&got.body).unwrap_or_else(|_| Value::from(&*got.body))
    } else {
        Value::from(&*got.body)
    }
}

fn differences(want: &Value, got: &Value, at: &str, volatile: bool, out: &mut Vec<String>) {
    if volatile {
        if kind(want) != kind(got) && !want.is_null() && !got.is_null() {
            out.push(format!("{at}: {} != {}", kind(want), kind(got)));
        }
        return;
    }
    match (want, got) {
        (Value::Object(want), Value::Object(got)) => {
            let registered = want.contains_key("clusterName") || want.contains_key("weight");
            for (key, value) in want {
                let volatile = VOLATILE.contains(&&**key) && !(registered && key == "ip");
                match got.get(key) {
                    Some(have) => differences(value, have, &format!("{at}.{key}"), volatile, out),
                    None if value.is_null() => {}
                    None => out.push(format!("{at}.{key}: missing")),
                }
            }
        }
        (Value::Array(want), Value::Array(got)) if want.len() != got.len() => {
            out.push(format!("{at}: {} items != {}", want.len(), got.len()));
        }
        // A set: each recorded item takes the item that is nearest to it.
        (Value::Array(want), Value::Array(got)) => {
            let mut left: Vec<&Value> = got.iter().collect();
            for (n, item) in want.iter().enumerate() {
                let distance = |have: &&Value| {
                    let mut found = Vec::new();
                    differences(item, have, "", false, &mut found);
                    found.len()
                };
                let best = (0..left.len()).min_by_key(|&n| distance(&left[n])).unwrap();
                differences(item, left.remove(best), &format!("{at}[{n}]"), false, out);
            }
        }
        (Value::Number(a), Value::Number(b)) if a.is_f64() || b.is_f64() => {
            let (a, b) = (a.as_f64().unwrap(), b.as_f64().unwrap());
            if (a - b).abs() >= 1e-9 {
                out.push(format!("{at}: {a} != {b}"));
            }
        }
        _ if want == got => {}
        _ => out.push(format!("{at}: {want} != {got}")),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
