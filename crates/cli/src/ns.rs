//! `dyad ns`: namespaces on the command line, through the HTTP API of a running server.

use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use crate::client::Request;
use crate::exit::{Exit, Failure};
use crate::remote::{Remote, RemoteArgs, block_on};
use crate::text::Table;

const NAMESPACE: &str = "/v3/admin/core/namespace";
/// By force all configurations are removed, a thousand with each write.
const DELETE_TIMEOUT: Duration = Duration::from_secs(180);

#[derive(Clone, Debug, Args)]
pub struct NsArgs {
    #[command(flatten)]
    pub remote: RemoteArgs,
    #[command(subcommand)]
    pub verb: NsVerb,
}

/// What `dyad ns` can do.
#[derive(Clone, Debug, Subcommand)]
pub enum NsVerb {
    /// List all namespaces
    Ls,
    /// Create a namespace
    Create(CreateArgs),
    /// Change the name or the description of a namespace
    Update(UpdateArgs),
    /// Delete a namespace
    Delete(DeleteArgs),
}

#[derive(Clone, Debug, Args)]
pub struct CreateArgs {
    /// The id: at most 64 letters, digits, _ and -
    pub id: String,
    /// The name that people see [default: the id]
    #[arg(long, value_name = "TEXT")]
    pub name: Option<String>,
    /// The description
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub desc: String,
}

#[derive(Clone, Debug, Args)]
pub struct UpdateArgs {
    /// The id of the namespace
    pub id: String,
    /// The new name [default: as before]
    #[arg(long, value_name = "TEXT", required_unless_present = "desc")]
    pub name: Option<String>,
    /// The new description [default: as before]
    #[arg(long, value_name = "TEXT")]
    pub desc: Option<String>,
}

#[derive(Clone, Debug, Args)]
pub struct DeleteArgs {
    /// The id of the namespace
    pub id: String,
    /// Delete it even if it has configurations, which are removed, or services, which stay with their clients
    #[arg(long)]
    pub force: bool,
}

/// `dyad ns`.
///
/// # Errors
/// `Exit::Missing` if the namespace is unknown, `Exit::Conflict` if it exists already or is not empty, and
/// `Exit::Refused` for every other error of a server, or if none answers.
pub fn ns(args: NsArgs) -> Result<(), Failure> {
    let mut remote = Remote::new(&args.remote)?;
    block_on(async move {
        match args.verb {
            NsVerb::Ls => ls(&mut remote).await,
            NsVerb::Create(args) => create(&mut remote, &args).await,
            NsVerb::Update(args) => update(&mut remote, &args).await,
            NsVerb::Delete(args) => delete(&mut remote, &args).await,
        }
    })
}

/// The namespace with this id.
///
/// # Errors
/// `Exit::Missing` if there is none.
pub(crate) async fn known(remote: &mut Remote, id: &str) -> Result<Value, Failure> {
    let missing = || Failure::new(Exit::Missing, format!("there is no namespace {id:?}"));
    find(remote, id).await?.ok_or_else(missing)
}

/// The same, unless it is the default one, of which a server says that it was changed while nothing was.
async fn created(remote: &mut Remote, id: &str) -> Result<Value, Failure> {
    let found = known(remote, id).await?;
    if found["type"] == 0 {
        let what = "the default namespace can be neither changed nor deleted";
        return Err(Failure::new(Exit::Refused, what));
    }
    Ok(found)
}

/// The namespace with this id, if there is one.
pub(crate) async fn find(remote: &mut Remote, id: &str) -> Result<Option<Value>, Failure> {
    let request = Request::get(NAMESPACE).with("namespaceId", id);
    remote.client.read(&request).await?.data_if_any()
}

async fn ls(remote: &mut Remote) -> Result<(), Failure> {
    let list = remote.client.read(&Request::get("/v3/admin/core/namespace/list")).await?.data()?;
    let one = |namespace: &Value| {
        json!({
            "namespaceId": namespace["namespace"],
            "namespaceName": namespace["namespaceShowName"],
            "namespaceDesc": namespace["namespaceDesc"],
            "configCount": namespace["configCount"],
            "quota": namespace["quota"],
        })
    };
    remote.show(&list.as_array().into_iter().flatten().map(one).collect(), || {
        let mut table = Table::new(&["ID", "NAME", "CONFIGS", "QUOTA", "DESCRIPTION"]);
        for namespace in list.as_array().into_iter().flatten() {
            let text = |name: &str| namespace[name].as_str().unwrap_or_default().to_owned();
            let number = |name: &str| namespace[name].as_u64().map(|n| n.to_string()).unwrap_or_default();
            table.row([
                text("namespace"),
                text("namespaceShowName"),
                number("configCount"),
                number("quota"),
                text("namespaceDesc"),
            ]);
        }
        table.to_text()
    })
}

/// Nacos answers a namespace that exists with the code of an illegal one: so it is looked for first.
async fn create(remote: &mut Remote, args: &CreateArgs) -> Result<(), Failure> {
    if find(remote, &args.id).await?.is_some() {
        return Err(Failure::new(Exit::Conflict, format!("namespace {:?} exists", args.id)));
    }
    add(remote, &args.id, args.name.as_deref().unwrap_or(&args.id), &args.desc).await?;
    done(remote, "created", &args.id)
}

/// Creates a namespace that was not found.
pub(crate) async fn add(remote: &mut Remote, id: &str, name: &str, desc: &str) -> Result<(), Failure> {
    write(remote, Method::POST, id, name, desc).await
}

async fn update(remote: &mut Remote, args: &UpdateArgs) -> Result<(), Failure> {
    let before = created(remote, &args.id).await?;
    let kept = |given: &Option<String>, name: &str| match given {
        Some(given) => given.clone(),
        None => before[name].as_str().unwrap_or_default().to_owned(),
    };
    let (name, desc) = (kept(&args.name, "namespaceShowName"), kept(&args.desc, "namespaceDesc"));
    write(remote, Method::PUT, &args.id, &name, &desc).await?;
    done(remote, "updated", &args.id)
}

async fn write(remote: &mut Remote, method: Method, id: &str, name: &str, desc: &str) -> Result<(), Failure> {
    let fields =
        [("namespaceId", id), ("namespaceName", name), ("namespaceDesc", desc), ("srcUser", &*remote.user)];
    let request = Request::new(method, NAMESPACE).form(&fields);
    remote.client.write(&request).await?.data().map(drop)
}

async fn delete(remote: &mut Remote, args: &DeleteArgs) -> Result<(), Failure> {
    created(remote, &args.id).await?;
    let force = if args.force { "true" } else { "false" };
    let request = Request::new(Method::DELETE, NAMESPACE)
        .with("namespaceId", &args.id)
        .with("force", force)
        .with("srcUser", &remote.user)
        .within(DELETE_TIMEOUT);
    remote.client.write(&request).await?.data()?;
    done(remote, "deleted", &args.id)
}

fn done(remote: &Remote, did: &str, id: &str) -> Result<(), Failure> {
    remote.show(&json!({ "result": did, "namespaceId": id }), || format!("{did} {id}\n"))
}
