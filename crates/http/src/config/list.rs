//! Searches: by name, tags, type and content, in one namespace or all of them.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;

use dyad_config::{ConfigItem, ContentError, Filter, Found, PageRequest, Pattern, Release, Work};
use dyad_types::{ConfigKey, Lease};
use serde_json::{Value, json};

use super::json as shapes;
use crate::config::request::{filter as param_filter, namespace_param, page, required};
use crate::fault::Generation;
use crate::growing::Growing;
use crate::params::{Key, Params};
use crate::reply::{Kind, Reply};
use crate::step::Step;
use dyad_app::config::read::content_here;
use dyad_app::config::{Stop, View};
use dyad_app::{App, Caller, Fault};

/// Bytes of contents on one page: the answer is made in memory.
const PAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
/// Of so many characters of a content one has a second byte in JSON, more or less.
const ESCAPED: usize = 8;
/// Bytes of stored contents that one search looks through, some seconds of a disk; what is beyond is not found, and the
/// answer says so.
const SCAN_BYTES_MAX: usize = 512 * 1024 * 1024;
/// Tags that one search asks for: each is compared with each tag of each configuration.
const TAGS_MAX: usize = 100;
/// Lines of one configuration that a content search shows.
const LINES_MAX: usize = 20;
/// Characters of one such line.
const LINE_MAX: usize = 200;

/// What an item of a page is made of.
#[derive(Clone, Copy, Debug)]
enum Shape {
    /// v1 and v2, `search=accurate`.
    Accurate,
    /// v1 and v2, `search=blur`.
    Blur,
    /// v3.
    Basic,
    /// v3, with the lines that hold the text.
    Lines,
}

/// `GET /v1/cs/configs?search=…`.
pub(crate) fn v1(app: &Arc<App>, params: &Params, accurate: bool) -> Step {
    let read = || -> Result<Step, Fault> {
        // A blur search has stars where the filter wants names.
        if accurate {
            param_filter(params)?;
        }
        required(params, Key::DataId, Generation::V1)?;
        required(params, Key::Group, Generation::V1)?;
        let asked = page(params, None, app.bounds.page)?;
        let shape = if accurate { Shape::Accurate } else { Shape::Blur };
        Ok(search(app, params.caller(), filter(params, accurate)?, asked, (shape, Generation::V1)))
    };
    Step::of(read())
}

/// `GET /v2/cs/config/searchDetail`: a bare page.
pub(crate) fn v2(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Step, Fault> {
        for key in [Key::DataId, Key::Group, Key::ConfigDetailV1] {
            required(params, key, Generation::V2)?;
        }
        let accurate = params.get(Key::Search) == Some("accurate");
        let asked = page(params, None, app.bounds.page)?;
        let shape = if accurate { Shape::Accurate } else { Shape::Blur };
        Ok(search(app, params.caller(), filter(params, accurate)?, asked, (shape, Generation::V2)))
    };
    Step::of(read())
}

/// `GET /v3/admin/cs/config/list`, `/v3/console/cs/config/list` and `…/searchDetail`.
pub(crate) fn v3(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Step, Fault> {
        let accurate = params.get(Key::Search) == Some("accurate");
        let asked = page(params, Some((1, 100)), app.bounds.page)?;
        Ok(search(app, params.caller(), filter(params, accurate)?, asked, (Shape::Basic, Generation::V3)))
    };
    Step::of(read())
}

/// `GET /v3/admin/cs/config/grep`: configurations whose content holds a text (`*` in it for any characters), in all
/// namespaces unless one is named. Not in Nacos.
pub(crate) fn grep(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Step, Fault> {
        let text = params.raw(Key::Content).filter(|text| !text.is_empty());
        let text = text.ok_or(Fault::MissingField("content"))?;
        let asked = page(params, Some((1, 100)), app.bounds.page)?;
        let mut filter = filter(params, false)?;
        filter.namespace = namespace_param(params).map(Box::from);
        filter.content = Some(Pattern::blur(&format!("*{text}*")));
        Ok(search(app, params.caller(), filter, asked, (Shape::Lines, Generation::V3)))
    };
    Step::of(read())
}

fn filter(params: &Params, accurate: bool) -> Result<Filter, Fault> {
    let pattern = |text: &str| if accurate { Pattern::exact(text) } else { Pattern::blur(text) };
    let of = |key: Key, alias: Key| params.either(key, alias).map(pattern);
    let tags = params.either(Key::ConfigTags, Key::ConfigTagsV1).unwrap_or_default();
    let kinds = params.either(Key::Types, Key::Type).unwrap_or_default();
    let mut wanted = BTreeSet::new();
    for tag in tags.split(',').map(str::trim).filter(|tag| !tag.is_empty()) {
        wanted.insert(tag);
        if wanted.len() > TAGS_MAX {
            return Err(Fault::Invalid(format!("configTags: more than {TAGS_MAX} entries")));
        }
    }
    Ok(Filter {
        namespace: Some(namespace_param(params).unwrap_or_default().into()),
        data_id: of(Key::DataId, Key::DataId),
        group: of(Key::Group, Key::GroupName),
        app_name: of(Key::AppName, Key::AppName),
        tags: wanted.into_iter().map(pattern).collect(),
        kinds: shapes::kinds(kinds),
        content: of(Key::ConfigDetail, Key::ConfigDetailV1),
    })
}

