//! Export, import and clone. There are two formats of archives: the old one has a file `.meta.yml` with lines of
//! application names, and the new one has a file `.metadata.yml` that lists the items.

mod clone;
mod export;
mod import;
mod report;

pub(crate) use clone::{admin as v3_clone, clone, console as console_clone};
pub(crate) use export::{export, v3 as v3_export};
pub(crate) use import::{import, is_import, v3 as v3_import};
