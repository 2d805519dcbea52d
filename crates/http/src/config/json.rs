//! The JSON of configurations, versions and pages. v1 and v2 call the default namespace `''`, and v3 calls it `public`.

use dyad_config::{
    ConfigType, ContentRow, Extra, Found, Gray, GrayRule, HistoryEntry, PageRequest, Release, ShownVersion,
};
use dyad_types::ConfigKey;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::fault::Generation;
use dyad_types::date::timestamp;

/// What Nacos's history has for the creation of every row.
const HISTORY_CREATED: &str = "2010-05-05T00:00:00.000+00:00";
const HISTORY_CREATED_MS: u64 = 1_273_017_600_000;

/// The namespace as the generation shows it.
pub(super) fn tenant(key: &ConfigKey, generation: Generation) -> &str {
    if key.is_public() && generation != Generation::V3 { "" } else { key.namespace() }
}

/// A text that Nacos has as null when it was not given.
pub(crate) fn or_null(text: &str) -> Value {
    if text.is_empty() { Value::Null } else { text.into() }
}

fn tags(extra: &Extra) -> Value {
    or_null(&extra.tags.join(","))
}

/// `ConfigAllInfo` of v1 (`show=all`).
pub(super) fn all_info(key: &ConfigKey, release: &Release, row: &ContentRow, content: &str) -> Value {
    let extra = release.extra();
    json!({
        "id": release.id.to_string(),
        "dataId": key.data_id(),
        "group": key.group(),
        "content": content,
        "md5": release.md5.to_string(),
        "encryptedDataKey": extra.encrypted_data_key,
        "tenant": tenant(key, Generation::V1),
        "appName": extra.app_name,
        "type": release.kind.as_str(),
        "createTime": release.created_ms,
        "modifyTime": release.modified_ms,
        "createUser": or_null(&row.user),
        "createIp": or_null(&row.ip),
        "desc": or_null(&extra.desc),
        "use": or_null(&extra.used_for),
        "effect": or_null(&extra.effect),
        "schema": or_null(&extra.schema),
        "configTags": tags(extra),
    })
}

/// `ConfigAdvanceInfo` of v1 (`/catalog`).
pub(super) fn catalog(release: &Release, row: &ContentRow) -> Value {
    let extra = release.extra();
    json!({
        "createTime": release.created_ms,
        "modifyTime": release.modified_ms,
        "createUser": or_null(&row.user),
        "createIp": or_null(&row.ip),
        "desc": or_null(&extra.desc),
        "use": or_null(&extra.used_for),
        "effect": or_null(&extra.effect),
        "type": release.kind.as_str(),
        "schema": or_null(&extra.schema),
        "configTags": tags(extra),
    })
}

/// `ConfigInfo` of v1 and v2 listings, with its content as it is in memory.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed<'a> {
    id: String,
    data_id: &'a str,
    group: &'a str,
    content: &'a str,
    /// Null there.
    md5: Option<&'a str>,
    encrypted_data_key: Option<&'a str>,
    tenant: &'a str,
    app_name: &'a str,
    r#type: &'a str,
}

impl<'a> Listed<'a> {
    /// A data key is shown by `blur` only.
    pub(super) fn of(
        key: &'a ConfigKey,
        release: &'a Release,
        content: &'a str,
        data_key: bool,
    ) -> Listed<'a> {
        let extra = release.extra();
        Listed {
            id: release.id.to_string(),
            data_id: key.data_id(),
            group: key.group(),
            content,
            md5: None,
            encrypted_data_key: data_key.then_some(&*extra.encrypted_data_key),
            tenant: tenant(key, Generation::V1),
            app_name: &extra.app_name,
            r#type: release.kind.as_str(),
        }
    }
}

/// `ConfigInfoWrapper` of `history/configs` in v1 and v2.
pub(super) fn wrapped(key: &ConfigKey, release: &Release) -> Value {
    json!({
        "id": "0",
        "dataId": key.data_id(),
        "group": key.group(),
        "content": Value::Null,
        "md5": Value::Null,
        "encryptedDataKey": Value::Null,
        "tenant": tenant(key, Generation::V1),
        "appName": release.extra().app_name,
        "type": release.kind.as_str(),
        "lastModified": release.modified_ms,
    })
}

