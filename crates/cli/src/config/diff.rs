//! `dyad config diff`: two versions (compared by the server), a version and a file, two namespaces.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use similar::TextDiff;

use super::args::{DiffArgs, FilterArgs, KeyArgs, PlaceArgs};
use super::input::read_text;
use super::key::{detail, named, text};
use super::{list, one, shape};
use crate::client::Request;
use crate::exit::{Exit, Failure};
use crate::remote::Remote;

/// After this the rest is shown as replaced: the exact difference of large texts that have little in common takes long.
const EFFORT: Duration = Duration::from_secs(2);
/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// The difference as `diff -u` shows it; nothing when there is none.
pub(super) fn unified(old: (&str, &str), new: (&str, &str)) -> String {
    if old.1 == new.1 {
        return String::new();
    }
    let diff = TextDiff::configure().timeout(EFFORT).diff_lines(old.1, new.1);
    diff.unified_diff().context_radius(CONTEXT).header(old.0, new.0).to_string()
}

/// `--exit-code`.
pub(crate) fn end(exit_code: bool, different: bool) -> Result<(), Failure> {
    if exit_code && different { Err(Failure::new(Exit::Differs, "there are differences")) } else { Ok(()) }
}

pub(super) async fn diff(remote: &mut Remote, args: DiffArgs) -> Result<(), Failure> {
    let exit_code = args.exit_code;
    let different = match (&args.with, &args.data_id) {
        (Some(other), _) => namespaces(remote, &args, other).await?,
        (None, Some(data_id)) => {
            let group = args.group.clone().unwrap_or_else(|| "DEFAULT_GROUP".to_owned());
            let place = PlaceArgs { group, namespace: args.namespace.clone() };
            let key = KeyArgs { data_id: data_id.clone(), place };
            match &args.file {
                Some(file) => with_file(remote, &key, args.from, file).await?,
                None => versions(remote, &key, args.from, args.to).await?,
            }
        }
        (None, None) => return Err(Failure::new(Exit::Settings, "a data id is needed, or --with")),
    };
    end(exit_code, different)
}

async fn versions(
    remote: &mut Remote,
    key: &KeyArgs,
    from: Option<u64>,
    to: Option<u64>,
) -> Result<bool, Failure> {
    let number = |nid: Option<u64>| nid.map(|nid| nid.to_string());
    let request = key
        .on(Request::get("/v3/admin/cs/history/diff"))
        .with_some("from", number(from).as_deref())
        .with_some("to", number(to).as_deref());
    let found = remote.client.read(&request).await?.data()?;
    let shown = text(&found, "diff").to_owned();
    let different = !shown.is_empty();
    let result = json!({
        "from": shape::side(&found["from"]),
        "to": shape::side(&found["to"]),
        "added": found["added"],
        "removed": found["removed"],
        "diff": shown,
    });
    remote.show(&result, || shown)?;
    Ok(different)
}

async fn with_file(
    remote: &mut Remote,
    key: &KeyArgs,
    from: Option<u64>,
    file: &Path,
) -> Result<bool, Failure> {
    let (label, old) = match from {
        Some(nid) => {
            let version = one::version(remote, key, nid).await?;
            (format!("{} version {nid}", key.named()), text(&version, "updatedContent").to_owned())
        }
        None => {
            let present = detail(&mut remote.client, key, None).await?.ok_or_else(|| key.missing())?;
            (key.named(), text(&present, "content").to_owned())
        }
    };
    let new = read_text(file)?;
    let shown = unified((&label, &old), (&file.display().to_string(), &new));
    let different = !shown.is_empty();
    remote.show(&json!({ "diff": shown }), || shown.clone())?;
    Ok(different)
}

/// Which side has a configuration.
enum Side {
    Left(Value),
    Right,
    /// The left one first.
    Both(Value, Value),
}

