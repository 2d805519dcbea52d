//! The use cases that change namespaces. The default namespace can be neither created, changed nor deleted.

use std::sync::Arc;

use dyad_config::{Change, ConfigReply, RemoveItem};
use dyad_types::ConfigKey;

use super::view::View;
use super::write::{Author, propose, remove, remove_items};
use crate::fault::Fault;
use crate::state::App;

/// Characters of an id (`NamespaceOperationService`); the parameter filter is stricter.
const ID_MAX: usize = 128;

/// What configurations and services in a namespace mean when it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inside {
    /// They stay where they are, as in Nacos.
    Stays,
    /// The namespace is not deleted while there are any.
    Refuses,
    /// The configurations are removed, each with a version in its history. The services stay, because their clients would
    /// register them again.
    Goes,
}

/// A namespace that may be created: its id and name passed the checks.
#[derive(Clone, Debug)]
pub struct Checked {
    id: Box<str>,
    name: Box<str>,
    desc: Box<str>,
}

/// Checks id and name. Without an id, one is drawn.
///
/// # Errors
/// An id or a name that Nacos refuses.
pub fn check(id: Option<&str>, name: &str, desc: &str) -> Result<Checked, Fault> {
    let id: Box<str> = id.map_or_else(|| uuid(rand::random()), str::to_owned).into();
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-');
    if !id.bytes().all(legal) {
        return Err(Fault::IllegalNamespace(format!("namespaceId [{id}] mismatch the pattern")));
    }
    if id.len() > ID_MAX {
        return Err(Fault::IllegalNamespace(format!("too long namespaceId, over {ID_MAX}")));
    }
    check_name(name)?;
    Ok(Checked { id, name: name.into(), desc: desc.into() })
}

/// # Errors
/// A blank name, or one with a character that Nacos refuses.
pub fn check_name(name: &str) -> Result<(), Fault> {
    if name.trim().is_empty() || name.contains(['@', '#', '$', '%', '^', '&', '*']) {
        return Err(Fault::IllegalNamespace(format!("namespaceName [{name}] contains illegal char")));
    }
    Ok(())
}

/// Creates a namespace.
///
/// # Errors
/// It exists, or the core does not acknowledge it.
pub async fn create(app: &App, new: Checked, author: Author) -> Result<(), Fault> {
    let Checked { id, name, desc } = new;
    let existed = format!("the namespaceId is existed, namespaceId: {id}");
    match propose(app, Change::CreateNamespace { id, name, desc }, author).await? {
        ConfigReply::Done { .. } => Ok(()),
        ConfigReply::Exists => Err(Fault::IllegalNamespace(existed)),
        _ => Err(Fault::UnknownReply),
    }
}

/// Changes the name and the description. Nothing is changed of a namespace that nobody created, and that is no error, as in
/// Nacos: nothing depends on it.
///
/// # Errors
/// The core does not acknowledge it.
pub async fn update(app: &App, id: &str, (name, desc): (&str, &str), author: Author) -> Result<(), Fault> {
    let change = Change::UpdateNamespace { id: id.into(), name: name.into(), desc: desc.into() };
    match propose(app, change, author).await? {
        ConfigReply::Done { .. } | ConfigReply::NotFound => Ok(()),
        _ => Err(Fault::UnknownReply),
    }
}

/// Deletes a namespace, or one that nobody created, as in Nacos. With [`Inside::Goes`] it is emptied all the same: everything
/// can be published to one.
///
/// # Errors
/// It is the default namespace and would be emptied, it is not empty, or the core does not acknowledge it.
pub async fn delete(app: &Arc<App>, id: Box<str>, inside: Inside, author: Author) -> Result<(), Fault> {
    let services = app.registry.services_in(&id);
    let view = View::of(app, author.caller.clone())?;
    match (inside, view.namespace(&id)?) {
        (Inside::Goes, Some(present)) if present.is_default => {
            let what = "the default namespace cannot be deleted, and nothing in it was removed";
            return Err(Fault::IllegalNamespace(what.into()));
        }
        (Inside::Refuses, Some(present)) if services > 0 && !present.is_default => {
            return Err(Fault::NamespaceNotEmpty { configs: present.configs, services });
        }
        _ => {}
    }
    if inside == Inside::Goes {
        empty(app, view, &id, &author).await?;
    }
    let change = Change::DeleteNamespace { id, force: inside != Inside::Refuses };
    match propose(app, change, author).await? {
        ConfigReply::Done { .. } | ConfigReply::NotFound => Ok(()),
        ConfigReply::NotEmpty(configs) => Err(Fault::NamespaceNotEmpty { configs, services }),
        _ => Err(Fault::UnknownReply),
    }
}

/// Removes the configurations that are there now, gray releases first. What is published meanwhile stays. Ends at the first
/// command that is not acknowledged; repeating the request goes on.
async fn empty(app: &Arc<App>, view: View, namespace: &str, author: &Author) -> Result<(), Fault> {
    let turn = app.turns.next().await?;
    let of = namespace.to_owned();
    let (formal, grays) = turn
        .run(move |_| {
            let (mut formal, mut grays) = (Vec::new(), Vec::<(ConfigKey, Box<str>)>::new());
            for (key, item) in view.items_of(&of) {
                grays.extend(item.grays().iter().map(|gray| (key.clone(), gray.name.clone())));
                let id = item.formal().map(|release| release.id);
                formal.extend(id.map(|id| RemoveItem { key: key.clone(), id: Some(id) }));
            }
            Ok((formal, grays))
        })
        .await?;
    for (key, name) in grays {
        remove(app, key, Some(name), author.clone()).await?;
    }
    remove_items(app, &formal, author).await
}

/// 128 random bits as a UUID of version 4.
fn uuid(bits: u128) -> String {
    let bits = (bits & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{bits:032x}");
    [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-")
}

#[cfg(test)]
mod tests {
    use super::uuid;

    #[test]
    fn drawn_ids_are_uuids_of_version_4() {
        assert_eq!(uuid(0), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid(u128::MAX), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