/// `ConfigBasicInfo` of v3.
pub(super) fn basic(key: &ConfigKey, release: &Release) -> Map<String, Value> {
    object(json!({
        "id": release.id.to_string(),
        "namespaceId": tenant(key, Generation::V3),
        "groupName": key.group(),
        "dataId": key.data_id(),
        "md5": release.md5.to_string(),
        "type": release.kind.as_str(),
        "appName": release.extra().app_name,
        "createTime": release.created_ms,
        "modifyTime": release.modified_ms,
    }))
}

/// The same as `history/configs` shows it.
pub(super) fn basic_without_md5(key: &ConfigKey, release: &Release) -> Value {
    let mut basic = basic(key, release);
    basic.insert("md5".into(), Value::Null);
    Value::Object(basic)
}

/// `ConfigDetailInfo` of v3.
pub(super) fn detail(
    key: &ConfigKey,
    release: &Release,
    row: &ContentRow,
    content: &str,
) -> Map<String, Value> {
    let extra = release.extra();
    let mut detail = basic(key, release);
    detail.extend(object(json!({
        "content": content,
        "desc": or_null(&extra.desc),
        "encryptedDataKey": extra.encrypted_data_key,
        "createUser": or_null(&row.user),
        "createIp": or_null(&row.ip),
        "configTags": tags(extra),
        "use": or_null(&extra.used_for),
        "effect": or_null(&extra.effect),
        "schema": or_null(&extra.schema),
    })));
    detail
}

/// A gray rule in Nacos's stored form.
pub(super) fn gray_rule(rule: &GrayRule) -> String {
    let expression = Value::from(rule.expression());
    format!(
        r#"{{"type":"{}","version":"{}","expr":{expression},"priority":{}}}"#,
        rule.kind(),
        rule.version(),
        rule.priority()
    )
}

/// `ConfigInfo4Beta` of v1. The type is null when neither the gray release nor the formal one was given a type.
pub(super) fn beta(key: &ConfigKey, gray: &Gray, kind: ConfigType, content: &str) -> Value {
    let extra = gray.release.extra();
    json!({
        "id": gray.release.id.to_string(),
        "dataId": key.data_id(),
        "group": key.group(),
        "content": content,
        "md5": gray.release.md5.to_string(),
        "encryptedDataKey": or_null(&extra.encrypted_data_key),
        "tenant": tenant(key, Generation::V1),
        "appName": extra.app_name,
        "type": (kind != ConfigType::Text).then(|| kind.as_str()),
        "betaIps": gray.rule.expression(),
    })
}

/// A page of a listing.
pub(crate) fn page<T>(found: &Found<T>, asked: PageRequest, items: Vec<Value>) -> Value {
    json!({
        "totalCount": found.total,
        "pageNumber": asked.number,
        "pagesAvailable": found.total.div_ceil(asked.size.max(1)),
        "pageItems": items,
    })
}

/// Nacos keeps the letter in a column of ten characters.
fn padded(entry: &HistoryEntry<'_>) -> String {
    format!("{:<10}", entry.op.as_str())
}

