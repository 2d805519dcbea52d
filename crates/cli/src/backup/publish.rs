//! `dyad restore FILE --namespace … --config …`: publishes configurations of a backup in a running cluster, as `dyad config
//! import` does. Nothing is published before all of the file was read and is whole.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::path::{Path, PathBuf};

use clap::{ArgGroup, Args};
use dyad_backup::Row;
use dyad_config::archive::{self, ItemMeta, Writer};
use dyad_config::{ContentRow, Draft};
use dyad_state::CpState;
use dyad_types::ConfigKey;
use serde_json::{Value, json};

use super::inspect::{bad, open, read};
use crate::config::{
    ImportArgs, Imported, Policy, dry_run, end, import_archive, import_one, shown_namespace,
};
use crate::exit::{Exit, Failure};
use crate::output::print;
use crate::remote::{Remote, RemoteArgs, block_on};

/// Configurations in one import: what one command of the log takes.
const BATCH: usize = dyad_config::limits::BATCH_MAX;
/// Bytes of their contents, but for one larger content: a request with it stays below the server's limit.
const BATCH_BYTES: usize = 8 * 1024 * 1024;
/// Bytes of contents of all namespaces that wait for more of their kind.
const WAITING_BYTES: usize = 32 * 1024 * 1024;

/// What to publish, and how.
#[derive(Clone, Debug, Args)]
#[command(group = ArgGroup::new("part").args(["namespaces", "keys"]).multiple(true))]
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
    #[arg(
        long,
        value_enum,
        default_value_t = Policy::Abort,
        value_name = "POLICY",
        requires = "part",
        help_heading = "A part, into a running cluster"
    )]
    pub policy: Policy,
    /// Write nothing and show what would be different
    #[arg(long, requires = "part", help_heading = "A part, into a running cluster")]
    pub dry_run: bool,
    /// With --dry-run, end with exit code 8 if something would be different
    #[arg(long, requires = "dry_run", help_heading = "A part, into a running cluster")]
    pub exit_code: bool,
    /// The reason, which the history shows
    #[arg(
        long,
        value_name = "TEXT",
        default_value = "",
        requires = "part",
        help_heading = "A part, into a running cluster"
    )]
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
        let mut done = Done::new(file, args, remote.is_json());
        let end_of_all = all(&mut remote, &wanted, &mut done).await;
        if let Some(imports) = done.imports.filter(|imports| !imports.is_empty()) {
            print(&format!("{}\n", json!({ "file": file, "imports": imports })))?;
        }
        end_of_all?;
        done.would_end.map_or_else(|| end(args.exit_code, done.changes), Err)
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
        let rows: Vec<u64> = of.filter_map(|(_, item)| Some(item.formal()?.revision.0)).collect();
        if rows.is_empty() {
            return Err(missing(format!("no configuration is in namespace {id:?}")));
        }
        wanted.extend(rows);
    }
    Ok(wanted)
}

/// The default namespace has two names.
fn key_namespace(id: &str) -> &str {
    if id == "public" { "" } else { id }
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
    items: Vec<(ConfigKey, Draft)>,
    bytes: usize,
}

impl Batch {
    /// Whether it is to be sent before so many bytes are added.
    fn is_full(&self, bytes: usize) -> bool {
        self.items.len() >= BATCH || (self.bytes + bytes > BATCH_BYTES && !self.items.is_empty())
    }
}

/// What was sent so far.
struct Done<'a> {
    file: &'a Path,
    args: &'a PublishArgs,
    /// What was done, for programs. For people it is printed at once: a backup may have a hundred thousand configurations.
    imports: Option<Vec<Value>>,
    changes: bool,
    /// Where all would end, in a dry run: it goes on, and shows what would not be reached.
    would_end: Option<Failure>,
}

impl Done<'_> {
    fn new<'a>(file: &'a Path, args: &'a PublishArgs, json: bool) -> Done<'a> {
        Done { file, args, imports: json.then(Vec::new), changes: false, would_end: None }
    }

    fn show(&mut self, imported: Imported) -> Result<(), Failure> {
        match &mut self.imports {
            Some(imports) => imports.push(imported.json),
            None => print(&imported.text)?,
        }
        self.changes |= imported.changes;
        match imported.end {
            Err(failure) if self.args.dry_run => {
                self.would_end.get_or_insert(failure);
                Ok(())
            }
            end => end,
        }
    }
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
            let Some((draft, alone)) = draft(&row) else { continue };
            let namespace = shown_namespace(row.key.namespace()).to_owned();
            let bytes = draft.content.text().len();
            if alone {
                send_one(remote, &namespace, (row.key, draft), done).await?;
                continue;
            }
            let batch = batches.entry(namespace.clone()).or_default();
            if batch.is_full(bytes) {
                waiting -= batch.bytes;
                let full = std::mem::take(batch);
                send(remote, &namespace, full, done).await?;
            }
            let batch = batches.entry(namespace).or_default();
            batch.items.push((row.key, draft));
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

