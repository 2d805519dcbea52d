//! Conversions between the values of this crate and their stored messages.

use std::sync::Arc;

use dyad_types::{ConfigKey, Md5};

use crate::BadRecord;
use crate::capacity::{CapacityChange, Scope};
use crate::command::{
    Change, ConfigCommand, ConfigLimit, ConfigReply, Import, ImportPolicy, ItemOutcome, Prune, Publish,
    PublishGray, RemoveItem, Source,
};
use crate::content::{ConfigType, Content, Draft, Revision};
use crate::gray::GrayRule;
use crate::history::Op;
use crate::item::Extra;
use crate::record::*;
use crate::row::{Cause, ContentRow};

impl From<&ConfigCommand> for CommandRecord {
    fn from(command: &ConfigCommand) -> CommandRecord {
        let Source { user, ip, reason } = &command.source;
        CommandRecord {
            request: Vec::new(),
            user: user.to_string(),
            ip: ip.to_string(),
            reason: reason.to_string(),
            change: Some(change_record(&command.change)),
        }
    }
}

impl TryFrom<CommandRecord> for ConfigCommand {
    type Error = BadRecord;

    fn try_from(record: CommandRecord) -> Result<ConfigCommand, BadRecord> {
        let unknown =
            "a configuration command that this build does not know; install the version that wrote it";
        let change = record.change.ok_or_else(|| BadRecord(unknown.into()))?;
        Ok(ConfigCommand {
            source: Source { user: record.user.into(), ip: record.ip.into(), reason: record.reason.into() },
            change: change_of(change)?,
        })
    }
}

fn change_record(change: &Change) -> ChangeRecord {
    match change {
        Change::Publish(p) => ChangeRecord::Publish(PublishRecord {
            key: Some((&p.key).into()),
            draft: Some((&p.draft).into()),
            cas: p.cas.map(|md5| md5.0.to_vec()),
            enforce: p.enforce,
            gray: None,
        }),
        Change::PublishGray(p) => ChangeRecord::PublishGray(PublishRecord {
            key: Some((&p.key).into()),
            draft: Some((&p.draft).into()),
            cas: p.cas.map(|md5| md5.0.to_vec()),
            enforce: false,
            gray: Some(gray_record(&p.name, Some(&p.rule))),
        }),
        Change::Remove { key, gray } => ChangeRecord::Remove(RemoveRecord {
            key: Some(key.into()),
            gray: gray.as_deref().map(str::to_owned),
            id: None,
        }),
        Change::RemoveBatch { items } => ChangeRecord::RemoveBatch(RemoveBatchRecord {
            items: items
                .iter()
                .map(|item| RemoveRecord {
                    key: Some((&item.key).into()),
                    gray: None,
                    id: item.id.map(|id| id.0),
                })
                .collect(),
        }),
        Change::Import(import) => ChangeRecord::Import(import.into()),
        Change::Rollback { key, to, draft } => ChangeRecord::Rollback(RollbackRecord {
            key: Some(key.into()),
            to: to.0,
            draft: Some(draft.into()),
        }),
        Change::SetCapacity { scope, change } => ChangeRecord::SetCapacity(CapacityRecord {
            scope: Some(scope.into()),
            quota: change.quota,
            max_size: change.max_size,
            max_aggr_count: change.max_aggr_count,
            max_aggr_size: change.max_aggr_size,
            ..CapacityRecord::default()
        }),
        Change::CreateNamespace { id, name, desc } => {
            ChangeRecord::CreateNamespace(namespace_record(id, name, desc))
        }
        Change::UpdateNamespace { id, name, desc } => {
            ChangeRecord::UpdateNamespace(namespace_record(id, name, desc))
        }
        Change::DeleteNamespace { id, force } => {
            ChangeRecord::DeleteNamespace(DeleteNamespaceRecord { id: id.to_string(), force: *force })
        }
        Change::Prune(prune) => ChangeRecord::Prune(PruneRecord {
            until_ms: prune.until_ms,
            keep: prune.keep,
            from: prune.from.as_ref().map(Into::into),
        }),
    }
}

