//! The use cases that change configurations, which HTTP and gRPC share: they check the request, make the command, and
//! read its reply.

use std::sync::Arc;

use dyad_config::limits::BATCH_MAX;
use dyad_config::{
    BETA, Change, ConfigCommand, ConfigItem, ConfigReply, ConfigType, Content, Draft, GrayRule, Publish,
    PublishGray, Release, RemoveItem, Revision, Source, tag_gray_name,
};
use dyad_state::CpReply;
use dyad_types::config_check::{ConfigFault, ConfigInput, check_config};
use dyad_types::limits::MESSAGE_MAX;
use dyad_types::{ConfigKey, Md5};

use super::metrics::Kind;
use crate::caller::{Action, Caller, Resource};
use crate::fault::Fault;
use crate::state::App;

/// Bytes of a content up to which its md5 is taken where the request is answered: about 0.1 ms.
const MD5_INLINE_MAX: usize = 64 * 1024;
/// What an answer has beside the content: md5, type, data key, times. A content whose answer is over [`MESSAGE_MAX`] could never be
/// read over gRPC.
const ANSWER_EXTRA: usize = 4 * 1024;
/// Bytes that one byte of a content takes at most in JSON (`\u001f`).
const ESCAPE_MAX: usize = 6;
/// The version of a gray release by label rule, when the request names none.
const LABEL_VERSION: &str = "1.1.0";

/// The values of a publish, whatever their names are in the request. `None` and empty texts are as in the request.
#[derive(Clone, Copy, Debug, Default)]
pub struct Fields<'a> {
    pub data_id: &'a str,
    pub group: &'a str,
    /// The id of the namespace, in any spelling.
    pub namespace: Option<&'a str>,
    pub content: &'a str,
    pub kind: Option<&'a str>,
    /// The tags, as a comma-separated list. `None` keeps the present tags.
    pub config_tags: Option<&'a str>,
    pub app_name: Option<&'a str>,
    pub desc: Option<&'a str>,
    pub used_for: Option<&'a str>,
    pub effect: Option<&'a str>,
    pub schema: Option<&'a str>,
    pub encrypted_data_key: Option<&'a str>,
    /// Publishes a gray release for these addresses. It wins over `tag`.
    pub beta_ips: Option<&'a str>,
    /// Publishes a gray release for readers with this tag.
    pub tag: Option<&'a str>,
    /// Publishes a gray release for readers that fit a rule. It wins over `beta_ips` and `tag`.
    pub gray: Option<GrayFields<'a>>,
    /// The publish succeeds only if the current content has this md5, or if there is none.
    pub cas_md5: Option<&'a str>,
}

/// A gray release with a name that an operator chose (`ConfigFormV3`).
#[derive(Clone, Copy, Debug)]
pub struct GrayFields<'a> {
    pub name: &'a str,
    pub expression: &'a str,
    /// The version of the rule. The default is that of rules over labels.
    pub version: Option<&'a str>,
    pub priority: i32,
}

/// A gray release's name and rule.
type Named = (Box<str>, Arc<GrayRule>);

/// A publish that was checked and may be proposed.
#[derive(Debug)]
pub struct Prepared {
    key: ConfigKey,
    gray: Option<Named>,
    cas: Option<Md5>,
    /// Everything but the content, whose md5 is not known yet.
    draft: Draft,
    content: Arc<str>,
    keeps: Keeps,
}

/// The texts that a publish does not give: they stay as they are. The proposer fills them in from what this member has
/// applied; of two publishes at the same time the later one counts, as for every other field.
#[derive(Clone, Copy, Debug)]
struct Keeps {
    desc: bool,
    used_for: bool,
    effect: bool,
    schema: bool,
}

impl Keeps {
    fn of(fields: &Fields<'_>) -> Keeps {
        Keeps {
            desc: fields.desc.is_none(),
            used_for: fields.used_for.is_none(),
            effect: fields.effect.is_none(),
            schema: fields.schema.is_none(),
        }
    }

    fn any(self) -> bool {
        self.desc || self.used_for || self.effect || self.schema
    }

    fn fill(self, draft: &mut Draft, before: Option<&Release>) {
        let Some(before) = before.map(Release::extra) else { return };
        for (keeps, text, old) in [
            (self.desc, &mut draft.desc, &before.desc),
            (self.used_for, &mut draft.used_for, &before.used_for),
            (self.effect, &mut draft.effect, &before.effect),
            (self.schema, &mut draft.schema, &before.schema),
        ] {
            if keeps {
                *text = old.clone();
            }
        }
    }
}

/// What was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Published {
    pub revision: Revision,
    pub md5: Md5,
}

