//! The command line of `dyad bench`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

/// The highest numbers that are accepted. With higher ones the generator itself would be measured.
const CONNECTIONS_MAX: u64 = 50_000;
const SERVICES_MAX: u64 = 100_000;
const INSTANCES_MAX: u64 = 1_000_000;
const SECONDS_MAX: u64 = 86_400;
const SIZE_MAX: u64 = 4 * 1024 * 1024;

/// `dyad bench`: what to measure.
#[derive(Debug, Args)]
pub struct BenchArgs {
    #[command(subcommand)]
    pub protocol: Protocol,
}

#[derive(Debug, Subcommand)]
pub enum Protocol {
    /// Put load on naming over HTTP, as clients of Nacos 1.x do
    #[command(subcommand)]
    Http(HttpMode),
    /// Put load on naming over gRPC, as clients of Nacos 2.x and 3.x do
    #[command(subcommand)]
    Grpc(GrpcMode),
    /// Put load on the configuration center over HTTP or gRPC (--over)
    #[command(subcommand)]
    Config(ConfigMode),
}

#[derive(Debug, Subcommand)]
pub enum ConfigMode {
    /// Get --keys configurations with contents of --size bytes
    Get(ConfigArgs),
    /// Publish --keys configurations of --size bytes again and again, each time with another content
    Publish(ConfigArgs),
    /// Measure the time from a publish until --listeners other clients have the new content
    Listen(ConfigListenArgs),
}

/// What the clients speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Over {
    Http,
    Grpc,
}

#[derive(Debug, Subcommand)]
pub enum HttpMode {
    /// Register --instances (100,000) in --services (1,000), each once
    Register(LoadArgs),
    /// Send light heartbeats of --instances (1,000) in --services (10)
    Beat(LoadArgs),
    /// List --services (100) that have --instances (1,000) in all
    List(LoadArgs),
    /// Send 16 heartbeats, 3 lists and 1 registration of each 20 requests; --instances (1,000) in --services (10)
    Mixed(LoadArgs),
}

#[derive(Debug, Subcommand)]
pub enum GrpcMode {
    /// Register --instances (1,000) on each connection, each instance in another one of --services (1,000)
    Register(LoadArgs),
    /// Query --services (100) that have --instances (100) each
    Query(LoadArgs),
    /// Subscribe on each connection to --services (100) that have --instances (1) each
    Subscribe(LoadArgs),
    /// Measure the time from a registration by one client to the callback in other clients
    Push(PushArgs),
    /// Measure how clients go to the next server when you kill theirs
    Storm(StormArgs),
    /// Measure connections that do nothing but keep alive
    Idle(IdleArgs),
}

/// What every measurement has.
#[derive(Clone, Debug, Args)]
pub struct CommonArgs {
    /// The server, by its HTTP port (the gRPC port is 1000 above) or by grpc://HOST:PORT; several members are separated by commas
    #[arg(long, value_name = "URL", value_delimiter = ',', required = true)]
    pub url: Vec<String>,
    /// Another server to compare with; both are measured in turn
    #[arg(long, value_name = "URL", value_delimiter = ',')]
    pub vs: Vec<String>,
    /// Length of one round in seconds
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=SECONDS_MAX))]
    pub seconds: u64,
    /// Seconds before each round that are not counted
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(0..=SECONDS_MAX))]
    pub warmup: u64,
    /// Number of rounds for each server [default: 1, or 3 with --vs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=100))]
    pub rounds: Option<u64>,
    /// Write the figures to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Process of the server on this machine, of which CPU time and memory are shown; for several, separated by commas, the sum is shown
    #[arg(long, value_name = "PID", value_delimiter = ',')]
    pub pid: Vec<u32>,
    /// Process of the server that --vs names, or processes of its members
    #[arg(long, value_name = "PID", value_delimiter = ',', requires = "vs")]
    pub vs_pid: Vec<u32>,
}

#[derive(Clone, Debug, Args)]
pub struct LoadArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Number of connections, each with its own requests
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections: u64,
    /// Number of services
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=SERVICES_MAX))]
    pub services: Option<u64>,
    /// Number of instances
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=INSTANCES_MAX))]
    pub instances: Option<u64>,
    /// Number of requests at a time on one connection; with HTTP it is always one
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub in_flight: u64,
}

