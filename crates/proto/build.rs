//! Generates the wire types from `/proto` with protox, so that no system `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = std::path::Path::new("../../proto");
    let (members, sdk) = (["cluster.proto", "raft.proto"], ["nacos.proto"]);
    for file in members.iter().chain(&sdk) {
        println!("cargo:rerun-if-changed={}", root.join(file).display());
    }
    tonic_prost_build::configure().bytes(".").compile_fds(protox::compile(members, [root])?)?;
    // The SDK port is served without tonic; its clients in tests and load programs are tonic's.
    tonic_prost_build::configure()
        .bytes(".")
        .build_server(false)
        .compile_fds(protox::compile(sdk, [root])?)?;
    Ok(())
}
