//! `dyad config export` and `import`.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use dyad_config::Draft;
use dyad_config::archive::{self, Archive, Unreadable};
use dyad_types::ConfigKey;
use http::Method;
use serde_json::{Value, json};

use super::args::{ExportArgs, Format, ImportArgs, KeyArgs, PlaceArgs, Policy};
use super::diff::{end, unified};
use super::input::read_bytes;
use super::key::{CONFIG, detail, named, text};
use crate::client::Request;
use crate::exit::{Exit, Failure};
use crate::file::{Existing, Manner, write_whole};
use crate::output::print_bytes;
use crate::remote::Remote;

/// Longest time for an archive: an import of 10,000 configurations is some dozen writes.
const TIMEOUT: Duration = Duration::from_secs(180);

pub(super) async fn export(remote: &mut Remote, args: ExportArgs) -> Result<(), Failure> {
    let request = match args.format {
        Format::New => Request::get("/v3/admin/cs/config/export")
            .with("namespaceId", &args.namespace)
            .with_some("groupName", args.group.as_deref()),
        Format::Old => Request::get("/v1/cs/configs")
            .with("export", "true")
            .with("ids", "")
            .with("tenant", &args.namespace)
            .with("group", args.group.as_deref().unwrap_or_default()),
    };
    let request =
        request.with_some("dataId", args.data_id.as_deref()).with_some("appName", args.app.as_deref());
    let answer = remote.client.read(&request.within(TIMEOUT)).await?;
    if answer.status != 200 {
        return Err(answer.failure());
    }
    let refused = |what: Unreadable| Failure::new(Exit::Refused, format!("the server's answer: {what}"));
    let count = archive::count(&answer.body).map_err(refused)?;
    if count == 0 {
        let message = format!("namespace {}: no configuration matches; nothing was written", args.namespace);
        return Err(Failure::new(Exit::Missing, message));
    }
    if args.file == Path::new("-") {
        return print_bytes(&answer.body);
    }
    save(&args.file, &answer.body)?;
    let name = args.file.display();
    let result = json!({
        "file": args.file,
        "namespaceId": args.namespace,
        "configs": count,
        "bytes": answer.body.len(),
    });
    remote.show(&result, || format!("{count} configurations of {} are in {name}\n", args.namespace))
}

/// Whole or not at all: a full disk must not cost the archive that was there. What is no file, such as a pipe, is written as
/// it is.
fn save(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |error| Failure::io("write", path, &error);
    if std::fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return std::fs::write(path, bytes).map_err(failed);
    }
    // An archive is small beside what others need of the disk.
    let manner = Manner { existing: Existing::Replaced, mode: 0o666, reserve: &|_| 0 };
    write_whole(path, &manner, |out| out.write_all(bytes).map_err(failed))
}

pub(super) async fn import(remote: &mut Remote, args: ImportArgs) -> Result<(), Failure> {
    let bytes = read_bytes(&args.file)?;
    let done = import_archive(remote, &args, &bytes).await?;
    remote.show(&done.json, || done.text)?;
    done.end
}

/// What an import did, or would do.
pub(crate) struct Imported {
    pub(crate) json: Value,
    pub(crate) text: String,
    /// How the command ends when this was shown.
    pub(crate) end: Result<(), Failure>,
    /// Whether something is different afterwards, or would be.
    pub(crate) changes: bool,
}

