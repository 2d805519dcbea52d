//! Writes many items with one command for each chunk, and reports what became of each item, even if it stops midway.

use std::sync::Arc;

use dyad_config::limits::BATCH_MAX;
use dyad_config::{Change, ConfigReply, Draft, Import, ImportPolicy, ItemOutcome};
use dyad_state::ports::ProposeError;
use dyad_types::ConfigKey;
use http::StatusCode;
use serde_json::{Map, Value, json};

use crate::config::rest_result;
use crate::fault::{Generation, status as status_of};
use crate::params::{Key, Params};
use crate::reply::Reply;
use dyad_app::App;
use dyad_app::Fault;
use dyad_app::config::write::{Author, propose};

/// Bytes of contents and their texts in one command: keeps an entry's way through the log short. A larger content goes alone.
const CHUNK_BYTES: usize = 1024 * 1024;
/// What an item takes beside its texts.
const ITEM_BYTES: usize = 256;

/// Nacos's codes of imports that did not begin (`ResultCodeEnum`), with its words of v1 and of v3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    NoNamespace,
    BadMetadata,
    NoData,
    NothingSelected,
}

impl Refusal {
    fn code(self, generation: Generation) -> u32 {
        match self {
            Refusal::NoNamespace if generation == Generation::V3 => 22_001,
            Refusal::NoNamespace => 100_001,
            Refusal::BadMetadata => 100_002,
            Refusal::NoData => 100_005,
            Refusal::NothingSelected => 100_006,
        }
    }

    fn message(self, generation: Generation) -> &'static str {
        let old = generation == Generation::V1;
        match self {
            Refusal::NoNamespace if old => "目标 namespace 不存在",
            Refusal::NoNamespace => "namespace not exist",
            Refusal::BadMetadata if old => "导入的元数据非法",
            Refusal::BadMetadata => "Imported metadata is invalid",
            Refusal::NoData if old => "导入的文件数据为空",
            Refusal::NoData => "Imported file data is empty",
            Refusal::NothingSelected if old => "没有选择任何配置",
            Refusal::NothingSelected => "No configuration selected",
        }
    }

    /// 200 with the code, as in Nacos; the data says what was wrong.
    pub(super) fn reply(self, generation: Generation, reason: &str) -> Reply {
        let data = json!({ "succCount": 0, "reason": reason });
        coded(generation, self.code(generation), self.message(generation), &data)
    }
}

fn coded(generation: Generation, code: u32, message: &str, data: &Value) -> Reply {
    match generation {
        Generation::V1 => rest_result(code, Some(message), data),
        _ => Reply::json(json!({ "code": code, "message": message, "data": data }).to_string()),
    }
}

/// What to write, and how.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) items: Vec<(ConfigKey, Draft)>,
    pub(super) policy: ImportPolicy,
    pub(super) clone: bool,
    pub(super) source: Author,
    /// Names of what was in the archive and is no item.
    pub(super) unrecognized: Vec<String>,
}

/// What became of the items.
#[derive(Debug, Default)]
struct Report {
    done: usize,
    /// Not written: refused; present, or after the end; and those of a command whose outcome is unknown.
    failed: Vec<Value>,
    skipped: Vec<Value>,
    unknown: Vec<Value>,
}

/// Writes the items in chunks. A chunk is applied as a whole or not at all; the first that is not acknowledged ends it.
pub(super) async fn run(app: &Arc<App>, job: Job, generation: Generation) -> Result<Reply, Fault> {
    let Job { items, policy, clone, source, unrecognized } = job;
    let mut report = Report::default();
    let mut stopped: Option<Fault> = None;
    let mut conflict = false;
    for chunk in chunks(items) {
        let keys: Vec<ConfigKey> = chunk.iter().map(|(key, _)| key.clone()).collect();
        if conflict || stopped.is_some() {
            report.skipped.extend(keys.iter().map(named));
            continue;
        }
        let enforce = app.bounds.config_quotas;
        let change = Change::Import(Import { items: chunk, policy, clone, enforce });
        match propose(app, change, source.clone()).await {
            Ok(ConfigReply::Report(outcomes)) => {
                conflict = outcomes.contains(&ItemOutcome::Conflict);
                report.add(&keys, &outcomes);
            }
            Ok(ConfigReply::NoNamespace) => {
                let reason =
                    format!("namespace {} does not exist", keys.first().map_or("", ConfigKey::namespace));
                if report.done == 0 {
                    return Ok(Refusal::NoNamespace.reply(generation, &reason));
                }
                report.skipped.extend(keys.iter().map(named));
                stopped = Some(Fault::NoNamespace(keys.first().map_or("", ConfigKey::namespace).to_owned()));
            }
            Ok(_) => return Err(Fault::UnknownReply),
            // What was refused is not applied; after anything else it may be.
            Err(fault) if is_refused(&fault) => {
                report.failed.extend(keys.iter().map(named));
                stopped = Some(fault);
            }
            Err(fault) => {
                report.unknown.extend(keys.iter().map(named));
                stopped = Some(fault);
            }
        }
    }
    Ok(report.reply(generation, clone, &unrecognized, stopped.as_ref()))
}