fn change_of(change: ChangeRecord) -> Result<Change, BadRecord> {
    Ok(match change {
        ChangeRecord::Publish(r) => Change::Publish(Publish {
            key: key_of(r.key)?,
            draft: draft_of(r.draft)?,
            cas: r.cas.as_deref().map(md5_of).transpose()?,
            enforce: r.enforce,
        }),
        ChangeRecord::PublishGray(r) => {
            let (name, rule) = gray_of(r.gray.ok_or_else(|| missing("gray release"))?)?;
            Change::PublishGray(PublishGray {
                key: key_of(r.key)?,
                name,
                rule: rule.ok_or_else(|| missing("gray rule"))?,
                draft: draft_of(r.draft)?,
                cas: r.cas.as_deref().map(md5_of).transpose()?,
            })
        }
        ChangeRecord::Remove(r) => {
            Change::Remove { key: key_of(r.key)?, gray: r.gray.map(String::into_boxed_str) }
        }
        ChangeRecord::RemoveBatch(r) => {
            let item = |r: RemoveRecord| Ok(RemoveItem { key: key_of(r.key)?, id: r.id.map(Revision) });
            Change::RemoveBatch { items: r.items.into_iter().map(item).collect::<Result<_, BadRecord>>()? }
        }
        ChangeRecord::Import(r) => Change::Import(import_of(r)?),
        ChangeRecord::Rollback(r) => {
            Change::Rollback { key: key_of(r.key)?, to: Revision(r.to), draft: draft_of(r.draft)? }
        }
        ChangeRecord::SetCapacity(r) => Change::SetCapacity {
            scope: scope_of(r.scope)?,
            change: CapacityChange {
                quota: r.quota,
                max_size: r.max_size,
                max_aggr_count: r.max_aggr_count,
                max_aggr_size: r.max_aggr_size,
            },
        },
        ChangeRecord::CreateNamespace(r) => {
            Change::CreateNamespace { id: r.id.into(), name: r.name.into(), desc: r.desc.into() }
        }
        ChangeRecord::UpdateNamespace(r) => {
            Change::UpdateNamespace { id: r.id.into(), name: r.name.into(), desc: r.desc.into() }
        }
        ChangeRecord::DeleteNamespace(r) => Change::DeleteNamespace { id: r.id.into(), force: r.force },
        ChangeRecord::Prune(r) => Change::Prune(Prune {
            until_ms: r.until_ms,
            keep: r.keep,
            from: r.from.map(|key| key_of(Some(key))).transpose()?,
        }),
    })
}

impl From<&Import> for ImportRecord {
    fn from(import: &Import) -> ImportRecord {
        let item = |(key, draft): &(ConfigKey, Draft)| ImportItemRecord {
            key: Some(key.into()),
            draft: Some(draft.into()),
        };
        ImportRecord {
            items: import.items.iter().map(item).collect(),
            policy: match import.policy {
                ImportPolicy::Abort => 0,
                ImportPolicy::Skip => 1,
                ImportPolicy::Overwrite => 2,
            },
            clone: import.clone,
            enforce: import.enforce,
        }
    }
}

fn import_of(record: ImportRecord) -> Result<Import, BadRecord> {
    let item = |item: ImportItemRecord| Ok((key_of(item.key)?, draft_of(item.draft)?));
    Ok(Import {
        items: record.items.into_iter().map(item).collect::<Result<_, BadRecord>>()?,
        policy: match record.policy {
            0 => ImportPolicy::Abort,
            1 => ImportPolicy::Skip,
            2 => ImportPolicy::Overwrite,
            other => return Err(BadRecord(format!("import policy {other} is unknown"))),
        },
        clone: record.clone,
        enforce: record.enforce,
    })
}

