//! `dyad config get`, `set` and `rm`: one configuration.

use std::path::Path;

use dyad_config::{BETA, ConfigType, tag_gray_name};
use dyad_types::Md5;
use dyad_types::config_check::check_content;
use http::Method;
use serde_json::{Value, json};

use super::args::{GetArgs, KeyArgs, RmArgs, SetArgs};
use super::input::read_text;
use super::key::{CONFIG, detail, shown_namespace, text, warning};
use super::shape;
use crate::client::Request;
use crate::exit::{Exit, Failure};
use crate::ns;
use crate::output::{note, print};
use crate::remote::Remote;

/// The content, exactly; as JSON with everything that is known of it.
pub(super) async fn get(remote: &mut Remote, args: GetArgs) -> Result<(), Failure> {
    let GetArgs { key, consistent, nid, gray } = args;
    let found = match nid {
        Some(nid) => return of_version(remote, &key, nid).await,
        None if consistent => consistently(remote, &key).await?,
        None => detail(&mut remote.client, &key, gray.as_deref()).await?,
    };
    let missing = || match &gray {
        Some(gray) => {
            Failure::new(Exit::Missing, format!("{}: there is no gray release {gray:?}", key.named()))
        }
        None => key.missing(),
    };
    let found = found.ok_or_else(missing)?;
    let content = found["content"].as_str().ok_or_else(missing)?;
    remote.show(&Value::Object(shape::whole(&found)), || content.to_owned())
}

/// What the write `nid` made, and as JSON also what was there before.
async fn of_version(remote: &mut Remote, key: &KeyArgs, nid: u64) -> Result<(), Failure> {
    let sides = version(remote, key, nid).await?;
    let content = sides["updatedContent"].as_str().ok_or_else(|| {
        let what = format!("{}: version {nid} removed it: it has no content", key.named());
        Failure::new(Exit::Missing, what)
    })?;
    if !remote.is_json() {
        return print(content);
    }
    let request = key.on(Request::get("/v3/admin/cs/history")).with("nid", &nid.to_string());
    let mut shown = shape::version(&remote.client.read(&request).await?.data()?);
    for (name, of_server) in [
        ("md5", "updatedMd5"),
        ("content", "updatedContent"),
        ("md5Before", "originalMd5"),
        ("contentBefore", "originalContent"),
    ] {
        shown.insert(name.into(), sides[of_server].clone());
    }
    remote.show(&Value::Object(shown), || content.to_owned())
}

/// Both sides of the write `nid`.
///
/// # Errors
/// `Exit::Missing` if it is not in the history.
pub(super) async fn version(remote: &mut Remote, key: &KeyArgs, nid: u64) -> Result<Value, Failure> {
    let request = Request::get("/v2/cs/history/detail")
        .with("namespaceId", &key.place.namespace)
        .with("group", &key.place.group)
        .with("dataId", &key.data_id)
        .with("nid", &nid.to_string());
    let found = remote.client.read(&request).await?.data_if_any()?;
    found.ok_or_else(|| {
        let what = format!("{}: version {nid} is not in the history", key.named());
        Failure::new(Exit::Missing, what)
    })
}

/// The details are of the member's own state: a linearizable read brings that up to date.
async fn consistently(remote: &mut Remote, key: &KeyArgs) -> Result<Option<Value>, Failure> {
    let request = key.on(Request::get("/v3/client/cs/config")).with("consistent", "true");
    let Some(client) = remote.client.read(&request).await?.data_if_any()? else { return Ok(None) };
    Ok(Some(json!({
        "namespaceId": shown_namespace(&key.place.namespace),
        "groupName": key.place.group,
        "dataId": key.data_id,
        "content": client["content"],
        "md5": client["md5"],
        "type": client["contentType"],
        "encryptedDataKey": client["encryptedDataKey"],
        "modifyTime": client["lastModified"],
    })))
}

/// What `--cas` says.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Cas {
    Any,
    Current,
    Absent,
    Md5(Md5),
}

impl Cas {
    fn parse(text: Option<&str>) -> Result<Cas, Failure> {
        Ok(match text {
            None => Cas::Any,
            Some("current") => Cas::Current,
            Some("absent") => Cas::Absent,
            Some(text) => Cas::Md5(Md5::parse(text).ok_or_else(|| {
                let rule = "neither current, nor absent, nor an md5 of 32 hex digits";
                Failure::new(Exit::Settings, format!("--cas: {text:?} is {rule}"))
            })?),
        })
    }