/// Checks everything that can be checked without the state (`ParamUtils`), and copies the content once. `tenant_name`
/// is what an error calls the namespace.
///
/// # Errors
/// The first rule that a field breaks.
pub fn prepare(fields: &Fields<'_>, tenant_name: &'static str) -> Result<Prepared, Fault> {
    let blank = |fault| match fault {
        // Nacos shows what was blank.
        ConfigFault::ContentBlank => Fault::BlankContent(fields.content.to_owned()),
        fault => Fault::Param(fault),
    };
    check_config(
        &ConfigInput {
            data_id: Some(fields.data_id),
            group: Some(fields.group),
            content: Some(fields.content),
            tag: fields.tag,
            tenant: fields.namespace,
            config_tags: fields.config_tags,
            desc: fields.desc,
            used_for: fields.used_for,
            effect: fields.effect,
            kind: fields.kind,
            schema: fields.schema,
            app_name: fields.app_name,
            encrypted_data_key: fields.encrypted_data_key,
        },
        tenant_name,
    )
    .map_err(blank)?;
    if fields.content.len() > MESSAGE_MAX / ESCAPE_MAX {
        let bytes = answer_bytes(fields.content);
        if bytes > MESSAGE_MAX {
            return Err(Fault::AnswerTooLarge { bytes, max: MESSAGE_MAX });
        }
    }
    let given = |text: Option<&str>| Box::from(text.unwrap_or_default());
    let tags =
        |list: &str| list.split(',').map(str::trim).filter(|tag| !tag.is_empty()).map(Box::from).collect();
    let draft = Draft {
        kind: fields.kind.and_then(ConfigType::parse).unwrap_or_default(),
        app_name: fields.app_name.map(Box::from),
        tags: fields.config_tags.map(tags),
        desc: given(fields.desc),
        used_for: given(fields.used_for),
        effect: given(fields.effect),
        schema: given(fields.schema),
        encrypted_data_key: given(fields.encrypted_data_key),
        ..Draft::text("")
    };
    Ok(Prepared {
        key: ConfigKey::new(fields.namespace.unwrap_or_default(), fields.group, fields.data_id),
        gray: gray(fields)?,
        // What is no md5 at all matches nothing.
        cas: fields.cas_md5.map(|text| Md5::parse(text).unwrap_or(Md5::UNMATCHED)),
        draft,
        content: Arc::from(fields.content),
        keeps: Keeps::of(fields),
    })
}

/// The bytes of an answer with this content, as JSON.
fn answer_bytes(content: &str) -> usize {
    let of = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..0x20 => ESCAPE_MAX,
        _ => 1,
    };
    content.bytes().map(of).sum::<usize>() + ANSWER_EXTRA
}

/// The gray release that a publish is for: by name, else by addresses, else by tag.
fn gray(fields: &Fields<'_>) -> Result<Option<Named>, Fault> {
    let present = |text: Option<&'_ str>| text.is_some_and(|text| !text.trim().is_empty());
    let (name, rule) = if let Some(gray) = fields.gray {
        (gray.name.to_owned(), named_rule(&gray)?)
    } else if let Some(ips) = fields.beta_ips.filter(|ips| present(Some(ips))) {
        (BETA.to_owned(), GrayRule::beta(ips)?)
    } else if let Some(tag) = fields.tag.filter(|tag| present(Some(tag))) {
        (tag_gray_name(tag), GrayRule::tag(tag)?)
    } else {
        return Ok(None);
    };
    Ok(Some((name.into(), Arc::new(rule))))
}

/// The names `beta` and `tag_…` belong to their own rules.
fn named_rule(gray: &GrayFields<'_>) -> Result<GrayRule, Fault> {
    Ok(match gray.name {
        BETA => GrayRule::beta(gray.expression)?,
        name if name == tag_gray_name(gray.expression) => GrayRule::tag(gray.expression)?,
        name if name.starts_with(&tag_gray_name("")) => return Err(Fault::GrayName(name.to_owned())),
        _ => {
            let version = gray.version.unwrap_or(LABEL_VERSION);
            GrayRule::parse("tagv2", version, gray.expression, gray.priority)?
        }
    })
}

impl Prepared {
    pub fn content(&self) -> &Arc<str> {
        &self.content
    }

    pub fn kind(&self) -> ConfigType {
        self.draft.kind
    }
}

