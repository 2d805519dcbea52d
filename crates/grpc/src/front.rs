//! What every call needs.

use std::sync::Arc;

use dyad_app::App;

use crate::table::Connections;

/// The use cases, and the connections of this member.
#[derive(Debug)]
pub(crate) struct Front {
    pub(crate) app: Arc<App>,
    pub(crate) connections: Arc<Connections>,
}