impl From<&ConfigReply> for ReplyRecord {
    fn from(reply: &ConfigReply) -> ReplyRecord {
        let none = ReplyRecord::default();
        match reply {
            ConfigReply::Done { revision, md5 } => ReplyRecord {
                kind: 1,
                number: revision.0,
                md5: md5.map(|md5| md5.0.to_vec()).unwrap_or_default(),
                ..none
            },
            ConfigReply::CasMismatch { current } => ReplyRecord { kind: 2, md5: current.0.to_vec(), ..none },
            ConfigReply::NotFound => ReplyRecord { kind: 3, ..none },
            ConfigReply::Exists => ReplyRecord { kind: 4, ..none },
            ConfigReply::NotEmpty(count) => ReplyRecord { kind: 5, number: *count, ..none },
            ConfigReply::NoNamespace => ReplyRecord { kind: 6, ..none },
            ConfigReply::BadName => ReplyRecord { kind: 7, ..none },
            ConfigReply::Report(outcomes) => {
                ReplyRecord { kind: 8, outcomes: outcome_bytes(outcomes), ..none }
            }
            ConfigReply::Pruned { dropped, next } => {
                ReplyRecord { kind: 9, number: *dropped, next: next.as_ref().map(Into::into), ..none }
            }
            ConfigReply::Limit(limit) => {
                let (kind, number) = match *limit {
                    ConfigLimit::Configs(max) => (20, max as u64),
                    ConfigLimit::Namespaces(max) => (21, max as u64),
                    ConfigLimit::Grays(max) => (22, max as u64),
                    ConfigLimit::Extra(max) => (23, max as u64),
                    ConfigLimit::Batch(max) => (24, max as u64),
                    ConfigLimit::ClusterQuota(max) => (25, max.into()),
                    ConfigLimit::GroupQuota(max) => (26, max.into()),
                    ConfigLimit::NamespaceQuota(max) => (27, max.into()),
                    ConfigLimit::ContentSize(max) => (28, max.into()),
                    ConfigLimit::Names(max) => (29, max as u64),
                    ConfigLimit::Capacities(max) => (30, max as u64),
                };
                ReplyRecord { kind, number, ..none }
            }
        }
    }
}

impl TryFrom<ReplyRecord> for ConfigReply {
    type Error = BadRecord;

    fn try_from(record: ReplyRecord) -> Result<ConfigReply, BadRecord> {
        let max = record.number as usize;
        let small = u32::try_from(record.number).unwrap_or(u32::MAX);
        Ok(match record.kind {
            1 => ConfigReply::Done {
                revision: Revision(record.number),
                md5: if record.md5.is_empty() { None } else { Some(md5_of(&record.md5)?) },
            },
            2 => ConfigReply::CasMismatch { current: md5_of(&record.md5)? },
            3 => ConfigReply::NotFound,
            4 => ConfigReply::Exists,
            5 => ConfigReply::NotEmpty(record.number),
            6 => ConfigReply::NoNamespace,
            7 => ConfigReply::BadName,
            8 => ConfigReply::Report(outcomes_of(&record.outcomes)?),
            9 => ConfigReply::Pruned {
                dropped: record.number,
                next: record.next.map(|key| key_of(Some(key))).transpose()?,
            },
            20 => ConfigReply::Limit(ConfigLimit::Configs(max)),
            21 => ConfigReply::Limit(ConfigLimit::Namespaces(max)),
            22 => ConfigReply::Limit(ConfigLimit::Grays(max)),
            23 => ConfigReply::Limit(ConfigLimit::Extra(max)),
            24 => ConfigReply::Limit(ConfigLimit::Batch(max)),
            25 => ConfigReply::Limit(ConfigLimit::ClusterQuota(small)),
            26 => ConfigReply::Limit(ConfigLimit::GroupQuota(small)),
            27 => ConfigReply::Limit(ConfigLimit::NamespaceQuota(small)),
            28 => ConfigReply::Limit(ConfigLimit::ContentSize(small)),
            29 => ConfigReply::Limit(ConfigLimit::Names(max)),
            30 => ConfigReply::Limit(ConfigLimit::Capacities(max)),
            other => return Err(BadRecord(format!("configuration reply kind {other} is unknown"))),
        })
    }
}