/// Publishes, and returns when a majority has the publish on disk and this member has applied it.
///
/// # Errors
/// A CAS that does not match, a limit, or a core that does not acknowledge.
pub async fn publish(app: &App, prepared: Prepared, author: Author) -> Result<Published, Fault> {
    let Prepared { key, gray, cas, mut draft, content, keeps } = prepared;
    draft.content = with_md5(content).await?;
    if gray.is_none() && keeps.any() {
        app.has_state()?;
        keeps.fill(&mut draft, app.configs.item(&key).as_deref().and_then(ConfigItem::formal));
    }
    let change = match gray {
        Some((name, rule)) => Change::PublishGray(PublishGray { key, name, rule, draft, cas }),
        None => Change::Publish(Publish { key, draft, cas, enforce: app.bounds.config_quotas }),
    };
    let name = match &change {
        Change::PublishGray(publish) => publish.name.to_string(),
        _ => String::new(),
    };
    match propose(app, change, author).await? {
        ConfigReply::Done { revision, md5: Some(md5) } => Ok(Published { revision, md5 }),
        ConfigReply::CasMismatch { .. } => Err(Fault::CasMismatch),
        ConfigReply::BadName => Err(Fault::GrayName(name)),
        _ => Err(Fault::UnknownReply),
    }
}

/// Removes the formal release, or the gray release of this name. False if there was none.
///
/// # Errors
/// The core does not acknowledge the command.
pub async fn remove(
    app: &App,
    key: ConfigKey,
    gray: Option<Box<str>>,
    author: Author,
) -> Result<bool, Fault> {
    match propose(app, Change::Remove { key, gray }, author).await? {
        ConfigReply::Done { .. } => Ok(true),
        ConfigReply::NotFound => Ok(false),
        _ => Err(Fault::UnknownReply),
    }
}

/// The name of the gray release that a removal by tag is about. Nacos 2.5 wants the release's name there, others the tag: both
/// are understood.
///
/// # Errors
/// This member has never had the state of its cluster.
pub fn release_of_tag(app: &App, key: &ConfigKey, tag: &str) -> Result<Box<str>, Fault> {
    app.has_state()?;
    let named = app.configs.item(key).is_some_and(|item| item.gray(tag).is_some());
    Ok(if named { tag.into() } else { tag_gray_name(tag).into() })
}

/// Removes the formal releases of these configurations, if they still have the ids, in as many commands as it takes.
///
/// # Errors
/// The core does not acknowledge a command. What was removed before stays removed; repeating the request goes on.
pub async fn remove_items(app: &App, items: &[RemoveItem], author: &Author) -> Result<(), Fault> {
    for batch in items.chunks(BATCH_MAX) {
        let change = Change::RemoveBatch { items: batch.to_vec() };
        let ConfigReply::Report(_) = propose(app, change, author.clone()).await? else {
            return Err(Fault::UnknownReply);
        };
    }
    Ok(())
}

/// Who writes, and what the history notes of it.
#[derive(Clone, Debug)]
pub struct Author {
    pub caller: Caller,
    pub source: Source,
}

/// Proposes a change. Limits are errors; all other replies are the caller's.
///
/// # Errors
/// A caller that may not do it to everything that the change names, a limit, or a core that does not acknowledge.
pub async fn propose(app: &App, change: Change, author: Author) -> Result<ConfigReply, Fault> {
    allowed(&author.caller, &change)?;
    let kind = Kind::of(&change);
    let command = ConfigCommand { source: author.source, change };
    match app.propose.propose(command.into()).await? {
        CpReply::Config(ConfigReply::Limit(limit)) => Err(Fault::ConfigLimit(limit)),
        CpReply::Config(reply) => {
            app.config_metrics.observe(kind, &reply);
            Ok(reply)
        }
        _ => Err(Fault::UnknownReply),
    }
}

/// May the caller do it to everything that the change writes? The keys are those of the command, so that no spelling of a
/// parameter leads past it.
fn allowed(caller: &Caller, change: &Change) -> Result<(), Fault> {
    let config = |key: &ConfigKey| caller.may(Action::Write, &Resource::Config(key));
    let namespace = |id: &str| caller.may(Action::Write, &Resource::Namespace(Some(id)));
    match change {
        Change::Publish(publish) => config(&publish.key),
        Change::PublishGray(publish) => config(&publish.key),
        Change::Remove { key, .. } | Change::Rollback { key, .. } => config(key),
        Change::RemoveBatch { items } => items.iter().try_for_each(|item| config(&item.key)),
        Change::Import(import) => import.items.iter().try_for_each(|(key, _)| config(key)),
        Change::CreateNamespace { id, .. }
        | Change::UpdateNamespace { id, .. }
        | Change::DeleteNamespace { id, .. } => namespace(id),
        Change::SetCapacity { .. } | Change::Prune(_) => caller.may(Action::Admin, &Resource::ConfigLimits),
    }
}

/// Takes the md5 of a content; of a large one where it may take its time.
pub async fn with_md5(content: Arc<str>) -> Result<Content, Fault> {
    if content.len() <= MD5_INLINE_MAX {
        return Ok(Content::new(content));
    }
    blocking(move || Content::new(content)).await
}

/// Runs work that would keep the thread of a request for too long, on another thread.
///
/// # Errors
/// The process stops.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Fault> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Fault::Stopping)
}