fn search(
    app: &Arc<App>,
    caller: Caller,
    filter: Filter,
    asked: PageRequest,
    form: (Shape, Generation),
) -> Step {
    let app = Arc::clone(app);
    Step::wait(async move {
        let turn = app.turns.next().await?;
        let (bytes, lease) = turn.run(move |stop| run(&app, &caller, &filter, asked, form, stop)).await?;
        let kind = if form.1 == Generation::V1 { Kind::JsonUtf8 } else { Kind::Json };
        Ok(Reply::new(kind, bytes).leased(lease))
    })
}

/// The whole answer, and its room.
type Made = (Vec<u8>, Option<Lease>);

fn run(
    app: &App,
    caller: &Caller,
    filter: &Filter,
    asked: PageRequest,
    form: (Shape, Generation),
    stop: &Stop,
) -> Result<Made, Fault> {
    let view = View::of(app, caller.clone())?;
    let mut scanned = 0;
    let stored = |pattern: &Pattern, release: &Release, work: &mut Work<'_>| {
        scanned += release.len as usize;
        if scanned > SCAN_BYTES_MAX {
            return Ok(false);
        }
        match content_here(app, release) {
            Ok(text) => Ok(pattern.matches(&text, work)?),
            // Pruned since the state was looked at: it has another content by now.
            Err(Fault::Content(ContentError::Gone(_))) => Ok(false),
            Err(fault) => Err(fault),
        }
    };
    let is_due = || stop.is_due();
    let mut work = Work::new(&is_due);
    let found = view.find(filter, asked, &mut work, stored)?;
    let mut out = Growing::begin(app, caller, bytes(&found, form.0)?)?;
    let enveloped = matches!((form.0, form.1), (Shape::Basic | Shape::Lines, Generation::V3));
    if enveloped {
        put(&mut out, "{\"code\":0,\"message\":\"success\",\"data\":")?;
    }
    put(&mut out, "{")?;
    if scanned > SCAN_BYTES_MAX {
        put(&mut out, "\"truncated\":true,")?;
    }
    put(
        &mut out,
        &format!(
            "\"totalCount\":{},\"pageNumber\":{},\"pagesAvailable\":{},\"pageItems\":[",
            found.total,
            asked.number,
            found.total.div_ceil(asked.size.max(1)),
        ),
    )?;
    let releases = found.page.iter().filter_map(|(key, item)| Some((*key, item.formal()?)));
    for (n, (key, release)) in releases.enumerate() {
        if n > 0 {
            put(&mut out, ",")?;
        }
        work.spend(1 + release.len as usize)?;
        write_item(app, &mut out, (key, release), filter, form.0, &mut work)?;
    }
    put(&mut out, if enveloped { "]}}" } else { "]}" })?;
    out.finish()
}

fn put(out: &mut Growing, text: &str) -> Result<(), Fault> {
    // It never fails; what found no room is told by `check`.
    let _written = out.write_all(text.as_bytes());
    out.check()
}

/// About how many bytes the page will have: those of its contents, if it has any.
///
/// # Errors
/// They are too many for one page.
fn bytes(found: &Found<(&ConfigKey, &Arc<ConfigItem>)>, shape: Shape) -> Result<usize, Fault> {
    if matches!(shape, Shape::Basic | Shape::Lines) {
        return Ok(0);
    }
    let releases = found.page.iter().filter_map(|(_, item)| item.formal());
    let bytes: usize = releases.map(|release| release.len as usize).sum();
    if bytes > PAGE_BYTES_MAX {
        let max = PAGE_BYTES_MAX / (1024 * 1024);
        return Err(Fault::Invalid(format!(
            "the contents of this page are over {max} MiB: use a smaller pageSize"
        )));
    }
    Ok(bytes + bytes / ESCAPED)
}

/// Writes one item of a page. Its content is in memory only meanwhile.
fn write_item(
    app: &App,
    out: &mut Growing,
    (key, release): (&ConfigKey, &Release),
    filter: &Filter,
    shape: Shape,
    work: &mut Work<'_>,
) -> Result<(), Fault> {
    let data_key = match shape {
        Shape::Basic => return put(out, &Value::Object(shapes::basic(key, release)).to_string()),
        Shape::Lines => {
            let text = content_here(app, release)?;
            let lines = lines(&text, filter, work)?;
            let mut basic = shapes::basic(key, release);
            basic.insert("lines".into(), lines.into());
            return put(out, &Value::Object(basic).to_string());
        }
        Shape::Accurate => false,
        Shape::Blur => true,
    };
    let content = content_here(app, release)?;
    // As in `put`.
    let _written = serde_json::to_writer(&mut *out, &shapes::Listed::of(key, release, &content, data_key));
    out.check()
}

/// The first lines that hold what is sought.
fn lines(text: &str, filter: &Filter, work: &mut Work<'_>) -> Result<Vec<Value>, Fault> {
    let mut lines = Vec::new();
    let Some(pattern) = &filter.content else { return Ok(lines) };
    for (n, line) in text.lines().enumerate() {
        if pattern.matches(line, work)? {
            let shown: String = line.chars().take(LINE_MAX).collect();
            lines.push(json!({ "line": n + 1, "text": shown }));
            if lines.len() == LINES_MAX {
                break;
            }
        }
    }
    Ok(lines)
}