/// Imports an archive, or with `--dry-run` tells what that would do. The file of `args` is only a name here.
///
/// # Errors
/// Nothing was done, and nothing can be told.
pub(crate) async fn import_archive(
    remote: &mut Remote,
    args: &ImportArgs,
    bytes: &[u8],
) -> Result<Imported, Failure> {
    if args.dry_run {
        let Archive { items, unrecognized } = archive::read(bytes, &args.namespace)
            .map_err(|what| Failure::new(Exit::Settings, format!("{}: {what}", args.file.display())))?;
        return dry_run(remote, args, &items, &unrecognized, false).await;
    }
    let policy = match args.policy {
        Policy::Abort => "ABORT",
        Policy::Skip => "SKIP",
        Policy::Overwrite => "OVERWRITE",
    };
    let (content_type, body) = multipart(bytes);
    let request = Request::new(Method::POST, "/v3/admin/cs/config/import")
        .with("namespaceId", &args.namespace)
        .with("policy", policy)
        .with("srcUser", &remote.user)
        .with("reason", &args.reason)
        .body(content_type, body)
        .within(TIMEOUT);
    let answer = remote.client.write(&request).await?;
    let body: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let report = &body["data"];
    // A report of what was done comes also with a failure.
    let outcome = answer.data().map(drop);
    let published = report["succCount"].as_u64().unwrap_or(0);
    if published == 0 && names(&report["unknownData"]).is_empty() {
        outcome.clone()?;
    }
    let end = outcome.and_then(|()| refused(&report["failData"]));
    let json = imported(&args.namespace, report);
    Ok(Imported { json, text: told(report), end, changes: published > 0 })
}

/// Publishes one configuration as an import does. An archive holds neither the key of an encrypted content nor the texts for the
/// use, the effect and the schema, and a publish takes them.
///
/// # Errors
/// Nothing was done, or the outcome is not known.
pub(crate) async fn import_one(
    remote: &mut Remote,
    args: &ImportArgs,
    key: &ConfigKey,
    draft: &Draft,
) -> Result<Imported, Failure> {
    // A publish takes any namespace.
    crate::ns::known(remote, &args.namespace).await?;
    let item = json!({ "group": key.group(), "dataId": key.data_id(), "reason": "exists" });
    let present = present(remote, args, key).await?;
    let report = match (&present, args.policy) {
        (Some(_), Policy::Abort) => json!({ "succCount": 0, "failData": [item] }),
        (Some(_), Policy::Skip) => json!({ "succCount": 0, "skipData": [item] }),
        _ => {
            let request = publish(args, &remote.user, key, draft);
            // What appears meanwhile is not overwritten unless that was asked for.
            let guarded = present.is_none() && args.policy != Policy::Overwrite;
            let request = if guarded { request.header("casmd5", "absent") } else { request };
            remote.client.write(&request).await?.data().map_err(|failure| {
                let name = named(&args.namespace, key.group(), key.data_id());
                Failure::new(failure.exit, format!("{name}: {failure}"))
            })?;
            json!({ "succCount": 1 })
        }
    };
    Ok(Imported {
        json: imported(&args.namespace, &report),
        text: told(&report),
        end: refused(&report["failData"]),
        changes: report["succCount"] != 0,
    })
}

fn publish(args: &ImportArgs, user: &str, key: &ConfigKey, draft: &Draft) -> Request {
    let tags = draft.tags.as_ref().map(|tags| tags.join(","));
    let mut fields = vec![
        ("namespaceId", &*args.namespace),
        ("groupName", key.group()),
        ("dataId", key.data_id()),
        ("type", draft.kind.as_str()),
        ("desc", &*draft.desc),
        ("use", &*draft.used_for),
        ("effect", &*draft.effect),
        ("schema", &*draft.schema),
        ("encryptedDataKey", &*draft.encrypted_data_key),
        ("srcUser", user),
        ("reason", &*args.reason),
        ("content", &**draft.content.text()),
    ];
    fields.extend(draft.app_name.as_deref().map(|app| ("appName", app)));
    fields.extend(tags.as_deref().map(|tags| ("configTags", tags)));
    Request::new(Method::POST, CONFIG).form(&fields)
}

async fn present(remote: &mut Remote, args: &ImportArgs, key: &ConfigKey) -> Result<Option<Value>, Failure> {
    let (group, data_id) = (key.group().to_owned(), key.data_id().to_owned());
    let place = PlaceArgs { group, namespace: args.namespace.clone() };
    detail(&mut remote.client, &KeyArgs { data_id, place }, None).await
}

