//! Development only: the simulator of the AP core, and the programs that run real members under a workload, kill them
//! and measure. The programs treat `dyad` as a black box: HTTP, signals, and `dyad cluster status --output json`.

pub mod bench;
pub mod durability;
pub mod failover;
pub mod figures;
pub mod fleet;
pub mod http;
pub mod load;
pub mod nacos;
pub mod proc;
pub mod sim;
pub mod visibility;
