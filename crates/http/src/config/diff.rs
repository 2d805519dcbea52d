//! The difference between two versions, line by line.

use std::time::Duration;

use dyad_config::ContentRow;
use serde_json::{Value, json};
use similar::{ChangeTag, TextDiff};

use dyad_app::Fault;

/// After this the rest is shown as replaced: the exact difference of large texts that have little in common takes long.
const EFFORT: Duration = Duration::from_secs(1);
/// Bytes of both contents together that are compared.
const BYTES_MAX: usize = 8 * 1024 * 1024;
/// Lines of both contents together that are compared: each takes some hundred bytes of memory meanwhile.
const LINES_MAX: usize = 200_000;
/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// A unified diff with the counts of lines, and what else is different. `None` is nothing, as before the first version.
///
/// # Errors
/// The contents are too large, or have too many lines.
pub(super) fn unified(before: Option<&ContentRow>, after: &ContentRow) -> Result<Value, Fault> {
    let text = |row: Option<&ContentRow>| {
        row.and_then(|row| row.content.as_ref()).map_or_else(|| "".into(), |content| content.text().clone())
    };
    let (old, new) = (text(before), text(Some(after)));
    if old.len() + new.len() > BYTES_MAX {
        let max = BYTES_MAX / (1024 * 1024);
        return Err(Fault::Invalid(format!(
            "the two contents are over {max} MiB together: compare them elsewhere"
        )));
    }
    if old.lines().chain(new.lines()).nth(LINES_MAX).is_some() {
        return Err(Fault::Invalid(format!(
            "the two contents have over {LINES_MAX} lines together: compare them elsewhere"
        )));
    }
    let diff = TextDiff::configure().timeout(EFFORT).diff_lines(&*old, &*new);
    let count = |tag: ChangeTag| diff.iter_all_changes().filter(|change| change.tag() == tag).count();
    let name =
        |row: Option<&ContentRow>| row.map_or_else(|| "nothing".to_owned(), |row| row.revision.to_string());
    let unified =
        diff.unified_diff().context_radius(CONTEXT).header(&name(before), &name(Some(after))).to_string();
    Ok(json!({
        "from": side(before),
        "to": side(Some(after)),
        "added": count(ChangeTag::Insert),
        "removed": count(ChangeTag::Delete),
        "diff": unified,
    }))
}

fn side(row: Option<&ContentRow>) -> Value {
    let Some(row) = row else { return Value::Null };
    json!({
        "nid": row.revision.to_string(),
        "md5": row.content.as_ref().map(|content| content.md5().to_string()),
        "type": row.kind.as_str(),
        "opType": row.op.as_str(),
        "grayName": row.gray.as_ref().map(|(name, _)| name),
        "srcUser": row.user,
        "srcIp": row.ip,
        "reason": row.reason,
        "modifyTime": row.modified_ms,
    })
}