/// What a row publishes, and whether it has texts for which an archive has no place. `None` if it has no content.
fn draft(row: &ContentRow) -> Option<(Draft, bool)> {
    let content = row.content.clone()?;
    let extra = row.extra.as_deref().cloned().unwrap_or_default();
    let alone = [&extra.used_for, &extra.effect, &extra.schema, &extra.encrypted_data_key]
        .iter()
        .any(|text| !text.is_empty());
    let draft = Draft {
        content,
        kind: row.kind,
        app_name: Some(extra.app_name).filter(|app| !app.is_empty()),
        tags: Some(extra.tags).filter(|tags| !tags.is_empty()),
        desc: extra.desc,
        used_for: extra.used_for,
        effect: extra.effect,
        schema: extra.schema,
        encrypted_data_key: extra.encrypted_data_key,
    };
    Some((draft, alone))
}

fn import_args(namespace: &str, done: &Done<'_>) -> ImportArgs {
    ImportArgs {
        file: PathBuf::from(done.file),
        namespace: namespace.to_owned(),
        policy: done.args.policy,
        dry_run: done.args.dry_run,
        // What all batches together change is told at the end.
        exit_code: false,
        reason: done.args.reason.clone(),
    }
}

async fn send(
    remote: &mut Remote,
    namespace: &str,
    batch: Batch,
    done: &mut Done<'_>,
) -> Result<(), Failure> {
    let args = import_args(namespace, done);
    let imported = if args.dry_run {
        dry_run(remote, &args, &batch.items, &[], done.would_end.is_some()).await?
    } else {
        let bytes = archive_of(&batch).map_err(|why| Failure::new(Exit::Refused, why))?;
        import_archive(remote, &args, &bytes).await?
    };
    done.show(imported)
}

async fn send_one(
    remote: &mut Remote,
    namespace: &str,
    item: (ConfigKey, Draft),
    done: &mut Done<'_>,
) -> Result<(), Failure> {
    let args = import_args(namespace, done);
    let imported = if args.dry_run {
        dry_run(remote, &args, &[item], &[], done.would_end.is_some()).await?
    } else {
        import_one(remote, &args, &item.0, &item.1).await?
    };
    done.show(imported)
}

fn archive_of(batch: &Batch) -> Result<Vec<u8>, String> {
    let mut writer = Writer::new(Cursor::new(Vec::new()));
    let mut items = Vec::with_capacity(batch.items.len());
    for (key, draft) in &batch.items {
        writer.add(&format!("{}/{}", key.group(), key.data_id()), draft.content.text())?;
        items.push(ItemMeta {
            group: key.group().to_owned(),
            data_id: key.data_id().to_owned(),
            kind: draft.kind.as_str().to_owned(),
            app_name: draft.app_name.as_deref().map(str::to_owned),
            desc: Some(draft.desc.to_string()).filter(|desc| !desc.is_empty()),
            tags: draft.tags.as_ref().map(|tags| tags.join(",")),
        });
    }
    writer.add(archive::NEW, &archive::write_new(&items))?;
    Ok(writer.finish()?.into_inner())
}

#[cfg(test)]
mod tests {
    use dyad_config::ConfigType;

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
        let key = ConfigKey::new("dev", "G", "a.json");
        let draft = Draft {
            kind: ConfigType::parse("json").unwrap(),
            desc: "d".into(),
            tags: Some(["x".into(), "y".into()].into()),
            ..Draft::text("{}")
        };
        let batch = Batch { items: vec![(key, draft)], bytes: 2 };
        let read = archive::read(&archive_of(&batch).unwrap(), "dev").unwrap();
        let (key, draft) = &read.items[0];
        assert_eq!(key, &ConfigKey::new("dev", "G", "a.json"));
        assert_eq!((draft.content.text().to_string(), draft.kind.as_str()), ("{}".into(), "json"));
        assert_eq!(draft.tags.as_ref().map(|tags| tags.len()), Some(2));
    }

    /// For people nothing is kept of what was told.
    #[test]
    fn what_was_done_is_kept_for_programs_only() {
        let args = PublishArgs {
            namespaces: vec!["dev".into()],
            keys: Vec::new(),
            policy: Policy::Abort,
            dry_run: true,
            exit_code: false,
            reason: String::new(),
        };
        for json in [false, true] {
            let mut done = Done::new(Path::new("b"), &args, json);
            for n in 0..3 {
                let end = if n == 1 { Err(Failure::new(Exit::Conflict, "is there")) } else { Ok(()) };
                let imported =
                    Imported { json: json!({ "n": n }), text: String::new(), end, changes: n == 2 };
                done.show(imported).unwrap();
            }
            assert_eq!(done.imports.map(|imports| imports.len()), json.then_some(3));
            assert!(done.changes && done.would_end.is_some_and(|failure| failure.exit == Exit::Conflict));
        }
    }
}