#[derive(Clone, Debug, Args)]
pub struct PushArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Number of subscribers of the service; they are connected to the last member of --url, and the changes go to the first one
    #[arg(long, visible_alias = "connections", value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub subscribers: u64,
    /// Changes per second
    #[arg(long, value_name = "R", default_value_t = 0.8)]
    pub rate: f64,
}

#[derive(Clone, Debug, Args)]
pub struct StormArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Number of clients with an instance each; they begin at the first member of --url, which you kill
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections: u64,
    /// Number of services over which the instances are spread; each client subscribes to the service of its own instance
    #[arg(long, value_name = "N", default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=SERVICES_MAX))]
    pub services: u64,
}

#[derive(Clone, Debug, Args)]
pub struct IdleArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// Number of connections
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections: u64,
}

#[derive(Clone, Debug, Args)]
pub struct ConfigArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// What the clients speak
    #[arg(long, value_enum, default_value = "http")]
    pub over: Over,
    /// Number of clients, each with one connection and one request at a time
    #[arg(long, value_name = "N", default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub connections: u64,
    /// Number of configurations
    #[arg(long, value_name = "N", default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..=SERVICES_MAX))]
    pub keys: u64,
    /// Size of each content in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(1..=SIZE_MAX))]
    pub size: u64,
}

#[derive(Clone, Debug, Args)]
pub struct ConfigListenArgs {
    #[command(flatten)]
    pub common: CommonArgs,
    /// What the clients speak
    #[arg(long, value_enum, default_value = "http")]
    pub over: Over,
    /// Number of listeners of the configuration; they are connected to the last member of --url, and the publishes go to the first one
    #[arg(long, visible_alias = "connections", value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u64).range(1..=CONNECTIONS_MAX))]
    pub listeners: u64,
    /// Publishes per second
    #[arg(long, value_name = "R", default_value_t = 2.0)]
    pub rate: f64,
    /// Size of each content in bytes
    #[arg(long, value_name = "BYTES", default_value_t = 1_024, value_parser = clap::value_parser!(u64).range(1..=SIZE_MAX))]
    pub size: u64,
}

impl BenchArgs {
    /// The mode, as it is written on the command line.
    pub fn name(&self) -> &'static str {
        match &self.protocol {
            Protocol::Http(HttpMode::Register(_)) => "http register",
            Protocol::Http(HttpMode::Beat(_)) => "http beat",
            Protocol::Http(HttpMode::List(_)) => "http list",
            Protocol::Http(HttpMode::Mixed(_)) => "http mixed",
            Protocol::Grpc(GrpcMode::Register(_)) => "grpc register",
            Protocol::Grpc(GrpcMode::Query(_)) => "grpc query",
            Protocol::Grpc(GrpcMode::Subscribe(_)) => "grpc subscribe",
            Protocol::Grpc(GrpcMode::Push(_)) => "grpc push",
            Protocol::Grpc(GrpcMode::Storm(_)) => "grpc storm",
            Protocol::Grpc(GrpcMode::Idle(_)) => "grpc idle",
            Protocol::Config(ConfigMode::Get(_)) => "config get",
            Protocol::Config(ConfigMode::Publish(_)) => "config publish",
            Protocol::Config(ConfigMode::Listen(_)) => "config listen",
        }
    }

    pub fn common(&self) -> &CommonArgs {
        match &self.protocol {
            Protocol::Http(
                HttpMode::Register(load)
                | HttpMode::Beat(load)
                | HttpMode::List(load)
                | HttpMode::Mixed(load),
            )
            | Protocol::Grpc(GrpcMode::Register(load) | GrpcMode::Query(load) | GrpcMode::Subscribe(load)) => {
                &load.common
            }
            Protocol::Grpc(GrpcMode::Push(push)) => &push.common,
            Protocol::Grpc(GrpcMode::Storm(storm)) => &storm.common,
            Protocol::Grpc(GrpcMode::Idle(idle)) => &idle.common,
            Protocol::Config(ConfigMode::Get(args) | ConfigMode::Publish(args)) => &args.common,
            Protocol::Config(ConfigMode::Listen(listen)) => &listen.common,
        }
    }

    /// Whether the HTTP port is measured.
    pub(crate) fn over_http(&self) -> bool {
        match &self.protocol {
            Protocol::Http(_) => true,
            Protocol::Grpc(_) => false,
            Protocol::Config(ConfigMode::Get(args) | ConfigMode::Publish(args)) => args.over == Over::Http,
            Protocol::Config(ConfigMode::Listen(listen)) => listen.over == Over::Http,
        }
    }
}
