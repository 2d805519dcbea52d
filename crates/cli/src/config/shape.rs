//! The JSON that `dyad config` prints. Each generation of the servers' API has other names for a thing; here it has one
//! name. docs/cli.md shows the JSON of every command, and a test compares the page with what the commands print.

use serde_json::{Map, Value};

use super::key::text;

/// A configuration in a listing.
const LISTED: [&str; 8] =
    ["namespaceId", "groupName", "dataId", "type", "md5", "appName", "createTime", "modifyTime"];
/// What `config get` adds to it.
const WHOLE: [&str; 11] = [
    "grayName",
    "grayRule",
    "desc",
    "configTags",
    "use",
    "effect",
    "schema",
    "encryptedDataKey",
    "createUser",
    "createIp",
    "content",
];

/// A configuration in a listing.
pub(super) fn listed(item: &Value) -> Map<String, Value> {
    pick(item, &LISTED)
}

/// A configuration or gray release with all that is known of it; null is what is not.
pub(super) fn whole(item: &Value) -> Map<String, Value> {
    let mut whole = listed(item);
    whole.append(&mut pick(item, &WHOLE));
    whole
}

/// A version: a write, by its number.
pub(super) fn version(item: &Value) -> Map<String, Value> {
    let mut version = pick(item, &["namespaceId", "groupName", "dataId"]);
    version.insert("nid".into(), item["id"].clone());
    version.append(&mut write(item));
    version
}

/// One side of a comparison of two versions.
pub(super) fn side(item: &Value) -> Value {
    if item.is_null() {
        return Value::Null;
    }
    let mut side = pick(item, &["nid", "type", "md5"]);
    side.append(&mut write(item));
    Value::Object(side)
}

/// What a write did, in words, to which release, when, by whom and why.
fn write(item: &Value) -> Map<String, Value> {
    let mut write = pick(item, &["modifyTime", "srcUser", "srcIp", "reason"]);
    write.insert("operation".into(), operation(item).into());
    let gray = Some(text(item, "grayName")).filter(|name| !name.is_empty());
    write.insert("grayName".into(), gray.into());
    write
}

/// Nacos's letter as a word.
pub(super) fn operation(item: &Value) -> &str {
    match text(item, "opType").trim() {
        "I" => "create",
        "U" => "update",
        "D" => "remove",
        other => other,
    }
}

fn pick(item: &Value, names: &[&str]) -> Map<String, Value> {
    names.iter().map(|name| ((*name).to_owned(), item[*name].clone())).collect()
}
