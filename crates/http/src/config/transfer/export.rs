//! Export: an archive of the configurations with certain ids, or of those that match.

use std::collections::BTreeSet;
use std::sync::Arc;

use dyad_config::archive::{self, ENTRIES_MAX, ItemMeta, Writer};
use dyad_config::{ConfigItem, Filter, PageRequest, Pattern, Release, Revision, Work};
use dyad_types::{ConfigKey, Lease};
use http::header::{CONTENT_DISPOSITION, HeaderValue};

use crate::config::remove::ids;
use crate::config::request::{filter, namespace_param};
use crate::growing::Growing;
use crate::params::{Key, Params};
use crate::reply::{Kind, Reply};
use crate::step::Step;
use dyad_app::config::read::content_here;
use dyad_app::config::{Stop, View};
use dyad_app::{App, Caller, Fault};
use dyad_types::date::compact_date;

/// Bytes of contents in one archive: it is made in memory, and an import takes no more.
const BYTES_MAX: usize = 64 * 1024 * 1024;

/// `GET /v3/admin/cs/config/export` and `/v3/console/cs/config/export2`.
pub(crate) fn v3(app: &Arc<App>, params: &Params) -> Step {
    export(app, params, true)
}

/// `GET /v1/cs/configs?export=true` (old format) and `?exportV2=true`.
pub(crate) fn export(app: &Arc<App>, params: &Params, new: bool) -> Step {
    let prepare = || -> Result<Step, Fault> {
        filter(params)?;
        let ids = params.get(Key::Ids).map(ids).transpose()?;
        let group = params.either(Key::Group, Key::GroupName);
        let filter = Filter {
            namespace: Some(namespace_param(params).unwrap_or_default().into()),
            data_id: params.get(Key::DataId).map(Pattern::blur),
            group: group.map(Pattern::exact),
            app_name: params.get(Key::AppName).map(Pattern::exact),
            ..Filter::default()
        };
        let name = format!("nacos_config_export_{}.zip", compact_date(app.clock.wall_ms()));
        let (app, caller) = (Arc::clone(app), params.caller());
        Ok(Step::wait(async move {
            let turn = app.turns.next().await?;
            let made = turn.run(move |stop| {
                let view = View::of(&app, caller.clone())?;
                let releases = chosen(&view, ids.as_ref(), &filter, stop)?;
                archive_of(&app, &caller, &releases, new, stop)
            });
            let (bytes, lease) = made.await?;
            let mut reply = Reply::new(Kind::Zip, bytes).leased(lease);
            let disposition = HeaderValue::try_from(format!("attachment;filename={name}"));
            if let Ok(disposition) = disposition {
                reply.headers.insert(CONTENT_DISPOSITION, disposition);
            }
            Ok(reply)
        }))
    };
    Step::of(prepare())
}

/// A release under its name.
type Named<'a> = (&'a ConfigKey, &'a Release);

/// What is exported.
fn chosen<'a>(
    view: &'a View,
    ids: Option<&BTreeSet<Revision>>,
    filter: &Filter,
    stop: &Stop,
) -> Result<Vec<Named<'a>>, Fault> {
    let found: Vec<(&ConfigKey, &Arc<ConfigItem>)> = match ids {
        Some(ids) => view.by_ids(ids),
        None => {
            let asked = PageRequest { number: 1, size: ENTRIES_MAX };
            let is_due = || stop.is_due();
            let found = view.list(filter, asked, &mut Work::new(&is_due))?;
            if found.total > ENTRIES_MAX {
                let total = found.total;
                let what =
                    format!("{total} configurations are over {ENTRIES_MAX}: export them by group or ids");
                return Err(Fault::Invalid(what));
            }
            found.page
        }
    };
    let releases: Vec<Named<'_>> =
        found.into_iter().filter_map(|(key, item)| Some((key, item.formal()?))).collect();
    let bytes: usize = releases.iter().map(|(_, release)| release.len as usize).sum();
    if bytes > BYTES_MAX {
        let max = BYTES_MAX / (1024 * 1024);
        return Err(Fault::Invalid(format!("the contents are over {max} MiB: export them by group or ids")));
    }
    Ok(releases)
}

/// The archive, and its room. Each content is in memory only while it is written.
fn archive_of(
    app: &App,
    caller: &Caller,
    releases: &[Named<'_>],
    new: bool,
    stop: &Stop,
) -> Result<(Vec<u8>, Option<Lease>), Fault> {
    let mut made = Growing::begin(app, caller, 0)?;
    let mut writer = Writer::new(&mut made);
    for (key, release) in releases {
        stop.check()?;
        let text = content_here(app, release)?;
        writer.add(&format!("{}/{}", key.group(), key.data_id()), &text).map_err(Fault::Invalid)?;
    }
    if let Some((name, text)) = if new { new_format(releases) } else { old_format(releases) } {
        writer.add(name, &text).map_err(Fault::Invalid)?;
    }
    writer.finish().map_err(Fault::Invalid)?;
    made.finish()
}

fn new_format(releases: &[Named<'_>]) -> Option<(&'static str, String)> {
    let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    let item = |(key, release): &Named<'_>| {
        let extra = release.extra();
        ItemMeta {
            group: key.group().to_owned(),
            data_id: key.data_id().to_owned(),
            kind: release.kind.as_str().to_owned(),
            app_name: given(&extra.app_name),
            desc: given(&extra.desc),
            tags: given(&extra.tags.join(",")),
        }
    };
    let items: Vec<ItemMeta> = releases.iter().map(item).collect();
    Some((archive::NEW, archive::write_new(&items)))
}

/// Only what has an application is in it.
fn old_format(releases: &[Named<'_>]) -> Option<(&'static str, String)> {
    let mut items: Vec<(&str, &str, &str)> = Vec::with_capacity(releases.len());
    for (key, release) in releases {
        items.push((key.group(), key.data_id(), &release.extra().app_name));
    }
    let lines = archive::write_old(&items);
    (!lines.is_empty()).then_some((archive::OLD, lines))
}