/// What was not written although it should have been.
fn refused(failed: &Value) -> Result<(), Failure> {
    let items: Vec<&Value> = failed.as_array().into_iter().flatten().collect();
    let name = |item: &Value| format!("{}/{}", text(item, "group"), text(item, "dataId"));
    if let Some(present) = items.iter().find(|item| text(item, "reason") == "exists") {
        let message = format!("{} is there already, and ended the import; see --policy", name(present));
        return Err(Failure::new(Exit::Conflict, message));
    }
    match items.first() {
        Some(first) => {
            let message = format!("{} was refused: {}", name(first), text(first, "reason"));
            Err(Failure::new(Exit::Refused, message))
        }
        None => Ok(()),
    }
}

/// The report as JSON: what was not published, each with why.
fn imported(namespace: &str, report: &Value) -> Value {
    let mut items = Vec::new();
    for (list, action) in
        [("skipData", "skipped"), ("failData", "refused"), ("unknownData", "perhaps published")]
    {
        for item in report[list].as_array().into_iter().flatten() {
            items.push(json!({
                "groupName": item["group"],
                "dataId": item["dataId"],
                "action": action,
                "reason": item["reason"],
            }));
        }
    }
    json!({
        "namespaceId": namespace,
        "published": report["succCount"],
        "items": items,
        "unrecognized": names(&report["unrecognizedData"]),
    })
}

/// The report for people.
fn told(report: &Value) -> String {
    let mut out = format!("published {}\n", report["succCount"]);
    for (name, words) in [
        ("skipData", "skipped"),
        ("failData", "refused"),
        ("unknownData", "perhaps published"),
        ("unrecognizedData", "no configuration"),
    ] {
        for name in names(&report[name]) {
            out += &format!("{words}: {name}\n");
        }
    }
    out
}

fn names(list: &Value) -> Vec<String> {
    let name = |item: &Value| match item["itemName"].as_str() {
        Some(name) => name.to_owned(),
        None => format!("{}/{}", text(item, "group"), text(item, "dataId")),
    };
    list.as_array().into_iter().flatten().map(name).collect()
}

/// The archive as the one part of a body.
fn multipart(bytes: &[u8]) -> (String, Bytes) {
    let mut boundary = "dyad-archive".to_owned();
    // Ends: no archive holds all lengths.
    while bytes.windows(boundary.len()).any(|window| window == boundary.as_bytes()) {
        boundary.push('-');
    }
    let head = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"file\"; filename=\"import.zip\"\r\n\
         Content-Type: application/zip\r\n\r\n"
    );
    let body = [head.as_bytes(), bytes, format!("\r\n--{boundary}--\r\n").as_bytes()].concat();
    (format!("multipart/form-data; boundary={boundary}"), body.into())
}

/// What an import would do, item by item. `ended`: a part of it that comes before this one would end it.
///
/// # Errors
/// The namespace is not there, or no server answers.
pub(crate) async fn dry_run(
    remote: &mut Remote,
    args: &ImportArgs,
    items: &[(ConfigKey, Draft)],
    unrecognized: &[String],
    mut ended: bool,
) -> Result<Imported, Failure> {
    crate::ns::known(remote, &args.namespace).await?;
    let mut entries = Vec::new();
    for (key, draft) in items {
        let (action, diff) = if ended {
            ("not reached", String::new())
        } else {
            let present = present(remote, args, key).await?;
            action(args, (key, draft), present.as_ref())
        };
        ended |= action == "conflict";
        let entry =
            json!({ "groupName": key.group(), "dataId": key.data_id(), "action": action, "diff": diff });
        entries.push(entry);
    }
    let json = json!({ "namespaceId": args.namespace, "items": entries, "unrecognized": unrecognized });
    let line = |entry: &Value| {
        let name = named(&args.namespace, text(entry, "groupName"), text(entry, "dataId"));
        format!("{}: {name}\n{}", text(entry, "action"), text(entry, "diff"))
    };
    let mut shown: String = entries.iter().map(line).collect();
    shown.extend(unrecognized.iter().map(|name| format!("no configuration: {name}\n")));
    let would = |entry: &Value| matches!(text(entry, "action"), "create" | "overwrite");
    let changes = entries.iter().any(would);
    let conflict = entries.iter().find(|entry| text(entry, "action") == "conflict").map(|present| {
        let name = format!("{}/{}", text(present, "groupName"), text(present, "dataId"));
        let message = format!("{name} is there already, and would end the import; see --policy");
        Failure::new(Exit::Conflict, message)
    });
    let end = conflict.map_or_else(|| end(args.exit_code, changes), Err);
    Ok(Imported { json, text: shown, end, changes })
}