/// Every configuration that only one of two namespaces has, or that has another content in the other.
async fn namespaces(remote: &mut Remote, args: &DiffArgs, other: &str) -> Result<bool, Failure> {
    let filter = FilterArgs { group: args.group.clone(), app: None, tags: None, kinds: None };
    let pattern = args.data_id.as_deref();
    let left = list::configs(&mut remote.client, &args.namespace, pattern, &filter).await?;
    let right = list::configs(&mut remote.client, other, pattern, &filter).await?;
    for (id, found) in [(&*args.namespace, &left), (other, &right)] {
        if found.is_empty() && one::is_unknown(remote, id).await? {
            return Err(Failure::new(Exit::Missing, format!("there is no namespace {id:?}")));
        }
    }
    let mut entries = Vec::new();
    for ((group, data_id), side) in sides(left, right) {
        let (change, diff) = match side {
            Side::Left(_) => ("removed", String::new()),
            Side::Right => ("added", String::new()),
            Side::Both(old, new) if old["md5"] == new["md5"] => continue,
            Side::Both(..) if args.brief => ("changed", String::new()),
            Side::Both(..) => {
                let old = content(remote, &args.namespace, &group, &data_id).await?;
                let new = content(remote, other, &group, &data_id).await?;
                let labels = (named(&args.namespace, &group, &data_id), named(other, &group, &data_id));
                ("changed", unified((&labels.0, &old), (&labels.1, &new)))
            }
        };
        entries.push(json!({ "groupName": group, "dataId": data_id, "change": change, "diff": diff }));
    }
    let different = !entries.is_empty();
    remote.show(&Value::Array(entries.clone()), || {
        let line = |entry: &Value| {
            let name = format!("{}/{}", text(entry, "groupName"), text(entry, "dataId"));
            match text(entry, "change") {
                "removed" => format!("only in {}: {name}\n", args.namespace),
                "added" => format!("only in {other}: {name}\n"),
                _ => format!("different: {name}\n{}", text(entry, "diff")),
            }
        };
        entries.iter().map(line).collect()
    })?;
    Ok(different)
}

/// Both listings by group and data id, in order.
fn sides(left: Vec<Value>, right: Vec<Value>) -> BTreeMap<(String, String), Side> {
    let name = |item: &Value| (text(item, "groupName").to_owned(), text(item, "dataId").to_owned());
    let mut sides: BTreeMap<_, Side> = left.into_iter().map(|item| (name(&item), Side::Left(item))).collect();
    for item in right {
        let name = name(&item);
        let side = match sides.remove(&name) {
            Some(Side::Left(left)) => Side::Both(left, item),
            _ => Side::Right,
        };
        sides.insert(name, side);
    }
    sides
}

/// The content now; removed meanwhile is empty.
async fn content(
    remote: &mut Remote,
    namespace: &str,
    group: &str,
    data_id: &str,
) -> Result<String, Failure> {
    let place = PlaceArgs { group: group.to_owned(), namespace: namespace.to_owned() };
    let key = KeyArgs { data_id: data_id.to_owned(), place };
    let found = detail(&mut remote.client, &key, None).await?;
    Ok(found.map(|found| text(&found, "content").to_owned()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_shown_as_diff_shows_them() {
        assert_eq!(unified(("a", "x\n"), ("b", "x\n")), "");
        let want = "--- a\n+++ b\n@@ -1,2 +1,2 @@\n x\n-y\n+z\n";
        assert_eq!(unified(("a", "x\ny\n"), ("b", "x\nz\n")), want);
        let no_end = unified(("a", "x"), ("b", "x\n"));
        assert!(no_end.contains("No newline at end of file"), "{no_end}");
    }

    #[test]
    fn listings_are_laid_side_by_side() {
        let item = |data_id: &str, md5: &str| json!({ "groupName": "G", "dataId": data_id, "md5": md5 });
        let sides = sides(vec![item("a", "1"), item("b", "1")], vec![item("b", "2"), item("c", "1")]);
        let shown: Vec<(&str, &str)> = sides
            .iter()
            .map(|((_, data_id), side)| match side {
                Side::Left(_) => (&**data_id, "left"),
                Side::Right => (&**data_id, "right"),
                Side::Both(old, new) => (&**data_id, if old == new { "same" } else { "changed" }),
            })
            .collect();
        assert_eq!(shown, [("a", "left"), ("b", "changed"), ("c", "right")]);
    }
}
