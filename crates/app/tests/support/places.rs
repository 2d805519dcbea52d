//! How many places a server has.

use std::cell::RefCell;
use std::sync::Arc;

use dyad_types::{Place, Places};

use super::Server;

/// Of a machine of this size, unless a test says otherwise.
const MEMORY: u64 = 16 << 30;

thread_local! {
    /// How many places of some kinds the next server has that this thread starts.
    pub static PLACES: RefCell<Vec<(Place, usize)>> = const { RefCell::new(Vec::new()) };
}

pub fn places() -> Arc<Places> {
    let given = PLACES.take();
    let most = |place| given.iter().find(|(one, _)| *one == place).map(|(_, most)| *most);
    Places::new(|place| most(place).unwrap_or_else(|| place.most(MEMORY)), 1)
}

/// How many are taken.
pub fn used(server: &Server, place: Place) -> usize {
    server.app.places.room(place).used()
}