fn publish_type(entry: &HistoryEntry<'_>) -> &'static str {
    if entry.gray.is_some() { "gray" } else { "formal" }
}

/// What was published beside the content, as JSON in a string.
fn ext_info(row: &ContentRow) -> String {
    let mut info = object(json!({ "type": row.kind.as_str() }));
    let rule = row.gray.as_ref().and_then(|(_, rule)| rule.as_ref());
    if let Some(rule) = rule {
        info.insert("gray_rule".into(), gray_rule(rule).into());
    }
    if let Some(extra) = &row.extra {
        for (name, text) in [("desc", &extra.desc), ("use", &extra.used_for), ("effect", &extra.effect)] {
            if !text.is_empty() {
                info.insert(name.into(), Value::from(&**text));
            }
        }
        if !extra.tags.is_empty() {
            info.insert("config_tags".into(), extra.tags.join(",").into());
        }
    }
    for (name, text) in [("src_user", &row.user), ("reason", &row.reason)] {
        if !text.is_empty() {
            info.insert(name.into(), Value::from(&**text));
        }
    }
    Value::Object(info).to_string()
}

/// A version in a list or, with its content, alone.
pub(super) fn version(
    key: &ConfigKey,
    entry: &HistoryEntry<'_>,
    version: &ShownVersion,
    generation: Generation,
    whole: bool,
) -> Value {
    let (write, shown) = (&version.write, version.shown());
    let content = shown.content.as_ref().filter(|_| whole);
    let md5 = content.map(|content| content.md5().to_string());
    let content = content.map(|content| &**content.text());
    let app_name = shown.extra.as_ref().map_or("", |extra| &extra.app_name);
    let data_key = shown.extra.as_ref().map_or("", |extra| &extra.encrypted_data_key);
    if generation != Generation::V3 {
        return json!({
            "id": entry.revision.to_string(),
            "lastId": -1,
            "dataId": key.data_id(),
            "group": key.group(),
            "tenant": tenant(key, generation),
            "appName": app_name,
            "md5": md5,
            "content": content,
            "srcIp": write.ip,
            "srcUser": or_null(&write.user),
            "opType": padded(entry),
            "publishType": publish_type(entry),
            "grayName": entry.gray.unwrap_or_default(),
            "extInfo": ext_info(shown),
            "createdTime": HISTORY_CREATED,
            "lastModifiedTime": timestamp(entry.modified_ms),
            "encryptedDataKey": whole.then_some(data_key),
            "reason": write.reason,
        });
    }
    let mut row = object(json!({
        "id": entry.revision.to_string(),
        "namespaceId": tenant(key, generation),
        "groupName": key.group(),
        "dataId": key.data_id(),
        "md5": md5,
        "type": Value::Null,
        "appName": app_name,
        "createTime": HISTORY_CREATED_MS,
        "modifyTime": entry.modified_ms,
        "srcIp": write.ip,
        "srcUser": or_null(&write.user),
        "opType": padded(entry),
        "publishType": publish_type(entry),
        "grayName": entry.gray.unwrap_or_default(),
        "reason": write.reason,
    }));
    if whole {
        row.extend(object(json!({
            "content": content,
            "encryptedDataKey": data_key,
            "extInfo": ext_info(shown),
            "type": shown.kind.as_str(),
        })));
    }
    Value::Object(row)
}

/// `ConfigHistoryInfoDetail` of v2: both sides of the write.
pub(super) fn both_sides(key: &ConfigKey, entry: &HistoryEntry<'_>, version: &ShownVersion) -> Value {
    let side = |row: Option<&ContentRow>| {
        let content = row.and_then(|row| row.content.as_ref());
        let data_key = row.and_then(|row| row.extra.as_ref()).map(|extra| extra.encrypted_data_key.clone());
        let ext = row.filter(|row| row.content.is_some()).map(ext_info);
        (content.map(|c| c.md5().to_string()), content.map(|c| c.text().clone()), data_key, ext)
    };
    let (original, updated) = (side(version.before.as_ref()), side(Some(&version.write)));
    json!({
        "id": entry.revision.to_string(),
        "lastId": -1,
        "dataId": key.data_id(),
        "group": key.group(),
        "tenant": tenant(key, Generation::V2),
        "opType": padded(entry),
        "publishType": publish_type(entry),
        "grayName": entry.gray.unwrap_or_default(),
        "srcIp": version.write.ip,
        "srcUser": or_null(&version.write.user),
        "appName": version.shown().extra.as_ref().map_or("", |extra| &extra.app_name),
        "createdTime": HISTORY_CREATED,
        "lastModifiedTime": timestamp(entry.modified_ms),
        "originalMd5": original.0,
        "originalContent": original.1,
        "originalEncryptedDataKey": original.2,
        "originalExtInfo": original.3,
        "updatedMd5": updated.0,
        "updatedContent": updated.1,
        "updateEncryptedDataKey": updated.2,
        "updateExtInfo": updated.3,
    })
}

/// The members of an object literal.
pub(super) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

/// The types that a search asks for: names that are unknown match nothing.
pub(super) fn kinds(list: &str) -> Vec<ConfigType> {
    let mut kinds = Vec::new();
    for kind in list.split(',').filter_map(|name| ConfigType::parse(name.trim())) {
        if !kinds.contains(&kind) {
            kinds.push(kind);
        }
    }
    kinds
}
