//! `dyad config ls` and `grep`: listings, page by page.

use serde_json::{Value, json};

use super::args::{FilterArgs, GrepArgs, LsArgs};
use super::key::{named, text};
use super::shape;
use crate::client::{Client, Request};
use crate::exit::{Exit, Failure};
use crate::output::note;
use crate::remote::Remote;
use crate::text::{Table, moment};

/// Configurations on a page.
const PAGE: usize = 500;
/// Pages at most: as many configurations as a cluster holds.
const PAGES_MAX: usize = 2_000;

pub(super) async fn ls(remote: &mut Remote, args: LsArgs) -> Result<(), Failure> {
    let LsArgs { pattern, namespace, filter } = args;
    let items = configs(&mut remote.client, &namespace, pattern.as_deref(), &filter).await?;
    remote.show(&items.iter().map(shape::listed).collect(), || {
        let mut table = Table::new(&["GROUP", "DATA ID", "TYPE", "MD5", "MODIFIED", "APP"]);
        for item in &items {
            let modified = moment(item["modifyTime"].as_u64().unwrap_or(0));
            let [group, data_id, kind, md5, app] =
                ["groupName", "dataId", "type", "md5", "appName"].map(|name| text(item, name).to_owned());
            table.row([group, data_id, kind, md5, modified, app]);
        }
        table.to_text()
    })
}

/// All configurations of a namespace that match, without contents.
pub(super) async fn configs(
    client: &mut Client,
    namespace: &str,
    pattern: Option<&str>,
    filter: &FilterArgs,
) -> Result<Vec<Value>, Failure> {
    let request = Request::get("/v3/admin/cs/config/list")
        .with("search", "blur")
        .with("namespaceId", namespace)
        .with_some("dataId", pattern);
    Ok(pages(client, &filter.on(request), PAGE * PAGES_MAX).await?.0)
}

/// The entries of all pages, at most so many, and whether the server looked through everything.
pub(super) async fn pages(
    client: &mut Client,
    request: &Request,
    limit: usize,
) -> Result<(Vec<Value>, bool), Failure> {
    let (mut items, mut whole) = (Vec::new(), true);
    for number in 1..=PAGES_MAX {
        let page = request.clone().with("pageNo", &number.to_string());
        let page = page.with("pageSize", &PAGE.min(limit).to_string());
        let mut page = client.read(&page).await?.data()?;
        whole &= page["truncated"] != true;
        let Value::Array(found) = page["pageItems"].take() else { break };
        let last = found.is_empty() || page["pagesAvailable"].as_u64().is_none_or(|n| n <= number as u64);
        items.extend(found);
        if last || items.len() >= limit {
            break;
        }
    }
    items.truncate(limit);
    Ok((items, whole))
}

impl FilterArgs {
    fn on(&self, request: Request) -> Request {
        request
            .with_some("groupName", self.group.as_deref())
            .with_some("appName", self.app.as_deref())
            .with_some("configTags", self.tags.as_deref())
            .with_some("type", self.kinds.as_deref())
    }
}

/// The lines that hold the text, as grep prints them.
pub(super) async fn grep(remote: &mut Remote, args: GrepArgs) -> Result<(), Failure> {
    let request = Request::get("/v3/admin/cs/config/grep")
        .with("content", &args.text)
        .with_some("namespaceId", args.namespace.as_deref())
        .with_some("dataId", args.data_id.as_deref());
    let (items, whole) = pages(&mut remote.client, &args.filter.on(request), PAGE * PAGES_MAX).await?;
    if !whole {
        note("the contents are more than one search looks through: name a namespace, group or data id");
    }
    let found = |item: &Value| {
        let mut found = shape::listed(item);
        found.insert("lines".into(), item["lines"].clone());
        found
    };
    let shown: Vec<_> = items.iter().map(found).collect();
    remote.show(&json!({ "items": shown, "complete": whole }), || {
        let mut out = String::new();
        for item in &items {
            let name = named(text(item, "namespaceId"), text(item, "groupName"), text(item, "dataId"));
            let lines = item["lines"].as_array().map(Vec::as_slice).unwrap_or_default();
            if lines.is_empty() {
                // The text goes over several lines.
                out += &format!("{name}\n");
            }
            for line in lines {
                out += &format!("{name}:{}: {}\n", line["line"], text(line, "text").trim_end());
            }
        }
        out
    })?;
    if items.is_empty() {
        let message = format!("no content has {:?} in it", args.text);
        return Err(Failure::new(Exit::Missing, message));
    }
    Ok(())
}