/// What becomes of an item, with everything that would be different. The same is published again, as a new version.
fn action(
    args: &ImportArgs,
    (key, draft): (&ConfigKey, &Draft),
    present: Option<&Value>,
) -> (&'static str, String) {
    let (name, new) = (named(&args.namespace, key.group(), key.data_id()), draft.content.text());
    let Some(present) = present else { return ("create", unified(("nothing", ""), (&name, new))) };
    let mut diff = unified((&name, text(present, "content")), ("the archive", new));
    let tags = draft.tags.as_ref().map(|tags| tags.join(","));
    let given = |text| Some(text).filter(|text: &&str| !text.is_empty());
    // What an archive does not say of applications and tags is kept.
    for (field, what, new) in [
        ("type", "type", Some(draft.kind.as_str())),
        ("appName", "application", draft.app_name.as_deref()),
        ("configTags", "tags", tags.as_deref()),
        ("desc", "description", Some(&*draft.desc)),
        // No archive says anything of these.
        ("use", "use", given(&draft.used_for)),
        ("effect", "effect", given(&draft.effect)),
        ("schema", "schema", given(&draft.schema)),
        ("encryptedDataKey", "encryptedDataKey", given(&draft.encrypted_data_key)),
    ] {
        let old = text(present, field);
        if let Some(new) = new.filter(|new| *new != old) {
            diff += &format!("{what}: {old:?} becomes {new:?}\n");
        }
    }
    match args.policy {
        Policy::Abort => ("conflict", diff),
        Policy::Skip => ("skip", diff),
        Policy::Overwrite if diff.is_empty() => ("same", diff),
        Policy::Overwrite => ("overwrite", diff),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_one_part_whatever_is_in_it() {
        let (kind, body) = multipart(b"PK--dyad-archive-x");
        assert_eq!(kind, "multipart/form-data; boundary=dyad-archive--");
        let text = String::from_utf8(body.to_vec()).unwrap();
        assert!(
            text.starts_with("--dyad-archive--\r\n") && text.ends_with("x\r\n--dyad-archive----\r\n"),
            "{text}"
        );
    }

    #[test]
    fn what_was_refused_is_told_with_why() {
        let item = |data_id: &str, reason: &str| json!({ "group": "G", "dataId": data_id, "reason": reason });
        let (present, full) = (item("a", "exists"), item("b", "over a limit"));
        for (failed, want) in [
            (json!(null), None),
            (json!([full]), Some((Exit::Refused, "G/b was refused: over a limit"))),
            (
                json!([full, present]),
                Some((Exit::Conflict, "G/a is there already, and ended the import; see --policy")),
            ),
        ] {
            let got = refused(&failed).err();
            assert_eq!(got, want.map(|(exit, message)| Failure::new(exit, message)), "{failed}");
        }
    }

    #[test]
    fn a_dry_run_tells_what_the_policy_makes_of_an_item() {
        let args = |policy| ImportArgs {
            file: "x".into(),
            namespace: String::new(),
            policy,
            dry_run: true,
            exit_code: false,
            reason: String::new(),
        };
        let (key, draft) = (ConfigKey::new("", "G", "d"), Draft { desc: "d".into(), ..Draft::text("x\n") });
        let same = json!({ "content": "x\n", "type": "text", "desc": "d", "appName": "kept" });
        let other = json!({ "content": "y\n", "type": "json", "desc": null });
        for (policy, present, want, lines) in [
            (Policy::Abort, None, "create", 4),
            (Policy::Abort, Some(&same), "conflict", 0),
            (Policy::Skip, Some(&other), "skip", 7),
            (Policy::Overwrite, Some(&same), "same", 0),
            (Policy::Overwrite, Some(&other), "overwrite", 7),
        ] {
            let (action, diff) = action(&args(policy), (&key, &draft), present);
            assert_eq!((action, diff.lines().count()), (want, lines), "{policy:?} {present:?} {diff}");
        }
    }
}
