//! `dyad restore FILE --namespace … --config …`: publishes configurations of a backup in a running cluster, as `dyad config
//! import` does. Nothing is published before all of the file was read and is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::{Path, PathBuf};

use clap::Args;
use dyad_backup::Row;
use dyad_config::archive::{self, ItemMeta, Writer};
use dyad_state::CpState;
use dyad_types::ConfigKey;
use serde_json::{Value, json};

use super::inspect::{bad, open, read};
use crate::config::{ImportArgs, Policy, end, import_archive};
use crate::exit::{Exit, Failure};
use crate::remote::{Remote, RemoteArgs, block_on};

/// Configurations in one import: what one command of the log takes.
const BATCH: usize = dyad_config::limits::BATCH_MAX;
/// Bytes of their contents, but for one larger content: a request with it stays below the server's limit.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of contents of all namespaces that wait for more of their kind.
const WAITING_BYTES: usize = 32 * 1024 * 1024;

/// What to publish, and how.
#[derive(Clone, Debug, Args)]
pub struct PublishArgs {
    /// Publish the configurations of this namespace in a running cluster, instead of making a data directory; can be repeated
    #[arg(long = "namespace", value_name = "ID", help_heading = "A part, into a running cluster")]
    pub namespaces: Vec<String>,
    /// Publish this configuration in a running cluster; can be repeated
    #[arg(
        long = "config",
        id = "keys",
        value_name = "NS/GROUP/DATAID",
        help_heading = "A part, into a running cluster"
    )]
    pub keys: Vec<String>,
    /// What to do with a configuration that exists already
    #[arg(long, value_enum, default_value_t = Policy::Abort, value_name = "POLICY", help_heading = "A part, into a running cluster")]
    pub policy: Policy,
    /// Write nothing and show what would be different
    #[arg(long, help_heading = "A part, into a running cluster")]
    pub dry_run: bool,
    /// With --dry-run, end with exit code 8 if something would be different
    #[arg(long, requires = "dry_run", help_heading = "A part, into a running cluster")]
    pub exit_code: bool,
    /// The reason, which the history shows
    #[arg(long, value_name = "TEXT", default_value = "", help_heading = "A part, into a running cluster")]
    pub reason: String,
}

impl PublishArgs {
    /// Whether a part is asked for.
    pub fn is_some(&self) -> bool {
        !self.namespaces.is_empty() || !self.keys.is_empty()
    }
}

/// Publishes a part of a backup.
///
/// # Errors
/// `Exit::Corrupt` if the backup is not whole, `Exit::Missing` if it does not have what is asked for, and those of `dyad config
/// import`.
pub fn publish(file: &Path, remote: &RemoteArgs, args: &PublishArgs) -> Result<(), Failure> {
    let mut remote = Remote::new(remote)?;
    let (_, state, _) = read(file)?;
    let wanted = wanted(file, &state, args)?;
    drop(state);
    block_on(async move {
        let mut done = Done { file, args, parts: Vec::new(), text: String::new(), changes: false };
        let end_of_all = all(&mut remote, &wanted, &mut done).await;
        if !done.parts.is_empty() {
            let (json, text) = (json!({ "file": file, "imports": done.parts }), done.text);
            remote.show(&json, || text)?;
        }
        end_of_all?;
        end(args.exit_code, done.changes)
    })
}

/// The rows that have the formal releases that are asked for.
fn wanted(file: &Path, state: &CpState, args: &PublishArgs) -> Result<BTreeSet<u64>, Failure> {
    let missing = |what: String| Failure::new(Exit::Missing, format!("{}: {what}", file.display()));
    let mut wanted = BTreeSet::new();
    let formal = |key: &ConfigKey| Some(state.config().item(key)?.formal()?.revision.0);
    for text in &args.keys {
        wanted.insert(formal(&parse(text)?).ok_or_else(|| missing(format!("there is no {text}")))?);
    }
    for id in &args.namespaces {
        let namespace = key_namespace(id);
        let of = state.config().items().filter(|(key, _)| key_namespace(key.namespace()) == namespace);
        let before = wanted.len();
        wanted.extend(of.filter_map(|(_, item)| Some(item.formal()?.revision.0)));
        if wanted.len() == before && args.keys.is_empty() {
            return Err(missing(format!("no configuration is in namespace {id:?}")));
        }
    }
    Ok(wanted)
}

/// The default namespace has two names.
fn key_namespace(id: &str) -> &str {
    if id == "public" { "" } else { id }
}

fn shown(namespace: &str) -> &str {
    if namespace.is_empty() { "public" } else { namespace }
}

fn parse(text: &str) -> Result<ConfigKey, Failure> {
    let mut parts = text.splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some(namespace), Some(group), Some(data_id)) if !group.is_empty() && !data_id.is_empty() => {
            Ok(ConfigKey::new(key_namespace(namespace), group, data_id))
        }
        _ => {
            let message = format!("--config {text:?} is not valid: want NAMESPACE/GROUP/DATAID");
            Err(Failure::new(Exit::Settings, message))
        }
    }
}

