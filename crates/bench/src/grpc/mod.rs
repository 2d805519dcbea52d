//! The gRPC modes and the client that they share.

pub(crate) mod client;
mod h2;
pub(crate) mod idle;
pub(crate) mod load;
pub(crate) mod push;
pub(crate) mod storm;
pub(crate) mod versions;
pub(crate) mod wire;

use crate::args::GrpcMode;
use crate::changes;
use crate::error::BenchError;

/// Publishers of the services that are queried: as many as a service has instances, because a connection publishes one.
const PUBLISHERS_MAX: u64 = 5_000;

/// Connections that `mode` needs, if its numbers are possible.
pub(crate) fn check(mode: &GrpcMode) -> Result<u64, BenchError> {
    match mode {
        GrpcMode::Register(load) => {
            let (services, instances) = load::register_size(load);
            if instances > services {
                return Err(BenchError::Usage(format!(
                    "a connection publishes one instance of a service: {instances} instances need as many --services"
                )));
            }
            Ok(load.connections)
        }
        GrpcMode::Query(load) | GrpcMode::Subscribe(load) => {
            let publishers = load.instances.unwrap_or(100);
            if publishers > PUBLISHERS_MAX {
                return Err(BenchError::Usage(format!(
                    "at most {PUBLISHERS_MAX} instances of a service here"
                )));
            }
            Ok(load.connections + publishers)
        }
        GrpcMode::Push(push) => {
            changes::check(push.rate, &push.common)?;
            Ok(push.subscribers + 1)
        }
        GrpcMode::Storm(storm) => Ok(storm.connections * 2),
        GrpcMode::Idle(idle) => Ok(idle.connections),
    }
}