/// Is it certain that the command was not applied?
fn is_refused(fault: &Fault) -> bool {
    use ProposeError::{Busy, NoLeader, TooLarge};
    let refused = |error: &ProposeError| matches!(error, NoLeader(_) | Busy(_) | TooLarge { .. });
    match fault {
        Fault::ConfigLimit(_) => true,
        Fault::Propose(error) => refused(error),
        _ => false,
    }
}

/// Cuts the items into commands of bounded number and size.
fn chunks(items: Vec<(ConfigKey, Draft)>) -> Vec<Vec<(ConfigKey, Draft)>> {
    let mut chunks: Vec<Vec<(ConfigKey, Draft)>> = Vec::new();
    let mut bytes = 0;
    for item in items {
        let size = item.1.content.text().len() + item.1.extra_bytes() + ITEM_BYTES;
        match chunks.last_mut().filter(|chunk| chunk.len() < BATCH_MAX && bytes + size <= CHUNK_BYTES) {
            Some(chunk) => {
                bytes += size;
                chunk.push(item);
            }
            None => {
                bytes = size;
                chunks.push(vec![item]);
            }
        }
    }
    chunks
}

fn named(key: &ConfigKey) -> Value {
    json!({ "dataId": key.data_id(), "group": key.group() })
}

/// Not written, and why: `exists`, or `over a limit`, which is mostly a quota.
fn failed(key: &ConfigKey, reason: &str) -> Value {
    json!({ "dataId": key.data_id(), "group": key.group(), "reason": reason })
}

impl Report {
    fn add(&mut self, keys: &[ConfigKey], outcomes: &[ItemOutcome]) {
        for (key, outcome) in keys.iter().zip(outcomes) {
            match outcome {
                ItemOutcome::Created | ItemOutcome::Updated | ItemOutcome::Removed => self.done += 1,
                ItemOutcome::Skipped | ItemOutcome::NotTried | ItemOutcome::NotFound => {
                    self.skipped.push(named(key));
                }
                ItemOutcome::Conflict => self.failed.push(failed(key, "exists")),
                ItemOutcome::OverLimit => self.failed.push(failed(key, "over a limit")),
            }
        }
    }

    fn reply(
        self,
        generation: Generation,
        clone: bool,
        unrecognized: &[String],
        stopped: Option<&Fault>,
    ) -> Reply {
        let mut data = Map::new();
        data.insert("succCount".into(), self.done.into());
        data.insert("skipCount".into(), self.skipped.len().into());
        for (name, items) in
            [("failData", self.failed), ("skipData", self.skipped), ("unknownData", self.unknown)]
        {
            if !items.is_empty() {
                data.insert(name.into(), items.into());
            }
        }
        if !unrecognized.is_empty() {
            data.insert("unrecognizedCount".into(), unrecognized.len().into());
            let names: Vec<Value> = unrecognized.iter().map(|name| json!({ "itemName": name })).collect();
            data.insert("unrecognizedData".into(), names.into());
        }
        let Some(fault) = stopped else {
            return match generation {
                Generation::V1 if clone => {
                    rest_result(200, Some("Clone Completed Successfully"), &Value::Object(data))
                }
                Generation::V1 => rest_result(200, Some("import success"), &Value::Object(data)),
                _ => crate::config::result(&Value::Object(data)),
            };
        };
        data.insert("reason".into(), fault.to_string().into());
        let status = status_of(fault);
        let code = if generation == Generation::V1 { u32::from(status.as_u16()) } else { fault.code().0 };
        let reply = coded(generation, code, "stopped before the end", &Value::Object(data));
        Reply {
            status: if status == StatusCode::OK { StatusCode::INTERNAL_SERVER_ERROR } else { status },
            ..reply
        }
    }
}

/// `SameConfigPolicy`; ABORT without one.
///
/// # Errors
/// Another word.
pub(super) fn policy(params: &Params) -> Result<ImportPolicy, Fault> {
    match params.get(Key::Policy) {
        None | Some("ABORT") => Ok(ImportPolicy::Abort),
        Some("SKIP") => Ok(ImportPolicy::Skip),
        Some("OVERWRITE") => Ok(ImportPolicy::Overwrite),
        Some(other) => Err(Fault::Invalid(format!("policy: {other:?} is none of ABORT, SKIP and OVERWRITE"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_bounded_with_all_its_texts() {
        let item = |n: usize| {
            let schema = "s".repeat(32 * 1024).into();
            (ConfigKey::new("", "G", &n.to_string()), Draft { schema, ..Draft::text("x") })
        };
        let items: Vec<_> = (0..100).map(item).collect();
        let chunks = chunks(items.clone());
        let bytes = |chunk: &Vec<(ConfigKey, Draft)>| -> usize {
            chunk.iter().map(|(_, draft)| draft.extra_bytes()).sum()
        };
        assert!(chunks.iter().all(|chunk| bytes(chunk) <= CHUNK_BYTES), "{} commands", chunks.len());
        assert_eq!(chunks.concat(), items, "all of them, in order");
    }
}
