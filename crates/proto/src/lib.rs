//! Generated types of messages: those between members, and those of Nacos's SDKs. Only front ends and shells use this
//! crate; the pure crates do not.
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
    //! The messages of Nacos's SDKs. Their proto file has no package.
    tonic::include_proto!("_");
}
