//! Generated wire types: of members among themselves and of Nacos's SDKs. Wire only: nothing below the front ends and
//! shells names this crate.
#![allow(missing_debug_implementations, unreachable_pub, clippy::all)]

pub mod cluster {
    //! `dyad.cluster.v1`: Hello and the Distro stream.
    tonic::include_proto!("dyad.cluster.v1");
}
pub mod raft {
    //! `dyad.raft.v1`: raft messages between members.
    tonic::include_proto!("dyad.raft.v1");
}
pub mod sdk {
    //! What Nacos's SDKs speak; no package.
    tonic::include_proto!("_");
}