/// Configurations of one namespace that are sent together.
#[derive(Default)]
struct Batch {
    items: Vec<(ItemMeta, String)>,
    bytes: usize,
}

/// What was sent so far.
struct Done<'a> {
    file: &'a Path,
    args: &'a PublishArgs,
    parts: Vec<Value>,
    text: String,
    changes: bool,
}

/// Reads the file once more, and sends what is wanted.
async fn all(remote: &mut Remote, wanted: &BTreeSet<u64>, done: &mut Done<'_>) -> Result<(), Failure> {
    let file = done.file;
    let wrong = |error| bad(file, &error);
    let mut reader = open(file)?;
    drop(reader.state().map_err(wrong)?);
    let mut batches: BTreeMap<String, Batch> = BTreeMap::new();
    let mut waiting = 0;
    while let Some(rows) = reader.rows().map_err(wrong)? {
        for Row { row, .. } in rows.into_iter().filter(|row| wanted.contains(&row.revision.0)) {
            let Some(content) = &row.content else { continue };
            let extra = row.extra.as_deref().cloned().unwrap_or_default();
            let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
            let meta = ItemMeta {
                group: row.key.group().to_owned(),
                data_id: row.key.data_id().to_owned(),
                kind: row.kind.as_str().to_owned(),
                app_name: given(&extra.app_name),
                desc: given(&extra.desc),
                tags: given(&extra.tags.join(",")),
            };
            let namespace = shown(row.key.namespace()).to_owned();
            let bytes = content.text().len();
            let batch = batches.entry(namespace.clone()).or_default();
            if batch.items.len() >= BATCH || (batch.bytes + bytes > BATCH_BYTES && !batch.items.is_empty()) {
                waiting -= batch.bytes;
                let full = std::mem::take(batch);
                send(remote, &namespace, full, done).await?;
            }
            let batch = batches.entry(namespace).or_default();
            batch.items.push((meta, content.text().to_string()));
            batch.bytes += bytes;
            waiting += bytes;
            if waiting > WAITING_BYTES {
                for (namespace, batch) in std::mem::take(&mut batches) {
                    send(remote, &namespace, batch, done).await?;
                }
                waiting = 0;
            }
        }
    }
    for (namespace, batch) in batches {
        send(remote, &namespace, batch, done).await?;
    }
    Ok(())
}

async fn send(
    remote: &mut Remote,
    namespace: &str,
    batch: Batch,
    done: &mut Done<'_>,
) -> Result<(), Failure> {
    let bytes = archive_of(&batch).map_err(|why| Failure::new(Exit::Refused, why))?;
    let args = ImportArgs {
        file: PathBuf::from(done.file),
        namespace: namespace.to_owned(),
        policy: done.args.policy,
        dry_run: done.args.dry_run,
        // What all batches together change is told at the end.
        exit_code: false,
        reason: done.args.reason.clone(),
    };
    let imported = import_archive(remote, &args, &bytes).await?;
    done.parts.push(imported.json);
    done.text += &imported.text;
    done.changes |= imported.changes;
    imported.end
}

fn archive_of(batch: &Batch) -> Result<Vec<u8>, String> {
    let mut writer = Writer::new(Cursor::new(Vec::new()));
    let mut items = Vec::with_capacity(batch.items.len());
    for (meta, text) in &batch.items {
        writer.add(&format!("{}/{}", meta.group, meta.data_id), text)?;
        items.push(meta.clone());
    }
    writer.add(archive::NEW, &archive::write_new(&items))?;
    Ok(writer.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_three_parts() {
        for (text, want) in [
            ("public/G/a.yaml", Some(("", "G", "a.yaml"))),
            ("/G/a", Some(("", "G", "a"))),
            ("dev/G/a/b", Some(("dev", "G", "a/b"))),
            ("G/a", None),
            ("dev//a", None),
            ("dev/G/", None),
            ("", None),
        ] {
            let got = parse(text).ok();
            assert_eq!(got, want.map(|(ns, group, id)| ConfigKey::new(ns, group, id)), "{text:?}");
        }
        assert_eq!(parse("x").unwrap_err().exit, Exit::Settings);
    }

    #[test]
    fn a_batch_is_an_archive_that_a_server_reads() {
        let meta = ItemMeta {
            group: "G".into(),
            data_id: "a.json".into(),
            kind: "json".into(),
            app_name: None,
            desc: Some("d".into()),
            tags: Some("x,y".into()),
        };
        let batch = Batch { items: vec![(meta, "{}".into())], bytes: 2 };
        let read = archive::read(&archive_of(&batch).unwrap(), "dev").unwrap();
        let (key, draft) = &read.items[0];
        assert_eq!(key, &ConfigKey::new("dev", "G", "a.json"));
        assert_eq!((draft.content.text().to_string(), draft.kind.as_str()), ("{}".into(), "json"));
        assert_eq!(draft.tags.as_ref().map(|tags| tags.len()), Some(2));
    }
}