impl From<&ContentRow> for RowRecord {
    fn from(row: &ContentRow) -> RowRecord {
        let (cause, rolled_back_to) = match row.cause {
            Cause::Publish => (0, 0),
            Cause::Remove => (1, 0),
            Cause::Import => (2, 0),
            Cause::Clone => (3, 0),
            Cause::Rollback(to) => (4, to.0),
        };
        RowRecord {
            revision: row.revision.0,
            key: Some((&row.key).into()),
            op: row.op as u32,
            gray: row.gray.as_ref().map(|(name, rule)| gray_record(name, rule.as_deref())),
            content: row.content.as_ref().map(|content| content.text().to_string()),
            md5: row.content.as_ref().map(|content| content.md5().0.to_vec()).unwrap_or_default(),
            kind: row.kind as u32,
            extra: row.extra.as_deref().map(Into::into),
            cause,
            rolled_back_to,
            user: row.user.to_string(),
            ip: row.ip.to_string(),
            reason: row.reason.to_string(),
            created_ms: row.created_ms,
            modified_ms: row.modified_ms,
        }
    }
}

pub(crate) fn row_of(record: RowRecord) -> Result<ContentRow, BadRecord> {
    let md5 = &record.md5;
    let content = record.content.map(|text| Ok(Content::known(text, md5_of(md5)?))).transpose()?;
    Ok(ContentRow {
        revision: Revision(record.revision),
        key: key_of(record.key)?,
        op: Op::from_number(record.op.into())
            .ok_or_else(|| BadRecord(format!("operation {} is unknown", record.op)))?,
        gray: record.gray.map(gray_of).transpose()?,
        content,
        kind: ConfigType::from_number(record.kind),
        extra: record.extra.map(|extra| Arc::new(extra.into())),
        cause: match record.cause {
            0 => Cause::Publish,
            1 => Cause::Remove,
            2 => Cause::Import,
            3 => Cause::Clone,
            4 => Cause::Rollback(Revision(record.rolled_back_to)),
            other => return Err(BadRecord(format!("cause {other} is unknown"))),
        },
        user: record.user.into(),
        ip: record.ip.into(),
        reason: record.reason.into(),
        created_ms: record.created_ms,
        modified_ms: record.modified_ms,
    })
}

impl From<&ConfigKey> for KeyRecord {
    fn from(key: &ConfigKey) -> KeyRecord {
        KeyRecord {
            namespace: key.namespace().into(),
            group: key.group().into(),
            data_id: key.data_id().into(),
        }
    }
}

impl From<&Draft> for DraftRecord {
    fn from(draft: &Draft) -> DraftRecord {
        let extra = ExtraRecord {
            app_name: draft.app_name.as_deref().unwrap_or_default().into(),
            tags: draft.tags.iter().flatten().map(ToString::to_string).collect(),
            desc: draft.desc.to_string(),
            used_for: draft.used_for.to_string(),
            effect: draft.effect.to_string(),
            schema: draft.schema.to_string(),
            encrypted_data_key: draft.encrypted_data_key.to_string(),
        };
        DraftRecord {
            content: draft.content.text().to_string(),
            md5: draft.content.md5().0.to_vec(),
            kind: draft.kind as u32,
            extra: (extra != ExtraRecord::default()).then_some(extra),
            keep_app_name: draft.app_name.is_none(),
            keep_tags: draft.tags.is_none(),
        }
    }
}

impl From<&Extra> for ExtraRecord {
    fn from(extra: &Extra) -> ExtraRecord {
        ExtraRecord {
            app_name: extra.app_name.to_string(),
            tags: extra.tags.iter().map(ToString::to_string).collect(),
            desc: extra.desc.to_string(),
            used_for: extra.used_for.to_string(),
            effect: extra.effect.to_string(),
            schema: extra.schema.to_string(),
            encrypted_data_key: extra.encrypted_data_key.to_string(),
        }
    }
}

impl From<ExtraRecord> for Extra {
    fn from(record: ExtraRecord) -> Extra {
        Extra {
            app_name: record.app_name.into(),
            tags: record.tags.into_iter().map(String::into_boxed_str).collect(),
            desc: record.desc.into(),
            used_for: record.used_for.into(),
            effect: record.effect.into(),
            schema: record.schema.into(),
            encrypted_data_key: record.encrypted_data_key.into(),
        }
    }
}

