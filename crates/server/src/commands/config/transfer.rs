//! `dyad config export` and `import`.

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::archive::{self, Item};
use super::args::{ExportArgs, Format, ImportArgs, KeyArgs, PlaceArgs, Policy};
use super::diff::{end, unified};
use super::{detail, named, read_bytes, text};
use crate::commands::client::Request;
use crate::commands::print_bytes;
use crate::commands::remote::Remote;
use crate::exit::{Exit, Failure};

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
    let refused = |what: String| Failure::new(Exit::Refused, format!("the server's answer: {what}"));
    let count = archive::read(&answer.body).map_err(refused)?.items.len();
    if count == 0 {
        let message = format!("namespace {}: no configuration matches; nothing was written", args.namespace);
        return Err(Failure::new(Exit::Missing, message));
    }
    if args.file == Path::new("-") {
        print_bytes(&answer.body);
        return Ok(());
    }
    let name = args.file.display();
    let written = std::fs::write(&args.file, &answer.body);
    written.map_err(|error| Failure::new(Exit::Disk, format!("cannot write {name}: {error}")))?;
    let result = json!({ "file": args.file, "configs": count, "bytes": answer.body.len() });
    remote.show(&result, || format!("{count} configurations of {} are in {name}\n", args.namespace));
    Ok(())
}

pub(super) async fn import(remote: &mut Remote, args: ImportArgs) -> Result<(), Failure> {
    let bytes = read_bytes(&args.file)?;
    if args.dry_run {
        return dry_run(remote, &args, &bytes).await;
    }
    let policy = match args.policy {
        Policy::Abort => "ABORT",
        Policy::Skip => "SKIP",
        Policy::Overwrite => "OVERWRITE",
    };
    let (content_type, body) = multipart(&bytes);
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
    if outcome.is_err() && report["succCount"].as_u64().unwrap_or(0) == 0 {
        outcome?;
        return Ok(());
    }
    remote.show(report, || told(report));
    outcome?;
    match names(&report["failData"]).first() {
        Some(first) if args.policy == Policy::Abort => {
            let message = format!("{first} is there already, and ended the import; see --policy");
            Err(Failure::new(Exit::Conflict, message))
        }
        Some(first) => Err(Failure::new(Exit::Refused, format!("{first} was refused"))),
        None => Ok(()),
    }
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

/// What an import would do, item by item.
async fn dry_run(remote: &mut Remote, args: &ImportArgs, bytes: &[u8]) -> Result<(), Failure> {
    let archive = archive::read(bytes)
        .map_err(|what| Failure::new(Exit::Settings, format!("{}: {what}", args.file.display())))?;
    if archive.items.is_empty() {
        let message = format!("{}: there is no configuration in it", args.file.display());
        return Err(Failure::new(Exit::Settings, message));
    }
    crate::commands::ns::known(remote, &args.namespace).await?;
    let mut entries = Vec::new();
    let mut ended = false;
    for item in &archive.items {
        let place = PlaceArgs { group: item.group.clone(), namespace: args.namespace.clone() };
        let key = KeyArgs { data_id: item.data_id.clone(), place };
        let present = detail(&mut remote.client, &key, None).await?;
        let (action, diff) =
            if ended { ("not reached", String::new()) } else { action(args, item, present.as_ref()) };
        ended |= action == "conflict";
        entries
            .push(json!({ "groupName": item.group, "dataId": item.data_id, "action": action, "diff": diff }));
    }
    let others = &archive.others;
    remote.show(&json!({ "items": entries, "unrecognized": others }), || {
        let line = |entry: &Value| {
            let name = named(&args.namespace, text(entry, "groupName"), text(entry, "dataId"));
            format!("{}: {name}\n{}", text(entry, "action"), text(entry, "diff"))
        };
        let mut out: String = entries.iter().map(line).collect();
        out.extend(others.iter().map(|name| format!("no configuration: {name}\n")));
        out
    });
    let would = |entry: &Value| matches!(text(entry, "action"), "create" | "overwrite" | "conflict");
    end(args.exit_code, entries.iter().any(would))
}

fn action(args: &ImportArgs, item: &Item, present: Option<&Value>) -> (&'static str, String) {
    let name = named(&args.namespace, &item.group, &item.data_id);
    let Some(present) = present else { return ("create", unified(("nothing", ""), (&name, &item.content))) };
    let (content, kind) = (text(present, "content"), text(present, "type"));
    let mut diff = unified((&name, content), ("the archive", &item.content));
    if kind != item.kind.as_str() {
        diff += &format!("type: {kind} becomes {}\n", item.kind.as_str());
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
    use dyad_config::ConfigType;

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
    fn a_dry_run_tells_what_the_policy_makes_of_an_item() {
        let args = |policy| ImportArgs {
            file: "x".into(),
            namespace: String::new(),
            policy,
            dry_run: true,
            exit_code: false,
            reason: String::new(),
        };
        let item =
            Item { group: "G".into(), data_id: "d".into(), kind: ConfigType::Text, content: "x\n".into() };
        let same = json!({ "content": "x\n", "type": "text" });
        let other = json!({ "content": "y\n", "type": "json" });
        for (policy, present, want, lines) in [
            (Policy::Abort, None, "create", 4),
            (Policy::Abort, Some(&same), "conflict", 0),
            (Policy::Skip, Some(&other), "skip", 6),
            (Policy::Overwrite, Some(&same), "same", 0),
            (Policy::Overwrite, Some(&other), "overwrite", 6),
        ] {
            let (action, diff) = action(&args(policy), &item, present);
            assert_eq!((action, diff.lines().count()), (want, lines), "{policy:?} {present:?} {diff}");
        }
    }
}
