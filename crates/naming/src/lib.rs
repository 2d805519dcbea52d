//! The pure naming core: the naming part of the replicated state, the registry with its views, the schedule of probes, and the
//! ports to the AP core. It uses no tokio, no clock and no randomness.

pub mod cp;
pub mod java;
pub mod ports;
pub mod probe;
pub mod registry;
pub mod switches;
pub mod view;

pub use registry::{Counts, InstanceChange, Registry, VisiblePublication};
pub use switches::Switches;
pub use view::{ListQuery, ServiceView};