impl From<&Scope> for ScopeRecord {
    fn from(scope: &Scope) -> ScopeRecord {
        let (kind, name) = match scope {
            Scope::Cluster => (1, String::new()),
            Scope::Namespace(id) => (2, id.to_string()),
            Scope::Group(name) => (3, name.to_string()),
        };
        ScopeRecord { kind, name }
    }
}

pub(crate) fn missing(field: &str) -> BadRecord {
    BadRecord(format!("the record lacks its {field}"))
}

pub(crate) fn md5_of(bytes: &[u8]) -> Result<Md5, BadRecord> {
    let bytes = bytes.try_into().map_err(|_| BadRecord("an md5 must have 16 bytes".into()))?;
    Ok(Md5(bytes))
}

pub(crate) fn key_of(record: Option<KeyRecord>) -> Result<ConfigKey, BadRecord> {
    let record = record.ok_or_else(|| missing("key"))?;
    Ok(ConfigKey::new(&record.namespace, &record.group, &record.data_id))
}

pub(crate) fn scope_of(record: Option<ScopeRecord>) -> Result<Scope, BadRecord> {
    let record = record.ok_or_else(|| missing("scope"))?;
    match record.kind {
        1 => Ok(Scope::Cluster),
        2 => Ok(Scope::namespace(&record.name)),
        3 => Ok(Scope::group(&record.name)),
        other => Err(BadRecord(format!("scope kind {other} is unknown"))),
    }
}

pub(crate) fn gray_record(name: &str, rule: Option<&GrayRule>) -> GrayRecord {
    GrayRecord {
        name: name.into(),
        kind: rule.map(|rule| rule.kind().into()).unwrap_or_default(),
        version: rule.map(|rule| rule.version().into()).unwrap_or_default(),
        expression: rule.map(|rule| rule.expression().into()).unwrap_or_default(),
        priority: rule.map_or(0, GrayRule::priority),
    }
}

/// The name of a gray release, and its rule unless the release was removed.
pub(crate) type NamedRule = (Box<str>, Option<Arc<GrayRule>>);

/// Reads the name and the rule of a gray release. Rules were parsed before they were written, so a rule that does not
/// parse comes from a later version of Dyad.
pub(crate) fn gray_of(record: GrayRecord) -> Result<NamedRule, BadRecord> {
    let rule = if record.kind.is_empty() {
        None
    } else {
        let rule = GrayRule::parse(&record.kind, &record.version, &record.expression, record.priority);
        Some(Arc::new(rule.map_err(|e| BadRecord(e.to_string()))?))
    };
    Ok((record.name.into(), rule))
}

/// The stored form of the outcomes of a request.
pub fn outcome_bytes(outcomes: &[ItemOutcome]) -> Vec<u8> {
    outcomes.iter().map(|outcome| *outcome as u8).collect()
}

/// The outcomes from their stored form.
///
/// # Errors
/// This build does not know one of them.
pub fn outcomes_of(bytes: &[u8]) -> Result<Arc<[ItemOutcome]>, BadRecord> {
    let outcome = |byte: &u8| {
        ItemOutcome::from_number(*byte).ok_or_else(|| BadRecord(format!("item outcome {byte} is unknown")))
    };
    bytes.iter().map(outcome).collect()
}

fn draft_of(record: Option<DraftRecord>) -> Result<Draft, BadRecord> {
    let record = record.ok_or_else(|| missing("content"))?;
    let extra = Extra::from(record.extra.unwrap_or_default());
    Ok(Draft {
        content: Content::known(record.content, md5_of(&record.md5)?),
        kind: ConfigType::from_number(record.kind),
        app_name: (!record.keep_app_name).then_some(extra.app_name),
        tags: (!record.keep_tags).then_some(extra.tags),
        desc: extra.desc,
        used_for: extra.used_for,
        effect: extra.effect,
        schema: extra.schema,
        encrypted_data_key: extra.encrypted_data_key,
    })
}

fn namespace_record(id: &str, name: &str, desc: &str) -> NamespaceRecord {
    NamespaceRecord { id: id.into(), name: name.into(), desc: desc.into(), ..NamespaceRecord::default() }
}
