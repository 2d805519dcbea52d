//! `dyad config`: configurations on the command line, through the HTTP API of a running server.

mod args;
mod diff;
mod list;
mod one;
mod transfer;
mod versions;
mod watch;

use std::io::Read;
use std::path::Path;

use serde_json::Value;

use crate::client::{Answer, Client, Request};
use crate::exit::{Exit, Failure};
use crate::remote::{Remote, block_on};

use args::{ConfigVerb, KeyArgs};

pub use args::ConfigArgs;

const CONFIG: &str = "/v3/admin/cs/config";
const GRAY: &str = "/v3/admin/cs/config/beta";
/// Bytes of a file or of standard input: contents have 10 Mi characters at most, archives 32 MiB.
const INPUT_MAX: u64 = 64 * 1024 * 1024;

/// `dyad config`.
///
/// # Errors
/// `Exit::Missing` if something does not exist, `Exit::Conflict` if something else exists than was expected,
/// `Exit::Differs` for differences if the command line asks for it, `Exit::Settings` for bad arguments and files, and
/// `Exit::Refused` for every other error of a server, or if none answers.
pub fn config(args: ConfigArgs) -> Result<(), Failure> {
    let mut remote = Remote::new(&args.remote)?;
    block_on(async move {
        match args.verb {
            ConfigVerb::Get(args) => one::get(&mut remote, args).await,
            ConfigVerb::Set(args) => one::set(&mut remote, args).await,
            ConfigVerb::Rm(args) => one::rm(&mut remote, args).await,
            ConfigVerb::Ls(args) => list::ls(&mut remote, args).await,
            ConfigVerb::Grep(args) => list::grep(&mut remote, args).await,
            ConfigVerb::Diff(args) => diff::diff(&mut remote, args).await,
            ConfigVerb::History(args) => versions::history(&mut remote, args).await,
            ConfigVerb::Rollback(args) => versions::rollback(&mut remote, args).await,
            ConfigVerb::Export(args) => transfer::export(&mut remote, args).await,
            ConfigVerb::Import(args) => transfer::import(&mut remote, args).await,
            ConfigVerb::Watch(args) => watch::watch(&mut remote, args).await,
        }
    })
}

/// A configuration as messages name it.
fn named(namespace: &str, group: &str, data_id: &str) -> String {
    let namespace = if namespace.is_empty() { "public" } else { namespace };
    format!("{namespace}/{group}/{data_id}")
}

impl KeyArgs {
    fn named(&self) -> String {
        named(&self.place.namespace, &self.place.group, &self.data_id)
    }

    /// The parameters of this configuration in v3.
    fn on(&self, request: Request) -> Request {
        at(request, &self.place.namespace, &self.place.group, &self.data_id)
    }

    fn missing(&self) -> Failure {
        Failure::new(Exit::Missing, format!("{}: there is no such configuration", self.named()))
    }
}

/// The parameters of a configuration in v3.
fn at(request: Request, namespace: &str, group: &str, data_id: &str) -> Request {
    request.with("namespaceId", namespace).with("groupName", group).with("dataId", data_id)
}

/// A configuration or gray release with everything that is known of it; `None` if it is not there.
async fn detail(client: &mut Client, key: &KeyArgs, gray: Option<&str>) -> Result<Option<Value>, Failure> {
    let path = if gray.is_some() { GRAY } else { CONFIG };
    let request = key.on(Request::get(path)).with_some("grayName", gray);
    client.read(&request).await?.data_if_any()
}

/// A text of an object, or nothing.
fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

/// What the server remarks beside its answer.
fn warning(answer: &Answer) -> Option<&str> {
    answer.header("dyad-warning")
}

/// A whole file; `-` is standard input.
///
/// # Errors
/// It cannot be read, or is larger than anything that is taken.
fn read_bytes(file: &Path) -> Result<Vec<u8>, Failure> {
    let name = file.display();
    let failed = |error: std::io::Error| Failure::new(Exit::Settings, format!("cannot read {name}: {error}"));
    let mut bytes = Vec::new();
    let read = if file == Path::new("-") {
        std::io::stdin().lock().take(INPUT_MAX + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(file).map_err(failed)?.take(INPUT_MAX + 1).read_to_end(&mut bytes)
    };
    read.map_err(failed)?;
    if bytes.len() as u64 > INPUT_MAX {
        return Err(Failure::new(Exit::Settings, format!("{name} is larger than {INPUT_MAX} bytes")));
    }
    Ok(bytes)
}

/// The same as text.
///
/// # Errors
/// Also for what is not UTF-8.
fn read_text(file: &Path) -> Result<String, Failure> {
    String::from_utf8(read_bytes(file)?).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        Failure::new(Exit::Settings, format!("{} is not UTF-8 at byte {at}", file.display()))
    })
}