    /// The header `casMd5`, given what is there. What is no md5 at all matches no release, but lets one be created.
    fn header(&self, key: &KeyArgs, present: Option<&str>) -> Result<Option<String>, Failure> {
        let conflict = |what: &str| Err(Failure::new(Exit::Conflict, format!("{}: {what}", key.named())));
        match (self, present) {
            (Cas::Any, _) => Ok(None),
            (Cas::Absent, None) => Ok(Some("absent".into())),
            (Cas::Absent, Some(md5)) => conflict(&format!("it is there, with md5 {md5}")),
            (Cas::Current, Some(md5)) => Ok(Some(md5.to_owned())),
            (Cas::Current | Cas::Md5(_), None) => conflict("it is not there: --cas absent creates it"),
            (Cas::Md5(md5), Some(_)) => Ok(Some(md5.to_string())),
        }
    }
}

/// Publishes. What is there is read first: for `--cas current`, and to keep what is not given.
pub(super) async fn set(remote: &mut Remote, args: SetArgs) -> Result<(), Failure> {
    let cas = Cas::parse(args.cas.as_deref())?;
    let key = &args.key;
    let gray = gray_name(&args);
    let formal = detail(&mut remote.client, key, None).await?;
    let present = match &gray {
        Some(gray) => detail(&mut remote.client, key, Some(gray)).await?,
        None => formal.clone(),
    };
    let new_namespace = formal.is_none() && is_unknown(remote, &key.place.namespace).await?;
    if new_namespace && !args.create_namespace {
        let id = &key.place.namespace;
        let message = format!(
            "there is no namespace {id:?}: create it with `dyad ns create {id}`, or add --create-namespace"
        );
        return Err(Failure::new(Exit::Missing, message));
    }
    let was = present.as_ref().map(|present| text(present, "md5").to_owned());
    let cas = cas.header(key, was.as_deref())?;
    // Last: a pipe may read the same configuration on its other side.
    let file = args.file.as_deref().unwrap_or(Path::new("-"));
    let content = read_text(file)?;
    if let Err(fault) = check_content(&content) {
        let why = format!("{}: {}", file.display(), fault.to_string().trim_end_matches([' ', ':']));
        return Err(Failure::new(Exit::Settings, why));
    }
    let before = present.as_ref().or(formal.as_ref());
    let kind = kind(&args, file, before)?;
    let kept = |given: Option<&String>, name: &str| {
        given.cloned().or_else(|| before.map(|before| text(before, name).to_owned())).unwrap_or_default()
    };
    let (desc, app) = (kept(args.desc.as_ref(), "desc"), kept(args.app.as_ref(), "appName"));
    let tags = kept(args.tags.as_ref(), "configTags");
    let [used_for, effect, schema] = ["use", "effect", "schema"].map(|name| kept(None, name));
    let priority = args.priority.to_string();
    let mut fields = vec![
        ("namespaceId", &*key.place.namespace),
        ("groupName", &*key.place.group),
        ("dataId", &*key.data_id),
        ("type", kind.as_str()),
        ("appName", &*app),
        ("configTags", &*tags),
        ("desc", &*desc),
        ("use", &*used_for),
        ("effect", &*effect),
        ("schema", &*schema),
        ("srcUser", &*remote.user),
        ("reason", &*args.reason),
        ("content", &*content),
    ];
    if let (Some(gray), Some(rule)) = (&args.gray, &args.rule) {
        fields.extend([("grayName", &**gray), ("grayRuleExp", &**rule), ("grayPriority", &*priority)]);
    }
    fields.extend(args.tag.as_deref().map(|tag| ("tag", tag)));
    let mut request = Request::new(Method::POST, CONFIG).form(&fields);
    for (name, value) in [("betaips", args.beta_ips.clone()), ("casmd5", cas)] {
        if let Some(value) = value {
            request = request.header(name, value);
        }
    }
    if new_namespace {
        ns::add(remote, &key.place.namespace, &key.place.namespace, "").await?;
    }
    let answer = remote.client.write(&request).await?;
    answer.data()?;
    told(remote, key, &Published { content: &content, kind, gray, was }, warning(&answer))
}

/// Servers take a configuration in any namespace, as Nacos does, so that a misspelt one would get data that nobody finds.
pub(super) async fn is_unknown(remote: &mut Remote, id: &str) -> Result<bool, Failure> {
    Ok(!matches!(id, "" | "public") && ns::find(remote, id).await?.is_none())
}

/// What was done.
struct Published<'a> {
    content: &'a str,
    kind: ConfigType,
    gray: Option<String>,
    /// The md5 before.
    was: Option<String>,
}

