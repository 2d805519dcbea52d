//! `dyad config history` and `rollback`.

use http::Method;
use serde_json::json;

use super::args::{HistoryArgs, RollbackArgs};
use super::key::{detail, text};
use super::list::pages;
use super::shape;
use crate::client::Request;
use crate::exit::Failure;
use crate::output::note;
use crate::remote::Remote;
use crate::text::{Table, moment};

pub(super) async fn history(remote: &mut Remote, args: HistoryArgs) -> Result<(), Failure> {
    let request = args.key.on(Request::get("/v3/admin/cs/history/list"));
    let (items, _) = pages(&mut remote.client, &request, args.limit.max(1)).await?;
    if items.is_empty() {
        // What is there long enough has no versions left: the retention takes them, never the content.
        if detail(&mut remote.client, &args.key, None).await?.is_none() {
            return Err(args.key.missing());
        }
        note(&format!("{}: its versions are all older than servers keep them", args.key.named()));
    }
    remote.show(&items.iter().map(shape::version).collect(), || {
        let mut table = Table::new(&["NID", "TIME", "DID", "RELEASE", "BY", "FROM", "REASON"]);
        for item in &items {
            let [nid, release, by, from, reason] =
                ["id", "grayName", "srcUser", "srcIp", "reason"].map(|name| text(item, name).to_owned());
            let release = if release.is_empty() { "formal".to_owned() } else { release };
            let time = moment(item["modifyTime"].as_u64().unwrap_or(0));
            table.row([nid, time, shape::operation(item).to_owned(), release, by, from, reason]);
        }
        table.to_text()
    })
}

pub(super) async fn rollback(remote: &mut Remote, args: RollbackArgs) -> Result<(), Failure> {
    let RollbackArgs { key, nid, reason } = args;
    let request = key
        .on(Request::new(Method::POST, "/v3/admin/cs/history/rollback"))
        .with("nid", &nid.to_string())
        .with("srcUser", &remote.user)
        .with("reason", &reason);
    let done = remote.client.write(&request).await?.data()?;
    let rest = json!({ "restored": nid.to_string(), "nid": done["nid"], "md5": done["md5"] });
    remote.show(&key.done("restored", done["grayName"].as_str(), rest), || {
        let (version, md5) = (text(&done, "nid"), text(&done, "md5"));
        let gray = done["grayName"].as_str().map(|gray| format!(" ({gray})")).unwrap_or_default();
        let name = key.named();
        format!("{name}{gray} has the content of version {nid} again: version {version}, md5 {md5}\n")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::scripted;
    use crate::config::args::{KeyArgs, PlaceArgs};
    use crate::exit::Exit;
    use crate::output::Output;
    use crate::remote::RemoteArgs;

    const NO_VERSIONS: (&str, &str) =
        ("/nacos/v3/admin/cs/history/list", r#"{"code":0,"data":{"pageItems":[],"pagesAvailable":0}}"#);
    const PRESENT: (&str, &str) = ("/nacos/v3/admin/cs/config?", r#"{"code":0,"data":{"content":"x"}}"#);

    /// The retention is of 30 days and takes versions only: what was not changed for longer is there without any.
    #[tokio::test]
    async fn a_configuration_without_versions_is_there_and_one_that_is_not_is_missing() {
        let history = async |answers: &'static [(&'static str, &'static str)]| {
            let args =
                RemoteArgs { server: scripted(answers).await, output: Output::Json, user: String::new() };
            let place = PlaceArgs { group: "G".into(), namespace: "public".into() };
            let key = KeyArgs { data_id: "d".into(), place };
            super::history(&mut Remote::new(&args).unwrap(), HistoryArgs { key, limit: 50 }).await
        };
        assert_eq!(history(&[NO_VERSIONS, PRESENT]).await, Ok(()));
        assert_eq!(history(&[NO_VERSIONS]).await.map_err(|failure| failure.exit), Err(Exit::Missing));
    }
}
