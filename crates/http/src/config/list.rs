//! Searches: by name, tags, type and content, in one namespace or all of them.

use std::collections::BTreeSet;
use std::sync::Arc;

use dyad_config::{ConfigItem, ContentError, Contents, Filter, Found, PageRequest, Pattern, Release, Work};
use dyad_types::ConfigKey;
use serde_json::{Value, json};

use super::json as shapes;
use super::{enveloped, result};
use crate::config::request::{filter as param_filter, namespace_param, page, required};
use crate::fault::Generation;
use crate::params::{Key, Params};
use crate::reply::{Kind, Reply};
use crate::step::Step;
use dyad_app::App;
use dyad_app::Fault;
use dyad_app::config::Stop;
use dyad_app::config::read::content_here;

/// Bytes of contents on one page: the answer is made in memory.
const PAGE_BYTES_MAX: usize = 32 * 1024 * 1024;
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
        Ok(search(app, filter(params, accurate)?, asked, shape, Generation::V1))
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
        Ok(search(app, filter(params, accurate)?, asked, shape, Generation::V2))
    };
    Step::of(read())
}

/// `GET /v3/admin/cs/config/list`, `/v3/console/cs/config/list` and `…/searchDetail`.
pub(crate) fn v3(app: &Arc<App>, params: &Params) -> Step {
    let read = || -> Result<Step, Fault> {
        let accurate = params.get(Key::Search) == Some("accurate");
        let asked = page(params, Some((1, 100)), app.bounds.page)?;
        Ok(search(app, filter(params, accurate)?, asked, Shape::Basic, Generation::V3))
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
        Ok(search(app, filter, asked, Shape::Lines, Generation::V3))
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

fn search(app: &Arc<App>, filter: Filter, asked: PageRequest, shape: Shape, generation: Generation) -> Step {
    let app = Arc::clone(app);
    Step::wait(async move {
        let turn = app.turns.next().await?;
        let page = turn.run(move |stop| run(&app, &filter, asked, shape, stop)).await?;
        Ok(match (shape, generation) {
            (Shape::Accurate | Shape::Blur, Generation::V2) => Reply::json(page.to_string()),
            (Shape::Accurate | Shape::Blur, _) => Reply::new(Kind::JsonUtf8, page.to_string()),
            (_, Generation::V3) => result(&page),
            _ => enveloped(generation, &page),
        })
    })
}

fn run(app: &App, filter: &Filter, asked: PageRequest, shape: Shape, stop: &Stop) -> Result<Value, Fault> {
    let state = app.configs.state();
    let mut scanned = 0;
    let contents = &*app.contents;
    let stored = |pattern: &Pattern, release: &Release, work: &mut Work<'_>| {
        scanned += release.len as usize;
        if scanned > SCAN_BYTES_MAX {
            return Ok(false);
        }
        match content_here(contents, release) {
            Ok(text) => Ok(pattern.matches(&text, work)?),
            // Pruned since the state was looked at: it has another content by now.
            Err(Fault::Content(ContentError::Gone(_))) => Ok(false),
            Err(fault) => Err(fault),
        }
    };
    let is_due = || stop.is_due();
    let mut work = Work::new(&is_due);
    let found = state.find(filter, asked, &mut work, stored)?;
    let items = items(contents, &found, filter, shape, &mut work)?;
    let mut page = shapes::page(&found, asked, items);
    if scanned > SCAN_BYTES_MAX {
        page["truncated"] = Value::Bool(true);
    }
    Ok(page)
}

fn items(
    contents: &dyn Contents,
    found: &Found<(&ConfigKey, &Arc<ConfigItem>)>,
    filter: &Filter,
    shape: Shape,
    work: &mut Work<'_>,
) -> Result<Vec<Value>, Fault> {
    let mut bytes = 0;
    let releases = found.page.iter().filter_map(|(key, item)| Some((*key, item.formal()?)));
    let mut one = |(key, release): (&ConfigKey, &Release)| -> Result<Value, Fault> {
        work.spend(1 + release.len as usize)?;
        let data_key = match shape {
            Shape::Basic => return Ok(Value::Object(shapes::basic(key, release))),
            Shape::Lines => {
                let text = content_here(contents, release)?;
                let lines = lines(&text, filter, work)?;
                let mut basic = shapes::basic(key, release);
                basic.insert("lines".into(), lines.into());
                return Ok(Value::Object(basic));
            }
            Shape::Accurate => false,
            Shape::Blur => true,
        };
        bytes += release.len as usize;
        if bytes > PAGE_BYTES_MAX {
            let max = PAGE_BYTES_MAX / (1024 * 1024);
            return Err(Fault::Invalid(format!(
                "the contents of this page are over {max} MiB: use a smaller pageSize"
            )));
        }
        Ok(shapes::listed(key, release, &content_here(contents, release)?, data_key))
    };
    releases.map(&mut one).collect()
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