fn told(
    remote: &Remote,
    key: &KeyArgs,
    published: &Published<'_>,
    warning: Option<&str>,
) -> Result<(), Failure> {
    let Published { content, kind, gray, was } = published;
    if let Some(warning) = warning {
        note(warning);
    }
    let (md5, bytes) = (Md5::of(content.as_bytes()).to_string(), content.len());
    let did = if was.is_some() { "updated" } else { "created" };
    let rest = json!({
        "type": kind.as_str(),
        "md5": md5,
        "md5Before": was,
        "bytes": bytes,
        "warning": warning,
    });
    let result = key.done(did, gray.as_deref(), rest);
    let release = gray.as_ref().map(|gray| format!(" ({gray})")).unwrap_or_default();
    remote.show(&result, || {
        format!("{did} {}{release}: {bytes} bytes of {}, md5 {md5}\n", key.named(), kind.as_str())
    })
}

/// The gray release that is published, if any.
fn gray_name(args: &SetArgs) -> Option<String> {
    let beta = args.beta_ips.as_ref().map(|_| BETA.to_owned());
    beta.or_else(|| args.tag.as_deref().map(tag_gray_name)).or_else(|| args.gray.clone())
}

/// The type: as given, by an extension, as before, or text.
fn kind(args: &SetArgs, file: &Path, before: Option<&Value>) -> Result<ConfigType, Failure> {
    if let Some(name) = &args.kind {
        return ConfigType::parse(name).ok_or_else(|| {
            let names = "properties, xml, json, text, html, yaml, toml and unset";
            Failure::new(Exit::Settings, format!("--type: {name:?} is none of {names}"))
        });
    }
    let by_extension = ConfigType::of_name(&args.key.data_id);
    let before = || before.and_then(|before| ConfigType::parse(text(before, "type")));
    let by_file = || ConfigType::of_name(&file.to_string_lossy());
    Ok(by_extension.or_else(by_file).or_else(before).unwrap_or_default())
}

pub(super) async fn rm(remote: &mut Remote, args: RmArgs) -> Result<(), Failure> {
    let RmArgs { key, gray, force, reason } = args;
    let Some(present) = detail(&mut remote.client, &key, gray.as_deref()).await? else {
        if force {
            let result = key.done("absent", gray.as_deref(), json!({ "md5": null }));
            return remote.show(&result, || format!("{} is not there\n", key.named()));
        }
        return Err(match gray {
            Some(gray) => {
                Failure::new(Exit::Missing, format!("{}: there is no gray release {gray:?}", key.named()))
            }
            None => key.missing(),
        });
    };
    let request = key
        .on(Request::new(Method::DELETE, CONFIG))
        .with_some("grayName", gray.as_deref())
        .with("srcUser", &remote.user)
        .with("reason", &reason);
    remote.client.write(&request).await?.data()?;
    let md5 = text(&present, "md5");
    let release = gray.as_ref().map(|gray| format!(" ({gray})")).unwrap_or_default();
    remote.show(&key.done("removed", gray.as_deref(), json!({ "md5": md5 })), || {
        format!("removed {}{release}, which had md5 {md5}\n", key.named())
    })
}

#[cfg(test)]
mod tests {
    use super::super::args::PlaceArgs;
    use super::*;

    #[test]
    fn cas_is_what_the_command_line_says() {
        let key =
            KeyArgs { data_id: "d".into(), place: PlaceArgs { group: "G".into(), namespace: "n".into() } };
        let md5 = "0123456789abcdef0123456789abcdef";
        let conflict = |what: &str| Err((Exit::Conflict, format!("n/G/d: {what}")));
        let absent = "it is not there: --cas absent creates it";
        let usage = "--cas: \"x\" is neither current, nor absent, nor an md5 of 32 hex digits";
        for (cas, present, want) in [
            (None, None, Ok(None)),
            (None, Some("p"), Ok(None)),
            (Some("current"), Some("p"), Ok(Some("p"))),
            (Some("current"), None, conflict(absent)),
            (Some("absent"), None, Ok(Some("absent"))),
            (Some("absent"), Some("p"), conflict("it is there, with md5 p")),
            (Some(md5), Some("p"), Ok(Some(md5))),
            (Some(md5), None, conflict(absent)),
            (Some("x"), None, Err((Exit::Settings, usage.to_owned()))),
        ] {
            let got = Cas::parse(cas).and_then(|cas| cas.header(&key, present));
            let got = got.map_err(|failure| (failure.exit, failure.message));
            assert_eq!(got, want.map(|header| header.map(str::to_owned)), "{cas:?} over {present:?}");
        }
    }
}
